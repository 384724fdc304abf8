"""ONNX Runtime as the judge: one node per model, built here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import onnxruntime
import pytest
from onnx import ValueInfoProto, helper, numpy_helper

from tetrapla.ir.graph import Array

MICROSOFT = "com.microsoft"
OPSET = 21
OUTPUTS = 1_000_000  # least number of outputs compared per operator and pair of types


class Kernel(Protocol):
    """A session of one node: arrays by input name to the node's outputs."""

    def __call__(self, **feeds: Array) -> list[Array]: ...


def _kernel(
    op_type: str,
    order: list[str],
    feeds: Mapping[str, Array],
    constants: Mapping[str, Any],
    domain: str = "",
    outputs: int = 1,
    cast: int | None = None,
    **attributes: Any,
) -> Kernel:
    """A session of one node.

    Args:
        op_type: the node's.
        order: names of its inputs; "" is an absent one.
        feeds: inputs that a run gives, of these types and shapes.
        constants: the other inputs.
        domain: the operator's.
        outputs: how many.
        cast: an element type that Python can hold, to turn the only output into.
        attributes: the node's.
    """
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    initializers = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    names = [f"out{i}" for i in range(outputs)]
    nodes = [helper.make_node(op_type, order, names, domain=domain, **attributes)]
    if cast is not None:
        nodes.append(helper.make_node("Cast", names, ["held"], to=cast))
        names = ["held"]
    made = [ValueInfoProto(name=n) for n in names]  # the runtime infers their types
    graph = helper.make_graph(nodes, "one", inputs, made, initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda **given: [np.asarray(y) for y in session.run(None, given)]


@pytest.fixture(scope="session")
def kernel() -> Callable[..., Kernel]:
    return _kernel


@pytest.fixture(scope="session")
def saturates() -> bool:
    """Whether this CPU's u8 x s8 kernel saturates its int16 pair sums (x86 without VNNI).

    64 times 255 * 127 is 2,072,640; saturated pairs give 32 * 32,767 = 1,048,544.
    """
    a, b = np.full((1, 64), 255, np.uint8), np.full((64, 1), 127, np.int8)
    run = _kernel("MatMulInteger", ["a", "b"], {"a": a}, {"b": b})
    return int(run(a=a)[0][0, 0]) != 64 * 255 * 127


class Tally:
    """How many outputs were compared, how many differ, how many were exact ties."""

    def __init__(self) -> None:
        self.outputs = self.differing = self.ties = 0

    def add(self, ours: Array, theirs: Array, unrounded: Array | None = None) -> None:
        """Compare; `unrounded` are the exact real results, to count ties among them.

        Those count that do not saturate.
        """
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        self.outputs += ours.size
        same = (ours == theirs) | ((ours != ours) & (theirs != theirs))
        self.differing += int(np.count_nonzero(~same))
        if unrounded is not None:
            limits = np.iinfo(ours.dtype)
            inside = (unrounded > limits.min) & (unrounded < limits.max)
            halves = unrounded - np.floor(unrounded) == 0.5
            self.ties += int(np.count_nonzero(halves & inside))

    def agrees(self, ties: int = 0) -> None:
        """No output differs, of enough that were compared, of which so many were ties."""
        assert self.differing == 0
        assert self.outputs >= OUTPUTS
        assert self.ties >= ties


@pytest.fixture
def tally() -> Tally:
    return Tally()
