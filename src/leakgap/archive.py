"""Several tables in one file, so that tables of two runs are never mixed: a zip of Parquet files and of about.json.

The zip's checksums tell what is damaged. Any program reads it: `unzip`, then the tables one by one.
"""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from leakgap import LeakgapError
from leakgap.files import atomic

__all__ = ["Archive", "write_archive"]

ABOUT = "about.json"
DAMAGE = (  # what a damaged zip, or a damaged table in a whole one, makes the libraries raise
    *(zipfile.BadZipFile, zlib.error, struct.error, pa.ArrowException, RuntimeError, OSError, EOFError),
    *(LookupError, ValueError, OverflowError, MemoryError),
)


def write_archive(path: str | Path, tables: Mapping[str, pd.DataFrame], about: Mapping[str, Any]) -> None:
    """Write tables by name, and what they were made from, whole or not at all; the same in the same bytes."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        _add(file, ABOUT, json.dumps(about, indent=1, sort_keys=True).encode())
        for name, table in tables.items():
            content = io.BytesIO()
            pq.write_table(pa.Table.from_pandas(table, preserve_index=False), content, compression="zstd")
            _add(file, f"{name}.parquet", content.getvalue())


def _add(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    file.writestr(zipfile.ZipInfo(name), content)  # without the time of day


class Archive:
    """A file of `write_archive`; LeakgapError where it is missing or damaged.

    about: what its tables were made from; digest: of all that it holds.
    """

    def __init__(self, path: str | Path):
        self.path = path
        if not Path(path).is_file():
            raise LeakgapError(f"{path} is missing: run the attacks and the summary first")
        try:
            with zipfile.ZipFile(path) as file:
                parts = "".join(f"{part.filename} {part.CRC} " for part in file.infolist())
                self.about: dict[str, Any] = dict(json.loads(file.read(ABOUT)))
        except DAMAGE as error:
            raise self._damaged(error) from None
        self.digest = hashlib.sha256(parts.encode()).hexdigest()[:16]

    def table(self, name: str) -> pd.DataFrame:
        """Return one of its tables."""
        try:
            with zipfile.ZipFile(self.path) as file:
                return pq.read_table(io.BytesIO(file.read(f"{name}.parquet"))).to_pandas()
        except DAMAGE as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> LeakgapError:
        reason = str(error).partition("\n")[0]
        return LeakgapError(f"{self.path}: is damaged, or no file of tables ({reason}); make it anew")
