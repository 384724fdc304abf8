"""NIR's HDF5 files, read and written by a plain walk.

The root has a dataset `version` and a group `node`; a node's group has one dataset for each
field and its `type`, a graph's has the group `nodes` and the dataset `edges`. The `nir` package
is not needed, so files load that it refuses; h5py is, and imported when a file is.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tetrapla.frontend.names import shown
from tetrapla.frontend.nir.network import Edge, Field, Network, Node
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.op import MAX_ELEMENTS

MAX_BYTES, MAX_DEPTH, MAX_NODES = 2**31, 32, 100_000  # assumed: far above published files
WRITTEN_VERSION = "1.0.8"  # of the package whose files these are


def read(path: str | Path) -> Network:
    """Read a file as it is.

    Raises:
        ModelError: it is missing, no HDF5, or holds no NIR graph.
        UnsupportedError: h5py is not installed.
    """
    path, h5py = Path(path), _h5py()
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of a .nir file")
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: must be at most {MAX_BYTES} bytes, not larger")
    try:
        with h5py.File(path, "r") as file:
            if "node" not in file:
                raise ModelError("must hold a group 'node', which is absent; write it again")
            version = _field(file["version"]) if "version" in file else ""
            made = _group(file["node"], str(version), 0)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: must be a NIR file in HDF5, but it is broken ({error}); write it again"
        ) from None
    return made if isinstance(made, Network) else Network({"node": made}, (), {}, str(version))


def write(network: Network, path: str | Path) -> None:
    """Write a file that the `nir` package reads.

    Raises:
        UnsupportedError: h5py is not installed.
    """
    with _h5py().File(Path(path), "w") as file:
        file.create_dataset("version", data=network.version or WRITTEN_VERSION)
        _fill(file.create_group("node"), network)


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ImportError:
        raise UnsupportedError(
            "NIR files need h5py, which is not installed; pip install 'tetrapla[spiking]'"
        ) from None


def _group(group: Any, version: str, depth: int) -> Network | Node:
    if depth > MAX_DEPTH:
        raise ModelError(f"graphs must nest at most {MAX_DEPTH} deep, not deeper")
    if "type" not in group:
        raise ModelError(f"the node {shown(group.name)} must have a type, not lack it")
    type_ = str(_field(group["type"]))
    metadata = _fields(group["metadata"]) if "metadata" in group else {}
    if type_ != "NIRGraph":
        held = {k: _field(v) for k, v in group.items() if k not in ("type", "metadata")}
        return Node(type_, held, metadata)
    if len(group["nodes"]) > MAX_NODES:
        raise ModelError(f"a graph must have at most {MAX_NODES} nodes, not more")
    nodes = {name: _group(each, version, depth + 1) for name, each in group["nodes"].items()}
    return Network(nodes, tuple(_edges(group["edges"][()])), metadata, version)


def _fields(group: Any, stem: str = "") -> dict[str, Field]:
    """All datasets below a group; one of a nested group is called ``group/name``."""
    held: dict[str, Field] = {}
    for name, each in group.items():
        nested = hasattr(each, "items")
        held |= _fields(each, f"{stem}{name}/") if nested else {f"{stem}{name}": _field(each)}
    return held


def _field(dataset: Any) -> Field:
    if hasattr(dataset, "items"):
        raise ModelError(f"{shown(dataset.name)} must be a dataset, not a group")
    if dataset.size is None or dataset.size > MAX_ELEMENTS:
        raise ModelError(f"{shown(dataset.name)} must have 1 to {MAX_ELEMENTS} elements")
    value = dataset[()]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ModelError(f"{shown(dataset.name)} must be numbers or text, not {array.dtype}")
    return array


def _edges(rows: Any) -> list[Edge]:
    return [(_text(a), _text(b)) for a, b in np.asarray(rows).reshape(-1, 2).tolist()]


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fill(group: Any, made: Network | Node) -> None:
    if isinstance(made, Node):
        _put(group, {"type": made.type, **made.fields})
    else:
        _put(group, {"type": "NIRGraph"})
        rows = [[a.encode(), b.encode()] for a, b in made.edges]
        data = np.array(rows, "S") if rows else np.zeros((0, 2), "S1")
        group.create_dataset("edges", data=data)
        nodes = group.create_group("nodes")
        for name, each in made.nodes.items():
            _fill(nodes.create_group(name), each)
    if made.metadata:
        _put(group.create_group("metadata"), made.metadata)


def _put(group: Any, fields: Mapping[str, Field]) -> None:
    for name, value in fields.items():
        packed = {} if isinstance(value, str) or not value.shape else {"compression": "gzip"}
        group.create_dataset(name, data=value, **packed)
