"""Operators against the vectors of onnx's own node tests, one node at a time.

Only what maps one to one is taken here (the way in from ONNX has its own conformance tests).
Integers, truths and moved values are equal; floats are within the suite's own bound, because
the vectors were computed in float32 by formulas of their own.
"""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from tests.ir.nn.onnx_calls import MAPPED, NAMES, Attributes
from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS, Tensor, inferred

import_module("tetrapla.ir.dialects")  # fills OPS


@cache
def _cases() -> dict[str, list[Any]]:
    """The single-node cases by operator."""
    found: dict[str, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators divide by zero
        cases = load_model_tests(kind="node")
    for case in cases:
        nodes = list(case.model.graph.node) if case.model else []
        if len(nodes) == 1 and nodes[0].op_type in MAPPED:
            found.setdefault(nodes[0].op_type, []).append(case)
    return found


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else value


def _attributes(node: onnx.NodeProto) -> Attributes:
    found: Attributes = {}
    for attribute in node.attribute:
        value: Any = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        found[attribute.name] = tuple(value) if isinstance(value, list) else value
    return found


def _same(ours: Array, theirs: Array, case: Any) -> bool:
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return False
    if ours.dtype.kind in "iub":
        return np.array_equal(ours, theirs)
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    # the vectors in bf16 are rounded after each step; for attention that is 4 roundings, u =
    # 2^-8, of scores below sqrt(8): 2 * 4 * 2.8 u of each weight, and 2 u of the result
    relative = 25 * 2**-8 if NAMES[ours.dtype] == "bf16" else case.rtol
    return np.allclose(a, b, rtol=relative, atol=case.atol, equal_nan=True)


def _outcome(case: Any) -> str:
    """Left out, equal, or what differs."""
    (node,) = case.model.graph.node
    for inputs, outputs in case.data_sets:
        arrays = [_array(value) for value in inputs]
        if any(not isinstance(a, np.ndarray) or a.dtype not in NAMES for a in arrays):
            return "left out"
        given = iter(arrays)
        slots = [next(given) if name else None for name in node.input]
        call = MAPPED[node.op_type](node, slots, _attributes(node))
        if call is None:
            return "left out"
        kind, operands, attributes = call
        types = [Tensor(a.shape, NAMES[a.dtype]) for a in operands]
        expected = inferred(kind, types, attributes)
        made = OPS[kind].evaluate(*operands, **attributes)
        results = made if isinstance(made, tuple) else (made,)
        named = [result for result, name in zip(results, node.output, strict=False) if name]
        wanted = [_array(value) for value in outputs]
        if node.op_type == "AveragePool":
            named = [named[0].reshape(wanted[0].shape)]
        if any(r.shape != t.shape for r, t in zip(results, expected, strict=True)):
            return f"{case.name}: infer and evaluate differ"
        for ours, theirs in zip(named, wanted, strict=False):
            if not _same(ours, theirs, case):
                return f"{case.name}: {ours.ravel()[:6]} is not {theirs.ravel()[:6]}"
    return "equal"


@pytest.mark.parametrize("op_type", sorted(MAPPED))
def test_the_vectors_of_onnx_are_kept(op_type: str) -> None:
    outcomes = Counter(_outcome(case) for case in _cases()[op_type])
    wrong = set(outcomes) - {"equal", "left out"}
    assert not wrong
    assert outcomes["equal"] > 0
