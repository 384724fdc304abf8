"""`plot` refuses what it cannot draw: the whole message, and no file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tetrapla.drawn_reports import SIGHT, SPIKING, compared, report, swept

pytest.importorskip("matplotlib", reason="needs the extra plot")

Refused = Callable[..., None]
Write = Callable[[Any], Path]
WAY = "write one with --json of simulate, compare, demo or sweep"
ON_A_POINT = "run `simulate` on one of its points with --json"


def test_wrong_options_are_refused(file: Write, refused: Refused, tmp_path: Path) -> None:
    run, fig = file(report()), tmp_path / "f.pdf"
    refused(
        "KIND must be one of roofline, breakdown, pareto, heatmap, timeline, raster, not "
        "'rooflin'; did you mean 'roofline'?",
        *("plot", "rooflin", run, "-o", fig),
    )
    refused(
        "--size must be one or two columns, not 'three'; give --size one",
        *("plot", "heatmap", run, "-o", fig, "--size", "three"),
    )
    refused(
        f"--output must end in .pdf, .svg or .png, not '{tmp_path}/f.jpg'; "
        "did you mean '.png'?",
        *("plot", "heatmap", run, "-o", tmp_path / "f.jpg"),
    )
    refused(
        "--axes must come with pareto, not with heatmap; leave it out",
        *("plot", "heatmap", run, "-o", fig, "--axes", "energy,area"),
    )
    refused(
        "--axes must be two of latency, energy, area, accuracy, dynamic_energy, not 'enrgy'; "
        "did you mean 'energy'?",
        *("plot", "pareto", run, "-o", fig, "--axes", "enrgy,area"),
    )
    refused(
        "--axes must be two different figures, not area, area; give --axes latency,energy",
        *("plot", "pareto", run, "-o", fig, "--axes", "area,area"),
    )
    refused(
        f"--of must be a target of {run}, not 'two'; there are: one",
        *("plot", "heatmap", run, "-o", fig, "--of", "two"),
    )
    assert not fig.exists()


MISSING = [
    ("pareto", report(), "pareto must have at least two designs with known latency and energy, "
     "but {run} has 1; give the JSON of compare or sweep, or other --axes"),
    ("raster", report("tpu-v1"), "raster must have a machine that spikes, not tpu-v1 of {run}; "
     "take a spiking target: `simulate --target loihi --json`"),
    ("timeline", report(), "timeline must have a machine that keeps a timeline, not one of "
     "{run}; run `simulate` with --json again; `simulate --trace` writes what each machine "
     "keeps"),
    ("timeline", compared(SPIKING, report("b", sight=SIGHT)), "timeline must be of one report, "
     "not of 2: loihi, b; choose one with --of"),
    ("roofline", report("isaac", roofline={"peak_macs_per_s": None}), "roofline must have a "
     "machine with a peak and layers with MACs and traffic, which isaac of {run} have not; "
     "take a systolic, gpu or datasheet target"),
    ("heatmap", swept(), "heatmap must have one report or a comparison, not the sweep {run}; "
     + ON_A_POINT),
    ("breakdown", swept(), "breakdown must have one report or a comparison, not the sweep "
     "{run}; " + ON_A_POINT),
    ("breakdown", report(energy_pj={"total": None, "by_unit": {"mac": None}, "range": None}),
     "breakdown must have known energies, but {run} has none: a price is unknown; see the "
     "warnings in it"),
    ("heatmap", report(layers=[]), "heatmap must have layers of known utilisation, but {run} "
     "has none; take a model with products or convolutions"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "content", "message"), MISSING)
def test_what_a_file_lacks_is_said_with_the_way_out(
    kind: str, content: Any, message: str, file: Write, refused: Refused, tmp_path: Path
) -> None:
    run = file(content)
    refused(message.replace("{run}", str(run)), "plot", kind, run, "-o", tmp_path / "f.pdf")
    assert not (tmp_path / "f.pdf").exists()


BROKEN = [
    (b"{\n  x", ":2:3: the file must be JSON: Expecting property name enclosed in double "
     "quotes"),
    (b"\xff\xfe", ": the file must be JSON, not binary data"),
    (b"[" * 100_000, ": the file must be JSON of a result, not nested without end"),
    (b'{"schema": NaN}', ": a number must be finite, not NaN"),
    (b"[]", ": schema must be tetrapla.report/1, tetrapla.compare/1 or tetrapla.sweep/1, not "
     "JSON without a schema"),
    (b'{"schema": "tetrapla.validate/1"}', ": schema must be tetrapla.report/1, "
     "tetrapla.compare/1 or tetrapla.sweep/1, not schema 'tetrapla.validate/1'"),
    (b'{"schema": "tetrapla.compare/1", "reports": []}', ": reports must hold a report, not "
     "none"),
    (b'{"schema": "tetrapla.compare/1"}', ": reports must be a list, not null"),
    (b'{"schema": "tetrapla.report/1"}', ": reports[0] must have model, not lack it"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_refused_with_its_place(
    data: bytes, message: str, refused: Refused, tmp_path: Path
) -> None:
    run = tmp_path / "run.json"
    run.write_bytes(data)
    refused(f"{run}{message}; {WAY}", "plot", "heatmap", run, "-o", tmp_path / "f.pdf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 3}, "reports[0].layers must be a list, not a number"),
        ({"time_s": "1 s"}, "reports[0].time_s must be a number, not text"),
        ({"area_mm2": True}, "reports[0].area_mm2 must be a number or null, not true or false"),
        ({"layers": [{"name": "a"}]}, "reports[0].layers[0] must have cycles, not lack it"),
        ({"energy_pj": {"total": 1.0}}, "reports[0].energy_pj.by_unit must be an object, not "
         "null"),
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_refused(
    change: dict[str, Any], message: str, file: Write, refused: Refused, tmp_path: Path
) -> None:
    run = file(report(**change))
    refused(f"{run}: {message}; {WAY}", "plot", "heatmap", run, "-o", tmp_path / "f.pdf")


def test_a_missing_file_and_a_missing_library_are_told(
    file: Write, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone.json"
    refused(
        f"'{gone}' must be a file to read, not one that the system refuses: "
        f"No such file or directory; {WAY}",
        *("plot", "heatmap", gone, "-o", tmp_path / "f.pdf"),
    )
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(
        'plot needs matplotlib, which is not installed; pip install "tetrapla[plot]"',
        *("plot", "heatmap", file(report()), "-o", tmp_path / "f.pdf"),
    )
