"""Which nodes have no kernel of their own: they are computed where they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tetrapla.backends.gpu.generated.expressions import EXPRESSIONS, FOLDED
from tetrapla.backends.gpu.plan import VIEWS
from tetrapla.backends.gpu.steps import FUSIBLE
from tetrapla.ir.graph import Graph, Node, Value

# nodes in one kernel, assumed: registers and compile time grow with them
MOST_NODES = 24
# how often a function may be computed again where what reads it repeats its elements
MOST_REPEATS = 4
# types that the kernels written by hand take
_PLAIN = ("f32", "i8", "ui8", "i32")
# what reads an element of an operand more than once for one of its own
_REPEATING = ("nn.resize", "nn.lrn", "nn.scatter_nd", "nn.scatter_elements")


def is_plain(node: Node) -> bool:
    """Whether a kernel written by hand takes the node's types."""
    return all(value.dtype in _PLAIN for value in (*node.operands, *node.results))


def inlined(
    graph: Graph, root: Callable[[Value], Value], taken: Collection[str]
) -> dict[int, Node]:
    """By index of a value, its node, which is part of the one kernel that reads it.

    That is where one node alone reads the value, is of a kind that generated kernels are made
    of, and does not repeat it much; and where no other kernel has `taken` it, by name.
    """
    kept = {root(value).index for _, value in graph.outputs}
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if root(node.results[0]).index != node.results[0].index:
            continue  # a view; who reads it reads its root
        for value in node.operands:
            readers.setdefault(root(value).index, []).append(node)
    makers = {value.index for node in graph.nodes for value in node.results}
    found: dict[int, Node] = {}
    sizes: dict[str, int] = {}
    for node in graph.nodes:
        size = 1 + sum(sizes[found[i].name] for i in _folded(node, root, found))
        sizes[node.name] = size
        if node.kind not in FOLDED or len(node.results) != 1 or node.name in taken:
            continue
        value = node.result
        users = readers.get(value.index, [])
        if root(value).index != value.index or value.index in kept or len(users) != 1:
            continue
        if _is_step(node, makers, readers, found):
            continue
        (user,) = users
        few = node.kind in VIEWS or user.result.elements <= MOST_REPEATS * value.elements
        if user.kind in EXPRESSIONS and user.kind not in _REPEATING and few:
            others = sum(sizes[found[i].name] for i in _folded(user, root, found))
            if size + others < MOST_NODES:
                found[value.index] = node
    return found


def _is_step(
    node: Node, makers: set[int], readers: dict[int, list[Node]], found: dict[int, Node]
) -> bool:
    """Whether the kernel that makes the operand takes the node as a step of its own."""
    index = node.operands[0].index
    alone = readers.get(index) == [node] and index in makers and index not in found
    return node.kind in FUSIBLE and alone


def _folded(node: Node, root: Callable[[Value], Value], found: dict[int, Node]) -> list[int]:
    """The operands of a node that are part of it."""
    indices = {root(value).index for value in node.operands}
    return sorted(indices & set(found))
