"""Branches and loops as ONNX: If, Scan where there are sequences, else Loop.

A subgraph reads the values around it by name, so what a body is given beside its states is
not passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import GraphProto, TensorProto, ValueInfoProto, helper

from tetrapla.frontend.onnx.writer import Writer, described
from tetrapla.ir.graph import Node, Value


def _if(node: Node, writer: Writer) -> None:
    condition, *captured = writer.names(node.operands)
    branches: dict[str, GraphProto] = {}
    for key, body in zip(("then_branch", "else_branch"), node.bodies, strict=True):
        inner = writer.body(body, captured)
        branches[key] = inner.subgraph(f"{node.name}_{key}", [], inner.returned())
    writer.add("If", [condition], writer.results(node), branches)


def _scan(node: Node, writer: Writer) -> None:
    carried, scanned = node.int("carried"), node.int("scanned")
    names, (body,) = writer.names(node.operands), node.bodies
    first = carried + scanned
    own = [writer.fresh(f"{node.name}_{name}") for name, _ in body.inputs[:first]]
    inner = writer.body(body, [*own, *names[first:]])
    infos = [described(name, value) for name, (_, value) in zip(own, body.inputs, strict=False)]
    if scanned:
        made = inner.subgraph(f"{node.name}_body", infos, inner.returned())
        held = {"body": made, "num_scan_inputs": scanned}
        writer.add("Scan", names[:first], writer.results(node), held)
        return
    count, go_on, after = (writer.fresh(f"{node.name}_{key}") for key in ("i", "on", "go_on"))
    inner.add("Identity", [go_on], after)
    truth = helper.make_tensor_value_info(after, TensorProto.BOOL, [])
    made = inner.subgraph(
        f"{node.name}_body", [*_round(count, go_on), *infos], [truth, *inner.returned()]
    )
    trips = writer.constant(np.array(node.int("trips"), np.int64), f"{node.name}_trips")
    always = writer.constant(np.array(True), f"{node.name}_always")
    writer.add("Loop", [trips, always, *names[:carried]], writer.results(node), {"body": made})


def _while(node: Node, writer: Writer) -> None:
    carried = node.int("carried")
    names, (condition, step) = writer.names(node.operands), node.bodies
    before = writer.body(condition, names, shared=True)
    (start,) = (info.name for info in before.returned())
    own = [writer.fresh(f"{node.name}_{name}") for name, _ in step.inputs[:carried]]
    inner = writer.body(step, [*own, *names[carried:]])
    states = inner.returned()
    next_names = [info.name for info in states]
    again = inner.body(condition, [*next_names, *names[carried:]], shared=True)
    count, go_on = (writer.fresh(f"{node.name}_{key}") for key in ("i", "on"))
    infos = [described(name, value) for name, (_, value) in zip(own, step.inputs, strict=False)]
    made = inner.subgraph(
        f"{node.name}_body", [*_round(count, go_on), *infos], [*again.returned(), *states]
    )
    most = writer.constant(np.array(node.int("most"), np.int64), f"{node.name}_most")
    writer.add("Loop", [most, start, *names[:carried]], writer.results(node), {"body": made})


def _round(count: str, go_on: str) -> list[ValueInfoProto]:
    """The first inputs of a Loop's body."""
    return [
        described(count, Value(0, (), "i64")),
        described(go_on, Value(0, (), "i1")),
    ]


WRITERS: Mapping[str, Callable[[Node, Writer], None]] = {
    "nn.if": _if,
    "nn.scan": _scan,
    "nn.while": _while,
}
