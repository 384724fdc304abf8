"""Which nodes one kernel computes: a head, the steps behind it, and code behind those.

A product, a pool or a reduction takes what follows element by element: first what is written
by hand (`steps`), then whatever generated code can do, whose other operands it reads where the
element lies: a residual, a mask, a gate. A group stores one value; what lies between its head
and that value has no buffer, however often the group itself reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tetrapla.backends.gpu.generated.elementwise import ELEMENTWISE
from tetrapla.backends.gpu.generated.expressions import FOLDED
from tetrapla.backends.gpu.generated.roundings import ROUNDINGS
from tetrapla.backends.gpu.generated.trigonometry import TRIGONOMETRY
from tetrapla.backends.gpu.steps import channels_of, fits
from tetrapla.backends.gpu.views import View, turned
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.simulators.gpu.recurrent import GATES

PRODUCTS = ("nn.matmul", "qnn.matmul", "nn.conv2d", "qnn.conv2d")
# kernels that store in an order of their own, and take nothing behind them
WHOLE = ("nn.attention", *GATES)
# what reduces is better given its terms before they are rounded: a mask may be out of range
REDUCING = ("nn.softmax", "nn.log_softmax")
# nodes in one epilogue, assumed: registers grow with what it reads
MOST_MEMBERS = 16
Turns: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True)
class Group:
    """One kernel's nodes.

    Attributes:
        head: the operator.
        steps: behind it, each a step of its own.
        members: behind those, in the module's order, as generated code.
        moves: in order, names of the moves behind the last, through which it is written.
        place: where the result is written, in the head's shape; None for the last one's own
            buffer.
        turns: transposes among the members, through which the last one is reached.
    """

    head: Node
    steps: tuple[Node, ...] = ()
    members: tuple[Node, ...] = ()
    moves: tuple[str, ...] = ()
    place: View | None = None
    turns: Turns = ()

    @property
    def held(self) -> Value:
        """What the members begin with."""
        return (self.head, *self.steps)[-1].result

    @property
    def tail(self) -> Node:
        """The node whose result is stored."""
        return (self.head, *self.steps, *self.members)[-1]

    @property
    def stored(self) -> Value:
        """The value that gets a buffer."""
        return self.tail.result if self.place is None else self.place.value

    @property
    def named(self) -> str:
        """What the buffer is called."""
        return self.moves[-1] if self.moves else self.tail.name

    @property
    def behind(self) -> tuple[Node, ...]:
        """All but the head."""
        return (*self.steps, *self.members)


@dataclass
class Groups:
    """The groups of a graph in the making.

    Attributes:
        graph: of the module.
        root: the value whose buffer a value reads.
        taken: names of nodes that are behind a head.
        folded: indices of values that are computed where they are read.
    """

    graph: Graph
    root: Callable[[Value], Value]
    taken: set[str] = field(default_factory=set[str])
    folded: Collection[int] = ()

    def __post_init__(self) -> None:
        self.kept = {self.root(value).index for _, value in self.graph.outputs}
        self.readers = readers(self.graph, self.root)
        self.position = {node.name: i for i, node in enumerate(self.graph.nodes)}

    def heads(self) -> dict[str, Group]:
        """Of every product, then of what reduces: by the head's name."""
        nodes = self.graph.nodes
        products = [node for node in nodes if node.kind in PRODUCTS]
        others = [n for n in nodes if n.kind not in PRODUCTS and n.kind not in FOLDED]
        return {node.name: self.grow(node) for node in (*products, *others)}

    def grow(self, head: Node) -> Group:
        """The head with what follows it; that is taken."""
        if head.kind in WHOLE:
            return Group(head)
        steps = self._steps(head)
        made = Group(head, steps)
        members, turns = self._members(made.held, head)
        place = turned(members[-1].result, turns, head.result.shape) if turns else None
        made = Group(head, steps, members, place=place, turns=turns)
        self.taken |= {node.name for node in made.behind}
        return made

    def _steps(self, head: Node) -> tuple[Node, ...]:
        held, found, tail = channels_of(head), list[Node](), head
        while True:
            users = self._users(tail.result)
            if len(users) != 1 or users[0].operands[0].index != tail.result.index:
                break
            wanted = fits(held, users[0], self.graph)
            if wanted is None or users[0].name in self.taken:
                break
            held, tail = wanted, users[0]
            found.append(tail)
        return tuple(found)

    def _members(self, value: Value, head: Node) -> tuple[tuple[Node, ...], Turns]:
        """The most nodes behind a value of which one alone is read from outside.

        And the transposes on the way to that one, which only products write through.
        """
        inside: dict[int, Turns] = {self.root(value).index: ()}
        found: list[Node] = []
        best = 0
        waiting = {node.name: node for node in self._users(value)}
        while waiting and len(found) < MOST_MEMBERS:
            node = min(waiting.values(), key=lambda each: self.position[each.name])
            del waiting[node.name]
            turns = self._follows(node, inside)
            if turns is None or (turns and head.kind not in PRODUCTS):
                break
            found.append(node)
            result = self.root(node.result).index
            inside[result] = turns
            waiting |= {user.name: user for user in self._users(node.result)}
            names = {each.name for each in found}
            closed = all(
                index == result or {user.name for user in self.readers[index]} <= names
                for index in inside
            )
            stored = result not in self.folded and not self._reduced(node.result)
            if closed and stored and self._lies(node, turns, head):
                best = len(found)
            if result in self.kept:
                break
        last = inside[self.root(found[best - 1].result).index] if best else ()
        return tuple(found[:best]), last

    def _lies(self, node: Node, turns: Turns, head: Node) -> bool:
        """Whether a head can write a node's result; a transpose at the end is no epilogue."""
        if node.kind == "nn.transpose":
            return False
        return not turns or turned(node.result, turns, head.result.shape) is not None

    def _follows(self, node: Node, inside: Mapping[int, Turns]) -> Turns | None:
        """The transposes behind which a node makes each element of the same one inside.

        None where it does not.
        """
        roots = [self.root(value).index for value in node.operands]
        if node.kind == "nn.transpose" and node.name not in self.taken:
            return (*inside[roots[0]], node)
        operands = POINTWISE.get(node.kind, 0)
        if node.name in self.taken or any(index in inside for index in roots[operands:]):
            return None
        own = [i for i, index in enumerate(roots[:operands]) if index in inside]
        if any(node.operands[i].elements != node.result.elements for i in own):
            return None
        paths = [inside[roots[i]] for i in own]
        alike = {tuple((t.operands[0].shape, t.ints("perm")) for t in path) for path in paths}
        return paths[0] if len(alike) == 1 else None

    def _reduced(self, value: Value) -> bool:
        users = self._users(value)
        return len(users) == 1 and users[0].kind in REDUCING

    def _users(self, value: Value) -> list[Node]:
        """Who reads a value; nobody may join it to what makes an output of the model."""
        index = self.root(value).index
        return [] if index in self.kept else self.readers.get(index, [])


# which operands, counted from the first, an operator reads element by element
POINTWISE: Mapping[str, int] = {
    **dict.fromkeys((*ELEMENTWISE, *TRIGONOMETRY), 3),
    **dict.fromkeys(("nn.batch_norm", "qnn.lookup", "qnn.rescale"), 1),
    **dict.fromkeys(ROUNDINGS, 1),
    **dict.fromkeys(("qnn.add", "qnn.mul"), 2),
}


def readers(graph: Graph, root: Callable[[Value], Value]) -> Mapping[int, list[Node]]:
    """By index of a value with a buffer, the nodes that read it, itself or a view of it."""
    found: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if root(node.results[0]).index != node.results[0].index:
            continue  # a view; who reads it reads its root
        for value in node.operands:
            named = found.setdefault(root(value).index, [])
            if not named or named[-1] is not node:
                named.append(node)
    return found
