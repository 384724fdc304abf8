"""The page of `validate`: what docs/validation.md says is what the suites give."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tetrapla import published
from tetrapla.validation import Row, suites
from tetrapla.validation_page import LISTED, markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validation.md"
ROW = Row("energy", "chip", "power", "W", 2.0, 2.1, 0.1, "a | paper")


def lines(*rows: Row) -> list[str]:
    return markdown(rows).splitlines()


def test_the_page_in_the_documents_is_what_the_suites_give(
    shipped: Callable[[str], list[Row]],
) -> None:
    rows = [row for name in suites() for row in shipped(name)]
    again = "write it again: tetrapla validate --page docs/validation.md"
    assert PAGE.read_text("utf-8") == markdown(rows), again


def test_the_figures_that_a_report_page_shows_are_what_the_suites_give(
    shipped: Callable[[str], list[Row]],
) -> None:
    rows = [row.to_dict() for name in suites() for row in shipped(name)]
    new, old = json.loads(published.written(rows))["rows"], published.kept()
    again = "write them again: python -m tetrapla.published"
    assert [row["chip"] for row in new] == [row["chip"] for row in old], again
    for made, held in zip(new, old, strict=True):
        assert made["ours"] == pytest.approx(held["ours"], rel=1e-4, abs=1e-12), again
        assert {**made, "ours": 0.0} == {**held, "ours": 0.0}, again


def test_a_row_shows_both_numbers_its_error_and_its_source() -> None:
    found = lines(ROW)
    assert "| chip | power | 2 W | 2.1 W | +5 % | 10 % | a \\| paper |" in found
    assert "| power, W | 1 | 1 of 1 | 5 % | 10 % |  |" in found
    assert "| [energy](#energy) | 1 | 1 | 1 of 1 |" in found


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (replace(ROW, ours=3.0), "2 W | 3 W | +50 % | 10 %: FAILED"),
        (replace(ROW, bound=None), "2 W | 2.1 W | +5 % | informs"),
        (replace(ROW, ours=None), "2 W | n/a | n/a | 10 %: FAILED"),
        (replace(ROW, published=None, bound=None), "n/a | 2.1 W | n/a | informs"),
        (replace(ROW, ours=2.0, bound=0.0), "2 W | 2 W | 0 | 0"),
        # a rounding depends on the processor, so its digits are not shown
        (replace(ROW, ours=2.0 + 1e-12, bound=1e-10), "2 W | 2 W | < 1e-09 | 1.0e-10"),
        (replace(ROW, ours=2.0 + 1e-5), "2 W | 2 W | 5e-06 | 10 %"),
        (replace(ROW, published=0.0, ours=1e-14), "0 W | below 1e-09 | inf % | 10 %: FAILED"),
    ],
)
def test_an_error_is_shown_to_the_digits_that_mean_something(row: Row, cells: str) -> None:
    assert f"| chip | power | {cells} | a \\| paper |" in [
        line.replace("+inf", "inf") for line in lines(row)
    ]


def test_a_failed_row_is_not_counted_as_passed() -> None:
    found = lines(ROW, replace(ROW, ours=3.0), replace(ROW, ours=4.0, bound=None))
    assert "| [energy](#energy) | 3 | 2 | 1 of 2 |" in found
    assert "| power, W | 3 | 1 of 2 | 50 % | 10 % | 1e+02 % |" in found


def test_a_long_quantity_is_summed_up() -> None:
    assert not [line for line in lines(*[ROW] * (LISTED + 1)) if line.startswith("| chip |")]
    assert len([line for line in lines(*[ROW] * LISTED) if line.startswith("| chip |")]) == 40


def test_the_command_writes_the_page(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    assert cli("validate", "energy", "--page", path).status == 0
    assert path.read_text("utf-8").count("\n## ") == 1
