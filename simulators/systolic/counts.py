"""Which unit acted how often, layer by layer: what the cost table prices.

* ``mac.<format>``: multiply-accumulates that the PEs do for the tile, rows x taps x columns;
  the zeros beside the diagonal blocks of packed groups are not useful, and of a 2:4 sparse tile
  the stored rows count;
* ``mac.zero``: those of them whose weight is zero, where the array gates them; weights that
  come from the unified buffer are data and count as not zero;
* ``mac.idle``: other PEs that an MM clocks;
* ``array.shift_byte``: a byte of a weight, or of a leaving sum, passing one register;
* ``weight_memory.*_byte``: slots filled by LDW and LUW, read by LW, by MM where outputs are
  stationary;
* ``unified_buffer.*_byte``: activations; a tap in the padding counts as a read;
* ``accumulator.*_byte``: sums, written by MM, read back to accumulate and by RQ;
* ``accumulator.add``: one addition of an MM that accumulates;
* ``requantize.op``: one output of RQ or of a depthwise VE;
* ``vector.op``: one operand element of VE, or of a step of VX; ``vector.function``: one element
  of a step that computes a transcendental function;
* ``dram.*_byte``: the accelerator's own DRAM; ``host_link.byte``: to or from the host; the
  small tables that CFG fills are not counted as memories;

What goes with the run's time is of no layer: ``static.second``, ``clock.cycle`` (`price_`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic import routines
from tetrapla.simulators.systolic.formats import (
    ELEMENT_BYTES,
    PRODUCTS,
    SUMS,
    stored_format,
    tile_bytes,
)
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.known import Known
from tetrapla.simulators.systolic.owners import owners
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.sparse import tile_of
from tetrapla.simulators.systolic.timing import transfer_bytes
from tetrapla.simulators.systolic.vector import ADD, DEPTHWISE, LOOKUP

ALWAYS = (
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
    "unified_buffer.read_byte",
    "unified_buffer.write_byte",
    "vector.op",
    "weight_memory.read_byte",
    "weight_memory.write_byte",
)
WHERE_USED = ("mac.bf16", "mac.fp16", "mac.int16", "mac.int16x8", "mac.zero", "vector.function")
ACTIONS = tuple(sorted((*ALWAYS, *WHERE_USED)))


@dataclass(frozen=True)
class Counted:
    """What a layer did.

    Attributes:
        actions: by name.
        macs: of the model that the layer's instructions stand for: also those that a sparse
            tile leaves out, and those of the vector unit.
    """

    actions: dict[str, int]
    macs: int


@dataclass(frozen=True)
class _Held:
    """What a slot holds: stored rows, columns, groups that share it, bytes of an element.

    `values` are there only where zeros are counted apart.
    """

    rows: int
    cols: int
    groups: int = 1
    byte: int = 1
    sparse: bool = False
    values: Array | None = None

    def fed(self, lanes: int) -> int:
        """Stored rows that so many taps meet."""
        return min(self.rows, -(-lanes // 4) * 2) if self.sparse else lanes

    def done(self, lanes: int) -> int:
        """MACs for one row of activations."""
        return self.fed(lanes) * self.cols // self.groups

    def zeros(self, lanes: int) -> int:
        """Of those, the ones whose weight is zero."""
        if self.values is None:
            return 0
        return self.done(lanes) - int(np.count_nonzero(self.values[: self.fed(lanes)]))


_NOTHING = _Held(0, 0)


@dataclass
class _Walk:
    """Where a walk over the program is, and what was counted in its present layer."""

    program: Program
    gates: bool
    known: Known
    slots: dict[int, _Held] = field(default_factory=dict[int, _Held])
    shadow: tuple[_Held, ...] = (_NOTHING,)
    weights: tuple[_Held, ...] = (_NOTHING,)
    shadow_slots: tuple[int, ...] = ()
    stream: tuple[int, ...] = ()
    layers: list[dict[str, int]] = field(default_factory=list[dict[str, int]])
    macs: list[int] = field(default_factory=list[int])
    owner: int = 0

    @property
    def stationary(self) -> bool:
        return self.program.dataflow == "output_stationary"

    def add(self, macs: int = 0, **counts: int) -> None:
        """Count actions; ``unit__action`` stands for ``unit.action``."""
        found = self.layers[self.owner]
        for name, count in counts.items():
            action = name.replace("__", ".")
            found[action] = found.get(action, 0) + count
        self.macs[self.owner] += macs


def counted(program: Program, gate_zeros: bool = False) -> list[Counted]:
    """What each layer does, in the order of the program's MARKs, with the weights it takes.

    `ALWAYS` are there in every layer, the others where the program uses them.
    """
    works = owners(program)
    count = max(works, default=0) + 1
    layers: list[dict[str, int]] = [{} for _ in range(count)]
    walk = _Walk(program, gate_zeros, Known(program), layers=layers, macs=[0] * count)
    for walk.owner, instruction in zip(works, program.instructions, strict=True):
        if instruction.op in _COUNTERS:
            _COUNTERS[instruction.op](walk, instruction)
    used = {name for layer in walk.layers for name, count in layer.items() if count}
    names = [n for n in ACTIONS if n in ALWAYS or n in used]
    return [
        Counted({name: layer.get(name, 0) for name in names}, macs)
        for layer, macs in zip(walk.layers, walk.macs, strict=True)
    ]


def actions(program: Program, gate_zeros: bool = False) -> list[dict[str, int]]:
    """The actions of each layer, in the order of its MARKs."""
    return [layer.actions for layer in counted(program, gate_zeros)]


def _load_weights(walk: _Walk, i: Instruction) -> None:
    program, rows, cols = walk.program, i["rows"], i["cols"]
    sparse = bool(i["sparse"])
    byte = ELEMENT_BYTES[stored_format(i["fmt"])]
    size = tile_bytes(rows, cols, i["fmt"], sparse)
    values: Array | None = None
    if walk.gates and program.has_values:
        data = np.frombuffer(program.constants, np.int8, size, i["dram"])
        values = tile_of(data, rows, cols, i["fmt"], sparse).values
    groups = program.packed.get(i["dram"], 1)
    walk.slots[i["slot"]] = _Held(rows, cols, groups, byte, sparse, values)
    positions = -(-rows * cols // 4) if sparse else 0
    walk.add(dram__read_byte=size, weight_memory__write_byte=rows * cols * byte + positions)


def _weights_from_buffer(walk: _Walk, i: Instruction) -> None:
    byte = ELEMENT_BYTES[stored_format(i["fmt"])]
    walk.slots[i["slot"]] = _Held(i["rows"], i["cols"], byte=byte)
    count = i["rows"] * i["cols"] * byte
    walk.add(unified_buffer__read_byte=count, weight_memory__write_byte=count)


def _load(walk: _Walk, i: Instruction) -> None:
    link = "host_link__byte" if i["host"] else "dram__read_byte"
    walk.add(unified_buffer__write_byte=i["bytes"], **{link: i["bytes"]})


def _store(walk: _Walk, i: Instruction) -> None:
    link = "host_link__byte" if i["host"] else "dram__write_byte"
    walk.add(unified_buffer__read_byte=i["bytes"], **{link: i["bytes"]})


def _gather(walk: _Walk, i: Instruction) -> None:
    gather, moved = walk.program.gathers[i["routine"]], transfer_bytes(walk.program, i)
    walk.add(
        dram__read_byte=moved,
        unified_buffer__read_byte=gather.count * DTYPES[gather.index_dtype].itemsize,
        unified_buffer__write_byte=moved,
    )


def _configure(walk: _Walk, i: Instruction) -> None:
    walk.add(dram__read_byte=i["bytes"])
    walk.known.configure(i)


def _shift(walk: _Walk, i: Instruction) -> None:
    program = walk.program
    units = program.units if i["spread"] else 1
    walk.shadow_slots = tuple(range(i["slot"], i["slot"] + units))
    walk.shadow = tuple(walk.slots[slot] for slot in walk.shadow_slots)
    if walk.stationary:
        return
    # a row of weights passes one register per array row on its way: R (R + 1) / 2 each column
    hops = program.cols * program.rows * (program.rows + 1) // 2
    byte = max(held.byte for held in walk.shadow)
    walk.add(
        weight_memory__read_byte=sum(h.rows * h.cols * h.byte for h in walk.shadow),
        array__shift_byte=hops * byte * program.units,
    )


def _multiply(walk: _Walk, i: Instruction) -> None:
    program, rows, lanes = walk.program, i["len"], i["lanes"]
    if i["swap"]:
        walk.weights, walk.stream = walk.shadow, walk.shadow_slots
    if walk.stationary:  # the slots are read now
        walk.weights = tuple(walk.slots[slot] for slot in walk.stream)
    walk.known.multiply(i)
    share = rows if i["spread"] else -(-rows // program.units)
    cycles = lanes if walk.stationary else share
    useful = rows * sum(held.done(lanes) for held in walk.weights)
    zeros = rows * sum(held.zeros(lanes) for held in walk.weights) if walk.gates else 0
    walk.add(
        macs=rows * sum(lanes * held.cols // held.groups for held in walk.weights),
        mac__zero=zeros,
        mac__idle=cycles * program.rows * program.cols * program.units - useful,
        unified_buffer__read_byte=rows * lanes * (1 if i["fmt"] == 0 else 2),
        **{f"mac__{PRODUCTS[i['fmt']]}": useful - zeros},
    )
    _leave(walk, i, rows * sum(held.cols for held in walk.weights))


def _leave(walk: _Walk, i: Instruction, sums: int) -> None:
    """The sums of an MM on their way to the accumulators."""
    program, byte = walk.program, DTYPES[SUMS[i["fmt"]]].itemsize
    if not walk.stationary:
        added = sums if i["accumulate"] else 0
        walk.add(
            accumulator__write_byte=byte * sums,
            accumulator__read_byte=byte * added,
            accumulator__add=added,
        )
        return
    # a weight passes one register per array row, a sum those of the rows below its own
    passed = i["lanes"] * program.rows * sum(held.cols * held.byte for held in walk.weights)
    hops = program.cols * program.rows * (program.rows + 1) // 2 if i["drain"] else 0
    read = sum(min(i["lanes"], held.rows) * held.cols * held.byte for held in walk.weights)
    walk.add(
        weight_memory__read_byte=read,
        array__shift_byte=passed + hops * byte * program.units,
        accumulator__write_byte=byte * sums if i["drain"] else 0,
    )


def _requantize(walk: _Walk, i: Instruction) -> None:
    count = i["len"] * i["cols"]
    walk.add(
        accumulator__read_byte=walk.known.sum_bytes(i) * count,
        requantize__op=count,
        unified_buffer__write_byte=walk.known.result_bytes(i) * count,
    )


def _vector(walk: _Walk, i: Instruction) -> None:
    a, func = walk.known.descriptors[i["a"]], i["func"]
    made = i["len"] * a.channels
    used = made * (2 if func == ADD else a.taps)
    # a weight, or an entry of the table, is read for each operand element
    beside = used if func in (DEPTHWISE, LOOKUP) else 0
    walk.add(
        macs=used if func == DEPTHWISE else 0,
        vector__op=used,
        requantize__op=made if func == DEPTHWISE else 0,
        unified_buffer__read_byte=used + beside,
        unified_buffer__write_byte=made,
    )


def _routine(walk: _Walk, i: Instruction) -> None:
    found = routines.counts(walk.program.routines[i["routine"]])
    walk.add(**{name.replace(".", "__"): count for name, count in found.items()})


_COUNTERS: dict[str, Callable[[_Walk, Instruction], None]] = {
    "LDW": _load_weights,
    "LDA": _load,
    "LW": _shift,
    "LUW": _weights_from_buffer,
    "MM": _multiply,
    "RQ": _requantize,
    "VE": _vector,
    "VX": _routine,
    "ST": _store,
    "GTH": _gather,
    "CFG": _configure,
}
