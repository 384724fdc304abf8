"""Generated code over long rows in Triton: passes over a row's lanes, some thousand at a time.

One pass for every depth of reductions (a softmax: the largest, then the sum) and one that
stores; each computes again what it needs of the lanes, so that a row of any length stays in
registers. A sum is of lanes that lie a pass apart, then along them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tetrapla.backends.gpu.triton.code import Frame, Lines, reduced, rest, store, widened
from tetrapla.backends.gpu.triton.text import Writer
from tetrapla.simulators.gpu.code import REDUCTIONS, Instruction
from tetrapla.simulators.gpu.kernels import Expression

LANES = 2048  # at a time, assumed: 16 registers of each of 128 threads for a value


def long_rows(kernel: Expression, write: Writer) -> None:
    """Write a kernel whose rows are longer than `LONGEST`."""
    rows = f"{write.program(0)} * {kernel.block} + tl.arange(0, {kernel.block})"
    write(f"row = ({rows})[:, None]", f"in_row = row < {kernel.rows}")
    _Passes(kernel, write).all()


class _Passes:
    """The passes of one kernel.

    Attributes:
        wide: of each register, whether it differs along the lanes.
        depth: how many reductions one behind another it needs.
    """

    def __init__(self, kernel: Expression, write: Writer) -> None:
        self.kernel, self.write = kernel, write
        stored = (kernel.value, kernel.place)
        self.lines = Lines(kernel.code, write, Frame(True), stored)
        self.wide = [lanes for _, lanes in self.lines.over]
        self.depth: list[int] = []
        for each in kernel.code:
            below = max((self.depth[a] for a in each.args), default=0)
            self.depth.append(below + (each.op in REDUCTIONS))

    def all(self) -> None:
        """Every depth in turn, then the store."""
        code = self.kernel.code
        for depth in range(max(self.depth, default=0) + 1):
            for i, each in enumerate(code):
                own = self.depth[i] == depth and not self.wide[i]
                if own and each.op not in REDUCTIONS:
                    self.lines.one(i)
            self._reduce([
                i for i, each in enumerate(code)
                if each.op in REDUCTIONS and self.depth[i] == depth + 1
            ])  # fmt: skip
        results = (self.kernel.value, self.kernel.place)
        if not any(self.wide[i] for i in results):
            store(self.kernel, self.lines, self.write)
            return
        self._begin(results)
        store(self.kernel, self.lines, self.write)
        self.write.indent -= 1

    def _reduce(self, wanted: list[int]) -> None:
        """One pass for all reductions of a depth."""
        if not wanted:
            return
        code, write = self.kernel.code, self.write
        for i in wanted:
            held = _TYPES.get(code[i].dtype, "tl.int32")
            write(f"a{i} = tl.full(({self.kernel.block}, {LANES}), {rest(code[i])}, {held})")
        self._begin([a for i in wanted for a in code[i].args])
        for i in wanted:
            write(f"a{i} = {_joined(code[i], f'a{i}', f'r{code[i].args[0]}')}")
        write.indent -= 1
        for i in wanted:
            write(f"r{i} = {reduced(code[i], f'a{i}')}")

    def _begin(self, wanted: Iterable[int]) -> None:
        """Begin a pass, and write what differs along the lanes and is wanted."""
        self.write(f"for start in range(0, {self.kernel.length}, {LANES}):")
        self.write.indent += 1
        self.write(f"lane = start + tl.arange(0, {LANES})[None, :]")
        self.write(f"in_lane = lane < {self.kernel.length}")
        for i in sorted(self._along(wanted)):
            self.lines.one(i)

    def _along(self, wanted: Iterable[int]) -> set[int]:
        """The registers that differ along the lanes and that others need."""
        found: set[int] = set()
        waiting = [i for i in wanted if self.wide[i]]
        while waiting:
            i = waiting.pop()
            if i not in found:
                found.add(i)
                waiting += [a for a in self.kernel.code[i].args if self.wide[a]]
        return found


def _joined(each: Instruction, total: str, x: str) -> str:
    """What a pass adds to the lanes of those before."""
    term = f"tl.where(in_lane, {widened(each, x)}, {rest(each)})"
    if each.dtype not in _TYPES and each.dtype != "i1":
        term = f"{term}.to(tl.int32)"
    if each.op in ("sum", "product"):
        return f"{total} {'+' if each.op == 'sum' else '*'} {term}"
    nan = ", propagate_nan=tl.PropagateNan.ALL" if each.dtype == "f32" else ""
    return f"tl.{'maximum' if each.op == 'largest' else 'minimum'}({total}, {term}{nan})"


# of what is reduced in its own type; other integers wrap at the end
_TYPES = {"f32": "tl.float32", "i64": "tl.int64"}
