"""Loops and branches: scf on tensors, each body written where it runs.

Before::

    %last, %all = "nn.scan"(%h, %x) ({step}) {carried = 1, scanned = 1, trips = 5}

After::

    %v:2 = scf.for %i = 0 to 5 iter_args(%h, %rows) {
      %x_i = tensor.extract_slice %x[%i, 0] ..
      .. the step's nodes ..
      %rows_next = tensor.insert_slice %y into %rows[%i, 0] ..
      %h_next = bufferization.materialize_in_destination %y in %h
      scf.yield %h_next, %rows_next }

A loop hands each state on in one buffer, and both bodies of a branch write into one: where a
buffer might be one of several, only a run-time library could free it. First states are copied:
canonicalisation may take the loop away from around what writes over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from tetrapla.ir.graph import Graph, Node
from tetrapla.ir.linalg.scalar import Held, Scalar, spelled
from tetrapla.ir.linalg.text import Block, Writer, tensor_of
from tetrapla.ir.op import Tensor

Run: TypeAlias = Callable[[Graph, Sequence[Held]], list[Held]]  # a body for its arguments


def lower_scan(writer: Writer, node: Node, operands: list[Held], run: Run) -> list[Held]:
    """A loop over the states and the room for the stacks."""
    (body,) = node.bodies
    carried, behind = node.int("carried"), node.int("carried") + node.int("scanned")
    rooms = [writer.empty(tensor_of(value)) for value in node.results[carried:]]

    def step(at: Scalar, held: list[Held]) -> list[Held]:
        rows = [_row(writer, x, at) for x in operands[carried:behind]]
        given = run(body, [*held[:carried], *rows, *operands[behind:]])
        stacked = [
            _stacked(writer, row, into, at)
            for row, into in zip(given[carried:], held[carried:], strict=True)
        ]
        return [*_handed(writer, given[:carried], held[:carried]), *stacked]

    states = [_copied(writer, state) for state in operands[:carried]]
    return writer.repeated(node.int("trips"), [*states, *rooms], step)


class _Loop(NamedTuple):
    """What an scf.while carries: states, the number of rounds, a truth per fault."""

    stem: str  # of its names, itself the name of false
    types: list[Tensor]
    messages: list[str]

    @property
    def spelled(self) -> list[str]:
        """The types as MLIR reads them."""
        return [*map(spelled, self.types), "index", *["i1"] * len(self.messages)]

    def states(self, region: str) -> list[Held]:
        """The states as one of the two regions calls them."""
        return [Held(f"{self.stem}_{region}{i}", type_) for i, type_ in enumerate(self.types)]

    def names(self, region: str) -> list[str]:
        """All that is carried as one of the regions calls it."""
        faults = self.faults(region).values()
        return [*(s.name for s in self.states(region)), f"{self.stem}_{region}n", *faults]

    def faults(self, region: str) -> dict[str, str]:
        """By what they report."""
        return {m: f"{self.stem}_{region}f{i}" for i, m in enumerate(self.messages)}


def lower_while(writer: Writer, node: Node, operands: list[Held], run: Run) -> list[Held]:
    """A loop that ends at its condition, its bound, or a fault."""
    (condition, body), carried = node.bodies, node.int("carried")
    captured = operands[carried:]
    states = [_copied(writer, state) for state in operands[:carried]]
    stem = writer.scalar("arith.constant false")
    loop = _Loop(stem, [state.type for state in states], [])
    asked = writer.block(lambda: run(condition, [*loop.states("b"), *captured]))
    held = loop.states("s")
    stepped = writer.block(lambda: _handed(writer, run(body, [*held, *captured]), held))
    loop.messages.extend(asked.truths | stepped.truths)
    types = ", ".join(loop.spelled)
    firsts = [*(state.name for state in states), f"{stem}_0", *[stem] * len(loop.messages)]
    given = zip(loop.names("b"), firsts, strict=True)
    taken = zip(loop.names("s"), loop.spelled, strict=True)
    writer.lines += [
        f"{stem}_0 = arith.constant 0 : index",
        f"{stem}_1 = arith.constant 1 : index",
        f"{stem}_most = arith.constant {node.int('most')} : index",
        f"{stem}_all:{len(loop.spelled)} = scf.while "
        f"({', '.join(f'{name} = {first}' for name, first in given)}) : "
        f"({types}) -> ({types}) {{",
        *_asked(loop, asked, types),
        "} do {",
        f"^bb0({', '.join(f'{name}: {type_}' for name, type_ in taken)}):",
        *_stepped(loop, stepped, types),
        "}",
    ]
    for i, message in enumerate(loop.messages):
        writer.note(f"{stem}_all#{len(states) + 1 + i}", message)
    return [Held(f"{stem}_all#{i}", state.type) for i, state in enumerate(states)]


def _asked(loop: _Loop, block: Block, types: str) -> list[str]:
    """The condition, where the bound is not reached and there is no fault."""
    stem, faults = loop.stem, loop.faults("b")
    truth, (*_, number) = block.results[0], loop.names("b")[: len(loop.types) + 1]
    kinds = ", ".join(["i1"] * (1 + len(faults)))
    lines = [f"{stem}_w = arith.cmpi ult, {number}, {stem}_most : index"]
    within = f"{stem}_w"
    for name in faults.values():
        lines.append(f"{name}_w = arith.select {name}, {stem}, {within} : i1")
        within = f"{name}_w"
    joined, after = _joined(faults, block)
    go = [f"{stem}_go#{i}" for i in range(1 + len(faults))]
    passed = [*(state.name for state in loop.states("b")), number, *go[1:]]
    return [
        *lines,
        f"{stem}_go:{len(go)} = scf.if {within} -> ({kinds}) {{",
        *block.lines,
        *joined,
        f"{stem}_on = tensor.extract {truth.name}[] : {truth.spelled}",
        f"scf.yield {', '.join([f'{stem}_on', *after])} : {kinds}",
        "} else {",
        f"scf.yield {', '.join([stem, *faults.values()])} : {kinds}",
        "}",
        f"scf.condition({go[0]}) {', '.join(passed)} : {types}",
    ]


def _stepped(loop: _Loop, block: Block, types: str) -> list[str]:
    """One round."""
    number = loop.names("s")[len(loop.types)]
    joined, faults = _joined(loop.faults("s"), block)
    after = [*(state.name for state in block.results), f"{number}_next", *faults]
    return [
        *block.lines,
        *joined,
        f"{number}_next = arith.addi {number}, {loop.stem}_1 : index",
        f"scf.yield {', '.join(after)} : {types}",
    ]


def _joined(held: dict[str, str], block: Block) -> tuple[list[str], list[str]]:
    """Lines that add a block's faults to those so far, and the names of all."""
    both = {m: f"{name}_or" for m, name in held.items() if m in block.truths}
    lines = [
        f"{name} = arith.ori {held[m]}, {block.truths[m]} : i1" for m, name in both.items()
    ]
    return lines, [both.get(message, name) for message, name in held.items()]


def lower_if(writer: Writer, node: Node, operands: list[Held], run: Run) -> list[Held]:
    """The truth is read, and one of the bodies runs."""
    truth, *captured = operands
    rooms = [writer.empty(tensor_of(value)) for value in node.results]

    def branch(body: Graph) -> list[Held]:
        return _written(writer, run(body, captured), rooms)

    blocks = [writer.block(partial(branch, body)) for body in node.bodies]
    messages = list(blocks[0].truths | blocks[1].truths)
    no = writer.scalar("arith.constant false")
    on = writer.scalar(f"tensor.extract {truth.name}[] : {truth.spelled}")
    types = [*(spelled(tensor_of(value)) for value in node.results), *["i1"] * len(messages)]
    lines: list[str] = []
    heads = f"scf.if {on} -> ({', '.join(types)}) {{", "} else {"
    for head, block in zip(heads, blocks, strict=True):
        names = [*(each.name for each in block.results)]
        names += (block.truths.get(message, no) for message in messages)
        lines += [head, *block.lines, f"scf.yield {', '.join(names)} : {', '.join(types)}"]
    lines[0] = f"{no}_if:{len(types)} = {lines[0]}"
    writer.lines += [*lines, "}"]
    count = len(node.results)
    for i, message in enumerate(messages):
        writer.note(f"{no}_if#{count + i}", message)
    return [Held(f"{no}_if#{i}", tensor_of(value)) for i, value in enumerate(node.results)]


def _handed(writer: Writer, new: Sequence[Held], old: Sequence[Held]) -> list[Held]:
    """What a round gives, written over what it took once nobody reads that any more."""
    return _written(writer, [_copied(writer, each) for each in new], old)


def _written(writer: Writer, sources: Sequence[Held], rooms: Sequence[Held]) -> list[Held]:
    found: list[Held] = []
    for source, into in zip(sources, rooms, strict=True):
        pair = f"{source.name} in {into.name}"
        types = f"({source.spelled}, {into.spelled}) -> {into.spelled}"
        text = f"bufferization.materialize_in_destination {pair} : {types}"
        found.append(writer.line(text, into.type))
    return found


def _copied(writer: Writer, x: Held) -> Held:
    """In memory of its own."""
    return writer.line(f"bufferization.alloc_tensor() copy({x.name}) : {x.spelled}", x.type)


def _row(writer: Writer, x: Held, at: Scalar) -> Held:
    """One slice of a sequence, in memory of its own: a function takes no view of a part."""
    type_ = Tensor(x.type.shape[1:], x.type.dtype)
    places = _places(x.type, at)
    text = f"tensor.extract_slice {x.name}{places} : {x.spelled} to {spelled(type_)}"
    return _copied(writer, writer.line(text, type_))


def _stacked(writer: Writer, row: Held, into: Held, at: Scalar) -> Held:
    places = _places(into.type, at)
    text = f"tensor.insert_slice {row.name} into {into.name}{places} : "
    return writer.line(f"{text}{row.spelled} into {into.spelled}", into.type)


def _places(whole: Tensor, at: Scalar) -> str:
    """Offsets, sizes and strides of the row at a place."""
    offsets = [at.name, *"0" * (whole.rank - 1)]
    sizes = ["1", *map(str, whole.shape[1:])]
    rows = offsets, sizes, ["1"] * whole.rank
    return " ".join(f"[{', '.join(row)}]" for row in rows)
