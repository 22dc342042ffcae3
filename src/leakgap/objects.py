"""Objects that a study file names by `file.py:object` or `module:object`: a user's recipe, data or plugin.

They are found and their signatures read without importing anything, so that a study file is checked wherever the
workflow starts; a job then loads them.
"""

import ast
import atexit
import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from leakgap import LeakgapError

PLACE = re.compile(r"(?P<where>.+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_place(text: str) -> bool:
    """Say whether a text is of the form `file.py:object` or `module:object`.

    >>> [is_place(text) for text in ("./mine.py:read", "package.mine:read", "./photos/", "mine.npz")]
    [True, True, False, False]
    """
    return PLACE.fullmatch(text) is not None


@dataclass(frozen=True)
class Object:
    """An object where a study file says that it is; a relative path starts at the working directory.

    Its properties raise LeakgapError, a sentence that starts with the file, where that is not so.
    """

    text: str

    @property
    def name(self) -> str:
        """Its name in the file or module."""
        return self._part("name")

    @cached_property
    def source(self) -> Path:
        """The file that holds it."""
        where = self._part("where")
        if where.endswith(".py"):
            path = expanded(where)
            if not path.is_file():
                raise LeakgapError(f"{where}: there is no such file")
            return path.resolve()  # code of the user's may change the working directory
        return _source_of(where)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes of its file, 16 hexadecimal digits."""
        return hashlib.sha256(self._read()).hexdigest()[:16]

    @cached_property
    def signature(self) -> Signature | None:
        """The parameters of a function; None where they can't be told from the file.

        That is so for a class, a function with a decorator, a name that is imported or assigned there, and one that
        is defined in each of several branches.
        """
        if self.source.suffix != ".py":
            return None
        try:
            tree = ast.parse(self._read())
        except (SyntaxError, ValueError) as error:
            line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
            raise LeakgapError(f"{self._part('where')}: not Python: {error.args[0]}{line}") from None
        found: ast.AST | None = None
        defined, several = [], False
        for node in _outermost(tree):
            if isinstance(node, Function | ast.ClassDef):
                defined.append(node.name)
            if self.name in _binds(node) or "*" in _binds(node):
                several, found = found is not None and node not in tree.body, node
        if found is None:
            rest = f"only {', '.join(defined)}" if defined else "and no function or class at all"
            raise LeakgapError(f"{self._part('where')}: defines no {self.name}, {rest}")
        if not isinstance(found, Function) or found.decorator_list or several:
            return None
        if isinstance(found, ast.AsyncFunctionDef):
            raise LeakgapError(f"{self._part('where')}: {self.name} is an `async def`: nobody awaits it")
        return _signature(found.args)

    def load(self) -> Any:
        """Import its file or module and return it; raises what the import raises.

        The folder of a file is searched for the modules that it imports after everything that is installed, so a
        `yaml.py` there takes no library's place. A file with another content is another module.
        """
        where = self._part("where")
        if not where.endswith(".py"):
            return getattr(importlib.import_module(where), self.name)
        path = self.source.resolve()
        folder = str(path.parent)
        if folder not in sys.path:
            sys.path.append(folder)
        name = f"{path.stem}_{hashlib.sha256(f'{path} {self.digest}'.encode()).hexdigest()[:8]}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except SystemExit as stop:
                del sys.modules[name]
                raise LeakgapError(
                    f"{where}: ends the process when it is imported (sys.exit({stop.code!r}))"
                ) from None
            except BaseException:
                del sys.modules[name]
                raise
            _make_importable(name, path)
        return getattr(sys.modules[name], self.name)

    def blamed(self, error: BaseException) -> LeakgapError:
        """Print the traceback of what the object's code raised, and return one sentence about it.

        It names the line of the object's file that failed, or the deepest line where none of its lines had a part.
        """
        traceback.print_exception(error)
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename) == self.source.resolve()] or frames
        return LeakgapError(f"{self._part('where')}:{own[-1].lineno} in {own[-1].name}: {said(error)}")

    def has_part_in(self, error: BaseException) -> bool:
        """Say whether a line of its file is among those that led to an error."""
        own = self.source.resolve()
        return any(Path(frame.filename) == own for frame in traceback.extract_tb(error.__traceback__))

    def _part(self, name: str) -> str:
        match = PLACE.fullmatch(self.text)
        if match is None:
            raise LeakgapError(f"{self.text!r} is neither file.py:object nor module:object")
        return match[name]

    def _read(self) -> bytes:
        try:
            return self.source.read_bytes()
        except OSError as error:
            raise LeakgapError(f"{self._part('where')}: can't be read ({error.strerror})") from None


def said(error: BaseException) -> str:
    """Return the kind of an error and its first line; of one that can't say it, the kind alone.

    >>> said(ValueError("no\\nmore"))
    'ValueError: no'
    """
    try:
        reason = str(error).partition("\n")[0]
    except Exception:
        reason = ""
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


@cache
def _shims() -> Path:
    """Return a folder on sys.path, which processes that are spawned take over, that goes with this process."""
    folder = tempfile.mkdtemp(prefix="leakgap-modules-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sys.path.append(folder)
    return Path(folder)


def _make_importable(name: str, path: Path) -> None:
    """Let processes that the user's code spawns import its module by the name that it has here."""
    shim = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location(__name__, {str(path)!r})\n"
        "sys.modules[__name__] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules[__name__])\n"
    )
    (_shims() / f"{name}.py").write_text(shim, encoding="utf-8")


@contextmanager
def staying() -> Iterator[None]:
    """Come back to the working directory, wherever code of the user's goes: paths of files are relative to it."""
    here = os.getcwd()
    try:
        yield
    finally:
        os.chdir(here)


def expanded(path: str | Path) -> Path:
    """Return a path with the home directory for a tilde; LeakgapError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise LeakgapError(f"{path}: there is no such home directory") from None


def _source_of(module: str) -> Path:
    """Return the file of a module, without importing the packages that it is in.

    All finders are asked, as an import does: a package that is installed from its clone is known to a finder alone.
    """
    folders, spec, parts = None, None, module.split(".")
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        specs = (finder.find_spec(name, folders, None) for finder in sys.meta_path)
        spec = next((each for each in specs if each is not None), None)
        if spec is None or (spec.submodule_search_locations is None and end < len(parts)):
            raise LeakgapError(f"there is no module {module}")
        folders = spec.submodule_search_locations
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise LeakgapError(f"there is no module {module}")
    return Path(spec.origin)


def _outermost(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module in order, without those inside its functions and classes."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            yield from _outermost(node)


def _binds(node: ast.AST) -> set[str]:
    """Return the names that a node defines, imports or assigns."""
    if isinstance(node, Function | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.alias):
        return {node.asname or node.name.partition(".")[0]}
    return {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()


def _signature(given: ast.arguments) -> Signature:
    """Return what inspect.signature would; a default that there is stands as its source text."""
    found: list[tuple[ast.arg, Any, ast.expr | None]] = []
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    for place, (each, default) in enumerate(zip(positional, defaults, strict=True)):
        only = place < len(given.posonlyargs)
        found.append((each, Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD, default))
    if given.vararg:
        found.append((given.vararg, Parameter.VAR_POSITIONAL, None))
    for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        found.append((each, Parameter.KEYWORD_ONLY, default))
    if given.kwarg:
        found.append((given.kwarg, Parameter.VAR_KEYWORD, None))
    return Signature(
        [
            Parameter(each.arg, kind, default=Parameter.empty if default is None else ast.unparse(default))
            for each, kind, default in found
        ]
    )


def check_call(signature: Signature, given: set[str]) -> tuple[str, str] | None:
    """Return the first keyword that a function does not take, or needs besides those given, and which it is.

    >>> import inspect
    >>> check_call(inspect.signature(lambda a, b, c=1: 0), {"a", "d"})
    ('d', 'unknown')
    >>> check_call(inspect.signature(lambda a, b, c=1: 0), {"a"})
    ('b', 'missing')
    """
    any_keyword = any(each.kind is Parameter.VAR_KEYWORD for each in signature.parameters.values())
    named = set(keywords(signature))
    for name in sorted(given - named):
        if not any_keyword:
            return name, "unknown"
    for name, each in signature.parameters.items():
        variable = each.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        if not variable and each.default is Parameter.empty and name not in given & named:
            return name, "missing"
    return None


def keywords(signature: Signature) -> list[str]:
    """Return the names of the parameters that can be given by keyword."""
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return [name for name, each in signature.parameters.items() if each.kind in kinds]
