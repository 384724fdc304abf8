"""Loops of a known number of rounds are written out, and branches that are decided.

    before   y = nn.scan(x) {trips = 3}          after   a = nn.mul(x, @half)
                 step(s) = nn.mul(s, @half)              b = nn.mul(a, @half)
                                                         y = nn.mul(b, @half)

For a machine that runs one list of instructions. A while loop ends in a known round if its
condition hangs on constants alone (a counter); a branch is decided if its truth does. What
bodies make of small constants is computed here. The operators of round t of a loop are called
``loop/step.t/name``, as in ``--keep``. Inner loops come first; what would become more than
`limit` operators stays a loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Graph, Node
from tetrapla.ir.module import Module
from tetrapla.passes.bodies_ import within
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode
from tetrapla.passes.inline_ import SMALL, Held, Inliner, Known, foreseen
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

LOOPS = ("nn.scan", "nn.while", "nn.if")


@dataclass(frozen=True)
class UnrollLoops(Pass):
    """The operators of the bodies in the order in which the loop runs them: bit exact.

    Attributes:
        limit: of the operators that one loop becomes; the default, assumed, is what a compiler
            handles in seconds.
    """

    limit: int = 2**16

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise SpecError(f"limit must be 0 operators or more, not {self.limit}")

    def __call__(self, module: Module) -> Module:
        def once(inner: Module) -> Module:
            new = Rebuild(inner)
            inliner = Inliner(new)
            for node in new.graph.nodes:
                rounds = _rounds(new.graph, node, self.limit)
                if isinstance(rounds, int):
                    _unroll(new, inliner, node, rounds)
                else:
                    new.copy(node)
            made = new.finish()
            return inner if made is inner else EliminateDeadCode()(made)

        return once(within(module, once))

    def refusals(self, module: Module) -> Mapping[str, str]:
        """Why each loop and branch that the pass has left stays, by its name."""
        graph = module.graph
        loops = [node for node in graph.nodes if node.kind in LOOPS]
        found = {node.name: _rounds(graph, node, self.limit) for node in loops}
        return {name: why for name, why in found.items() if isinstance(why, str)}


def _rounds(graph: Graph, node: Node, limit: int) -> int | str:
    """How often the body runs (of a branch: which of the two), or why the node stays."""
    match node.kind:
        case "nn.scan":
            return _within_limit(node.int("trips"), node.bodies[0], limit)
        case "nn.while":
            return _rounds_of_while(graph, node, limit)
        case "nn.if":
            truth = graph.weights.get(node.operands[0].index)
            return "its truth is not constant" if truth is None else int(not truth)
        case _:
            return "it is no loop"


def _within_limit(rounds: int, body: Graph, limit: int) -> int | str:
    size = rounds * (len(body.nodes) + len(body.inputs))
    if size > limit:
        return f"its {rounds} rounds are {size} operators, more than {limit}"
    return rounds


def _rounds_of_while(graph: Graph, node: Node, limit: int) -> int | str:
    """Runs what is known of the loop, and nothing else."""
    condition, step = node.bodies
    carried = node.int("carried")
    known = [_known(graph, node, at) for at in range(len(node.operands))]
    states, captured = known[:carried], known[carried:]
    for done in range(node.int("most") + 1):
        size = _within_limit(done, step, limit)
        if isinstance(size, str):
            return size
        if done == node.int("most"):
            return done
        (truth,) = foreseen(condition, [*states, *captured])
        if truth is None:
            return "its condition is not constant"
        if not truth.array:
            return done
        states = foreseen(step, [*states, *captured])
    return 0


def _known(graph: Graph, node: Node, at: int) -> Known | None:
    value = node.operands[at]
    array = graph.weights.get(value.index)
    if array is None or array.size > SMALL:
        return None
    return Known(array, graph.constants[value.index])


def _unroll(new: Rebuild, inliner: Inliner, node: Node, rounds: int) -> None:
    operands = [inliner.held(value) for value in node.operands]
    match node.kind:
        case "nn.scan":
            results = _scanned(inliner, node, operands, rounds)
        case "nn.while":
            results, count = operands[: node.int("carried")], node.int("carried")
            for t in range(rounds):
                stem = f"{node.name}/step.{t}"
                given = [*results, *operands[count:]]
                results = inliner.inlined(node.bodies[1], given, stem)
        case _:
            stem = f"{node.name}/{('then', 'otherwise')[rounds]}.0"
            results = inliner.inlined(node.bodies[rounds], operands[1:], stem)
    for old, made in zip(node.results, results, strict=True):
        new.set(old, inliner.value(made))


def _scanned(inliner: Inliner, node: Node, operands: list[Held], rounds: int) -> list[Held]:
    carried = node.int("carried")
    behind = carried + node.int("scanned")
    states, rows = operands[:carried], list[list[Held]]()
    for t in range(rounds):
        stem = f"{node.name}/step.{t}"
        parts = [inliner.part(each, t, stem) for each in operands[carried:behind]]
        given = inliner.inlined(node.bodies[0], [*states, *parts, *operands[behind:]], stem)
        states = given[:carried]
        rows.append(given[carried:])
    columns = zip(*rows, strict=True)
    stem = f"{node.name}/stacked"
    return [*states, *(inliner.stacked(column, stem) for column in columns)]
