"""The manuals say what the classes say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tetrapla import glossary
from tetrapla.columns import every
from tetrapla.ir import manual
from tetrapla.ir.op import OPS
from tetrapla.passes import manual_
from tetrapla.passes.pass_ import passes

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize(
    ("name", "module", "made"),
    [
        ("operators.md", "tetrapla.ir.manual", manual.markdown),
        ("passes.md", "tetrapla.passes.manual_", manual_.markdown),
        ("glossary.md", "tetrapla.glossary", glossary.markdown),
    ],
)
def test_the_manual_is_made_from_the_classes(
    name: str, module: str, made: Callable[[], str]
) -> None:
    again = f"write it again: python -m {module} > docs/{name}"
    assert (DOCS / name).read_text("utf-8") == made(), again


def test_every_operator_and_pass_has_a_text_of_its_own() -> None:
    for kind, op in OPS.items():
        assert "__doc__" in vars(op), kind
        assert (vars(op)["__doc__"] or "").strip(), kind
    for name, pass_ in passes().items():
        assert (vars(pass_).get("__doc__") or "").strip(), name


def test_every_column_has_a_sentence_in_the_glossary() -> None:
    assert [each.key for each in every() if each.heading and not each.about] == []


def test_a_signature_shows_what_may_be_absent_and_bodies() -> None:
    assert manual.signature("nn.layer_norm") == "(x, scale, [bias]) {axis, epsilon} -> y"
    assert manual.signature("nn.while") == (
        "([x0], ..., [x31]) {carried, most} bodies condition, step -> [y0], ..., [y31]"
    )
