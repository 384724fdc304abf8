"""The page's sections: each filled from a report's dictionary alone, and linked to."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

from tetrapla import published
from tetrapla.page import evidence, histograms, lanes, layers, page, rooflines, tradeoffs
from tetrapla.page.published import judged

SECTIONS = ("tradeoffs", "energy", "roofline", "layers", "time", "inside")
COMMON = ("warnings", "assumptions", "published", "data")


def layer(name: str = "fc", **changes: Any) -> dict[str, Any]:
    row = {"name": name, "op": "nn.matmul", "cycles": 10, "macs": 640}
    row |= {"utilization_frac": 0.5, "bound_by": "memory", "energy_pj": 5.0}
    return {**row, "traffic_bytes": 64, **changes}


def report(target: str = "isaac", **changes: Any) -> dict[str, Any]:
    """Of a machine that has everything."""
    right = {"reference": 0.98, "target": 0.97, "target_std": 0.01, "seeds": 5, "samples": 100}
    check = {"kind": "bit_exact", "mismatches": 0, "max_rel_error": None, "bound": None}
    constant = {"field": "clock", "value": "1", "unit": "GHz", "source": "[a: A 2017] table 1"}
    clipping = {"layer": "fc", "low": 0, "high": 3, "start": -2.5, "step": 2.0}
    clipping |= {"counts": [1, 7, 2], "clipped_frac": 0.1}
    raster = {"name": "fc", "neurons": 9, "shown": [0, 4], "start": 1, "spikes": [[1, 0]]}
    return {
        "model": "m",
        "target": target,
        "family": "analog",
        "command": "tetrapla compare m.onnx",
        "seed": 0,
        "model_sha256": "0123456789abcdef" * 4,
        "batch": 1,
        "cycles": 10,
        "time_s": 1e-8,
        "energy_pj": {"total": 7.0, "by_unit": {"mac": 5.0, "static": 2.0}, "range": None},
        "area_mm2": 331.0,
        "accuracy": right,
        "cross_check": {**check, "passed": True},
        "layers": [layer()],
        "warnings": ["energy is uncalibrated: mind the gap"],
        "provenance": [
            {**constant, "grade": "published"},
            {**constant, "field": "cost.mac", "source": "assumed", "grade": "assumed"},
        ],
        "roofline": {
            "peak_macs_per_s": 1e12,
            "bandwidth_bytes_per_s": 1e10,
            "sources": {"peak": "rows x cols x clock", "bandwidth": "dram.bandwidth"},
        },
        "sight": {
            "timeline": [["array", "MM fc", 0.0, 5e-9], ["dma", "LD fc", 4e-9, 8e-9]],
            "clipping": [clipping],
            "rasters": [raster],
        },
        **changes,
    }


class Anchors(HTMLParser):
    """Ids, links to them, and the text of every section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if (found.get("href") or "").startswith("#"):
            self.links.append((found["href"] or "")[1:])
        if tag == "section":
            self.open.append(found.get("id") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for name in self.open:
            self.texts[name] = self.texts.get(name, "") + data


def test_every_section_is_there_filled_and_linked_to() -> None:
    found = Anchors(page([report(), report("loihi"), report(model="n")]))
    wanted = [f"m{k}-{name}" for k in range(2) for name in SECTIONS] + list(COMMON)
    assert [name for name in found.texts if name not in ("m0", "m1")] == wanted
    assert all(len(text) > 40 for text in found.texts.values())
    assert set(wanted) <= set(found.links)


def test_ids_are_there_once_and_no_link_leads_nowhere() -> None:
    found = Anchors(page([report(), report("loihi"), report(model="n")]))
    assert len(set(found.ids)) == len(found.ids)
    assert set(found.links) <= set(found.ids)


def test_the_head_says_what_was_run_and_what_it_is_worth() -> None:
    text = page([report()])
    for part in (
        *("tetrapla compare m.onnx", "0123456789abcdef<", ">bit-exact vs reference<"),
        *(">uncalibrated energy<", ">1 of 2 figures weak<"),
    ):
        assert part in text
    guessed = page([report(warnings=[])])
    assert ">1 assumed energy price<" in guessed
    failed = report()["cross_check"] | {"passed": False}
    assert ">cross-check FAILED<" in page([report(cross_check=failed)])
    assert ">no cross-check<" in page([report(cross_check=None)])


def test_a_weak_figure_is_one_that_nothing_stands_behind() -> None:
    assert [entry["field"] for entry in evidence.weak(report())] == ["cost.mac"]
    assert "<mark>assumed</mark>" in evidence.constants([report()])
    assert "<mark>published</mark>" not in evidence.constants([report()])


def test_a_layer_lies_where_its_bytes_and_its_time_put_it() -> None:
    text = rooflines.drawn([report()], ["isaac"], [0])
    # 640 MACs in 10 ns are 64 G/s; with 64 bytes 10 per byte; the roof there is 100 G/s
    for cell in ("640", "64", "10", "64.0 GMAC/s", "64.0 %"):
        assert f"<td class=n>{cell}</td>" in text
    root = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", text, re.S)[0])
    assert [mark[0].text for mark in root.iter("circle")] == ["fc: 64.0 % of the roof"]


def test_what_has_no_roof_says_why() -> None:
    why = {"peak": "no peak of <it>", "bandwidth": "no memory"}
    roof = {"peak_macs_per_s": None, "bandwidth_bytes_per_s": None, "sources": why}
    without = report(roofline=roof)
    del (old := report())["roofline"]
    text = rooflines.drawn([without, old], ["a", "b"], [0, 1])
    assert "<strong>a</strong>: no peak of &lt;it&gt;; no memory." in text
    assert "<strong>b</strong>: no peak and no bandwidth of it are known." in text
    assert "<svg" not in text


def test_a_layer_without_traffic_is_named_and_not_drawn() -> None:
    held = report(layers=[layer(), layer("on chip", traffic_bytes=0)])
    text = rooflines.drawn([held], ["t"], [0])
    assert "Without traffic, and so without a place: on chip." in text


def test_layers_of_several_machines_are_merged_in_their_order() -> None:
    lists = [["in", "a", "b"], ["a", "a.scale", "b", "out"], ["z"]]
    assert layers.merged(lists) == ["z", "in", "a", "a.scale", "b", "out"]


def test_a_cell_of_the_map_leads_to_its_card() -> None:
    text = layers.drawn("m0", [report(), report(layers=[layer("other")])], ["t", "u"])
    assert 'class="u u5" href="#m0-0-' in text
    assert text.count("<article class=card") == 2
    assert "<dt>MAC per byte</dt><dd>10</dd>" in text


def test_a_timeline_ends_with_the_run() -> None:
    slices = [["array", "MM fc", 0.0, 5e-9]]
    root = ElementTree.fromstring(lanes.drawn(slices, ["fc"], 1e-8, "t"))
    (bar,) = root.iter("path")
    # 5 of 10 ns are half of 366 units
    assert bar.get("d", "").startswith("M84.0 6h183.0v20")
    assert [text.text for text in root.iter("text")][-1] == "10.0 ns"
    assert lanes.layer_of("MM fc", ["fc"]) == "fc"
    assert lanes.layer_of("fc 1", ["fc 1"]) == "fc 1"


def test_codes_outside_the_range_have_their_own_colour() -> None:
    clipping = report()["sight"]["clipping"]
    root = ElementTree.fromstring(histograms.drawn(clipping, "t"))
    inside, outside = root.iter("path")
    # bins at -2.5, -0.5, 1.5; the range is -0.5 to 3.5
    assert inside.get("d", "").count("M") == 2
    assert outside.get("d", "").count("M") == 1
    assert outside.get("fill") == "#D55E00"


def test_a_bigger_chip_has_a_bigger_mark_and_an_unknown_one_an_outline() -> None:
    big, small = report("a", area_mm2=400.0), report("b", area_mm2=100.0, time_s=1e-7)
    unknown = report("c", area_mm2=None, time_s=1e-6)
    text = tradeoffs.drawn([big, small, unknown], ["a", "b", "c"], [0, 4, 8])
    root = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", text, re.S)[0])
    marks = [(each.get("r"), each.get("fill")) for each in root.iter("circle")]
    assert marks == [("14", "#0072B2"), ("7", "#E69F00"), ("6", "none")]


def test_a_page_of_eight_machines_and_two_models_is_small() -> None:
    names = [
        "tpu-v1",
        "edge-tpu",
        "h100",
        "a100",
        "loihi",
        "truenorth",
        "isaac",
        "mythic-m1076",
    ]
    many = [layer(f"conv{n}") for n in range(20)]
    reports = [report(t, model=m, layers=many) for m in ("m", "n") for t in names]
    assert len(page(reports)) < 1_500_000


def test_published_figures_of_the_machines_shown_are_there() -> None:
    text = page([report("truenorth")]).partition('id="published"')[2]
    assert "Merolla et al." in text
    assert "Jouppi" not in text
    assert judged("truenorth") == (2, 2)
    assert "No suite has a published figure of mine." in page([report("mine")])


def test_a_figure_is_of_the_chip_that_it_names() -> None:
    def chips(suite: str, case: str, quantity: str) -> tuple[str, ...]:
        return published.chips_of({"suite": suite, "case": case, "quantity": quantity})

    assert chips("tpu-v1", "MLP0", "tops") == ("tpu-v1",)
    assert chips("spiking", "mnist, Loihi, 400-400-10", "energy") == ("loihi",)
    assert chips("spiking", "lava_stdp pair_epoch1", "weight_mismatches") == ("loihi",)
    assert chips("gpu", "bert-base 128", "a100_network") == ("a100",)
    assert len(chips("gpu", "mean", "product_rate_error")) == 5
    assert chips("analog", "circuit input_1x1", "currents") == ()
