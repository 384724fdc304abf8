"""What a defect gets: status 1, and nothing written where the figures cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.simulators.report import CrossCheck, InternalError

Cli = Callable[..., Any]


def test_a_defect_is_one_line_and_status_one(
    cli: Cli, mlp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*words: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("tetrapla.models.load", defect)
    done = cli("ops", mlp)
    assert done.status == 1
    assert done.err == (
        "error: internal error, a defect of tetrapla: ZeroDivisionError: planted "
        "(nothing was reported; TETRAPLA_TRACEBACK=1 shows where; please report it with "
        "this line, the command and the chip's YAML; no weights are needed)\n"
    )
    monkeypatch.setenv("TETRAPLA_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli("ops", mlp)


def planted(monkeypatch: pytest.MonkeyPatch, **changes: Callable[..., Any]) -> None:
    """Replace functions of every target."""
    from tetrapla.backends.target_ import find as real

    def find(name: str, overrides: Sequence[str] = ()) -> Any:
        target, chip = real(name, overrides)
        parts = {key: change(getattr(target, key)) for key, change in changes.items()}
        return replace(target, **parts), chip

    monkeypatch.setattr("tetrapla.designs.find", find)


def test_a_failed_check_exits_one_after_writing(
    cli: Cli, mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: a machine that drops what it computed for the last class."""

    def dropping(run: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*arguments: Any) -> Any:
            done = run(*arguments)
            outputs = {name: np.copy(array) for name, array in done.outputs.items()}
            for array in outputs.values():
                array[..., -1] = 0
            return replace(done, outputs=outputs)

        return broken

    planted(monkeypatch, run=dropping)
    path = tmp_path / "r.json"
    words = ["simulate", mlp, "--target", "tpu-v1", "--data", "digits", "--samples", 4]
    done = cli(*words, "--json", path)
    assert done.status == 1
    assert done.err == "error: a cross-check failed; see the table\n"
    assert "FAILED" in done.out
    check = json.loads(path.read_text("utf-8"))["cross_check"]
    assert check["passed"] is False
    assert check["mismatches"] > 0


def test_a_run_that_cannot_be_reports_nothing(
    cli: Cli, mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: a machine that forgets the products of a layer."""

    def forgetting(run: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*arguments: Any) -> Any:
            done = run(*arguments)
            return replace(done, layers=tuple(replace(row, macs=0) for row in done.layers))

        return broken

    planted(monkeypatch, run=forgetting)
    path = tmp_path / "r.json"
    done = cli("simulate", mlp, "--target", "tpu-v1", "--samples", 1, "--json", path)
    assert done.status == 1
    assert done.err == (
        "error: internal error, a defect of tetrapla: InternalError: macs of the layers must "
        "be the model's 6464, not 0 (nothing was reported; TETRAPLA_TRACEBACK=1 shows where; "
        "please report it with this line, the command and the chip's YAML; no weights are "
        "needed)\n"
    )
    assert not path.exists()


def test_a_machines_own_bound_is_held(mlp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a layer that takes less than its MACs and bytes admit."""

    def least(real: object) -> Callable[[object, object], dict[str, float]]:
        del real
        return lambda program, spec: {"fc1": 1e12}

    planted(monkeypatch, least_cycles=least)
    with pytest.raises(InternalError, match="cycles of fc1 must be at least 1000000000000"):
        tetrapla.simulate(mlp, "h100", samples=1)


def test_one_failed_seed_of_five_fails_the_check(
    mlp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: a machine that goes wrong on its third seed alone."""

    def wrong_once(check: Callable[..., Any]) -> Callable[..., Any]:
        def checked(lowered: Any, spec: Any, inputs: Any, run: Any, reference: Any) -> Any:
            found = check(lowered, spec, inputs, run, reference)
            return replace(found, passed=run.key.seed != 2)

        return checked

    planted(monkeypatch, cross_check=wrong_once)
    report = tetrapla.simulate(mlp, "isaac", samples=2)
    assert report.cross_check is not None
    assert not report.cross_check.passed


def test_a_failed_second_check_exits_one(
    cli: Cli, mlp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: emitted kernels that compute something else than the machine."""

    def failing(real: object) -> Callable[..., Any]:
        del real
        check = CrossCheck("tolerance", 1, 0.5, 0.1, passed=False)

        def second(*arguments: object) -> tuple[CrossCheck, str]:
            del arguments
            return check, ""

        return second

    planted(monkeypatch, second_check=failing)
    done = cli("compare", mlp, "--targets", "h100,tpu-v1", "--samples", 2)
    assert done.status == 1
    assert done.err == "error: a cross-check failed; see the table\n"
