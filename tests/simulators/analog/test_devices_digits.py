"""First layer of a classifier of digits on noisy devices, against golden means over seeds.

No converters and no tiles: y = w (G+ - G-) x / g_max, or of the offset scheme
w (2 G x - sum x) / g_max. The error is |y - y_ideal| / |y_ideal| over 600 images. A mean over
SEEDS is within 4 sd sqrt(1 / SEEDS + 1 / n) of the golden one over n seeds.
"""

from __future__ import annotations

import csv
from functools import cache
from math import sqrt
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices import DEVICES, Device
from tetrapla.simulators.analog.devices.cells import state
from tetrapla.simulators.random_ import Key

GOLDEN = Path(__file__).parents[3] / "tetrapla" / "data" / "golden" / "analog"
SEEDS = 8
NAMES = {"hermes1": "hermes_1", "hermes2": "hermes_2"}


def rows(name: str) -> list[dict[str, str]]:
    with (GOLDEN / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def layer() -> tuple[Array, Array]:
    """Inputs [600, 64] and weights [64, 128]."""
    with np.load(GOLDEN / "digits_mlp.npz") as held:
        return held["X"].astype(np.float64) / 16, held["W0"].astype(np.float64).T


def relative(y: Array) -> float:
    x, weights = layer()
    ideal = x @ weights
    return float(np.linalg.norm(y - ideal) / np.linalg.norm(ideal))


def pair(device: Device, g_max: float, t_s: float | None, seed: int) -> Array:
    """G+ - G-, both cells of every pair for themselves."""
    _, weights = layer()
    signs = np.stack((np.maximum(weights, 0), np.maximum(-weights, 0)), axis=2)
    goal = (signs / np.abs(weights).max() * g_max).reshape(len(weights), -1)
    held = state(device, goal, g_max, t_s, Key(seed), frozen=True).held
    cells = held.reshape(*weights.shape, 2)
    return np.asarray(cells[..., 0] - cells[..., 1])


def judged(errors: list[float], golden: str, sd: str, seeds: str) -> None:
    allowed = 4 * float(sd) * sqrt(1 / len(errors) + 1 / int(seeds))
    assert abs(mean(errors) - float(golden)) <= allowed


DRIFT = rows("digits_mlp_drift")


@pytest.mark.parametrize(
    "row", DRIFT, ids=lambda row: "-".join((row["model"], row["t_s"], row["compensation"]))
)
def test_the_first_layer_errs_as_much_as_golden_cells_do_after_a_time(
    row: dict[str, str],
) -> None:
    device = DEVICES[NAMES.get(row["model"], row["model"])]
    g_max, t_s = float(row["g_max_uS"]) * 1e-6, float(row["t_s"])
    x, weights = layer()
    errors: list[float] = []
    for seed in range(SEEDS):
        net = pair(device, g_max, t_s, seed)
        gain = np.abs(weights).max() / g_max
        if row["compensation"] == "global":
            # one factor a layer: what was read after programming over what is read now
            before = pair(device.scaled(read=0), g_max, 0.0, seed)
            gain *= np.abs(before).mean() / np.abs(net).mean()
        errors.append(relative(x @ net * gain))
    judged(errors, row["mvm_rel_err_mean"], row["mvm_rel_err_sd"], row["n_seeds"])


PROGRAMMED = [row for row in rows("digits_mlp") if row["noise"].startswith(("prop", "indep"))]


@pytest.mark.parametrize("row", PROGRAMMED, ids=lambda row: "-".join(list(row.values())[:2]))
def test_the_first_layer_errs_as_much_as_golden_cells_do_once_programmed(
    row: dict[str, str],
) -> None:
    short, mapping = row["noise"].split("_")
    form = {"prop": "proportional", "indep": "independent"}[short]
    device = DEVICES[f"normal_{form}"].scaled(programming=float(row["magnitude"]))
    x, weights = layer()
    largest = np.abs(weights).max()
    errors: list[float] = []
    for seed in range(SEEDS):
        if mapping == "balanced":
            errors.append(relative(x @ pair(device, 1.0, None, seed) * largest))
        else:
            held = state(device, (1 + weights / largest) / 2, 1.0, None, Key(seed)).held
            errors.append(relative(largest * (2 * x @ held - x.sum(axis=1)[:, None])))
    judged(errors, row["mvm_rel_err_mean"], row["mvm_rel_err_sd"], row["n_seeds"])


def test_there_are_rows_to_judge() -> None:
    assert len(DRIFT) == 36
    assert len(PROGRAMMED) == 10
