"""Chips from YAML: values, units and sources."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.simulators.toy_chip import TEXT, Memories, Toy, written
from tetrapla.simulators import spec_
from tetrapla.simulators.spec_ import (
    Bits,
    Bytes,
    Fraction,
    Hertz,
    Number,
    Picojoules,
    Provenance,
    Seconds,
    SquareMillimetres,
    Volts,
    chips,
    dump,
    load_spec,
    unsourced,
)
from tetrapla.simulators.units_ import FROM_YAML, UNITS, Unit


def test_a_chip_is_read_into_base_units(folder: Path) -> None:
    loaded = load_spec(written(folder, TEXT), Toy)
    spec = loaded.spec
    assert loaded.name == spec.name == "mine"
    assert (spec.array.rows, spec.clock_hz, spec.bits) == (256, 700e6, (1, 2))
    assert spec.memories.unified_buffer_bytes == 64 * 1024
    assert spec.cost == {"mac.int8": 0.3, "dram.read_byte": None}
    assert (spec.chip.area_mm2, spec.chip.node_nm, spec.latency_s) == (None, 28.0, None)
    assert spec.ideal() is spec
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_every_number_has_its_origin(folder: Path) -> None:
    assert load_spec(written(folder, TEXT), Toy, ["array.cols=64"]).provenance == (
        Provenance("array.rows", "256", "", "[paper] section 2", "published"),
        Provenance("array.cols", "64", "", "", "user"),
        Provenance("clock", "700", "MHz", "", "user"),
        Provenance("memories.unified_buffer", "64", "KiB", "", "user"),
        Provenance("bits", "[1, 2]", "", "", "user"),
        Provenance("cost.mac.int8", "0.3", "pJ", "[table]", "derived"),
        Provenance("cost.dram.read_byte", "null", "", "", "user"),
        Provenance("chip.area", "null", "", "", "user"),
        Provenance("chip.node", "28", "nm", "", "user"),
        Provenance("gain", "2.5", "", "[note] equation 3", "assumed"),
        Provenance("duty", "0.5", "", "the program's default for Toy", "assumed"),
    )


def test_a_dump_is_the_file_with_the_overrides_above(folder: Path) -> None:
    loaded = load_spec(written(folder, TEXT), Toy, ["array.cols=64"])
    assert dump(loaded) == "# --set array.cols=64\n" + TEXT
    assert load_spec(written(folder, dump(loaded), "again.yaml"), Toy).spec.array.cols == 128


def test_python_gives_numbers_in_the_base_unit() -> None:
    made = Memories.model_validate({"unified_buffer_bytes": 65536})
    assert made.unified_buffer_bytes == 65536


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Hertz, "700 MHz", 700e6),
        (Hertz, "1.2 GHz", 1.2e9),
        (spec_.BytesPerSecond, "34 GB/s", 34e9),
        (spec_.BytesPerSecond, "1 KiB/s", 1024.0),
        (spec_.BytesPerSecond, "8 Gbit/s", 1e9),
        (Bytes, "64 KiB", 65536),
        (Bytes, "64 kB", 64000),
        (Bytes, "1.5 MiB", 1572864),
        (Picojoules, "0.3 pJ", 0.3),
        (Picojoules, "3 fJ", 0.003),
        (Picojoules, "13.4 nJ", 13400.0),
        (SquareMillimetres, "331 mm2", 331.0),
        (SquareMillimetres, "25 um2", 25e-6),
        (spec_.Nanometres, "28 nm", 28.0),
        (Seconds, "100 ns", 1e-7),
        (spec_.Watts, "40 W", 40.0),
        (spec_.Siemens, "25 uS", 25e-6),
        (Volts, "-0.2 V", -0.2),
        (Bits, "16 bit", 16),
        (Bits, "16bit", 16),
        (spec_.Ohms, "5 kohm", 5000.0),
        (Fraction, "50 %", 0.5),
        (Fraction, ".5 %", 0.005),
        (Fraction, "5. %", 0.05),
        (Hertz, "0 Hz", 0.0),
        (Hertz, "0e-99 Hz", 0.0),
        (Hertz, "1e-30 Hz", 1e-30),
    ],
)
def test_quantities_become_numbers(kind: Any, text: str, value: float) -> None:
    assert TypeAdapter(kind).validate_python(text, context={FROM_YAML: True}) == value


@pytest.mark.parametrize(
    ("kind", "text", "rule"),
    [
        (Fraction, "1.2.3 %", "must be a number without a unit"),
        (Fraction, ". %", "must be a number without a unit"),
        (Number, "1..2%", "must be a number without a unit"),
        (Hertz, "1e-300 Hz", "must be 0 or at least 1e-30 Hz"),
        (Hertz, "1e-99999999999999999999 MHz", "must be 0 or at least 1e-30 Hz"),
        (spec_.BytesPerSecond, "1e-400 GB/s", "must be 0 or at least 1e-30 bytes/s"),
        (Volts, "-1e-31 V", "must be 0 or at least 1e-30 V"),
        (Hertz, "1e31 Hz", "must be at most 1e+30 Hz"),
        (Hertz, "1e99999999999999999999 Hz", "must be at most 1e+30 Hz"),
    ],
)
def test_quantities_that_no_chip_has_are_refused(kind: Any, text: str, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(text, context={FROM_YAML: True})
    assert [found["msg"] for found in caught.value.errors()] == [rule]


@given(st.decimals(min_value=0, max_value=10**6, places=3), st.sampled_from("num"))
def test_a_quantity_is_the_float_nearest_to_what_is_written(
    number: object, prefix: str
) -> None:
    power = {"n": "e-9", "u": "e-6", "m": "e-3"}[prefix]
    adapter: TypeAdapter[float] = TypeAdapter(Seconds)
    assert adapter.validate_python(f"{number} {prefix}s") == float(f"{number}{power}")


def test_overrides_replace_values_and_add_optional_ones(folder: Path) -> None:
    assignments = ["array.rows=128", "cost.mac.int8=1 pJ", "latency=4 ns", "bits=[3]"]
    spec = load_spec(written(folder, TEXT), Toy, assignments).spec
    assert (spec.array.rows, spec.cost["mac.int8"], spec.latency_s) == (128, 1.0, 4e-9)
    assert spec.bits == (3,)


# every chip


def test_a_number_without_source_or_grade_is_found(folder: Path) -> None:
    assert unsourced(written(folder, TEXT)) == [
        "array.cols", "clock", "memories.unified_buffer", "bits", "chip.node"
    ]  # fmt: skip
    planted = TEXT.replace(", grade: published", "").replace('source: "[table]", ', "")
    assert unsourced(written(folder, planted))[:1] == ["array.rows"]
    assert "cost.mac.int8" in unsourced(written(folder, planted))


@pytest.mark.parametrize("name", chips())
def test_every_number_of_every_chip_names_its_source(name: str) -> None:
    assert unsourced(chips()[name]) == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.base)
def test_every_unit_suggests_one_that_it_takes(unit: Unit) -> None:
    assert unit.usual in unit.factors
    assert all(factor > 0 for factor in unit.factors.values())
