"""Notebooks: what shows itself, and the example, cell by cell without a kernel."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import tetrapla
from tests.tetrapla.conftest import EXAMPLES

NOTEBOOK = EXAMPLES / "first_look.ipynb"


class Balanced(HTMLParser):
    """Fails where a tag closes that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """Nothing is left open."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def html(shown: Any) -> str:
    """What a notebook shows, whose tags all close."""
    text: str = shown._repr_html_()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert "http" not in text.replace("http://www.w3.org", "") or "<pre>" in text
    return text


def test_a_model_shows_its_operators_and_its_text(cnn: str) -> None:
    shown = html(tetrapla.load(cnn))
    assert shown.startswith("<h3>digits_cnn: ")
    assert "3 nn.conv2d" in shown
    assert "<td>1 x 1 x 8 x 8</td>" in shown
    assert "&quot;nn.conv2d&quot;" in shown


def test_a_chip_shows_its_numbers_with_sources() -> None:
    shown = html(tetrapla.chip("tpu-v1", ["array.rows=64"]))
    assert "<h3>tpu-v1, systolic</h3>" in shown
    assert "<td>clock</td><td>700 MHz</td><td>published</td>" in shown
    assert "# --set array.rows=64" in shown


def test_a_sweep_shows_its_points_and_a_picture(mlp: str) -> None:
    grid = {"array.rows": [16, 32], "array.cols": [16]}
    swept = tetrapla.sweep(mlp, "tpu-v1", grid, ["latency", "energy"])
    shown = html(swept)
    assert "on tpu-v1: 2 points" in shown
    assert shown.count("<tr") == 3
    assert "font-weight: bold" in shown
    assert "<svg " in shown
    one = tetrapla.sweep(mlp, "tpu-v1", grid, ["latency"])
    assert "<svg " not in html(one)  # nothing to draw over


def cells() -> Iterator[dict[str, Any]]:
    held: dict[str, Any] = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (held["nbformat"], held["nbformat_minor"]) == (4, 5)
    yield from held["cells"]


def test_the_example_has_no_outputs_in_it() -> None:
    names = [cell["id"] for cell in cells()]
    assert len(set(names)) == len(names)
    for cell in cells():
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_every_cell_of_the_example_runs_and_shows_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib", reason="the example draws: needs the extra plot")
    pytest.importorskip("pandas", reason="the example has a data frame: needs the extra test")
    monkeypatch.chdir(EXAMPLES)
    names: dict[str, Any] = {}
    shown = 0
    for cell in cells():
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        if last is not None:
            assert isinstance(last, ast.Expr)
            value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
            kind = "_repr_svg_" if hasattr(value, "_repr_svg_") else "_repr_html_"
            assert getattr(value, kind)()
            shown += 1
    assert shown == 6
    left: set[Path] = {path for path in EXAMPLES.iterdir() if path.suffix in (".json", ".svg")}
    assert left == set()
