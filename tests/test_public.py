"""The public interface: declared, lazily imported, every name explained by an example that runs."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import leakgap

MODULES = sorted(module.name for module in pkgutil.walk_packages(leakgap.__path__, "leakgap."))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_run(name: str):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("name", leakgap.__all__)
def test_every_public_name_has_an_example(name: str):
    found = getattr(leakgap, name)
    if not isinstance(found, type) or not issubclass(found, Exception):
        assert ">>>" in found.__doc__


def test_importing_leakgap_imports_nothing_else():
    code = "import sys, leakgap; dir(leakgap); print({'numpy', 'torch', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = leakgap.nothing
    assert set(leakgap.__all__) <= set(dir(leakgap))
