"""The report page in a real browser: whole, silent, offline, on a desk, a phone and paper.

The browser is the system's chromium; playwright only drives it and downloads nothing.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import pytest

from tetrapla.__main__ import run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXAMPLES = Path(__file__).parents[2] / "examples"
TARGETS = "tpu-v1,edge-tpu,h100,a100,loihi,truenorth,isaac,mythic-m1076"
SECTIONS = [
    f"m{model}-{name}"
    for model in range(2)
    for name in ("tradeoffs", "energy", "roofline", "layers", "time", "inside")
]
COMMON = ["warnings", "assumptions", "published", "data"]
CHROMIUM = shutil.which("chromium")
PHONE = 375  # pixels across

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: .ci/chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None,
        reason="the Python package playwright is not installed",
    ),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight machines and two models, few samples."""
    path = tmp_path_factory.mktemp("page") / "out.html"
    models = [str(EXAMPLES / name) for name in ("digits_cnn.onnx", "digits_mlp.onnx")]
    few = ["--samples", "4", "--chips", "2"]
    words = ["compare", *models, "--targets", TARGETS, "--data", "digits", *few]
    assert run([*words, "--report", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        # a container's root may not make the namespaces that the sandbox is of
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Seen:
    """An open page, and what the browser said and asked for."""

    def __init__(
        self,
        browser: Browser,
        file: Path,
        width: int = 1280,
        scheme: Literal["light", "dark"] = "light",
        *,
        script: bool = True,
    ) -> None:
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=script,
        )
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def boxes(self, selector: str) -> list[list[float]]:
        """Width and height of what a selector finds."""
        found: list[list[float]] = self.page.eval_on_selector_all(
            selector,
            "all => all.map(e => e.getBoundingClientRect()).map(b => [b.width, b.height])",
        )
        return found


@pytest.fixture(scope="module")
def desk(browser: Browser, file: Path) -> Iterator[Seen]:
    seen = Seen(browser, file)
    yield seen
    seen.page.close()


@pytest.fixture(scope="module", params=["light", "dark"])
def phone(browser: Browser, file: Path, request: Any) -> Iterator[Seen]:
    seen = Seen(browser, file, PHONE, request.param)
    yield seen
    seen.page.close()


def test_the_browser_has_no_complaint_and_asks_for_nothing(desk: Seen, file: Path) -> None:
    assert desk.said == []
    assert desk.asked == [file.as_uri()]


@pytest.mark.parametrize("name", [*SECTIONS, *COMMON])
def test_every_section_is_filled(desk: Seen, name: str) -> None:
    section = desk.page.locator(f"#{name}")
    assert section.count() == 1
    box = section.bounding_box()
    assert box is not None
    assert box["height"] > 60
    assert len(section.inner_text().strip()) > 40


def test_the_sections_hold_charts(desk: Seen) -> None:
    counts = {n: desk.page.locator(f"#m0-{n} svg").count() for n in ("tradeoffs", "energy")}
    assert counts == {"tradeoffs": 2, "energy": 2}
    # four machines have a roof; two spiking ones a raster, voltages and cores; two ADCs
    assert desk.page.locator("#m0-roofline svg").count() == 4
    assert desk.page.locator("#m0-inside svg").count() >= 6
    assert desk.page.locator("#m0-time svg").count() >= 6


def test_every_drawing_can_be_seen(desk: Seen) -> None:
    boxes = desk.boxes("svg")
    assert len(boxes) > 40
    assert all(width > 15 and height > 15 for width, height in boxes)


def test_a_phone_scrolls_one_way_only(phone: Seen) -> None:
    wide = "document.documentElement.scrollWidth <= window.innerWidth"
    assert phone.page.evaluate(wide)
    assert phone.said == []
    boxes = phone.boxes("svg")
    assert all(0 < width <= PHONE and height > 0 for width, height in boxes)


def test_text_stands_out_from_its_page(phone: Seen) -> None:
    """At least 4.5 to 1 (WCAG 2.2, 1.4.3) for text, headings, badges and cells."""
    script = """() => {
      const of = text => text.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const over = (top, below) => {
        const a = top.length > 3 ? top[3] : 1;
        return [0, 1, 2].map(i => top[i] * a + below[i] * (1 - a));
      };
      const back = element => {
        const layers = [];
        for (let e = element; e; e = e.parentElement)
          layers.unshift(of(getComputedStyle(e).backgroundColor));
        return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
      };
      const weak = [];
      for (const e of document.querySelectorAll(
          "p, h1, h2, h3, h4, td, th, .badge, .u, mark, figcaption, summary, nav a, button")) {
        if (!e.innerText || !e.getClientRects().length) continue;
        const paper = back(e), ink = over(of(getComputedStyle(e).color), paper);
        const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) weak.push([e.className, e.innerText.slice(0, 30)]);
      }
      return weak;
    }"""
    assert phone.page.evaluate(script) == []


def test_a_cell_opens_its_card_and_the_cross_closes_it(desk: Seen) -> None:
    cards = desk.page.locator(".card:visible")
    assert cards.count() == 0
    desk.page.locator("#m0-layers .heat a.u").first.click()
    assert cards.count() == 1
    assert "bound by" in cards.first.inner_text()
    cards.first.locator(".close").click()
    assert cards.count() == 0


def test_the_page_is_whole_without_its_script(browser: Browser, file: Path) -> None:
    seen = Seen(browser, file, script=False)
    cards = seen.page.locator(".card:visible")
    seen.page.locator("#m0-layers .heat a.u").first.click()
    assert cards.count() == 1
    assert seen.page.locator("#m1-tradeoffs svg").first.is_visible()
    seen.page.close()


def test_a_chart_is_saved_as_a_file_of_its_own(desk: Seen, tmp_path: Path) -> None:
    with desk.page.expect_download() as waited:
        desk.page.locator("#m0-roofline figure button").first.click()
    saved = waited.value
    assert saved.suggested_filename == "digits-cnn-roofline-tpu-v1.svg"
    place = tmp_path / "chart.svg"
    saved.save_as(place)
    root = ElementTree.parse(place).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["width"] == "460"
    about = root.find("{http://www.w3.org/2000/svg}metadata")
    assert about is not None
    assert "tetrapla compare" in (about.text or "")


def test_the_data_can_be_taken_along(desk: Seen) -> None:
    with desk.page.expect_download() as waited:
        desk.page.locator("#data a[download='report.csv']").click()
    rows = Path(waited.value.path()).read_text("utf-8").splitlines()
    assert len(rows) == 1 + 16


def test_paper_shows_what_is_folded(browser: Browser, file: Path) -> None:
    seen = Seen(browser, file)
    seen.page.emulate_media(media="print")
    # the style sheet opens them, before any script does
    tables = seen.boxes("details:not([open]) table")
    assert len(tables) > 20
    assert all(height > 10 for _, height in tables)
    paper = seen.page.pdf(format="A4")
    assert paper.startswith(b"%PDF-")
    assert paper.count(b"/Type /Page\n") > 20
    seen.page.close()
