"""A SCALE-Sim configuration as a systolic chip: its array and memories, and what it lacks.

| SCALE-Sim | here |
|-|-|
| ArrayHeight, ArrayWidth, Dataflow | the array |
| IFMAP scratchpad | unified buffer, activations in and out |
| FILTER scratchpad | weight tiles, as many as it holds |
| OFMAP scratchpad | accumulators, int32 |
| InterfaceBandwidth USER | DRAM bandwidth, the sum of the three scratchpads' ports |
| InterfaceBandwidth CALC | DRAM bandwidth of a word for each row and two for each column |

SCALE-Sim knows no clock, vector unit, host, DRAM size, DRAM latency outside Ramulator, and no
energy: what a machine must have of these is assumed, and says so; prices stay unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tetrapla.simulators.leaves_ import ASSUMED
from tetrapla.simulators.made_ import Made, assumed, tree, yaml
from tetrapla.simulators.spec_ import Loaded, load_tree
from tetrapla.simulators.systolic import counts
from tetrapla.simulators.systolic.isa import most
from tetrapla.simulators.systolic.scalesim.cfg import Config, read
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.yaml_ import Place

CLOCK = "1 GHz"
_HEAD = "a SCALE-Sim configuration; a word is a byte"
SUM_BYTES = 4  # of an int32 partial sum
_DATAFLOWS = {
    "os": "output_stationary",
    "ws": "weight_stationary",
    "is": "input_stationary",
}


@dataclass(frozen=True)
class ScaleSimChip(Loaded[SystolicSpec]):
    """A chip that was a SCALE-Sim file; `config` is what the file says beyond the chip."""

    config: Config | None = None


def load(path: Path, overrides: Sequence[str] = ()) -> ScaleSimChip:
    """Read a file as a chip.

    Args:
        path: the .cfg file.
        overrides: ``FIELD=VALUE`` over the chip's fields, as for a YAML file.

    Raises:
        SpecError: the file is no SCALE-Sim file, or its values make no machine.
    """
    config = read(path)
    held = list(_leaves(config, Place(str(path))))
    found = load_tree(tree(held), yaml(held, _HEAD), str(path), SystolicSpec, overrides)
    return ScaleSimChip(
        name=found.name,
        spec=found.spec,
        provenance=found.provenance,
        text=found.text,
        overrides=found.overrides,
        ranges=found.ranges,
        warnings=tuple(_warnings(config)),
        config=config,
    )


def _warnings(config: Config) -> Iterator[str]:
    if config.ignored:
        yield f"SCALE-Sim ignores, and so does this: {', '.join(config.ignored)}"
    if config.assumed:
        yield f"not in the file, SCALE-Sim's defaults: {', '.join(config.assumed)}"
    yield (
        f"SCALE-Sim gives no clock and no prices: time_s counts cycles of {CLOCK} "
        "(--set clock=... and dram.bandwidth=...), and energy is null"
    )
    for key in ("IfmapCustomLayout", "FilterCustomLayout", "UseRamulatorTrace"):
        if config.flag(key):
            yield f"{key} is not modelled: its bank conflicts or DRAM latencies do not count"


def _leaves(config: Config, file: Place) -> Iterator[Made]:
    """The chip's fields in the order of a YAML file."""
    rows, cols = config.number("ArrayHeight"), config.number("ArrayWidth")
    yield _given(config, ("name",), config.text("run_name"), "run_name", file)
    yield Made(("family",), "systolic", "", "", file)
    yield _given(config, ("array", "rows"), str(rows), "ArrayHeight", file)
    yield _given(config, ("array", "cols"), str(cols), "ArrayWidth", file)
    flow = _DATAFLOWS[config.text("Dataflow")]
    yield _given(config, ("array", "dataflow"), flow, "Dataflow", file)
    yield assumed(("clock",), CLOCK, "SCALE-Sim counts cycles alone", file)
    kib = config.number("IfmapSramSzkB")
    buffer = ("memories", "unified_buffer")
    yield _given(config, buffer, f"{kib} KiB", "IfmapSramSzkB", file)
    tiles = _within(config.number("FilterSramSzkB") * 1024 // (rows * cols), "LDW", "slot", 1)
    yield _given(config, ("memories", "weight_tiles"), str(tiles), "FilterSramSzkB", file)
    sums = _within(config.number("OfmapSramSzkB") * 1024 // (SUM_BYTES * cols), "MM", "len", 0)
    yield _given(config, ("memories", "accumulator_rows"), str(sums), "OfmapSramSzkB", file)
    yield assumed(("vector", "lanes"), str(cols), "SCALE-Sim has no vector unit", file)
    yield from _links(config, rows, cols, file)
    for action in counts.ACTIONS:
        yield assumed(("cost", action), "null", "SCALE-Sim gives no energy", file)
    yield assumed(("chip", "area"), "null", "SCALE-Sim gives no area", file)
    yield Made(("chip", "default_format"), "int8", "", "", file)


def _links(config: Config, rows: int, cols: int, file: Place) -> Iterator[Made]:
    """The DRAM and the host's link, of a word, one byte, at a time."""
    size = str(most("LDA", "dram") + 1)
    yield assumed(("dram", "capacity"), f"{size} B", "SCALE-Sim knows no limit", file)
    if config.text("InterfaceBandwidth") == "USER":
        ports = ("IfmapSRAMBankBandwidth", "FilterSRAMBankBandwidth")
        words = config.bandwidth[0] + sum(config.number(key) for key in ports)
        source = (
            f"{words} words a cycle, of a byte at 1 GHz: {', '.join(ports)} and the first "
            "Bandwidth, which SCALE-Sim gives the OFMAP"
        )
    else:
        words = rows + 2 * cols
        source = "InterfaceBandwidth CALC never stalls: all that enters and leaves the array"
    paced = f"{words} GB/s"  # at 1 GHz a word a cycle is a gigabyte a second
    yield Made(("dram", "bandwidth"), paced, source, "derived", file)
    yield assumed(("dram", "latency"), "0 s", "SCALE-Sim has none without Ramulator", file)
    yield assumed(("host", "bandwidth"), paced, "SCALE-Sim has no host: as the DRAM", file)
    yield assumed(("host", "latency"), "0 s", "SCALE-Sim has no host", file)


def _given(config: Config, path: tuple[str, ...], text: str, key: str, file: Place) -> Made:
    place = config.settings[key].place
    if place is None:
        return Made(path, text, f"{key} is SCALE-Sim's default", ASSUMED, file)
    return Made(path, text, f"{key}, line {place.line}", "", place)


def _within(count: int, op: str, operand: str, more: int) -> int:
    """As many as instructions can name; one at least, which the array's own registers are."""
    return max(1, min(count, most(op, operand) + more))
