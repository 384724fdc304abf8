"""Traces of all machines: Chrome's format, inside the run's time, nothing over another."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tetrapla.simulators.recording_ import Counter, Recording, Stretch
from tetrapla.simulators.report import Run
from tetrapla.trace import chrome_trace

Cli = Callable[..., Any]
NUMBER = (int, float)
MICRO = 1e6
# of every family, and of the analog one those that wait, stream and load weights
CHIPS = {
    "tpu-v1": {"DMA", "LW", "MM", "RQ"},
    "h100": {"launch", "stream 0"},
    "loihi": {"timesteps", "core 0 neurons", "core 1 synapses"},
    "loihi2": {"timesteps"},
    "isaac": {"crossbar", "adc", "pipeline", "digital"},
    "albireo": {"crossbar", "adc", "weight load", "digital"},
    "mythic-m1076": {"crossbar", "adc"},
    "northpole": {"chip"},
}


def check_schema(trace: dict[str, Any], end_us: float) -> dict[str, list[dict[str, Any]]]:
    """What the format asks for; the slices by track."""
    events = trace["traceEvents"]
    assert set(trace) == {"displayTimeUnit", "otherData", "traceEvents"}
    names: dict[int, str] = {}
    slices: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        assert event["pid"] == 1
        assert isinstance(event["tid"], int)
        match event["ph"]:
            case "M":
                if event["name"] == "thread_name":
                    names[event["tid"]] = event["args"]["name"]
            case "X":
                assert isinstance(event["name"], str)
                assert isinstance(event["ts"], NUMBER)
                assert isinstance(event["dur"], NUMBER)
                assert event["ts"] >= 0
                assert event["dur"] >= 0
                # both are rounded
                assert event["ts"] + event["dur"] <= end_us * (1 + 1e-9)
                slices[event["tid"]].append(event)
            case "C":
                assert isinstance(event["args"]["value"], NUMBER)
                assert 0 <= event["ts"] <= end_us * (1 + 1e-9)
            case other:
                raise AssertionError(f"no such phase: {other}")
    assert set(slices) == set(names)
    assert len(set(names.values())) == len(names)
    for track in slices.values():
        track.sort(key=lambda event: event["ts"])
        for before, after in pairwise(track):
            assert before["ts"] + before["dur"] <= after["ts"] * (1 + 1e-9) + 1e-12
    return {names[track]: held for track, held in slices.items()}


@pytest.mark.parametrize("chip", CHIPS)
def test_a_trace_of_every_machine_is_valid(
    chip: str, cli: Cli, mlp: str, cnn: str, tmp_path: Path
) -> None:
    trace, figures = tmp_path / "t.json", tmp_path / "r.json"
    words = ["--data", "digits", "--samples", "1"]
    words += ["--chips", "1"] if chip in ("isaac", "albireo", "mythic-m1076") else []
    model = cnn if chip in ("isaac", "albireo") else mlp
    done = cli("simulate", model, "-t", chip, *words, "--trace", trace, "--json", figures)
    assert done.status == 0, done.err
    report = json.loads(figures.read_text("utf-8"))
    found = json.loads(trace.read_text("utf-8"))
    tracks = check_schema(found, MICRO * report["time_s"])
    assert CHIPS[chip] <= set(tracks)
    last = max(event["ts"] + event["dur"] for track in tracks.values() for event in track)
    if report["family"] != "systolic":  # whose last transfer is on its way, and no unit busy
        assert last == pytest.approx(MICRO * report["time_s"])
    assert found["otherData"]["target"] == chip
    assert found["otherData"]["command"] == report["command"]


def test_a_gpu_launches_before_each_kernel(cli: Cli, mlp: str, tmp_path: Path) -> None:
    trace = tmp_path / "t.json"
    assert cli("simulate", mlp, "-t", "h100", "--trace", trace).status == 0
    tracks = check_schema(json.loads(trace.read_text("utf-8")), 1e9)
    kernels, launches = tracks["stream 0"], tracks["launch"]
    assert [event["name"] for event in kernels] == [event["name"] for event in launches]
    for launch, kernel in zip(launches, kernels, strict=True):
        assert launch["ts"] + launch["dur"] == pytest.approx(kernel["ts"])
        assert launch["dur"] > 0


def test_a_spiking_trace_counts_the_spikes_of_the_report(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    trace, figures = tmp_path / "t.json", tmp_path / "r.json"
    words = ("simulate", mlp, "-t", "loihi", "--data", "digits", "--samples", 1)
    assert cli(*words, "--trace", trace, "--json", figures).status == 0
    events = json.loads(trace.read_text("utf-8"))["traceEvents"]
    totals: dict[str, float] = defaultdict(float)
    for event in events:
        if event["ph"] == "C":
            totals[event["name"]] += event["args"]["value"]
    rasters = json.loads(figures.read_text("utf-8"))["sight"]["rasters"]
    whole = {each["name"]: len(each["spikes"]) for each in rasters
             if each["neurons"] == len(each["shown"])}  # fmt: skip
    assert whole
    for name, count in whole.items():
        assert totals[f"spikes of {name}"] == count
    assert totals["synaptic events"] > 0


def test_a_packed_trace_holds_the_same_and_no_date(
    cli: Cli, mlp: str, refused: Callable[..., None], tmp_path: Path
) -> None:
    plain, packed = tmp_path / "t.json", tmp_path / "t.json.gz"
    words = ("simulate", mlp, "-t", "tpu-v1", "--trace")
    assert cli(*words, plain).status == 0
    assert cli(*words, packed).status == 0
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert packed.read_bytes()[4:8] == bytes(4)  # the time in a gzip header
    refused(
        f"--trace must end in .json or .json.gz, not '{tmp_path}/t.gz'; rename it",
        *(*words, tmp_path / "t.gz"),
    )


def test_what_happens_at_once_gets_tracks_side_by_side() -> None:
    # b begins before a ends; c begins when a has ended
    parts = [("a", 0.0, 2e-6), ("b", 1e-6, 3e-6), ("c", 2e-6, 4e-6)]
    recording = Recording(
        tuple(Stretch("unit", *part) for part in parts),
        (Counter("n", ((0.0, 1.0), (4e-6, 0.0))),),
    )
    trace = json.loads(chrome_trace(Run({}, (), 0, 0.0, {}), "chip", recording))
    tracks = check_schema(trace, 4.0)
    assert {name: [event["name"] for event in held] for name, held in tracks.items()} == {
        "unit": ["a", "c"],
        "unit (2)": ["b"],
    }
