"""Figures: what they show, what they say of themselves, and what is refused."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="needs the extra plot")

from tests.tetrapla.drawn_reports import SIGHT, SPIKING, compared, layer, report, swept
from tetrapla import __version__
from tetrapla.plots import breakdown, heatmap, pareto, raster, roofline, timeline
from tetrapla.plots.drawing import Wish, made
from tetrapla.plots.figure import MOST_MM, WIDTHS_MM, look
from tetrapla.plots.runs import read

Cli = Callable[..., Any]


Write = Callable[[Any], Path]
GIVEN: dict[str, Any] = {
    "roofline": report(),
    "breakdown": report(),
    "pareto": compared(report("one"), report("two", time_s=2e-7)),
    "heatmap": report(),
    "timeline": SPIKING,
    "raster": SPIKING,
}


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [*((kind, "pdf") for kind in GIVEN), ("raster", "svg"), ("heatmap", "png")],
)
def test_the_same_command_gives_the_same_file(
    kind: str, suffix: str, file: Write, cli: Cli, tmp_path: Path
) -> None:
    run = file(GIVEN[kind])
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for place in (first, second):
        assert cli("plot", kind, run, "-o", place) == (0, "", "")
    assert first.read_bytes() == second.read_bytes()


def test_metadata_tell_commands_version_and_data_and_no_date(
    file: Write, tmp_path: Path
) -> None:
    run = file(report())
    digest = sha256(run.read_bytes()).hexdigest()
    said = (
        "tetrapla simulate net.onnx --target one; "
        f"tetrapla plot heatmap {run} --size one; sha256 of the data {digest}"
    )
    ends = (".svg", ".png", ".pdf")
    files = {end: made("heatmap", run, tmp_path / f"f{end}", Wish()) for end in ends}
    assert f">{said}<" in files[".svg"].decode()
    assert f"<dc:title>tetrapla {__version__}</dc:title>" in files[".svg"].decode()
    assert said.encode() in files[".png"]
    assert f"tetrapla {__version__}".encode() in files[".png"]
    # a long string of a PDF may be cut into lines or coded; its key words are short
    assert f"/Keywords (sha256:{digest})".encode() in files[".pdf"]
    assert f"/Creator (tetrapla {__version__})".encode() in files[".pdf"]
    assert b"Date" not in files[".pdf"]
    assert b"<dc:date>" not in files[".svg"]


def test_fonts_are_embedded_as_true_type_and_svg_needs_none(
    file: Write, tmp_path: Path
) -> None:
    run = file(report())
    pdf = made("breakdown", run, tmp_path / "f.pdf", Wish())
    assert b"/Subtype /Type0" in pdf or b"/CIDFontType2" in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"<text" not in made("breakdown", run, tmp_path / "f.svg", Wish())


@pytest.mark.parametrize("size", WIDTHS_MM)
@pytest.mark.parametrize("kind", GIVEN)
def test_a_figure_has_the_width_of_its_columns(
    kind: str, size: str, file: Write, tmp_path: Path
) -> None:
    pdf = made(kind, file(GIVEN[kind]), tmp_path / "f.pdf", Wish(size))
    found = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    assert found is not None
    assert float(found[1]) * 25.4 / 72 == pytest.approx(WIDTHS_MM[size], abs=0.01)
    assert float(found[2]) * 25.4 / 72 <= MOST_MM


def words(figure: Any) -> list[str]:
    """Every text of a figure."""
    from matplotlib.text import Text

    return [each.get_text() for each in figure.findobj(Text) if each.get_text()]


def test_a_breakdown_of_one_machine_names_units_and_shares(file: Write) -> None:
    with look():
        found = words(breakdown.draw(read(file(report())), "one", None))
    assert {"mac", "static", "6.00 pJ, 60.0 %", "4.00 pJ, 40.0 %"} <= set(found)
    assert "net on one: 10.0 pJ" in found


def test_a_breakdown_of_several_shows_work_beside_all(file: Write) -> None:
    unknown = {"total": None, "by_unit": {"mac": None, "static": 4.0}, "range": None}
    run = file(compared(report("one"), report("two", energy_pj=unknown)))
    with look():
        found = words(breakdown.draw(read(run), "two", None))
    assert found.count("n/a") == 2  # of the machine with an unknown price, in both panels
    assert {"60 %", "40 %", "100 %", "10.0 pJ", "6.00 pJ"} <= set(found)


def test_the_front_of_a_comparison_is_stairs_between_the_best(file: Write) -> None:
    slow = {"total": 1.0, "by_unit": {"mac": 1.0}, "range": None}
    fast, cheap = report("fast"), report("cheap", time_s=9e-7, energy_pj=slow)
    beaten = report("beaten", time_s=1e-6)
    right = {"reference": 1.0, "target": 0.975, "target_std": None, "seeds": 1, "samples": 9}
    fast["accuracy"] = right
    with look():
        figure = pareto.draw(read(file(compared(fast, cheap, beaten))), "one", None, ())
    axes: Any = figure.axes[0]
    (line,) = axes.get_lines()
    # from the faster one to the right at its own energy, then down to the cheaper one
    assert [list(each) for each in line.get_xydata()] == [
        pytest.approx([5e-7, 1e-11]),
        pytest.approx([9e-7, 1e-11]),
        pytest.approx([9e-7, 1e-12]),
    ]
    assert {"fast, 97.5 %", "cheap", "beaten"} <= set(words(figure))


def test_a_sweep_names_the_points_of_its_front(file: Write) -> None:
    with look():
        figure = pareto.draw(read(file(swept())), "one", None, ())
    found = words(figure)
    assert {"0", "1", "2", "net on one, labels: rows"} <= set(found)
    assert "3" not in found
    assert figure.axes[0].get_xlabel() == "energy"  # the first objective


def test_a_heat_map_has_shares_and_says_what_is_not_known(file: Write) -> None:
    with look():
        found = words(heatmap.draw(read(file(report())), "one", None))
    # used 50 %, 400 of 500 cycles, half of the energy; the other layer has no utilisation
    assert {"conv", "pool", "50", "80", "n/a", "20"} <= set(found)
    with look():
        both = compared(report("one"), report("two"))
        found = words(heatmap.draw(read(file(both)), "one", None))
    assert "pool" not in found  # no machine gives it a utilisation


def test_a_roofline_has_a_dot_where_the_layer_is(file: Write) -> None:
    with look():
        figure = roofline.draw(read(file(report())), "one", None)
    axes: Any = figure.axes[0]
    (dots,) = axes.collections
    # 8000 MACs over 2000 bytes, in 400 ns
    assert dots.get_offsets().tolist() == [pytest.approx([4.0, 2e10])]
    assert {"conv", "one: 40.0 GMAC/s, 10.0 GB/s"} <= set(words(figure))


def test_a_timeline_has_a_row_for_each_unit(file: Write) -> None:
    with look():
        figure = timeline.draw(read(file(SPIKING)), "one", None)
    found = words(figure)
    assert {"DMA", "MM", "time of one invocation (ns)", "net on loihi"} <= set(found)


def test_a_raster_has_a_mark_for_each_spike(file: Write) -> None:
    with look():
        figure = raster.draw(read(file(SPIKING)), "one", None)
    axes: Any = figure.axes[0]
    (marks,) = axes.collections
    assert [part[0].tolist() for part in marks.get_segments()] == [[0, 0.55], [3, -0.45]]
    assert "pop\n2 of 9" in words(figure)


def test_a_network_of_many_layers_fits_a_page(file: Write, tmp_path: Path) -> None:
    many = [layer(f"block.{n}.convolution", 10 + n, 100, 0.5) for n in range(200)]
    with look():
        figure = heatmap.draw(read(file(report(layers=many))), "one", None)
    assert any("the 86 longest of 200 layers" in each for each in words(figure))


@pytest.mark.parametrize("name", ["a$b^c_{d", "x" * 200, "日本", "<script>", "a\nb"])
def test_a_name_may_hold_anything(name: str, file: Write, tmp_path: Path) -> None:
    held = report(name, model=name)
    held["layers"][0]["name"] = name
    held["sight"] = SIGHT
    for kind in GIVEN.keys() - {"pareto"} if name.startswith("x") else ("roofline",):
        assert made(kind, file(held), tmp_path / "f.svg", Wish())


def test_a_real_report_can_be_drawn(cli: Cli, mlp: str, tmp_path: Path) -> None:
    run = tmp_path / "run.json"
    words = ("--targets", "tpu-v1,loihi", "--data", "digits", "--samples", "1")
    assert cli("compare", mlp, *words, "--json", run).status == 0
    for kind in ("roofline", "breakdown", "pareto", "heatmap", "raster"):
        wish = ("-o", str(tmp_path / f"{kind}.svg"), "--size", "two")
        assert cli("plot", kind, run, *wish).status == 0
    one = tmp_path / "timeline.svg"
    assert cli("plot", "timeline", run, "-o", one, "--of", "tpu-v1").status == 0


def test_no_pdf_stream_holds_a_date(file: Write, tmp_path: Path) -> None:
    pdf = made("heatmap", file(report()), tmp_path / "f.pdf", Wish())
    for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            text = zlib.decompress(part)
        except zlib.error:
            continue
        assert b"CreationDate" not in text
