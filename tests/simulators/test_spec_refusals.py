"""What is said of a chip with a wrong field, override or name, in full."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.simulators.toy_chip import TEXT, Array, Memories, Toy, complaint, written
from tetrapla.ir.errors import RegistryError, SpecError
from tetrapla.simulators import spec_
from tetrapla.simulators.spec_ import Spec, family_of, load_spec


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
        "mine.yaml:9:11: bits[1] must be a whole number without a unit, not 'x'; write "
        "digits alone, 64\n"
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
        ("700 MHz", ".nan", "7:1: clock must be finite, not .nan; write '64 MHz'"),
        ("700 MHz", "1e999 MHz", "7:1: clock must be at most 1e+30 Hz, not 1e999 MHz; "
         "give a smaller one"),
        ("64 KiB", "0.3 B", "8:12: memories.unified_buffer must be a whole number of bytes, "
         "not 0.3 B; round it"),
        ("64 KiB", "64 KB", "8:12: memories.unified_buffer must be in bytes, not '64 KB'; "
         "did you mean 'kB'?"),
        ("cols: 128", "cols: true", "5:3: array.cols must be a whole number without a unit, "
         "not true; write digits alone, 64"),
        ("cols: 128", "cols: 128.5", "5:3: array.cols must be a whole number without a unit, "
         "not 128.5; write digits alone, 64"),
        ("cols: 128", "cols: '128'", "5:3: array.cols must be a whole number without a unit, "
         "not '128'; write digits alone, 64"),
        ("name: mine", "name: 3", "1:1: name must be text, not 3; write a name, in quotes "
         "where it looks like a number"),
        ("family: toy", "family: [a]", "2:1: family must be text, not [a]; write a name, in "
         "quotes where it looks like a number"),
        (
            "memories: {unified_buffer: 64 KiB}",
            "memories: 3",
            "8:1: memories must be a section, not 3; write its keys on lines of their own "
            "below it",
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
        "mine.yaml:1:1: the file needs the key 'family'; add 'family: …'"
    )


def test_python_is_checked_too() -> None:
    with pytest.raises(ValidationError):
        Array(rows=0, cols=1, dataflow="weight_stationary")
    with pytest.raises(ValidationError):
        Memories.model_validate({"unified_buffer_bytes": True})


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
