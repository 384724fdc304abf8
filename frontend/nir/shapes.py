"""Shapes of all nodes, which files only hint at, and the borders that some lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from tetrapla.frontend.builder import Builder
from tetrapla.frontend.nir.network import NEURONS, Field, Network, Node
from tetrapla.frontend.nir.nodes import LINEAR, Context
from tetrapla.frontend.nir.order import Group
from tetrapla.frontend.nir.presets import PRESETS
from tetrapla.ir.errors import ModelError, TetraplaError

Shape: TypeAlias = tuple[int, ...]


def bordered(network: Network) -> Network:
    """The graph with an Input before and an Output behind what has none.

    Raises:
        ModelError: what lacks an Input does not say its shape.
    """
    nodes: dict[str, Node | Network] = dict(network.nodes)
    edges = list(network.edges)
    fed, read = {b for _, b in edges}, {a for a, _ in edges}
    for name, node in network.nodes.items():
        assert isinstance(node, Node), "the graph is flat"
        if name not in fed and node.type != "Input":
            held: dict[str, Field] = {"shape": np.array(_own(name, node), np.int64)}
            nodes[f"{name}.input"] = Node("Input", held)
            edges.append((f"{name}.input", name))
        if name not in read and node.type != "Output":
            nodes[f"{name}.output"] = Node("Output", {})
            edges.append((name, f"{name}.output"))
    return Network(nodes, tuple(edges), network.metadata, network.version)


def shapes(
    network: Network, nodes: Mapping[str, Node], plan: Sequence[Group]
) -> dict[str, Shape]:
    """The shape of what each node gives, without time and batch.

    Raises:
        ModelError: a node does not take the shape that arrives, or it cannot be known.
    """
    found: dict[str, Shape] = {}
    for group in plan:
        waiting = list(group.nodes)
        while waiting:
            known = [
                [found[a] for a, b in network.edges if b == n and a in found] for n in waiting
            ]
            # in a cycle one node is fed from outside, or its fields must do
            at = next((i for i, each in enumerate(known) if each), 0)
            name = waiting.pop(at)
            found[name] = _shape(name, nodes[name], known[at])
    return found


def _shape(name: str, node: Node, arriving: list[Shape]) -> Shape:
    if node.type == "Input":
        return _sizes(name, node, "shape")
    shape = arriving[0] if arriving else _own(name, node)
    if node.type in NEURONS:
        return shape
    # the operators know: a network of this node alone
    builder = Builder(name)
    x = builder.input("x", (1, 1, *shape))
    try:
        made = LINEAR[node.type](Context(builder, PRESETS["euler"], 1.0), name, node, x)
    except TetraplaError as error:
        text = str(error).removeprefix(f"{name}: ")
        raise ModelError(f"nir: node '{name}': {text}") from None
    return made.shape[2:]


def _own(name: str, node: Node) -> Shape:
    """The shape that arrives at a node, by its fields."""
    if node.type in ("Linear", "Affine"):
        return (np.atleast_2d(node.array("weight")).shape[-1],)
    if node.type in NEURONS:
        fields = ("v_threshold", "r", "tau", "tau_mem", "v_leak")
        sized = [node.array(f).shape for f in fields if f in node.fields]
        return np.broadcast_shapes(*sized) or (1,)
    if node.type in ("Conv1d", "Conv2d") and "input_shape" in node.fields:
        groups = int(node.array("groups", 1))
        return (node.array("weight").shape[1] * groups, *_sizes(name, node, "input_shape"))
    if node.type == "Flatten" and "input_type" in node.fields:
        return _sizes(name, node, "input_type")
    raise ModelError(
        f"nir: node '{name}' ({node.type}) must be fed by an Input, not by nothing: it does "
        "not say its shape; add an Input and an edge"
    )


def _sizes(name: str, node: Node, field: str) -> Shape:
    sizes = tuple(int(n) for n in node.array(field).astype(np.int64).ravel())
    if any(n < 1 for n in sizes):
        raise ModelError(f"nir: {field} of node '{name}' must be positive, not {list(sizes)}")
    return sizes or (1,)
