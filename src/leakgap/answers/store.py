"""The Parquet contract of a model's logits: what training writes and attacks read.

One file per model, one row group per (step, view), one row per image of the pool in ascending order. A reader
takes just the columns and row groups that it needs, and checks that the file is the model it asked for.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, TypeAdapter

from leakgap import LeakgapError
from leakgap.answers.confidence import mistaken_for_logits, phi
from leakgap.files import atomic

__all__ = ["Model", "Reader", "StepLogits", "read_model", "write"]

SAMPLE = 2000  # images whose phi is computed anew
METADATA, DIGEST = b"leakgap", b"leakgap sha256"  # of the metadata: Parquet has checksums of pages alone
CONTENT = b"leakgap content"  # digests of phi and logits by row group: page checksums do not outlive an edit
CORRECT = b"leakgap correct"  # who is predicted right at every step, so that logits need not be read for it


Count = Annotated[int, Field(ge=1, lt=2**31)]
Epoch = Annotated[int, Field(ge=0, lt=2**31)]  # a recipe's first step may be 0: before any training


@dataclass(frozen=True)
class Model:
    """What a logits file says of the model it came from."""

    study: str
    technique: str
    mask: str
    epochs: Annotated[list[Epoch], Field(min_length=1)]
    views: Count
    images: Count
    classes: Count
    about: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with, by the names of the study file: of others' models, the steps alone."""
        told = self.about.get("settings")
        return {"train.steps": self.epochs} | (told if isinstance(told, dict) else {})


MODEL = TypeAdapter(Model)
DIGESTS = TypeAdapter(list[tuple[str, str]])


def _schema(classes: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("step", pa.int16(), nullable=False),
            pa.field("view", pa.int8(), nullable=False),
            pa.field("image", pa.int32(), nullable=False),
            pa.field("label", pa.int16(), nullable=False),
            pa.field("member", pa.bool_(), nullable=False),
            pa.field("phi", pa.float32(), nullable=False),
            pa.field("logits", pa.list_(pa.float32(), classes)),
        ]
    )


def write(
    path: str | Path,
    steps: Sequence[np.ndarray],
    labels: np.ndarray,
    member: np.ndarray,
    *,
    study: str,
    technique: str,
    mask: str,
    epochs: Sequence[int],
    first_view_only: bool = False,
    known_logits: bool = False,
    about: dict[str, Any] | None = None,
) -> None:
    """Write one model's logits, whole or not at all.

    steps: one float32 [views, images, classes] for every step, trained for `epochs`; labels: int [images];
    member: bool [images]. With `first_view_only` further views keep phi and null logits. `about` is any JSON:
    seed, settings and their hash, versions, device, seconds, history. Beside it stand digests of phi and logits of
    every step and view, and who is predicted right at every step, in the clean view. LeakgapError for a logit that
    is not finite, and for what looks like probabilities, unless these are known to be logits.
    """
    if not all(np.isfinite(step).all() for step in steps):
        raise LeakgapError(f"{path}: not written, some logits are not finite")
    called = "" if known_logits else next(filter(None, map(mistaken_for_logits, steps)), "")
    if called:
        raise LeakgapError(f"{path}: not written, these are {called}, not logits: give their logarithm")
    views, images, classes = steps[0].shape
    about = {"study": study, "technique": technique, "mask": mask, "epochs": list(epochs), "views": views} | {
        "images": images,
        "classes": classes,
        "about": about or {},
    }
    told, schema = json.dumps(about).encode(), _schema(classes)
    correct = np.stack([_correct(logits[0], labels) for logits in steps])
    groups = [(step, view, z) for step, logits in enumerate(steps, 1) for view, z in enumerate(logits)]
    phis = [phi(z, labels) for _, _, z in groups]
    content = [[_digest(known), _digest(z)] for known, (_, _, z) in zip(phis, groups, strict=True)]
    schema = schema.with_metadata(
        {
            METADATA: told,
            DIGEST: hashlib.sha256(told).hexdigest().encode(),
            CONTENT: json.dumps(content).encode(),
        }
    )
    repeated, numbers = ["step", "view", "label", "member"], ["phi", "logits.list.element"]
    with parquet_writer(path, schema, repeated=repeated, numbers=numbers, counted=["image"]) as writer:
        for known, (step, view, z) in zip(phis, groups, strict=True):
            bare = view > 0 and first_view_only
            writer.write_table(
                _rows(schema, step, view, z, known, labels, member, bare), row_group_size=images
            )
        writer.add_key_value_metadata({CORRECT: _packed(correct)})  # the schema's would be stored twice


@contextmanager
def parquet_writer(
    path: str | Path,
    schema: pa.Schema,
    *,
    repeated: Sequence[str],
    numbers: Sequence[str],
    counted: Sequence[str],
) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file, whole or not at all; columns of few values, of floats, and of rising whole numbers."""
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            write_page_checksum=True,
            use_dictionary=list(repeated),  # a dictionary of floats is built for nothing
            use_byte_stream_split=list(numbers),
            column_encoding=dict.fromkeys(counted, "DELTA_BINARY_PACKED"),
        ) as writer,
    ):
        yield writer


def _digest(values: np.ndarray) -> str:
    """Return the SHA-256 of float32 numbers in C order, 16 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(values, np.float32).data).hexdigest()[:16]


def _correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the first largest of an image's logits [S, classes] is its label's: bool [S]."""
    right: np.ndarray = logits.argmax(-1) == labels
    return right


def _packed(correct: np.ndarray) -> bytes:
    """Return bool [steps, S] as text: a digest, a space, the bits."""
    bits = np.packbits(correct).tobytes()
    return hashlib.sha256(bits).hexdigest()[:16].encode() + b" " + base64.b64encode(bits)


def _rows(
    schema: pa.Schema,
    step: int,
    view: int,
    z: np.ndarray,
    known: np.ndarray,
    labels: np.ndarray,
    member: np.ndarray,
    bare: bool,
) -> pa.Table:
    images, classes = z.shape
    values = _arrow(np.ascontiguousarray(z, dtype=np.float32).reshape(-1))
    logits = (
        pa.nulls(images, schema.field("logits").type)
        if bare
        else pa.FixedSizeListArray.from_arrays(values, classes)
    )
    columns: list[np.ndarray] = [
        np.full(images, step, np.int16),
        np.full(images, view, np.int8),
        np.arange(images, dtype=np.int32),
        labels.astype(np.int16),
        member.astype(bool),
        known,
    ]
    return pa.Table.from_arrays([*(_arrow(column) for column in columns), logits], schema=schema)


def _arrow(column: np.ndarray) -> pa.Array:
    """Return the same memory as an Arrow array. pa.array would import pandas: a quarter of a second a job."""
    data = np.packbits(column, bitorder="little") if column.dtype == bool else column
    kind = pa.from_numpy_dtype(column.dtype)
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(data)])


def read_model(path: str | Path) -> Model:
    """Return what the file says of its model. LeakgapError when it is missing, truncated or not ours."""
    with _open(path) as (_, model):
        return model


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[pq.ParquetFile, Model]]:
    """Open a file for as long as it is read: a thousand open ones are more than most systems allow."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file, _model(path, file)
    except FileNotFoundError:
        raise LeakgapError(f"{path}: the logits of this model are missing") from None
    except LeakgapError:
        raise
    except (pa.ArrowException, OSError, LookupError, ValueError, MemoryError) as error:  # of damaged metadata
        reason = str(error).partition("\n")[0]
        raise LeakgapError(f"{path}: not a readable Parquet file: {reason}") from None


def _model(path: str | Path, file: pq.ParquetFile) -> Model:
    stored = file.schema_arrow.metadata or {}
    try:
        digest = hashlib.sha256(stored[METADATA]).hexdigest().encode()
        if stored.get(DIGEST, digest) != digest:  # without one: written before there were any
            raise LeakgapError(f"{path}: what it says of its model is damaged, or not as it was written")
        model = MODEL.validate_json(stored[METADATA], strict=True)
    except (KeyError, ValueError):
        raise LeakgapError(f"{path}: a Parquet file, but not one of leakgap's logits") from None
    groups = len(model.epochs) * model.views
    if file.num_row_groups != groups or file.metadata.num_rows != groups * model.images:
        raise LeakgapError(
            f"{path}: holds {file.metadata.num_rows} rows in {file.num_row_groups} row groups, "
            f"not {len(model.epochs)} steps x {model.views} views x {model.images} images"
        )
    return model


def _written(path: str | Path, file: pq.ParquetFile) -> list[tuple[str, str]]:
    """Return the digests of phi and logits of every row group; none where the file was written without."""
    stored = (file.schema_arrow.metadata or {}).get(CONTENT)
    if stored is None:
        return []
    try:
        digests = DIGESTS.validate_json(stored)
    except ValueError:
        digests = []
    if len(digests) != file.num_row_groups:
        raise LeakgapError(f"{path}: what it says of its content is damaged")
    return digests


def _who_is_correct(path: str | Path, file: pq.ParquetFile, model: Model, step: int) -> np.ndarray | None:
    """Return who is predicted right at a step, bool [S]; None where the file was written without."""
    stored = (file.metadata.metadata or {}).get(CORRECT)
    if stored is None:
        return None
    shape = len(model.epochs), model.images
    try:
        bits = np.frombuffer(base64.b64decode(stored[17:], validate=True), np.uint8)
        correct = np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
    except ValueError:
        correct = None
    if correct is None or stored != _packed(correct):
        raise LeakgapError(f"{path}: what it says of who is predicted right is damaged")
    return correct[step - 1]


@dataclass(frozen=True)
class StepLogits:
    """One step of many models: phi, and of the clean view, when asked for, logits and who is predicted right."""

    phi: np.ndarray  # float32 [N, S, V]
    logits: np.ndarray | None = None  # float32 [N, S, classes]
    correct: np.ndarray | None = None  # bool [N, S]


class Reader:
    """The logits files of models that are attacked together, in the order asked for.

    Raises LeakgapError that lists missing files, or names the file that is another model, another study,
    disagrees with the masks or was trained otherwise: a dropped, renamed or stale file never shifts masks
    against models.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        study: str,
        technique: str,
        masks: Sequence[str],
        member: np.ndarray,
        labels: np.ndarray,
    ):
        missing = [str(path) for path in paths if not Path(path).is_file()]
        if missing:
            raise LeakgapError(f"logits of {len(missing)} models are missing: {', '.join(missing)}")
        self.paths, self._labels = list(paths), labels
        self.models: list[Model] = []
        for path, mask, inside in zip(paths, masks, member, strict=True):
            with _open(path) as (file, model):
                table = file.read_row_group(0, columns=["label", "member"], use_threads=False)
                stored = {name: table[name].to_numpy() for name in ("member", "label")}
            if (model.study, model.technique, model.mask) != (study, technique, mask):
                raise LeakgapError(
                    f"{path}: holds the model {model.study}/{model.technique}/{model.mask}, "
                    f"not {study}/{technique}/{mask}"
                )
            for name, expected in (("member", inside), ("label", labels)):
                if not np.array_equal(stored[name], expected):
                    raise LeakgapError(f"{path}: its column {name} disagrees with the study's masks or pool")
            self.models.append(model)
            differing = _differences(model, self.models[0])
            if differing:
                raise LeakgapError(f"{path}: differs from {paths[0]} in {', '.join(differing)}")
        self.model = self.models[0]

    def read(
        self,
        step: int,
        *,
        with_logits: bool = False,
        with_correct: bool = False,
        views: int | None = None,
    ) -> StepLogits:
        """Read step 1.. of all models: phi of the first `views` views (default: all), logits of view 0.

        ValueError for a step or a number of views that the files don't hold. LeakgapError for a file damaged
        since, and for one whose phi is not finite, or not that of its logits.
        """
        model = self.model
        views = model.views if views is None else views
        if not 1 <= step <= len(model.epochs) or not 1 <= views <= model.views:
            raise ValueError(
                f"step {step}, {views} views: the files hold {len(model.epochs)} steps, {model.views} views"
            )
        shape = len(self.paths), model.images
        phis = np.empty((*shape, views), np.float32)
        logits = np.empty((*shape, model.classes), np.float32) if with_logits else None
        correct = np.empty(shape, bool) if with_correct else None
        for row, path in enumerate(self.paths):
            with _open(path) as (file, own):
                written = _written(path, file)
                right = _who_is_correct(path, file, own, step) if with_correct else None
                needs_logits = with_logits or (with_correct and right is None)
                for view in range(views):
                    group = (step - 1) * model.views + view
                    whole = view == 0 and needs_logits
                    wanted = ["phi", "logits"] if whole else ["phi"]
                    table = file.read_row_group(group, columns=wanted, use_threads=False)
                    values = table["phi"].to_numpy()
                    phis[row, :, view] = values
                    if written and written[group][0] != _digest(values):
                        raise LeakgapError(
                            f"{path}: at step {step}, view {view}, phi is not as it was written"
                        )
                    if whole:
                        z = table["logits"].combine_chunks().flatten().to_numpy()
                        z = z.reshape(model.images, model.classes)
                        if written and written[group][1] != _digest(z):
                            raise LeakgapError(f"{path}: at step {step}, logits are not as they were written")
                        if not _agree(phis[row, :, 0], z, self._labels):
                            raise LeakgapError(f"{path}: at step {step}, its phi is not that of its logits")
                        if logits is not None:
                            logits[row] = z
                        if with_correct and right is None:
                            right = _correct(z, self._labels)
                if correct is not None:
                    correct[row] = right
            if not np.isfinite(phis[row]).all():
                raise LeakgapError(f"{path}: at step {step}, some phi are not finite")
        return StepLogits(phis, logits, correct)


def _agree(stored: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> bool:
    """Whether phi [S] is that of logits [S, classes], up to what float32 makes of it.

    Of 2,000 images at least, if there are so many: another formula or another model differs in nearly all of them,
    and single bits have checksums.
    """
    some = slice(None, None, max(1, len(labels) // SAMPLE))
    stored, logits, labels = stored[some], logits[some], labels[some]
    everyone = np.arange(len(labels))
    z = logits - logits.max(-1, keepdims=True)
    true = z[everyone, labels]
    z[everyone, labels] = -np.inf
    top = z.max(-1)
    expected = true - top - np.log(np.exp(z - top[:, None]).sum(-1))
    return bool(np.allclose(stored, expected, rtol=1e-3, atol=1e-3))


def _differences(one: Model, other: Model) -> list[str]:
    """Name what models that are attacked together must share, and these two don't."""
    shape = [name for name in ("epochs", "views", "classes") if getattr(one, name) != getattr(other, name)]
    mine, theirs = one.settings, other.settings
    settings = {key for key in mine | theirs if mine.get(key) != theirs.get(key)}
    return shape + sorted(
        key for key in settings if key.startswith(("train.", "data.")) and key != "train.steps"
    )
