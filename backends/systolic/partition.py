"""Who computes which node: the host before, the accelerator, the host after.

The host does what the accelerator cannot, before its first and after its last operator, and
stands at the border: float inputs are quantised and outputs dequantised there, so that a byte
of each crosses the link.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tetrapla.backends.systolic.array.formats import FLOATS, PRODUCTS, why_not
from tetrapla.backends.systolic.vector.moves import is_view
from tetrapla.ir.errors import UnsupportedError, some
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.simulators.systolic.lanes import LANE_CYCLES

# work that the array is there for: never quietly done by the host
_NEVER_HOST = (
    *("nn.conv3d", "nn.conv_transpose2d", "nn.conv_transpose3d", "nn.attention", "nn.lstm"),
    *("nn.gru", "nn.rnn", "qnn.conv_integer", "qnn.matmul_integer", *PRODUCTS),
)
_COMPUTED = ("i8", "ui8", "i16")  # integers that LUW takes from the unified buffer
_WAY_OUT = "on floats; give --quant a number format of the array"
_BORDER = ("qnn.dequantize", "qnn.quantize")


@dataclass(frozen=True)
class Partition:
    """The nodes of a graph by who computes them, each in the graph's order."""

    before: tuple[Node, ...]
    device: tuple[Node, ...]
    after: tuple[Node, ...]


@dataclass(frozen=True)
class Refusal:
    """A node that no instruction can do, and why."""

    kind: str
    name: str
    reason: str


def partition(graph: Graph, formats: Iterable[str] = ("int8",)) -> Partition:
    """Split the graph.

    Args:
        graph: quantised.
        formats: of the array.

    Raises:
        UnsupportedError: some nodes can be computed by neither; one message names them all.
    """
    return _Split(graph, tuple(formats)).found()


def on_floats(graph: Graph) -> bool:
    """Whether work that the array is there for is still on float32."""
    return any(
        node.kind in _NEVER_HOST and node.operands[0].dtype == "f32" for node in graph.nodes
    )


def refuse(refusals: Iterable[Refusal]) -> None:
    """Raise one message that names every refused node, grouped by kind and reason.

    Raises:
        UnsupportedError: there is at least one.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for refusal in refusals:
        names = groups.setdefault((refusal.kind, refusal.reason), [])
        if refusal.name not in names:
            names.append(refusal.name)
    if groups:
        parts = [
            f"{len(names)} {kind} ({some(names)}: {reason})"
            # what no instruction computes comes before the conversions that it brings along
            for (kind, reason), names in sorted(
                groups.items(), key=lambda g: g[0][0] in _BORDER
            )
        ]
        raise UnsupportedError(
            f"systolic has no instruction for {', '.join(parts)}; write these layers with "
            "what docs/isa.md lists, or take a target that computes them"
        )


class _Split:
    """Where each node goes, found in passes over the graph."""

    def __init__(self, graph: Graph, formats: tuple[str, ...]) -> None:
        self._graph = graph
        self._uses = graph.uses()
        self._outputs = {value.index for _, value in graph.outputs}
        self._makers = {v.index: node for node in graph.nodes for v in node.results}
        self._refusals = list(_alone(graph, formats))
        self._able = {node.name: _able(node) for node in graph.nodes}
        self._before: set[str] = set()
        self._after: set[str] = set()

    def found(self) -> Partition:
        self._unable()
        self._quantised_inputs()
        self._dequantised_outputs()
        hosted = self._before | self._after
        device = [n for n in self._graph.nodes if n.name not in hosted]
        if not device and not self._refusals:
            raise UnsupportedError(
                "systolic: the model has no operator for the accelerator; quantise it with "
                "--quant int8"
            )
        outside = (n for n in self._graph.nodes if n.name in hosted)
        several = (n for n in outside if len(n.results) > 1 and not n.bodies)
        refuse([*self._refusals, *(_refusal(n, "several results") for n in several)])
        return Partition(
            tuple(n for n in self._graph.nodes if n.name in self._before),
            tuple(device),
            tuple(n for n in self._graph.nodes if n.name in self._after),
        )

    def _unable(self) -> None:
        """Who has no routine goes to the host, before with its sources or after with its users.

        Between operators of the accelerator it is refused.
        """
        tainted: set[int] = set()  # values that depend on a product
        for node in self._graph.nodes:
            if node.kind in _NEVER_HOST or any(v.index in tainted for v in node.operands):
                tainted.update(v.index for v in node.results)
        for node in self._graph.nodes:
            if self._able[node.name] or node.kind in _NEVER_HOST or node.bodies:
                continue
            if node.results[0].index in tainted:
                self._after.add(node.name)
            else:
                self._with_sources(node)
        late = {v.index for n in self._graph.nodes if n.name in self._after for v in n.results}
        for node in self._graph.nodes:
            if node.name in self._after or not any(v.index in late for v in node.operands):
                continue
            if node.kind in _NEVER_HOST:
                self._refusals += self._between(node)
            self._after.add(node.name)
            late.update(v.index for v in node.results)

    def _with_sources(self, node: Node) -> None:
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if each.name not in self._before:
                self._before.add(each.name)
                makers = (self._makers.get(v.index) for v in each.operands)
                waiting += [maker for maker in makers if maker is not None]

    def _between(self, product: Node) -> Iterator[Refusal]:
        """What has no routine on the way to a product."""
        seen: set[str] = set()
        waiting = [product]
        while waiting:
            for value in waiting.pop().operands:
                maker = self._makers.get(value.index)
                if maker is None or maker.name in seen:
                    continue
                seen.add(maker.name)
                waiting.append(maker)
                if not self._able[maker.name] and maker.name in self._after:
                    yield _refusal(maker, "between operators of the accelerator")

    def _quantised_inputs(self) -> None:
        """Moves of what the host has, and quantisation where nobody wants the floats."""
        for node in self._graph.nodes:
            if self._is_hosted(node) or not node.operands:
                continue
            if not all(self._hosted(value) for value in node.operands):
                continue
            quantises = node.kind == "qnn.quantize" and self._only_quantised(node.operands[0])
            if is_view(node) or quantises:
                self._before.add(node.name)

    def _is_hosted(self, node: Node) -> bool:
        return node.name in self._before or node.name in self._after

    def _hosted(self, value: Value) -> bool:
        maker = self._makers.get(value.index)
        return maker is None or maker.name in self._before

    def _only_quantised(self, value: Value) -> bool:
        """Whether everyone who reads a value quantises it, maybe after a move."""
        for use in self._uses.get(value.index, []):
            if use.name in self._before or use.kind == "qnn.quantize":
                continue
            if not is_view(use) or not self._only_quantised(use.result):
                return False
        return True

    def _dequantised_outputs(self) -> None:
        for node in reversed(self._graph.nodes):
            if self._is_hosted(node) or len(node.results) > 1:
                continue
            uses = self._uses.get(node.result.index, [])
            wanted = node.result.index in self._outputs or bool(uses)
            if wanted and all(use.name in self._after for use in uses):
                if node.kind == "qnn.dequantize" or (is_view(node) and not uses):
                    self._after.add(node.name)


def _able(node: Node) -> bool:
    """Whether the accelerator has an instruction or a routine for the operator."""
    return not node.bodies and (node.kind in PRODUCTS or node.kind in LANE_CYCLES)


def _refusal(node: Node, reason: str) -> Refusal:
    return Refusal(node.kind, node.name, reason)


def _alone(graph: Graph, formats: tuple[str, ...]) -> Iterator[Refusal]:
    """What can be told from one node alone."""
    for node in graph.nodes:
        if node.bodies:
            yield _refusal(node, "a body")
        elif node.kind in PRODUCTS:
            if reason := _product(graph, node, formats):
                yield _refusal(node, reason)
        elif node.kind in _NEVER_HOST:
            integer = node.kind.startswith("qnn.")
            yield _refusal(node, "zero points that are operands" if integer else _WAY_OUT)


def _product(graph: Graph, node: Node, formats: tuple[str, ...]) -> str:
    x, w = node.operands[:2]
    if node.kind.startswith("nn.") and not (x.dtype in FLOATS and x.dtype == w.dtype):
        return _WAY_OUT
    if not all(graph.is_weight(v) for v in node.operands[2:]):
        return "a bias that is not constant"
    several = node.kind.endswith("matmul") and len(w.shape) != 2
    if not graph.is_weight(w) or several:
        integers = node.kind == "qnn.matmul" and {x.dtype, w.dtype} <= {*_COMPUTED}
        if not (integers or node.kind == "nn.matmul"):
            return "weights that are " + ("no matrix" if several else "not constant")
    return why_not(graph, node, formats)
