"""Files that are either whole or absent, however many processes write them and whenever one is killed."""

import glob
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leakgap import LeakgapError

HOST = socket.gethostname()


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well, else it is removed.

    The temporary name keeps the suffix (writers that append one leave it alone) and is this call's own on any
    host, so that an orphaned process never writes into another's file. What a killed process of this host
    left behind is removed. Raises LeakgapError naming `path` for a full disk and any other OSError.
    """
    path = Path(path)
    token = f"{HOST}-{os.getpid()}-{os.urandom(4).hex()}"
    temporary = path.with_name(f".{path.stem}.{token}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        for left in _temporaries(path, HOST):
            if not _alive(int(left.name.split("-")[-2])):
                left.unlink(missing_ok=True)
    except OSError as error:
        raise LeakgapError(f"{path}: can't be written ({str(error).splitlines()[0]})") from None


def discard(path: str | Path) -> None:
    """Remove a file that has served, and the temporary ones that any killed process left of it."""
    for file in [Path(path), *_temporaries(Path(path), "*")]:
        file.unlink(missing_ok=True)


def _temporaries(path: Path, host: str) -> list[Path]:
    return list(path.parent.glob(f".{glob.escape(path.stem)}.{host}-*-????????{path.suffix}"))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
