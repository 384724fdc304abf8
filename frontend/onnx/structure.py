"""The rules of a graph that need no operator: single definition, defined before use."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from onnx import GraphProto, ModelProto, NodeProto

from tetrapla.frontend.names import shown
from tetrapla.ir.errors import ModelError


def check_structure(graph: GraphProto, outer: Collection[str] = ()) -> None:
    """Every name is defined once, and before it is read.

    Args:
        graph: the file's, or a subgraph.
        outer: the names that a subgraph may read from around it.

    Raises:
        ModelError: with the first offence.
    """
    if len(graph.sparse_initializer):
        raise ModelError("sparse initializers are not read; store them as dense tensors")
    held = _once([tensor.name for tensor in graph.initializer], "initializer")
    inputs = _once([info.name for info in graph.input], "input")
    _once([info.name for info in graph.output], "output")
    defined = held | inputs
    known = set(outer)
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name and name not in defined and name not in known:
                raise ModelError(_undefined(graph, index, name))
        for name in node.output:
            if name in defined:
                raise ModelError(f"value {shown(name)} must be defined once, not twice")
            if name:
                defined.add(name)
    for info in graph.output:
        if info.name not in defined and info.name not in known:
            raise ModelError(f"output {shown(info.name)} is never produced")


def check_text(model: ModelProto) -> None:
    """Every text is UTF-8: protobuf hands over other text as bytes.

    Raises:
        ModelError: one is not.
    """
    for text in _texts(model):
        if not isinstance(text, str):
            raise ModelError(f"names must be UTF-8 text, not {shown(text)}")


def _texts(model: ModelProto) -> Iterator[object]:
    yield from (entry.domain for entry in model.opset_import)
    for function in model.functions:
        yield from (function.domain, function.name)
    for function in model.functions:
        yield from (*function.input, *function.output)
        for node in function.node:
            yield from _texts_of_node(node)
    yield from _texts_of_graph(model.graph)


def _texts_of_graph(graph: GraphProto) -> Iterator[object]:
    """Of a graph and its subgraphs, which protobuf lets nest at most 100 deep."""
    for tensor in graph.initializer:
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for info in (*graph.input, *graph.output, *graph.value_info):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from _texts_of_node(node)


def _texts_of_node(node: NodeProto) -> Iterator[object]:
    yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    for attribute in node.attribute:
        yield from (attribute.name, attribute.ref_attr_name)
        for entry in attribute.t.external_data:
            yield from (entry.key, entry.value)
        if attribute.HasField("g"):
            yield from _texts_of_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _texts_of_graph(graph)


def _once(names: list[str], what: str) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ModelError(f"{what} {shown(name)} must be declared once, not twice")
        if not name:
            raise ModelError(f"an {what} must have a name, not an empty one")
        seen.add(name)
    return seen


def _undefined(graph: GraphProto, index: int, name: str) -> str:
    """Why a value is not there: never made, made later, or made from itself."""
    node = graph.node[index]
    reader = shown(node.name or node.op_type)
    if all(name not in later.output for later in graph.node):
        return f"node {reader} reads the value {shown(name)}, which nothing defines"
    if cycle := _cycle(graph):
        return f"the nodes form a cycle through {' and '.join(map(shown, cycle[:4]))}"
    return (
        f"node {reader} reads the value {shown(name)} before it is made; "
        f"sort the nodes topologically"
    )


def _cycle(graph: GraphProto) -> list[str]:
    """The outputs of nodes that can never run (Kahn's order); empty when all can."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    waiting = [sum(name in makers for name in node.input) for node in graph.node]
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(i)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    while ready:
        for name in graph.node[ready.pop()].output:
            for reader in readers.get(name, ()) if name else ():
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    ready.append(reader)
    return [graph.node[i].output[0] for i, count in enumerate(waiting) if count > 0]
