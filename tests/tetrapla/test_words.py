"""Small parts that everything shown is made of: figures, names of designs, origins, tables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla import quantities, table
from tetrapla.backends.target_ import find, targets
from tetrapla.comparison import bound_by
from tetrapla.designs import design, designs
from tetrapla.origins import provenance, references
from tetrapla.progress import bar, silent
from tetrapla.simulators.spec_ import chips


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0.0, "0 s"),
        (1.0, "1.00 s"),
        (12.34e-6, "12.3 us"),
        (999.4e-9, "999 ns"),
        (999.6e-9, "1.00 us"),
        (1e-3, "1.00 ms"),
        (2.5e13, "25.0 Ts"),
        (3e-19, "0.30 as"),
    ],
)
def test_a_quantity_has_three_digits(value: float | None, text: str) -> None:
    assert quantities.quantity(value, "s") == text


@given(st.floats(1e-17, 1e14))
def test_a_quantity_is_its_number(value: float) -> None:
    digits, unit = quantities.quantity(value, "s").split()
    power = dict(zip("afpnum", range(-18, 0, 3), strict=True)) | {
        "k": 3,
        "M": 6,
        "G": 9,
        "T": 12,
    }
    scale = 10.0 ** power.get(unit.removesuffix("s"), 0)
    assert float(digits) * scale == pytest.approx(value, rel=5.1e-3)


def test_decades_areas_and_shares() -> None:
    assert [quantities.decade(k, "J") for k in (-6, -5, -4, 0, 2)] == [
        *("1 uJ", "10 uJ", "100 uJ", "1 J", "100 J")
    ]
    areas = [None, 60.0, 85.4, 331.0, 1234.5]
    assert [quantities.area(a) for a in areas] == [
        *("n/a", "60 mm2", "85.4 mm2", "331 mm2", "1,234 mm2")
    ]
    shares = [None, 0.0, 1e-7, 4e-5, 0.01234, 1.0]
    assert [quantities.share(s) for s in shares] == [
        *("n/a", "0.0 %", "<0.001 %", "0.004 %", "1.2 %", "100.0 %")
    ]


def test_a_check_says_what_was_found() -> None:
    exact = {"kind": "bit_exact", "mismatches": 3, "max_rel_error": None, "bound": None}
    near = {"kind": "tolerance", "mismatches": 0, "max_rel_error": 1e-4, "bound": 2e-3}
    assert quantities.check(None) == "n/a"
    assert quantities.check({**exact, "passed": False}) == "bit-exact, 3 differ: FAILED"
    assert quantities.check({**near, "passed": True}) == "tolerance 1.0e-04 ≤ 2.0e-03: passed"
    assert quantities.check({**near, "passed": True}, short=True) == "tolerance: passed"
    noisy = {"kind": "statistical", "mismatches": 0, "max_rel_error": 2.53, "bound": 6.3}
    assert quantities.check({**noisy, "passed": True}) == "statistical 2.5 ≤ 6.3 σ: passed"


def test_a_report_is_bound_by_what_takes_most_cycles() -> None:
    rows = [{"bound_by": name, "cycles": n} for name, n in (("a", 5), ("b", 4), ("b", 4))]
    assert bound_by({"layers": rows}) == "b"
    assert bound_by({"layers": []}) is None


@pytest.mark.parametrize("name", targets())
def test_every_target_is_called_by_its_chip(name: str) -> None:
    assert design(name).label in chips()


def test_designs_that_share_a_name_are_called_as_they_were_given(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        text = chips()["tpu-v1"].read_text("utf-8").replace("name: tpu-v1", "name: mine")
        (tmp_path / name).write_text(text, "utf-8")
    paths = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    assert [each.label for each in designs(paths[:1])] == ["mine"]
    assert [each.label for each in designs(paths)] == paths
    assert [each.label for each in designs(["tpu-v1", "systolic"])] == ["tpu-v1", "systolic"]


def test_the_head_of_a_yaml_explains_its_short_names() -> None:
    text = (
        "# A chip. [paper]: A. Author,\n# ISCA 2017. [table]: B. Author, 2021.\n#\n"
        "# Prose about [paper].\nname: x  # [late]: not in the head\n"
    )
    assert references(text) == {"paper": "A. Author, ISCA 2017", "table": "B. Author, 2021"}


@pytest.mark.parametrize("name", chips())
def test_no_source_keeps_a_name_that_the_head_explains(name: str) -> None:
    _, chip = find(name)
    known = references(chip.text)
    found = provenance(chip)
    assert len(found) == len(chip.provenance)
    for entry in found:
        assert not any(f"[{short}]" in entry.source for short in known)


class Terminal:
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_progress_is_for_a_terminals_stderr_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with bar(3) as step:
        step("silent", 1)
        assert step is silent
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with bar(2) as step:
        step("m[x].onnx on loihi", 1)
        step("m[x].onnx on loihi", 1)
    assert "m[x].onnx on loihi" in terminal.text
    assert "2/2" in terminal.text
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_colour_and_its_width(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    table.show_rows("a title that is longer", ("name", "text"), [("a", 60 * "b")])
    assert "\x1b[1m" in terminal.text
    # what does not fit is folded, never cut
    assert terminal.text.count("b") == 60
    assert max(map(len, terminal.text.splitlines()[3:])) <= 40
