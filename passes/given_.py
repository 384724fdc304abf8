"""How the operators of a model that is quantised in part say that its floats are read."""

from __future__ import annotations

from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.passes.scales_ import Affine

# what moves all elements, or some: the integers behind it are read as those before it
_MOVES = frozenset({"nn.max_pool2d", "nn.reshape", "nn.slice", "nn.transpose"})
_UNSIGNED = 128  # an unsigned byte less this is the signed one that stands for the same


def reading_of(graph: Graph, node: Node) -> Affine | None:
    """The one scale and zero point of a qnn.quantize or qnn.dequantize of 8 bits.

    An unsigned reading is given as the signed one of the same numbers.
    """
    match node.kind:
        case "qnn.quantize":
            dtype = node.result.dtype
        case "qnn.dequantize":
            dtype = node.operands[0].dtype
        case _:
            return None
    scale = node.operands[1]
    if dtype not in ("i8", "ui8") or scale.elements != 1 or scale.index not in graph.weights:
        return None
    shift = _UNSIGNED if dtype == "ui8" else 0
    number = float(graph.weight(scale).reshape(()))
    return Affine(number, node.int("zero_point") - shift)


def readings(graph: Graph) -> dict[int, Affine]:
    """By the index of a float value, how what makes or reads it says that it is read.

    A value has a reading if a dequantisation makes it, or if a quantisation alone reads it,
    moves in between or not.
    """
    uses = graph.uses()
    outputs = {value.index for _, value in graph.outputs}
    found: dict[int, Affine] = {}

    def alone(value: Value) -> Node | None:
        users = uses.get(value.index, [])
        return users[0] if len(users) == 1 and value.index not in outputs else None

    for node in reversed(graph.nodes):
        if len(node.results) != 1 or node.result.dtype != "f32":
            continue
        reading = reading_of(graph, node)
        user = alone(node.result)
        if reading is None and user is not None:
            if user.kind == "qnn.quantize":
                reading = reading_of(graph, user)
            elif user.kind in _MOVES:
                reading = found.get(user.result.index)
        if reading is not None:
            found[node.result.index] = reading
    return found
