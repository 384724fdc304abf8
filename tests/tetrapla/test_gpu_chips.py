"""GPUs on the command line: formats that a chip lacks, measurement contexts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Any  # the fixtures', see conftest
Refused = Callable[..., None]


@pytest.mark.parametrize(
    ("chip", "held"), [("gtx-580", "fp32"), ("p100", "fp32"), ("v100", "fp32, fp16")]
)
def test_a_plan_of_a_format_that_the_chip_lacks_is_not_written(
    refused: Refused, tmp_path: Path, mlp: str, chip: str, held: str
) -> None:
    folder = tmp_path / "out"
    refused(
        f"{chip} must be given a format that it multiplies, {held}, not int8; choose another "
        "--quant or chip",
        *("compile", mlp, "--target", chip, "--quant", "int8", "--data", "digits"),
        *("-o", folder),
    )
    assert not folder.exists()


def simulated(cli: Cli, mlp: str, path: Path, *words: str) -> dict[str, Any]:
    chosen = ("--target", "a100", "--data", "digits", "--samples", 2, "--json", path)
    assert cli("simulate", mlp, *chosen, *words).status == 0
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_a_host_that_waits_is_told_and_costs_its_time(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    device = simulated(cli, mlp, tmp_path / "d.json")
    host = simulated(cli, mlp, tmp_path / "h.json", "--set", "timing.context=host-sync")
    kernels = len(device["layers"])
    assert host["time_s"] - device["time_s"] == pytest.approx(22e-6 * kernels, rel=1e-9)
    assert {layer["bound_by"] for layer in host["layers"]} == {"launch"}
    for report, context in ((device, "device"), (host, "host-sync")):
        said = f"time is a level-2 estimate ({context} context): "
        assert any(text.startswith(said) for text in report["warnings"])


def test_another_context_is_refused(refused: Refused, mlp: str) -> None:
    refused(
        "--set timing.context must be 'device' or 'host-sync', not 'host'; did you mean "
        "'host-sync'?",
        *("simulate", mlp, "--target", "a100", "--set", "timing.context=host"),
    )
