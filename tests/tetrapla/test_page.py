"""The report page: whole, escaped, and fetching nothing."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from tetrapla.comparison import verdict
from tetrapla.drawing import charts
from tetrapla.page import page

NAMESPACE = "http://www.w3.org/2000/svg"
EVIL = "<script>alert('x')</script>&\"\n"
VOID = {"meta", "br", "link", "img"}


def report(**changes: Any) -> dict[str, Any]:
    """A report as its JSON has it."""
    layer = {"name": "fc", "op": "nn.matmul", "cycles": 10, "macs": 640}
    layer |= {"utilization_frac": 0.5, "bound_by": "memory", "energy_pj": 5.0}
    check = {"kind": "bit_exact", "mismatches": 0, "max_rel_error": None}
    return {
        "schema": "tetrapla.report/1",
        "model": "m",
        "target": "t",
        "family": "systolic",
        "command": "tetrapla compare m.onnx",
        "seed": 0,
        "batch": 1,
        "cycles": 10,
        "time_s": 1e-6,
        "energy_pj": {"total": 7.0, "by_unit": {"mac": 5.0, "static": 2.0}, "range": None},
        "area_mm2": 331.0,
        "accuracy": {
            "reference": 0.98,
            "target": 0.97,
            "target_std": None,
            "seeds": 1,
            "samples": 100,
        },
        "cross_check": {**check, "bound": None, "passed": True},
        "layers": [layer],
        "warnings": ["mind the gap"],
        "provenance": [
            {
                "field": "clock",
                "value": "700",
                "unit": "MHz",
                "source": "Jouppi 2017",
                "grade": "published",
            }
        ],
        **changes,
    }


class Elements(HTMLParser):
    """Every tag with its attributes; refuses a page that is not nested well."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_nothing_is_fetched() -> None:
    text = page([report(), report(target="u", time_s=2e-6)])
    for tag, attributes in Elements(text).found:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    # the name of SVG, which a saved chart begins with, is nowhere to be fetched from
    assert not re.search(r"url\(|@import|https?:", text.replace(NAMESPACE, ""))


def test_every_text_is_escaped() -> None:
    layer = {**report()["layers"][0], "name": EVIL, "op": EVIL, "bound_by": EVIL}
    constant = dict.fromkeys(("field", "value", "unit", "source", "grade"), EVIL)
    evil = report(
        model=EVIL,
        target=EVIL,
        command=EVIL,
        warnings=[EVIL],
        layers=[layer],
        provenance=[constant],
        energy_pj={"total": 1.0, "by_unit": {EVIL: 1.0}, "range": None},
    )
    text = page([evil])
    assert text.count("<script") == 1
    assert "alert(" not in text.replace("alert(&#x27;", "")
    tags = {tag for tag, _ in Elements(text).found}
    assert tags <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p"),
        *("pre", "section", "div", "table", "thead", "tbody", "tr", "th", "td", "b", "ul"),
        *("li", "a", "details", "summary", "figure", "figcaption", "svg", "text", "line"),
        *("rect", "circle", "path", "header", "nav", "dl", "dt", "dd", "span", "strong"),
        *("mark", "small", "h4", "article", "script"),
    }


def test_the_downloads_hold_the_data() -> None:
    given = [report()]
    links = [a for tag, a in Elements(page(given)).found if tag == "a" and "download" in a]
    data = (links[0]["href"] or "").partition("base64,")[2]
    found = json.loads(base64.b64decode(data))
    assert found == {"schema": "tetrapla.compare/1", "reports": given}


def test_constants_warnings_layers_and_checks_are_shown() -> None:
    text = page([report()])
    for part in ("Jouppi 2017", "published", "700 MHz", "mind the gap", "331 mm2", "640"):
        assert part in text
    assert "bit-exact, 0 differ: passed" in text


def test_what_is_not_known_is_said() -> None:
    unknown = {"total": None, "by_unit": {"mac": None}, "range": None}
    text = page([report(energy_pj=unknown, area_mm2=None, accuracy=None, cross_check=None)])
    assert "n/a" in text
    assert "No chart" in text
    assert "There is no cross-check for t." in text


def test_the_verdict_names_the_best_and_a_failure() -> None:
    slow = report(target="slow", time_s=1.0, accuracy={**report()["accuracy"], "target": 0.99})
    assert verdict([report(), slow]) == (
        "Lowest latency: t (1.00 us); lowest energy: t and slow (7.00 pJ); highest accuracy: "
        "slow (99.0 %). On the Pareto front of latency, energy and accuracy: t and slow. Every "
        "machine agrees with the reference interpreter within its bound."
    )
    failed = report(cross_check={**report()["cross_check"], "passed": False})
    assert verdict([failed]) == "The cross-check FAILED on t."
    assert verdict([report(second_check=failed["cross_check"])]) == (
        "The cross-check FAILED on t."
    )
    assert verdict([report()]) == (
        "The machine agrees with the reference interpreter within its bound."
    )


def test_the_best_of_each_column_is_bold() -> None:
    text = page([report(), report(target="slow", time_s=1.0)])
    assert "<b>1.00 us</b>" in text
    assert "<b>1.00 s</b>" not in text
    assert "<b>" not in page([report()])


def test_a_source_is_written_out_once() -> None:
    entries = [
        {
            **report()["provenance"][0],
            "field": name,
            "source": "[paper: A. Author, 2017] table 1",
        }
        for name in ("clock", "rows")
    ]
    entries.append({**entries[0], "field": "mine", "source": "", "grade": "user"})
    entries.append({**entries[0], "field": "tdp", "value": "null", "source": ""})
    text = page([report(provenance=entries)]).partition("Constants")[2]
    assert text.count("A. Author") == 1
    assert text.count("[paper] table 1") == 2
    assert "given by the user" in text
    assert "3 constants" in text
    assert "tdp" not in text


@pytest.mark.parametrize("count", [1, 4, 9])
def test_charts_are_well_formed_and_inside_their_frame(count: int) -> None:
    dots = [charts.Dot(f"t{i}", 10.0**-i, 3.0 * 10.0**-i, "(9 %)") for i in range(count)]
    x = charts.log_axis("latency", [dot.x for dot in dots], "s")
    y = charts.log_axis("energy", [dot.y for dot in dots], "J")
    root = ElementTree.fromstring(charts.scatter(dots, x, y, "energy over latency"))
    wide, high = map(float, root.attrib["viewBox"].split()[2:])
    for mark in root.iter("circle"):
        assert 0 < float(mark.attrib["cx"]) < wide
        assert 0 < float(mark.attrib["cy"]) < high
    assert sum(1 for _ in root.iter("text")) >= count


def test_labels_do_not_cover_each_other() -> None:
    dots = [charts.Dot(f"target-{i}", 1.0 + i / 50, 1.0, "(99.8 %)") for i in range(4)]
    x, y = (charts.log_axis(title, [1.0, 10.0], "s") for title in ("x", "y"))
    root = ElementTree.fromstring(charts.scatter(dots, x, y, "t"))
    boxes = []
    for text in root.iter("text"):
        if (text.text or "").startswith("target"):
            shift = {"start": 0, "end": -1, "middle": -0.5}[text.attrib["text-anchor"]]
            width = 6.9 * len(text.text or "")
            boxes.append(
                (float(text.attrib["x"]) + shift * width, float(text.attrib["y"]), width)
            )
    assert len(boxes) == 4
    for (left, top, width), (other, line, _) in combinations(sorted(boxes), 2):
        assert other >= left + width or abs(top - line) >= 14


def test_a_dot_plot_has_a_mark_for_every_energy_and_a_row_for_every_unit() -> None:
    parts = [("mac", 1.0), ("dram", 1000.0), ("idle", 0.0), ("link", None)]
    rows = [charts.Parts("a", 1001.0, parts), charts.Parts("b", None, parts[:1])]
    root = ElementTree.fromstring(charts.dot_plot(rows, "energy"))
    assert [len(list(root.iter(tag))) for tag in ("circle", "rect")] == [2, 1]
    texts = [text.text for text in root.iter("text")]
    # the largest first, each with its share; what is not known is said
    assert texts[:9] == [
        *("a, 1.00 nJ", "dram", "1.00 nJ, 99.9 %", "mac", "1.00 pJ, 0.1 %"),
        *("idle", "0 J, 0.0 %", "link", "n/a"),
    ]
    left = {mark[0].text: float(mark.attrib["cx"]) for mark in root.iter("circle")}
    assert left["mac 1.00 pJ"] < left["dram 1.00 nJ"]
    assert charts.dot_plot([charts.Parts("a", None, [("mac", None)])], "energy") == ""


def test_an_axis_of_equal_shares_still_has_a_length() -> None:
    axis = charts.share_axis("accuracy", [1.0, 1.0])
    assert axis.low < axis.high
    assert 0 <= axis.place(1.0) <= 1


def test_an_energy_of_weak_evidence_has_its_ends_in_brackets() -> None:
    made = {"total": 7.0, "by_unit": {"mac": 7.0}, "range": [4.0, 9.5]}
    text = page([report(energy_pj=made), report(target="u")])
    assert "7.00 pJ (4.00 pJ to 9.50 pJ)" in text
    assert text.count(" pJ to ") == 1
