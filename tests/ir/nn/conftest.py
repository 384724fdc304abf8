"""ONNX Runtime for one node, and an operator evaluated with the type that it infers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import OPS, Tensor, inferred

Run: TypeAlias = Callable[..., list[Array]]
_NAMES = {held: name for name, held in DTYPES.items()}


@pytest.fixture
def runtime() -> Run:
    """``runtime(op_type, operands, outputs=1, opset=22, **attributes)``: its results.

    An operand may be None, which leaves it out.
    """

    def run(
        op_type: str,
        operands: Sequence[Array | None],
        outputs: int = 1,
        opset: int = 22,
        **attributes: Any,
    ) -> list[Array]:
        given = {f"x{i}": x for i, x in enumerate(operands) if x is not None}
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape
            )
            for name, x in given.items()
        ]
        names = ["" if x is None else f"x{i}" for i, x in enumerate(operands)]
        results = [f"y{i}" for i in range(outputs)]
        node = helper.make_node(op_type, names, results, **attributes)
        infos = [helper.make_empty_tensor_value_info(name) for name in results]
        graph = helper.make_graph([node], "one", inputs, infos)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return [np.asarray(result) for result in session.run(None, given)]

    return run


@pytest.fixture
def ours() -> Run:
    """``ours(kind, operands, **attributes)``: the results, of the types that are inferred."""
    import_module("tetrapla.ir.dialects")  # fills OPS

    def run(kind: str, operands: Sequence[Array], **attributes: Any) -> list[Array]:
        types = [Tensor(x.shape, _NAMES[x.dtype]) for x in operands]
        before = [x.copy() for x in operands]
        made = OPS[kind].evaluate(*operands, **attributes)
        results = list(made) if isinstance(made, tuple) else [made]
        expected = inferred(kind, types, attributes)
        assert [(r.shape, r.dtype) for r in results] == [
            (t.shape, DTYPES[t.dtype]) for t in expected
        ]
        assert all(a.tobytes() == b.tobytes() for a, b in zip(before, operands, strict=True))
        return results

    return run
