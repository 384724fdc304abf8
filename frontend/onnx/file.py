"""ONNX files: opsets 1 to 28, float networks and ONNX's quantised operators.

The file is not trusted: sizes, names, types and references are checked before they are used,
and external data is read only from the model's own folder (`external`).
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from tetrapla.frontend.names import safe, shown
from tetrapla.frontend.onnx.border import Fixed
from tetrapla.frontend.onnx.external import Store, mapped
from tetrapla.frontend.onnx.graph import Importer
from tetrapla.frontend.onnx.structure import check_text
from tetrapla.frontend.onnx.wire import Broken, stripped
from tetrapla.ir.errors import IRError, ModelError, TetraplaError
from tetrapla.ir.module import Module

SUFFIXES = (".onnx",)
OLDEST_OPSET, NEWEST_OPSET = 1, 28
MAX_FILE_BYTES = 2**31  # protobuf's limit


def load(
    path: str | Path,
    dims: Mapping[str, int] | None = None,
    batch: int = 1,
    *,
    shape_only: bool = False,
    fixed: Mapping[str, Fixed] | None = None,
) -> Module:
    """Read an ONNX file; large weights stay in it and are mapped.

    Args:
        path: the file, which nothing may write into while the module is used; external data
            is looked for beside it.
        dims: sizes of symbolic dimensions by name.
        batch: the size of a leading symbolic dimension of an input that `dims` does not name.
        fixed: inputs by name that become constants of these values: a shape, axes or a size
            that is an input must be one, and so must what is no tensor of numbers (a sequence,
            as a list of arrays; an optional, None where it holds nothing; text).
        shape_only: leave the weights' values out; a missing external file is then no error.

    Raises:
        ModelError: the file cannot be read, or breaks a rule of ONNX.
        UnsupportedError: it uses operators, or uses of them, that the IR does not have; the
            message lists all of them.
    """
    path = Path(path)
    model, store = _parsed(path)
    try:
        check_text(model)
        opsets = _check_header(model)
        importer = Importer(
            model.graph,
            opsets,
            model.functions,
            store,
            safe(path.stem),
        )
        with _uncollected():
            return importer.module(
                dict(dims or {}), batch, dict(fixed or {}), shape_only=shape_only
            )
    except TetraplaError as error:
        kind = ModelError if isinstance(error, IRError) else type(error)
        raise kind(f"{path}: {error}") from None


@contextmanager
def _uncollected() -> Generator[None]:
    """No search for garbage: an import makes none, and it would take a fifth of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _parsed(path: Path) -> tuple[onnx.ModelProto, Store]:
    """The file as a message, and the tensors that are not in it.

    Raises:
        ModelError: it is missing, not a regular file, too large, empty or broken.
    """
    data, model = _bytes_of(path), onnx.ModelProto()
    try:
        message = stripped(data)
        model.ParseFromString(message.data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (DecodeError, Broken):
        raise ModelError(
            f"{path}: must be an ONNX model, but its {len(data)} bytes are not a complete "
            f"protobuf message; export or download it again"
        ) from None
    return model, Store(path.parent, data, message.key)


def _bytes_of(path: Path) -> memoryview:
    """The file's bytes, mapped.

    Raises:
        ModelError: it is missing, not a regular file, too large or empty.
    """
    try:
        if not path.exists():
            raise ModelError(f"{path}: no such file; give the path of an .onnx file")
        if not path.is_file():
            raise ModelError(f"{path}: must be a file, not a folder, pipe or device")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(
                f"{path}: must be at most {MAX_FILE_BYTES} bytes, not {size}; "
                f"save the weights as external data"
            )
        if not size:
            raise ModelError(f"{path}: must be an ONNX model, not an empty file")
        with path.open("rb") as file:
            return mapped(file.fileno())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{shown(path)}: is not a path of a file") from error


def _check_header(model: onnx.ModelProto) -> dict[str, int]:
    """The opset of each domain.

    Raises:
        ModelError: there is no graph, or the opset is absent, doubled or unknown.
    """
    if not model.HasField("graph") or model.ir_version < 1:
        raise ModelError("must be an ONNX model, but it holds no graph; export it again")
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in versions:
            raise ModelError(
                f"opset_import must name the domain {shown(domain or 'ai.onnx')} once, "
                f"not twice"
            )
        versions[domain] = entry.version
    if not versions:
        raise ModelError("opset_import must name a version of ai.onnx, which is absent")
    # without a version of ai.onnx, the graph uses other domains alone
    version = versions.get("", NEWEST_OPSET)
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        raise ModelError(
            f"the opset must be {OLDEST_OPSET} to {NEWEST_OPSET}, not {version}; "
            f"convert the model with onnx.version_converter"
        )
    return versions
