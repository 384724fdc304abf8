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

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tetrapla.simulators.leaves_ import ASSUMED
from tetrapla.simulators.spec_ import Loaded, load_tree
from tetrapla.simulators.systolic import counts
from tetrapla.simulators.systolic.isa import most
from tetrapla.simulators.systolic.scalesim.cfg import Config, read
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.yaml_ import Mapping, Place, Scalar, Tree

CLOCK = "1 GHz"
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


@dataclass(frozen=True)
class _Leaf:
    """One field of the chip: its path, its text, and where that comes from."""

    path: tuple[str, ...]
    text: str
    source: str
    grade: str
    place: Place


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
    found = load_tree(_tree(held), _yaml(held), str(path), SystolicSpec, overrides)
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


def _leaves(config: Config, file: Place) -> Iterator[_Leaf]:
    """The chip's fields in the order of a YAML file."""
    rows, cols = config.number("ArrayHeight"), config.number("ArrayWidth")
    yield _given(config, ("name",), config.text("run_name"), "run_name", file)
    yield _Leaf(("family",), "systolic", "", "", file)
    yield _given(config, ("array", "rows"), str(rows), "ArrayHeight", file)
    yield _given(config, ("array", "cols"), str(cols), "ArrayWidth", file)
    flow = _DATAFLOWS[config.text("Dataflow")]
    yield _given(config, ("array", "dataflow"), flow, "Dataflow", file)
    yield _assumed(("clock",), CLOCK, "SCALE-Sim counts cycles alone", file)
    kib = config.number("IfmapSramSzkB")
    buffer = ("memories", "unified_buffer")
    yield _given(config, buffer, f"{kib} KiB", "IfmapSramSzkB", file)
    tiles = _within(config.number("FilterSramSzkB") * 1024 // (rows * cols), "LDW", "slot", 1)
    yield _given(config, ("memories", "weight_tiles"), str(tiles), "FilterSramSzkB", file)
    sums = _within(config.number("OfmapSramSzkB") * 1024 // (SUM_BYTES * cols), "MM", "len", 0)
    yield _given(config, ("memories", "accumulator_rows"), str(sums), "OfmapSramSzkB", file)
    yield _assumed(("vector", "lanes"), str(cols), "SCALE-Sim has no vector unit", file)
    yield from _links(config, rows, cols, file)
    for action in counts.ACTIONS:
        yield _assumed(("cost", action), "null", "SCALE-Sim gives no energy", file)
    yield _assumed(("chip", "area"), "null", "SCALE-Sim gives no area", file)
    yield _Leaf(("chip", "default_format"), "int8", "", "", file)


def _links(config: Config, rows: int, cols: int, file: Place) -> Iterator[_Leaf]:
    """The DRAM and the host's link, of a word, one byte, at a time."""
    size = str(most("LDA", "dram") + 1)
    yield _assumed(("dram", "capacity"), f"{size} B", "SCALE-Sim knows no limit", file)
    if config.text("InterfaceBandwidth") == "USER":
        ports = ("IfmapSRAMBankBandwidth", "FilterSRAMBankBandwidth")
        words = config.bandwidth[0] + sum(config.number(key) for key in ports)
        source = f"{', '.join(ports)} and the first Bandwidth, which SCALE-Sim gives the OFMAP"
    else:
        words = rows + 2 * cols
        source = "InterfaceBandwidth CALC never stalls: all that enters and leaves the array"
    paced = f"{words} GB/s"  # at 1 GHz a word a cycle is a gigabyte a second
    yield _Leaf(("dram", "bandwidth"), paced, source, "derived", file)
    yield _assumed(("dram", "latency"), "0 s", "SCALE-Sim has none without Ramulator", file)
    yield _assumed(("host", "bandwidth"), paced, "SCALE-Sim has no host: as the DRAM", file)
    yield _assumed(("host", "latency"), "0 s", "SCALE-Sim has no host", file)


def _given(config: Config, path: tuple[str, ...], text: str, key: str, file: Place) -> _Leaf:
    place = config.settings[key].place
    if place is None:
        return _Leaf(path, text, f"{key} is SCALE-Sim's default", ASSUMED, file)
    return _Leaf(path, text, f"{key}, line {place.line}", "", place)


def _assumed(path: tuple[str, ...], text: str, source: str, file: Place) -> _Leaf:
    return _Leaf(path, text, source, ASSUMED, file)


def _within(count: int, op: str, operand: str, more: int) -> int:
    """As many as instructions can name; one at least, which the array's own registers are."""
    return max(1, min(count, most(op, operand) + more))


def _tree(held: Sequence[_Leaf]) -> Mapping:
    top = Mapping(held[0].place, {}, {})
    for leaf in held:
        section = top
        for key in leaf.path[:-1]:
            inner = section.entries.setdefault(key, Mapping(leaf.place, {}, {}))
            assert isinstance(inner, Mapping), "a path goes through sections"
            section.keys.setdefault(key, leaf.place)
            section = inner
        section.entries[leaf.path[-1]] = _value(leaf)
        section.keys[leaf.path[-1]] = leaf.place
    return top


def _value(leaf: _Leaf) -> Mapping | Scalar:
    parts = {"value": leaf.text, "source": leaf.source, "grade": leaf.grade}
    quoted = {"value": leaf.path == ("name",), "source": True, "grade": True}
    found: dict[str, Tree] = {
        key: Scalar(text, quoted[key], leaf.place) for key, text in parts.items() if text
    }
    if not leaf.source:
        return Scalar(leaf.text, False, leaf.place)
    return Mapping(leaf.place, found, dict.fromkeys(found, leaf.place))


def _yaml(held: Sequence[_Leaf]) -> str:
    """The chip as a YAML file that is one itself."""
    lines = ["# a SCALE-Sim configuration; a word is a byte"]
    section = ""
    for leaf in held:
        *above, key = leaf.path
        if above and above[0] != section:
            lines.append(f"{above[0]}:")
        section = above[0] if above else ""
        text = json.dumps(leaf.text) if leaf.path == ("name",) else leaf.text
        if leaf.source:
            grade = f", grade: {leaf.grade}" if leaf.grade else ""
            text = f"{{value: {text}, source: {json.dumps(leaf.source)}{grade}}}"
        lines.append(f"{'  ' * len(above)}{key}: {text}")
    return "\n".join(lines) + "\n"
