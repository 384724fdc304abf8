"""QDQ files: what only moves values stands on the quantised side, so that products meet it.

::

    x ─ DQ ─ Flatten ─ Gemm     to   x ─ Flatten ─ DQ ─ Gemm
    Conv ─ Reshape ─ Q          to   Conv ─ Q ─ Reshape
    x ─ DQ ─ Relu               to   x ─ Max(zero point) ─ DQ

With one positive scale and one zero point for a whole tensor, ``move(dequantise(x)) ==
dequantise(move(x))`` and ``quantise(move(x)) == move(quantise(x))`` bit by bit: each element
is read alone, and both conversions are monotone, so that a maximum passes through them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from tetrapla.frontend.onnx.control import names_read

# operators that only move values, or pick one: the same on quantised values
MOVES = frozenset(
    "MaxPool Reshape Flatten Transpose Squeeze Unsqueeze Identity Slice Gather DepthToSpace "
    "SpaceToDepth Expand Tile".split()
)


@dataclass(frozen=True)
class Rules:
    """What a file's constants tell.

    Attributes:
        plain: whether scale and zero point of a Q or DQ are constants, one each, and the
            quantised side has 8 bits.
        same: whether two such nodes have the same ones.
        scalar: whether a constant has no axes, so that it broadcasts to whatever shape.
    """

    plain: Callable[[NodeProto], bool]
    same: Callable[[NodeProto, NodeProto], bool]
    scalar: Callable[[str], bool]


def moved(nodes: Sequence[NodeProto], outputs: Iterable[str], rules: Rules) -> list[NodeProto]:
    """The nodes with moves before DequantizeLinear and after QuantizeLinear.

    Args:
        nodes: in an order in which they can be computed.
        outputs: names of the graph's results.
        rules: see there.
    """
    kept = set(outputs)
    return _before_dequantize(_after_quantize(nodes, kept, rules), kept, rules)


def _readers(nodes: Iterable[NodeProto]) -> dict[str, list[NodeProto]]:
    found: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in names_read(node):
            found.setdefault(name, []).append(node)
    return found


def _moves(node: NodeProto) -> bool:
    known = node.op_type in MOVES and node.domain in ("", "ai.onnx")
    return known and sum(map(bool, node.output)) == 1


def _after_quantize(
    nodes: Sequence[NodeProto], kept: set[str], rules: Rules
) -> list[NodeProto]:
    """A move that a Q alone reads, and whose operand it alone reads, comes after the Q."""
    made, readers = list(nodes), _readers(nodes)
    makers = {name: node for node in nodes for name in node.output if name}
    places = {node.output[0]: at for at, node in enumerate(made) if node.output}

    def alone(name: str) -> bool:
        return name not in kept and len(readers.get(name, ())) == 1

    for at, node in enumerate(made):
        while node.op_type == "QuantizeLinear" and rules.plain(node):
            move = makers.get(node.input[0])
            if move is None or not _moves(move) or not alone(node.input[0]):
                break
            source = makers.get(move.input[0])
            # what is quantised already is the other rule's
            if source is None or source.op_type == "DequantizeLinear":
                break
            if not alone(move.input[0]):
                break
            place = places[move.output[0]]
            before, after = _like(node, move.input[0]), _like(move, "")
            before.output[0] = after.input[0] = f"{move.output[0]}.quantised"
            after.output[0] = node.output[0]
            # at each other's places: the move's own operands were there before it
            made[place], made[at] = before, after
            makers |= {before.output[0]: before, after.output[0]: after}
            readers[before.input[0]], readers[before.output[0]] = [before], [after]
            places |= {before.output[0]: place, after.output[0]: at}
            node, at = before, place
    return made


def _before_dequantize(
    nodes: Sequence[NodeProto], kept: set[str], rules: Rules
) -> list[NodeProto]:
    """A move of what a DQ makes comes before a DQ of its own."""
    made: list[NodeProto] = []
    readers = _readers(nodes)
    makers: dict[str, NodeProto] = {}
    for node in nodes:
        sources = [makers.get(name) for name in _values(node)]
        found = [s for s in sources if s is not None and rules.plain(s)]
        pair = None
        if sources and len(found) == len(sources) and _passes(node, readers, rules, found):
            pair = _swapped(node, found)
        for each in pair or [node]:
            made.append(each)
            if each.op_type == "DequantizeLinear":
                makers[each.output[0]] = each
    return made


def _values(node: NodeProto) -> list[str]:
    """The operands that must be dequantised, if a rule knows the operator."""
    if node.domain not in ("", "ai.onnx"):
        return []
    if node.op_type == "Concat":
        return list(node.input)
    return [node.input[0]] if _moves(node) or node.op_type == "Relu" else []


def _passes(
    node: NodeProto,
    readers: dict[str, list[NodeProto]],
    rules: Rules,
    sources: list[NodeProto],
) -> bool:
    # a Q behind a move or a concatenation is a pattern of its own
    after = readers.get(node.output[0], [])
    if node.op_type == "Relu":
        return bool(after) and rules.scalar(sources[0].input[2])
    if any(each.op_type == "QuantizeLinear" for each in after):
        return False
    return bool(after) and all(rules.same(sources[0], each) for each in sources)


def _swapped(node: NodeProto, sources: list[NodeProto]) -> list[NodeProto]:
    """The move on integers, and a DQ of what it makes."""
    held = f"{node.output[0]}.quantised"
    move = _like(node, "")
    if node.op_type == "Relu":
        move = NodeProto(op_type="Max", name=node.name)
        move.input.extend([sources[0].input[0], sources[0].input[2]])
        move.output.append(held)
    else:
        for at, source in enumerate(sources):
            move.input[at] = source.input[0]
        move.output[0] = held
    after = _like(sources[0], held)
    after.output[0] = node.output[0]
    after.name = f"{node.name or node.output[0]}_dequantize"
    return [move, after]


def _like(node: NodeProto, first: str) -> NodeProto:
    """A copy that reads `first`."""
    made = NodeProto()
    made.CopyFrom(node)
    if first:
        made.input[0] = first
    return made
