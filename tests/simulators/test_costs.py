"""Cost tables, what they are scaled by, and the prices that a chip derives from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.ir.errors import RegistryError, SpecError
from tetrapla.simulators.costs_ import read, table, tables
from tetrapla.simulators.nodes_ import Scaled, area_factor, energy_factor, scaled
from tetrapla.simulators.price_ import Energy, energy_range, power_warnings
from tetrapla.simulators.spec_ import Loaded, Provenance, Spec, load_spec

NODES = st.floats(7, 130)
CHIP = """\
name: mine
family: toy
clock: 1 GHz
array: {rows: 16, cols: 16}
memories: {unified_buffer: 1 MiB, weight_tiles: 4, accumulator_rows: 1024}
cost:
  table: jouppi-2021
  dram_kind: hbm2
  link_kind: pcie
  banks: {unified_buffer: 1 MiB, weight_memory: 32 KiB, accumulator: 8 KiB}
  mac.idle: {value: 0.5 pJ, source: "measured here", grade: measured, range: [0.4 pJ, 0.6 pJ]}
chip: {area: 5 mm2, default_format: int8, node: 7 nm}
"""


class Toy(Spec):
    clock: Any = None
    array: Any = None
    memories: Any = None


def loaded(folder: Path, *changes: tuple[str, str], sets: tuple[str, ...] = ()) -> Loaded[Toy]:
    text = CHIP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "mine.yaml").write_text(text, "utf-8")
    return load_spec(folder / "mine.yaml", Toy, sets)


def refusal(folder: Path, *changes: tuple[str, str], sets: tuple[str, ...] = ()) -> str:
    with pytest.raises(SpecError) as caught:
        loaded(folder, *changes, sets=sets)
    return str(caught.value).replace(f"{folder}/", "")


def origin(chip: Loaded[Toy], name: str) -> Provenance:
    (found,) = [entry for entry in chip.provenance if entry.field == name]
    return found


# tables


@pytest.mark.parametrize("name", tables())
def test_every_table_says_where_each_constant_comes_from(name: str) -> None:
    found = table(name)
    assert found.name == name
    assert found.records
    keys = [(r.name, r.node_nm, r.capacity_bytes) for r in found.records]
    for record in found.records:
        assert record.source
        spelled = found.spelled_out(record)
        assert not any(f"[{short}]" in spelled for short in found.sources)
        assert len([k for k in keys if k == (record.name, record.node_nm, None)]) < 3
    assert all(any(f"[{short}]" in r.source for r in found.records) for short in found.sources)


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(RegistryError) as caught:
        table("prices")
    assert str(caught.value) == (
        "no cost table 'prices'; there are: cacti-7-hp, cacti-7-lop, dram, eyeriss-65, "
        "jouppi-2021, link"
    )


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            "{name: x, source: s, grade: published}",
            "t.yaml:3:1: records: x needs an energy or an area; add one",
        ),
        (
            "{name: x, energy: 3 pJ, range: [4 pJ, 5 pJ], source: s, grade: published}",
            "t.yaml:3:1: records: x must lie within its range; mend it",
        ),
        (
            "{name: x, energy: 3, source: s, grade: published}",
            "t.yaml:3:21: records[0].energy needs a unit, not 3; write '3 pJ'",
        ),
        (
            "{name: x, energy: 3 pJ, grade: published}",
            "t.yaml:3:11: records[0] needs the key 'source'; add 'source: …'",
        ),
    ],
)
def test_a_wrong_table_is_refused(record: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(f"name: t\nfamily: f\nrecords: [{record}]\n", "t.yaml")
    assert str(caught.value) == message


# nodes


def test_the_factor_from_45_to_7_nm_is_the_papers() -> None:
    # 0.1776 * 0.64 - 0.09097 * 0.8 + 0.02447 = 0.065358; 1.103, -0.362, 0.2767: 0.69302
    assert energy_factor(45, 7) == pytest.approx(0.065358 / 0.69302)
    assert area_factor(7, 45) == 17.0
    # 28 nm lies a third of the way from 32 to 20: 7.8 - 4.2 / 3 = 6.4
    assert area_factor(28, 7) == pytest.approx(1 / 6.4)


@given(NODES, NODES, NODES)
def test_factors_compose_and_grow_with_the_node(a: float, b: float, c: float) -> None:
    for factor in (energy_factor, area_factor):
        assert factor(a, b) * factor(b, c) == pytest.approx(factor(a, c))
        assert (factor(a, b) <= 1) == (b <= a) or a == pytest.approx(b)


@given(NODES)
def test_between_two_nodes_of_a_source_a_constant_lies_between_them(node: float) -> None:
    found = scaled({7: Scaled(0.10, 0.10, 0.10), 45: Scaled(0.30, 0.30, 0.30)}, node)
    if 7 <= node <= 45:
        assert 0.10 <= found.value <= 0.30 * (1 + 1e-12)
    if 7 < node < 45:
        assert (found.low, found.high) == (0.10, 0.30)
        assert found.how.startswith("x ")
    elif node > 45:
        assert found.value == pytest.approx(0.30 * energy_factor(45, node))


@pytest.mark.parametrize("node", [5.0, 180.0])
def test_a_node_outside_is_refused(node: float) -> None:
    with pytest.raises(ValueError, match=r"^a node must be within 7 to 130 nm$"):
        energy_factor(45, node)


# what a chip derives


def test_prices_follow_from_the_tables(tmp_path: Path) -> None:
    cost = loaded(tmp_path).spec.cost
    expected = {
        "mac.int8": 0.07 + 0.03,
        "mac.bf16": 0.21 + 0.38,
        "mac.fp16": 0.34 + 0.38,
        "mac.int16x8": 2 * 0.10,
        "mac.int16": 4 * 0.10,
        "mac.idle": 0.5,  # the file's own
        "mac.zero": 0.1 * 0.10,
        "accumulator.add": 0.03,
        "requantize.op": 1.31 + 0.38 + 0.03,
        "vector.op": 1.31 + 0.38,
        "vector.function": 8 * (1.31 + 0.38),
        "array.shift_byte": 0.007,
        "unified_buffer.read_byte": 14 / 8,
        "weight_memory.write_byte": 8.5 / 8,
        "accumulator.read_byte": 7.5 / 8,
        "dram.write_byte": 350 / 8,
        "host_link.byte": 40.0,
    }
    assert {name: cost[name] for name in expected} == pytest.approx(expected)


def test_a_price_says_its_rule_its_factor_and_its_grade(tmp_path: Path) -> None:
    paper = (
        "[lessons: N. P. Jouppi et al., 'Ten Lessons From Three Generations Shaped Google's "
        "TPUv4i', ISCA 2021] table 2"
    )
    here = loaded(tmp_path)
    assert origin(here, "cost.accumulator.add").source == f"add.int32 0.03 pJ; {paper}"
    assert origin(here, "cost.accumulator.add").grade == "published"
    assert origin(here, "cost.mac.int8").source == (
        f"mul.int8 0.07 pJ + add.int32 0.03 pJ; {paper}"
    )
    assert origin(here, "cost.mac.int8").grade == "derived"
    assert origin(here, "cost.mac.zero").grade == "assumed"
    assert origin(here, "cost.mac.idle").source == "measured here; from 0.4 pJ to 0.6 pJ"
    there = loaded(tmp_path, ("node: 7 nm", "node: 90 nm"))
    # 90 nm: 4.762 * 0.64 - 4.781 * 0.8 + 2.092 = 1.31488, / 0.69302
    assert origin(there, "cost.accumulator.add").source == (
        "add.int32 0.1897 pJ (x 1.9 from 45 to 90 nm (Stillmaker and Baas 2017, 0.8 V)); "
        f"{paper}"
    )
    assert there.spec.cost["dram.read_byte"] == 43.75  # not the chip's node


def test_an_override_reaches_a_derived_price_and_what_it_follows_from(tmp_path: Path) -> None:
    chip = loaded(tmp_path, sets=("cost.mac.int8=2 pJ", "clock=2 GHz"))
    assert chip.spec.cost["mac.int8"] == 2.0
    assert origin(chip, "cost.mac.int8").grade == "user"
    larger = loaded(tmp_path, sets=("cost.banks.unified_buffer=4 MiB",))
    # beyond the table the square root of the capacity: 14 * 2 / 8
    assert larger.spec.cost["unified_buffer.read_byte"] == 3.5


def test_a_memory_without_a_bank_is_one_bank(tmp_path: Path) -> None:
    banks = "  banks: {unified_buffer: 1 MiB, weight_memory: 32 KiB, accumulator: 8 KiB}\n"
    chip = loaded(tmp_path, (banks, ""), ("weight_tiles: 4", "weight_tiles: 32"))
    assert chip.spec.cost["unified_buffer.read_byte"] == 14 / 8
    # 32 tiles of 16 x 16 are 8 KiB; 1024 rows of 16 x 4 bytes 64 KiB: between 32 KiB and 1 MiB
    assert chip.spec.cost["weight_memory.read_byte"] == pytest.approx(7.5 / 8)
    between = 8.5 * (14 / 8.5) ** (1 / 5)
    assert chip.spec.cost["accumulator.read_byte"] == pytest.approx(between / 8, rel=1e-5)
    assert "all of it, assumed" in origin(chip, "cost.accumulator.read_byte").source


def test_what_no_table_has_is_null(tmp_path: Path) -> None:
    chip = loaded(tmp_path, ("jouppi-2021", "eyeriss-65"), ("7 nm", "65 nm"))
    for name in ("accumulator.add", "requantize.op", "mac.bf16"):
        assert chip.spec.cost[name] is None
    assert chip.spec.cost["mac.int8"] == 0.21


def test_two_families_stand_beside_each_other_only_with_a_reason(tmp_path: Path) -> None:
    both = ("table: jouppi-2021", "table: [cacti-7-hp, jouppi-2021]")
    assert refusal(tmp_path, both) == (
        "mine.yaml:7:3: cost.table must be of one family, not cacti-7-hp, horowitz, which "
        "differ several times on the same operation; say why in cost.mixed"
    )
    said = ("cost:", 'cost:\n  mixed: "memories by CACTI"')
    chip = loaded(tmp_path, both, said, ("7 nm", "22 nm"))
    assert chip.spec.cost["unified_buffer.read_byte"] == pytest.approx(21.091 / 8, rel=1e-5)
    assert chip.warnings == (
        "prices come of several tables, cacti-7-hp, horowitz: memories by CACTI",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("jouppi-2021", "jouppi-2020"),
            "mine.yaml:7:3: cost.table: no cost table 'jouppi-2020'; did you mean "
            "'jouppi-2021'?",
        ),
        (
            (", node: 7 nm", ""),
            "mine.yaml:7:3: cost.table needs chip.node, to scale by; add it, or give the "
            "prices",
        ),
        (
            ("7 nm", "5 nm"),
            "mine.yaml:7:3: cost.table can be scaled to nodes of 7 to 130 nm, not 5 nm; give "
            "the prices themselves",
        ),
        (
            ("hbm2", "hmb2"),
            "mine.yaml:8:3: cost.dram_kind must be of the table 'dram', not hmb2; did you mean "
            "'hbm2'?",
        ),
        (
            ("accumulator: 8 KiB", "accumulator: 8"),
            "mine.yaml:10:57: cost.banks.accumulator needs a unit, not 8; write '8 KiB'",
        ),
        (
            ("  table: jouppi-2021\n", ""),
            "mine.yaml:7:3: cost needs the key 'table'; add 'table: …'",
        ),
        (
            ("range: [0.4 pJ, 0.6 pJ]", "range: [0.6 pJ, 0.7 pJ]"),
            "mine.yaml:11:71: cost.mac.idle.range must be energies from below the value to "
            "above it, not [0.6 pJ, 0.7 pJ]; mend it",
        ),
        (
            ("range: [0.4 pJ, 0.6 pJ]", "range: 0.4 pJ"),
            "mine.yaml:11:71: cost.mac.idle.range must be the least and the most, not 0.4 pJ; "
            "write '[1 pJ, 2 pJ]'",
        ),
        (
            ("area: 5 mm2", "area: {value: 5 mm2, range: [4 mm2, 6 mm2]}"),
            "mine.yaml:12:29: chip.area.range can be given for a price or "
            "chip.static_power alone; remove it",
        ),
        (
            ("area: 5 mm2", "area: 5 mm2, static_power: {value: 3 W, range: [4 W, 5 W]}"),
            "mine.yaml:12:48: chip.static_power.range must be powers from below the value to "
            "above it, not [4 W, 5 W]; mend it",
        ),
        (
            ("area: 5 mm2", "area: 5 mm2, tdp: 0 W"),
            "mine.yaml:12:21: chip.tdp must be greater than 0 W, not 0 W; give a larger one",
        ),
        (
            ("  dram_kind", "  static.cycle: 3 pJ\n  dram_kind"),
            "mine.yaml:8:3: cost.static.cycle must be a power, chip.static_power, not an "
            "energy; write 'static_power: 28 W' under chip",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_at_its_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert refusal(tmp_path, change) == message


# area


def test_an_area_that_is_not_published_is_derived_by_unit(tmp_path: Path) -> None:
    chip = loaded(
        tmp_path,
        ("area: 5 mm2", "area: null"),
        ("table: jouppi-2021", "table: [cacti-7-hp, jouppi-2021]\n  mixed: both"),
        ("7 nm", "45 nm"),
    )
    pes = 256 * (282 + 137) * 1e-6
    mib = 3.5654  # of CACTI's bank of 1 MiB
    memories = mib * (1 + 4 * 256 / 2**20 + 1024 * 16 * 4 / 2**20)
    assert chip.spec.chip.area_mm2 == pytest.approx(pes + memories, rel=1e-5)
    assert origin(chip, "chip.area").grade == "derived"
    assert chip.warnings[1].startswith("the area is derived, not published: PEs' mult")


def test_an_area_without_areas_of_parts_stays_null(tmp_path: Path) -> None:
    assert loaded(tmp_path, ("area: 5 mm2", "area: null")).spec.chip.area_mm2 is None


# ranges and power


def test_the_range_of_an_energy_is_the_sum_of_its_prices_ranges(tmp_path: Path) -> None:
    chip = loaded(tmp_path)
    assert chip.ranges["mac.idle"] == (0.4, 0.6)
    assert chip.ranges["dram.read_byte"] == (250 / 8, 450 / 8)
    actions = {"mac.idle": 10, "accumulator.add": 100, "dram.read_byte": 2}
    low, high = 4.0 + 3.0 + 62.5, 6.0 + 3.0 + 112.5
    assert energy_range(actions, chip.spec.cost, chip.ranges) == pytest.approx((low, high))


def test_an_energy_without_ranges_or_with_an_unknown_price_has_none() -> None:
    assert energy_range({"a.x": 3}, {"a.x": 1.0}, {}) is None
    assert energy_range({"a.x": 0}, {"a.x": 1.0}, {"a.x": (0.0, 2.0)}) is None
    unknown = {"a.x": 1.0, "a.y": None}
    assert energy_range({"a.x": 1, "a.y": 1}, unknown, {"a.x": (0.0, 2.0)}) is None


def test_a_run_over_its_tdp_says_so() -> None:
    energy = Energy(3e12, {})  # 3 J
    assert power_warnings(energy, 1.0, 2.5) == (
        "the average power, 3 W, is over chip.tdp, 2.5 W: the prices are too high together or "
        "the chip would lower its clock, so time is a lower bound",
    )
    for time_s, tdp_w in ((1.0, 3.0), (1.0, None), (2.0, 2.5)):
        assert power_warnings(energy, time_s, tdp_w) == ()
    assert power_warnings(Energy(None, {}), 1.0, 2.5) == ()
