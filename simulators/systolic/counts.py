"""Which unit acted how often, layer by layer: what the cost table prices.

* ``mac.int8``: useful multiply-accumulates, rows x taps x columns of the tile; the zeros
  beside the diagonal blocks of packed groups are not useful;
* ``mac.idle``: other PEs that an MM clocks, rows x R x C less the useful ones;
* ``array.shift_byte``: a weight byte passing one register on its way into a PE;
* ``weight_memory.*_byte``: slots filled by LDW and read by LW;
* ``unified_buffer.*_byte``: activations; a tap in the padding counts as a read;
* ``accumulator.*_byte``: int32 sums, written by MM, read back to accumulate and by RQ;
* ``accumulator.add``: one int32 addition of an MM that accumulates;
* ``requantize.op``: one output of RQ;
* ``vector.op``: one operand element of VE;
* ``dram.*_byte``: the accelerator's own DRAM; ``host_link.byte``: to or from the host; the
  small tables that CFG fills are not counted as memories;
* ``static.cycle``: the whole chip's clock and leakage for a cycle; of the run, not a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.tables import Descriptor
from tetrapla.simulators.systolic.timing import transfer_bytes
from tetrapla.simulators.systolic.vector import ADD

ACTIONS = (
    "accumulator.add",
    "accumulator.read_byte",
    "accumulator.write_byte",
    "array.shift_byte",
    "dram.read_byte",
    "dram.write_byte",
    "host_link.byte",
    "mac.idle",
    "mac.int8",
    "requantize.op",
    "static.cycle",
    "unified_buffer.read_byte",
    "unified_buffer.write_byte",
    "vector.op",
    "weight_memory.read_byte",
    "weight_memory.write_byte",
)


@dataclass(frozen=True)
class _Tile:
    rows: int
    cols: int
    groups: int


@dataclass
class _Walk:
    """Where a walk over the program is, and what was counted in its present layer."""

    program: Program
    slots: dict[int, _Tile] = field(default_factory=dict)
    shadow: _Tile = _Tile(0, 0, 1)
    weights: _Tile = _Tile(0, 0, 1)
    descriptors: dict[int, Descriptor] = field(default_factory=dict)
    layers: list[dict[str, int]] = field(default_factory=list)

    def add(self, **counts: int) -> None:
        """Count actions; ``unit__action`` stands for ``unit.action``."""
        if not self.layers:
            self.layers.append({})
        found = self.layers[-1]
        for name, count in counts.items():
            action = name.replace("__", ".")
            found[action] = found.get(action, 0) + count


def actions(program: Program) -> list[dict[str, int]]:
    """The actions of each layer, in the order of its MARKs, with every name of `ACTIONS`."""
    walk = _Walk(program)
    for instruction in program.instructions:
        if instruction.op == "MARK":
            walk.layers.append({})
        elif instruction.op in _COUNTERS:
            _COUNTERS[instruction.op](walk, instruction)
    names = [name for name in ACTIONS if name != "static.cycle"]
    return [{name: layer.get(name, 0) for name in names} for layer in walk.layers]


def _load_weights(walk: _Walk, i: Instruction) -> None:
    groups = walk.program.packed.get(i["dram"], 1)
    walk.slots[i["slot"]] = _Tile(i["rows"], i["cols"], groups)
    count = transfer_bytes(i)
    walk.add(dram__read_byte=count, weight_memory__write_byte=count)


def _load(walk: _Walk, i: Instruction) -> None:
    link = "host_link__byte" if i["host"] else "dram__read_byte"
    walk.add(unified_buffer__write_byte=i["bytes"], **{link: i["bytes"]})


def _store(walk: _Walk, i: Instruction) -> None:
    link = "host_link__byte" if i["host"] else "dram__write_byte"
    walk.add(unified_buffer__read_byte=i["bytes"], **{link: i["bytes"]})


def _configure(walk: _Walk, i: Instruction) -> None:
    walk.add(dram__read_byte=i["bytes"])
    if i["kind"] == 0:
        data = walk.program.constants[i["dram"] : i["dram"] + i["bytes"]]
        walk.descriptors[i["index"]] = Descriptor.unpack(data)


def _shift(walk: _Walk, i: Instruction) -> None:
    walk.shadow = tile = walk.slots[i["slot"]]
    rows, cols = walk.program.rows, walk.program.cols
    # a row of weights passes one register per array row on its way: R (R + 1) / 2 each column
    walk.add(
        weight_memory__read_byte=tile.rows * tile.cols,
        array__shift_byte=cols * rows * (rows + 1) // 2,
    )


def _multiply(walk: _Walk, i: Instruction) -> None:
    if i["swap"]:
        walk.weights = walk.shadow
    tile, rows = walk.weights, i["len"]
    useful = rows * i["lanes"] * tile.cols // tile.groups
    sums = rows * tile.cols
    added = sums if i["accumulate"] else 0
    walk.add(
        mac__int8=useful,
        mac__idle=rows * walk.program.rows * walk.program.cols - useful,
        unified_buffer__read_byte=rows * i["lanes"],
        accumulator__write_byte=4 * sums,
        accumulator__read_byte=4 * added,
        accumulator__add=added,
    )


def _requantize(walk: _Walk, i: Instruction) -> None:
    count = i["len"] * i["cols"]
    written = 4 * count if i["raw"] else count
    walk.add(
        accumulator__read_byte=4 * count,
        requantize__op=count,
        unified_buffer__write_byte=written,
    )


def _vector(walk: _Walk, i: Instruction) -> None:
    a = walk.descriptors[i["a"]]
    operands = 2 if i["func"] == ADD else a.taps
    read = i["len"] * operands * a.channels
    walk.add(
        vector__op=read,
        unified_buffer__read_byte=read,
        unified_buffer__write_byte=i["len"] * a.channels,
    )


_COUNTERS: dict[str, Callable[[_Walk, Instruction], None]] = {
    "LDW": _load_weights,
    "LDA": _load,
    "LW": _shift,
    "MM": _multiply,
    "RQ": _requantize,
    "VE": _vector,
    "ST": _store,
    "CFG": _configure,
}
