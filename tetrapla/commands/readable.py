"""A module for people: names of layers, short types, weights by symbol, what attributes say.

    tiny: 2 operators, 1 weight of 128 B
      in   %x: f32[1,4]
      %fc = nn.matmul(%x, @w: f32[4,8]) {activation="relu"} : f32[1,8]
      %probabilities = nn.softmax(%fc) {axis=-1} : f32[1,8]
      out  y = %probabilities

Attributes that say "nothing special" (`_SILENT`) are left out, so this form is not read back:
``--generic`` prints what is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tetrapla.ir.names import Names
from tetrapla.quantities import quantity

if TYPE_CHECKING:
    from tetrapla.ir.graph import Attribute, Graph, Node, Value
    from tetrapla.ir.module import Module

_PLAIN = re.compile(r"[\w.$/:-]+")
# attributes and the value that changes nothing; a tuple may be of any length
_SILENT: Mapping[str, object] = {
    "activation": "none",
    "count_include_pad": 0,
    "dilations": 1,
    "groups": 1,
    "pads": 0,
    "strides": 1,
}


def readable(module: Module) -> str:
    """The text, without a line break at its end."""
    nodes = len(module.graph.nodes)
    weights = {
        symbol: graph_value.traffic_bytes
        for graph in module.graph.nested()
        for symbol, graph_value in _constants(graph)
    }
    held = f"{_counted(len(weights), 'weight')} of {quantity(sum(weights.values()), 'B')}"
    known = " (shapes alone)" if module.shape_only else ""
    lines = [f"{module.name}: {_counted(nodes, 'operator')}, {held}{known}"]
    scope = _Scope(module.graph)
    lines += [f"  in   {scope.declared(value)}" for _, value in module.graph.inputs]
    lines += [f"  {line}" for line in scope.lines()]
    lines += [f"  out  {name} = {scope.name(value)}" for name, value in module.graph.outputs]
    return "\n".join(lines)


class _Scope:
    """What the values of one graph are called."""

    def __init__(self, graph: Graph) -> None:
        names = Names()
        self._graph = graph
        self._called = {v.index: f"%{_word(names.take(name))}" for name, v in graph.inputs}
        for node in graph.nodes:
            stem = f"%{_word(names.take(node.name))}"
            several = len(node.results) > 1
            for i, value in enumerate(node.results):
                self._called[value.index] = f"{stem}#{i}" if several else stem

    def name(self, value: Value) -> str:
        """A computed value by its name, a weight by symbol and type."""
        if value.index in self._called:
            return self._called[value.index]
        return f"@{_word(self._graph.constants[value.index])}: {_type(value)}"

    def declared(self, value: Value) -> str:
        """A value with its type."""
        return f"{self.name(value)}: {_type(value)}"

    def lines(self) -> Iterator[str]:
        """One line per node, its bodies below it."""
        for node in self._graph.nodes:
            operands = ", ".join(self.name(value) for value in node.operands)
            results = ", ".join(self.name(value) for value in node.results)
            types = ", ".join(_type(value) for value in node.results)
            yield f"{results} = {node.kind}({operands}){_attributes(node)} : {types}"
            for body in node.bodies:
                yield from (f"  {line}" for line in _body(body))


def _body(graph: Graph) -> Iterator[str]:
    scope = _Scope(graph)
    yield f"body ({', '.join(scope.declared(value) for _, value in graph.inputs)})"
    yield from (f"  {line}" for line in scope.lines())
    yield f"  give {', '.join(scope.name(value) for _, value in graph.outputs)}"


def _attributes(node: Node) -> str:
    told = [
        f"{key}={_spelled(value)}"
        for key, value in node.attributes.items()
        if not _silent(key, value)
    ]
    return f" {{{', '.join(told)}}}" if told else ""


def _silent(key: str, value: Attribute) -> bool:
    if key not in _SILENT:
        return False
    each = value if isinstance(value, tuple) else (value,)
    return all(item == _SILENT[key] for item in each)


def _spelled(value: Attribute) -> str:
    match value:
        case tuple():
            return f"[{','.join(map(str, value))}]"
        case str():
            return json.dumps(value)
        case float():
            return str(np.float32(value))  # the shortest that reads as the same binary32
        case _:
            return str(value)


def _constants(graph: Graph) -> Iterator[tuple[str, Value]]:
    values = {value.index: value for node in graph.nodes for value in node.operands}
    values |= {value.index: value for _, value in graph.outputs}
    yield from ((symbol, values[i]) for i, symbol in graph.constants.items() if i in values)


def _type(value: Value) -> str:
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"


def _word(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
