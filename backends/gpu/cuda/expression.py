"""Generated code in CUDA C: a thread per row, or several that share the lanes of one.

Where a row has lanes, the code runs in passes over them: one for every depth of reductions, and
one that stores. A pass computes again what it needs of the lanes, so that a row of any length
needs no memory of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from tetrapla.backends.gpu.cuda.code import Names, declared, literal
from tetrapla.backends.gpu.cuda.rows import Sharing
from tetrapla.backends.gpu.cuda.steps import NARROW, Element, stepped
from tetrapla.backends.gpu.cuda.text import MEMORY, THREADS, Writer, quotient
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.nn.reduce import extremes
from tetrapla.simulators.gpu.code import REDUCTIONS, Instruction
from tetrapla.simulators.gpu.kernels import Expression

_JOINS = {"sum": "Sum", "product": "Product", "largest": "Largest", "smallest": "Smallest"}


def blocks(kernel: Expression) -> int:
    """Of the launch."""
    if kernel.length == 1:
        return -(-kernel.rows // THREADS)
    return Sharing(kernel.rows, kernel.length).blocks


def expression(kernel: Expression, write: Writer) -> None:
    """Write a kernel of generated code."""
    lines = _Lines(kernel, write)
    if kernel.length == 1:
        lines.single()
    else:
        lines.shared()


class _Lines:
    """The lines of one kernel.

    Of every register: `wide`, whether it differs along the lanes, and `depth`, how many
    reductions lie one in another below it.
    """

    def __init__(self, kernel: Expression, write: Writer) -> None:
        self.kernel, self.write = kernel, write
        self.sharing = Sharing(kernel.rows, kernel.length)
        self.wide: list[bool] = []
        self.depth: list[int] = []
        for each in kernel.code:
            reduces = each.op in REDUCTIONS
            lanes = each.op == "lane" or any(self.wide[a] for a in each.args)
            self.wide.append(lanes and not reduces)
            self.depth.append(max((self.depth[a] for a in each.args), default=0) + reduces)

    def single(self) -> None:
        """A row is one thread's."""
        kernel, write = self.kernel, self.write
        write(f"const int row = blockIdx.x * {THREADS} + threadIdx.x, lane = 0;")
        write(f"if (row >= {kernel.rows}) return;")
        needed = self._below([kernel.value, kernel.place])
        for i in sorted(needed):
            self._declare(i)
        self._store()

    def shared(self) -> None:
        """A row is that of several threads; one pass for each depth, one that stores."""
        kernel, write = self.kernel, self.write
        used = dict.fromkeys(
            MEMORY[each.dtype] for each in kernel.code if each.op in REDUCTIONS
        )
        for held in used:
            write(f"__shared__ {held} scratch_{held}[{THREADS}];")
        self.sharing.begin(write)
        last = max(self.depth[kernel.value], self.depth[kernel.place])
        for depth in range(last + 1):
            self._narrow(depth)
            made = [
                i
                for i, each in enumerate(kernel.code)
                if each.op in REDUCTIONS and self.depth[i] == depth + 1
            ]
            if depth < last:
                self._reduce(made)
        if self.wide[kernel.place]:
            write(self.sharing.loop())
            self._lanes([kernel.value, kernel.place])
            self._store()
        else:
            write("if (first == 0 && lanes > 0) {")
            self._store()
        write("}")

    def _narrow(self, depth: int) -> None:
        """What is one number for a row, by the reductions made so far."""
        for i, each in enumerate(self.kernel.code):
            if not self.wide[i] and self.depth[i] == depth and each.op not in REDUCTIONS:
                self._declare(i, "lanes > 0")

    def _reduce(self, made: list[int]) -> None:
        write = self.write
        for i in made:
            each = self.kernel.code[i]
            write(f"{MEMORY[each.dtype]} own{i} = {_neutral(each)};")
        write(self.sharing.loop())
        self._lanes([a for i in made for a in self.kernel.code[i].args])
        for i in made:
            each = self.kernel.code[i]
            write(f"own{i} = {_JOINS[each.op]}::of(own{i}, r{each.args[0]});")
        write("}")
        for i in made:
            each = self.kernel.code[i]
            held = MEMORY[each.dtype]
            joined = self.sharing.across(_JOINS[each.op], f"own{i}", f"scratch_{held}")
            write(f"const {held} r{i} = {joined};")

    def _lanes(self, wanted: Iterable[int]) -> None:
        """Declare what differs along the lanes and is wanted."""
        needed = self._below(wanted)
        for i in range(len(self.kernel.code)):
            if i in needed and self.wide[i]:
                self._declare(i)

    def _below(self, wanted: Iterable[int]) -> set[int]:
        """Registers that the wanted ones are made of, as far as reductions reach."""
        found, left = set[int](), list(wanted)
        while left:
            i = left.pop()
            if i in found:
                continue
            found.add(i)
            if self.kernel.code[i].op not in REDUCTIONS or self.kernel.length == 1:
                left += self.kernel.code[i].args
        return found

    def _declare(self, i: int, guard: str = "") -> None:
        declared(self.kernel.code, i, self.write, _NAMES, guard)

    def _store(self) -> None:
        """The steps on the value, and where they go."""
        kernel, write = self.kernel, self.write
        dtype = kernel.code[kernel.value].dtype
        register = "int" if dtype in NARROW else MEMORY[dtype]
        place = f"r{kernel.place}"
        at = Element(quotient(place, kernel.inner, kernel.channels), place)
        y = stepped(kernel.steps, write, at, f"r{kernel.value}", register)
        write.store(kernel.output, place, y)


_NAMES = Names("r{}".format)


def _neutral(each: Instruction) -> str:
    low, high = extremes(DTYPES[each.dtype])
    value = {"sum": 0, "product": 1, "largest": low, "smallest": high}[each.op]
    return literal(str(value if abs(value) == float("inf") else int(value)), each.dtype)
