"""Chips from YAML: values, units, sources, and the full text of every complaint."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from tetrapla.ir.errors import RegistryError, SpecError
from tetrapla.simulators import spec_
from tetrapla.simulators.spec_ import (
    Bits,
    Bytes,
    Count,
    Fraction,
    Hertz,
    Number,
    Picojoules,
    Provenance,
    Seconds,
    Section,
    Spec,
    SquareMillimetres,
    Volts,
    chips,
    dump,
    family_of,
    load_spec,
    unsourced,
)
from tetrapla.simulators.units_ import FROM_YAML, UNITS, Unit
from tetrapla.simulators.yaml_ import MOST_BYTES, read_text

TEXT = """\
name: mine
family: toy
array:
  rows: {value: 256, source: "[paper] section 2", grade: published}
  cols: 128
  dataflow: weight_stationary
clock: 700 MHz
memories: {unified_buffer: 64 KiB}
bits: [1, 2]
cost:
  mac.int8: {value: 0.3 pJ, source: "[table]", grade: derived}
  dram.read_byte: null
chip: {area: null, default_format: int8, node: 28 nm}
"""


class Array(Section):
    rows: Annotated[Count, Field(ge=1)]
    cols: Count
    dataflow: Literal["weight_stationary", "output_stationary"]

    @model_validator(mode="after")
    def _square_enough(self) -> Array:
        if self.rows > 4 * self.cols:
            raise ValueError(f"array.rows must be at most 4 cols, not {self.rows}")
        return self


class Memories(Section):
    unified_buffer_bytes: Bytes = Field(alias="unified_buffer")


class Toy(Spec):
    array: Array
    clock_hz: Hertz = Field(alias="clock", gt=0)
    memories: Memories
    bits: tuple[Count, ...]
    latency_s: Seconds | None = Field(default=None, alias="latency")
    gain: Number = Field(default=2.5, description="[note] equation 3")
    duty_frac: Fraction = Field(default=0.5, alias="duty")


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(folder: Path, old: str, new: str, *overrides: str) -> str:
    """Return what is said of TEXT with one change, read as ``mine.yaml``."""
    assert old in TEXT
    written(folder, TEXT.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy, overrides)
    return str(caught.value)


# values


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


# what is refused, in full


def test_a_bare_number_needs_its_unit(folder: Path) -> None:
    assert complaint(folder, "64 KiB", "64") == (
        "mine.yaml:8:12: memories.unified_buffer needs a unit, not 64; write '64 KiB'"
    )


def test_a_misspelt_key_is_one_complaint(folder: Path) -> None:
    assert complaint(folder, "  cols:", "  colums:") == (
        "mine.yaml:5:3: array has no key 'colums'; did you mean 'cols'?"
    )


def test_a_python_name_is_not_a_key(folder: Path) -> None:
    assert complaint(folder, "clock: 700 MHz", "clock_hz: 700 MHz") == (
        "mine.yaml:7:1: the file has no key 'clock_hz'; did you mean 'clock'?"
    )


def test_all_defects_are_reported_in_the_order_of_the_file(folder: Path) -> None:
    text = TEXT.replace("cols: 128", "cols: -1").replace("[1, 2]", "[1, x]")
    written(folder, text.replace("700 MHz", "700 MHzz"))
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy, ["memories.unified_buffer=3"])
    assert str(caught.value) == (
        "mine.yaml:5:3: array.cols must be at least 0, not -1; give a larger one\n"
        "mine.yaml:7:1: clock must be in Hz, not '700 MHzz'; did you mean 'MHz'?\n"
        "mine.yaml:9:11: bits[1] must be a whole number without a unit, not 'x'\n"
        "--set memories.unified_buffer needs a unit, not 3; write '3 KiB'"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  cols: 128\n", "", "3:1: array needs the key 'cols'; add 'cols: …'"),
        (
            "value: 256",
            "value: 0",
            "4:3: array.rows must be at least 1, not 0; give a larger one",
        ),
        (
            "value: 256",
            "value: 900",
            "4:3: array.rows must be at most 4 cols, not 900",
        ),
        (
            "weight_stationary",
            "weight_stationery",
            "6:3: array.dataflow must be 'weight_stationary' or 'output_stationary', "
            "not 'weight_stationery'; did you mean 'weight_stationary'?",
        ),
        (
            "700 MHz",
            "0 MHz",
            "7:1: clock must be greater than 0 Hz, not 0 MHz; give a larger one",
        ),
        (
            "700 MHz",
            "-3 MHz",
            "7:1: clock must be greater than 0 Hz, not -3 MHz; give a larger one",
        ),
        (
            "700 MHz",
            "fast",
            "7:1: clock must be a number with a unit, not 'fast'; write '64 MHz'",
        ),
        (
            "700 MHz",
            "null",
            "7:1: clock must be a number with a unit, not null; write '64 MHz'",
        ),
        (
            "700 MHz",
            "[700 MHz]",
            "7:1: clock must be a number with a unit, not [700 MHz]; write '64 MHz'",
        ),
        ("700 MHz", ".nan", "7:1: clock must be finite, not .nan"),
        ("700 MHz", "1e999 MHz", "7:1: clock must be at most 1e+30 Hz, not 1e999 MHz"),
        ("64 KiB", "0.3 B", "8:12: memories.unified_buffer must be a whole number of bytes, "
         "not 0.3 B"),
        ("64 KiB", "64 KB", "8:12: memories.unified_buffer must be in bytes, not '64 KB'; "
         "did you mean 'kB'?"),
        ("cols: 128", "cols: true", "5:3: array.cols must be a whole number without a unit, "
         "not true"),
        ("cols: 128", "cols: 128.5", "5:3: array.cols must be a whole number without a unit, "
         "not 128.5"),
        ("cols: 128", "cols: '128'", "5:3: array.cols must be a whole number without a unit, "
         "not '128'"),
        ("name: mine", "name: 3", "1:1: name must be text, not 3"),
        ("family: toy", "family: [a]", "2:1: family must be text, not [a]"),
        (
            "memories: {unified_buffer: 64 KiB}",
            "memories: 3",
            "8:1: memories must be a section, not 3",
        ),
        (
            "grade: published",
            "grade: publisht",
            "4:51: array.rows.grade must be measured, published, derived or assumed, "
            "not 'publisht'; did you mean 'published'?",
        ),
        (
            "grade: published",
            "graed: published",
            "4:51: array.rows has no key 'graed'; did you mean 'grade'?",
        ),
        ("dram.read_byte: null", "dram: 3 pJ", "12:3: cost.dram must be an action, "
         "unit.action in small letters, not 'dram'; write 'mac.int8'"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(folder: Path, old: str, new: str, message: str) -> None:
    assert complaint(folder, old, new) == "mine.yaml:" + message


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("array.rows=0", "--set array.rows must be at least 1, not 0; give a larger one"),
        ("array.rosw=3", "--set array.rosw must name a field of the chip; "
         "did you mean 'array.rows'?"),
        ("cost.mac.int8=3", "--set cost.mac.int8 needs a unit, not 3; write '3 pJ'"),
        ("cost.mac.int4=3 pJ", "--set cost.mac.int4 must name a field of the chip; "
         "did you mean 'cost.mac.int8'?"),
        ("array=3", "--set array must name a value, not a section; set its own fields"),
        ("array", "--set must be FIELD=VALUE, not 'array'; write 'array.rows=128'"),
        ("clock={a: 1}", "--set clock needs a value, not a section; set its own fields"),
        ("clock=*x", "--set clock: a chip must do without anchors and aliases, not use 'x'; "
         "write the value out"),
        ("clock=", "--set clock must be a number with a unit, not null; write '64 MHz'"),
        ("clock=1 Hz\nx: 2", "--set clock needs one value, not several lines; "
         "use --set for each"),
        ("clock=a: b", "--set clock: its value must be YAML: mapping values are not allowed "
         "here"),
        ("latency_s=1 ns", "--set latency_s must name a field of the chip; there are: "
         "array.cols, array.dataflow, array.rows, bits, chip.area, chip.default_format, "
         "chip.node, clock, cost.dram.read_byte, cost.mac.int8, family, "
         "memories.unified_buffer, name"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_named(folder: Path, assignment: str, message: str) -> None:
    written(folder, TEXT)
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy, [assignment])
    assert str(caught.value) == message


def test_overrides_replace_values_and_add_optional_ones(folder: Path) -> None:
    assignments = ["array.rows=128", "cost.mac.int8=1 pJ", "latency=4 ns", "bits=[3]"]
    spec = load_spec(written(folder, TEXT), Toy, assignments).spec
    assert (spec.array.rows, spec.cost["mac.int8"], spec.latency_s) == (128, 1.0, 4e-9)
    assert spec.bits == (3,)


# hostile files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\nb: 4\n",
         "m.yaml:3:1: the key 'a' must be given once, not again after line 1; remove one\n"
         "m.yaml:4:1: the key 'b' must be given once, not again after line 2; remove one"),
        ("a: &x [1]\nb: [*x, *x]\n",
         "m.yaml:1:4: a chip must do without anchors and aliases, not use 'x'; "
         "write the value out"),
        ("a: !!python/name:os.system\n",
         "m.yaml:1:4: a chip must do without tags, not use "
         "'tag:yaml.org,2002:python/name:os.system'; write the plain value"),
        ("[" * 100_000, "m.yaml:1:17: a chip must nest at most 16 deep, not deeper"),
        ("a: 1\n---\nb: 2\n", "m.yaml:2:1: the file must hold one document, not several"),
        ("", "m.yaml:1:1: the file must hold keys and values, not nothing; "
         "start with 'name: …' and 'family: …'"),
        ("- 1\n", "m.yaml:1:1: the file must hold keys and values, not a list; "
         "start with 'name: …' and 'family: …'"),
        ("{a: 1}: 2\n", "m.yaml:1:1: a key must be text, not a section"),
        ("a: 'x\n", "m.yaml:2:1: the file must be YAML: found unexpected end of stream"),
        ('a: "\\ud800"\n', "m.yaml:1:4: text must be Unicode, not half a surrogate"),
        ("a: [" + "1," * 100_000 + "]",
         "m.yaml:1:8195: a chip must have at most 4096 keys and values, not more; remove what "
         "it does not need"),
    ],
)  # fmt: skip
def test_a_hostile_text_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(text, "m.yaml")
    assert str(caught.value) == message


def test_no_more_defects_are_listed_than_a_person_reads() -> None:
    with pytest.raises(SpecError) as caught:
        read_text("a: 1\n" + "a: 2\n" * 1000, "m.yaml")
    first, *others = str(caught.value).splitlines()
    assert first == (
        "m.yaml:2:1: the key 'a' must be given once, not again after line 1; remove one"
    )
    assert len(others) == 20
    assert others[-1] == "and 980 more; mend these first"


@given(st.text(alphabet="ab:{}[]-?&*!|>'\"%@`#, \n\t.\x00\ufeff1", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    refusal = "m.yaml:"
    try:
        read_text(text, "m.yaml")
    except SpecError as error:
        refusal = str(error)
    assert refusal.startswith("m.yaml:")


def test_escapes_of_a_terminal_are_not_repeated(folder: Path) -> None:
    assert complaint(folder, "name: mine", '"\\e[31mx": 1\nname: mine') == (
        "mine.yaml:1:1: the file has no key '.[31mx'; it can have: array, bits, chip, clock, "
        "cost, duty, family, gain, latency, memories, name"
    )


def test_a_file_too_large_is_not_read(folder: Path) -> None:
    written(folder, "#" * (MOST_BYTES + 1))
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy)
    assert str(caught.value) == "mine.yaml must have at most 262144 bytes, not 262145"


def test_bytes_that_are_not_text_are_refused(folder: Path) -> None:
    (folder / "mine.yaml").write_bytes(b"name: \xff")
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy)
    assert str(caught.value) == "mine.yaml must be UTF-8 text, not bytes like 0xff"


def test_a_missing_file_and_a_folder_are_refused(folder: Path) -> None:
    (folder / "dir.yaml").mkdir()
    for name in ("none.yaml", "dir.yaml"):
        with pytest.raises(SpecError) as caught:
            load_spec(name, Toy)
        assert str(caught.value) == f"{name} must be a file, and there is none; check the path"


def test_an_unknown_chip_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec_, "chips", lambda: {"tpu-v1": Path("tpu-v1.yaml")})
    for name, hint in {
        "tpu-v2": "; did you mean 'tpu-v1'?",
        "x": "; there are: tpu-v1",
    }.items():
        with pytest.raises(RegistryError) as caught:
            load_spec(name, Toy)
        assert str(caught.value) == f"no chip '{name}'{hint}"


def test_a_family_is_needed(folder: Path) -> None:
    assert family_of(written(folder, TEXT)) == "toy"
    written(folder, "name: x\n")
    with pytest.raises(SpecError) as caught:
        family_of("mine.yaml")
    assert str(caught.value) == (
        "mine.yaml:1:1: family must be the name of a family; add 'family: …'"
    )


def test_python_is_checked_too() -> None:
    with pytest.raises(ValidationError):
        Array(rows=0, cols=1, dataflow="weight_stationary")
    with pytest.raises(ValidationError):
        Memories.model_validate({"unified_buffer_bytes": True})


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


def test_a_family_cannot_be_set() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec("h100", Spec, ["family=systolic"])
    assert str(caught.value).splitlines()[-1] == (
        "--set family must stay as it is; name a chip of the other family instead"
    )


def test_an_unknown_family_is_refused_at_its_place(folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        family_of(written(folder, "name: a\nfamily: sistolic\n"), ["gpu", "systolic"])
    assert str(caught.value).endswith(
        ":2:9: family must be gpu, systolic, not 'sistolic'; did you mean 'systolic'?"
    )
