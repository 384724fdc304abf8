"""The reference interpreter: a walk over `evaluate`. It judges every machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Graph, Node
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS


def evaluate(module: Module, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by name, for one invocation.

    Args:
        module: with its weights.
        inputs: one array per input, of exactly its shape and type.

    Raises:
        ModelError: an input is missing, unknown, or of another shape or type, or the module is
            shape-only.
    """
    values = _walk(module, inputs, frozenset())
    return {name: values[value.index] for name, value in module.graph.outputs}


def intermediates(module: Module, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The first result of every node by its name, for one invocation; not those in bodies."""
    nodes = module.graph.nodes
    values = _walk(module, inputs, {node.results[0].index for node in nodes})
    return {node.name: values[node.results[0].index] for node in nodes}


def evaluate_many(
    module: Module,
    inputs: Mapping[str, Array],
    progress: Callable[[int], None] | None = None,
) -> dict[str, Array]:
    """The outputs of many invocations: arrays of shape (invocations, *static shape).

    `progress` is called with 1 after each invocation.
    """
    count = invocations(module, inputs)
    rows: dict[str, list[Array]] = {name: [] for name in module.outputs}
    for i in range(count):
        outputs = evaluate(module, {name: array[i] for name, array in inputs.items()})
        for name, array in outputs.items():
            rows[name].append(array)
        if progress is not None:
            progress(1)
    return {name: np.stack(found) for name, found in rows.items()}


def invocations(module: Module, inputs: Mapping[str, Array]) -> int:
    """How many invocations the inputs hold.

    Raises:
        ModelError: an input is missing or unknown, or the counts differ or are zero.
    """
    _check_names(module.graph, inputs)
    counts = {name: len(inputs[name]) for name, _ in module.graph.inputs}
    distinct = set(counts.values())
    if len(distinct) != 1 or 0 in distinct:
        raise ModelError(
            f"inputs must hold one equal, positive number of invocations, not {counts}"
        )
    return distinct.pop()


def _walk(
    module: Module, inputs: Mapping[str, Array], keep: Collection[int]
) -> dict[int, Array]:
    if module.shape_only:
        raise ModelError(f"model '{module.name}' is shape-only and has no values to compute")
    # overflow and NaN are values here; what is made of them is the reader's business
    with np.errstate(all="ignore"):
        return _run(module.graph, _checked(module.graph, inputs), keep)


def _run(graph: Graph, inputs: Mapping[int, Array], keep: Collection[int]) -> dict[int, Array]:
    """The values of the outputs and of what is to be kept, by index."""
    values: dict[int, Array] = {**graph.weights, **inputs}
    kept = {*keep, *(value.index for _, value in graph.outputs)}
    last = {value.index: i for i, node in enumerate(graph.nodes) for value in node.operands}
    for i, node in enumerate(graph.nodes):
        operands = [values[value.index] for value in node.operands]
        values.update(
            zip((v.index for v in node.results), _results(node, operands), strict=True)
        )
        for value in (*node.operands, *node.results):
            if last.get(value.index, i) == i and value.index not in kept:
                values.pop(value.index, None)
    return values


def _results(node: Node, operands: Sequence[Array]) -> tuple[Array, ...]:
    given: dict[str, Any] = {}
    if node.bodies:
        given["bodies"] = tuple(_callable(body) for body in node.bodies)
    made = OPS[node.kind].evaluate(*operands, **node.attributes, **given)
    return made if isinstance(made, tuple) else (made,)


def _callable(body: Graph) -> Callable[..., tuple[Array, ...]]:
    def call(*arrays: Array) -> tuple[Array, ...]:
        pairs = zip(body.inputs, arrays, strict=True)
        values = _run(body, {value.index: array for (_, value), array in pairs}, ())
        return tuple(values[value.index] for _, value in body.outputs)

    return call


def _checked(graph: Graph, inputs: Mapping[str, Array]) -> dict[int, Array]:
    _check_names(graph, inputs)
    found: dict[int, Array] = {}
    for name, value in graph.inputs:
        array = np.asarray(inputs[name])
        if array.shape != value.shape or array.dtype != DTYPES[value.dtype]:
            raise ModelError(
                f"input '{name}' must be {DTYPES[value.dtype]} of shape {value.shape}, "
                f"not {array.dtype} of shape {array.shape}"
            )
        found[value.index] = array
    return found


def _check_names(graph: Graph, inputs: Mapping[str, Array]) -> None:
    wanted = [name for name, _ in graph.inputs]
    if set(wanted) != set(inputs):
        raise ModelError(f"inputs must be named {wanted}, not {sorted(inputs)}")
