"""An ONNX file read by TVM's importer; runs beside TVM.

Symbolic sizes become numbers first: a leading one is the batch, others need `dims`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import onnx

from tetrapla.ir.errors import ModelError


@dataclass(frozen=True)
class Read:
    """TVM's module, and the file's own names of what it takes and gives."""

    module: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def relax_module(data: bytes, dims: Mapping[str, int], batch: int) -> Read:
    """Read an ONNX file.

    Raises:
        ModelError: a symbolic size is not given.
    """
    frontend: Any = import_module("tvm.relax.frontend.onnx")
    model = onnx.load_from_string(data)
    held = {each.name for each in model.graph.initializer}
    given = [each for each in model.graph.input if each.name not in held]
    shapes = {each.name: _shape(each, dims, batch) for each in given}
    module = frontend.from_onnx(model, shape_dict=shapes, keep_params_in_input=False)
    outputs = tuple(each.name for each in model.graph.output)
    return Read(module, tuple(shapes), outputs)


def _shape(value: onnx.ValueInfoProto, dims: Mapping[str, int], batch: int) -> list[int]:
    found: list[int] = []
    for axis, size in enumerate(value.type.tensor_type.shape.dim):
        name = size.dim_param
        if size.HasField("dim_value"):
            found.append(size.dim_value)
        elif name in dims:
            found.append(dims[name])
        elif axis == 0:
            found.append(batch)
        else:
            raise ModelError(
                f"input '{value.name}' has a symbolic size '{name}' at axis {axis}; give it "
                "in dims"
            )
    return found
