"""A classifier of digits under noise, drift and wire resistance: our devices and circuits.

Three layers without biases, of `digits_mlp.npz`; accuracy over its 600 images and the error of
the first layer's products, over seeds, beside an independent model's means over more seeds.
Ours may differ by 4 sd sqrt(1 / n + 1 / n'), from the spread of a difference of two means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.effective import effective
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.devices import DEVICES
from tetrapla.simulators.analog.devices.cells import draws, state
from tetrapla.simulators.analog.devices.device import Device
from tetrapla.simulators.random_ import Key
from tetrapla.suites.tables_ import Cells, arrays, number, read
from tetrapla.validation import Row

WEIGHTS: Final = Path("analog", "digits_mlp.npz")
NOISE: Final = Path("analog", "digits_mlp.csv")
DRIFT: Final = Path("analog", "digits_mlp_drift.csv")
SEEDS: Final = 20
DRIFT_SEEDS: Final = 8  # fewer, for the suite's time; the bound says so
_SPREADS: Final = 4.0
_EXACT: Final = 1e-7  # of an error without noise: eight digits are written
_WRITTEN: Final = 5e-7  # of an accuracy: half a unit of the last of six digits
_SOURCE: Final = "an independent model of the same network"
_DEVICES: Final = {"pcm_like": "pcm_like", "hermes1": "hermes_1", "hermes2": "hermes_2"}

Maker: TypeAlias = Callable[[int, Array], Array]
"""Of a layer's number and its weights in -1..1, [rows, columns], the matrix that acts."""


@dataclass(frozen=True)
class Net:
    """The classifier: weights [rows, columns] by layer, inputs [images, rows], labels."""

    weights: tuple[Array, ...]
    inputs: Array
    labels: Array

    def judged(self, made: Sequence[Array]) -> tuple[float, float]:
        """Accuracy, and the relative error of the first layer's products."""
        x, first = self.inputs, 0.0
        for layer, matrix in enumerate(made):
            y = x @ matrix
            if layer == 0:
                ideal = x @ self.weights[0]
                first = float(np.linalg.norm(y - ideal) / np.linalg.norm(ideal))
            x = np.maximum(y, 0.0) if layer < len(made) - 1 else y
        return float((x.argmax(axis=1) == self.labels).mean()), first

    def over(self, maker: Maker) -> tuple[float, float]:
        """`judged` of layers that are made of normalised weights, and scaled back."""
        made: list[Array] = []
        for layer, weights in enumerate(self.weights):
            largest = float(np.abs(weights).max())
            made.append(largest * maker(layer, weights / largest))
        return self.judged(made)


def rows(golden: Path) -> Iterator[Row]:
    """Noise, wires, drift with and without compensation."""
    held = arrays(golden / WEIGHTS)
    weights = tuple(held[f"W{i}"].T.astype(np.float64) for i in range(3))
    net = Net(weights, held["X"].astype(np.float64) / 16, held["y"])
    yield from _noise(net, golden / NOISE)
    yield from _drift(net, golden / DRIFT)


def _noise(net: Net, path: Path) -> Iterator[Row]:
    for where, row in read(path):
        kind, size = row["noise"], number(row, "magnitude", where)
        if kind in ("ideal", "ir_drop"):
            found = [net.over(_wired(size))]
        else:
            found = [net.over(_noisy(kind, size, seed)) for seed in range(SEEDS)]
        yield from _rows(f"digits {kind} {size:g}", found, row, where)


def _wired(rp_over_rmin: float) -> Maker:
    """Pairs on two arrays of their own, whose lowest device has 1 ohm."""
    wires = Wires(row_ohm=rp_over_rmin, col_ohm=rp_over_rmin)

    def made(layer: int, weights: Array) -> Array:
        del layer
        plus, minus = np.maximum(weights, 0.0), np.maximum(-weights, 0.0)
        return np.asarray(effective(plus, wires) - effective(minus, wires))

    return made


def _noisy(kind: str, size: float, seed: int) -> Maker:
    form = "proportional" if kind.startswith("prop") else "independent"
    device = DEVICES[f"normal_{form}"].scaled(programming=size, read=0.0)

    def made(layer: int, weights: Array) -> Array:
        key = Key(seed).at(layer=layer)
        if kind.endswith("offset"):
            held = state(device, (1 + weights) / 2, 1.0, None, key.at(tile=0)).held
            return np.asarray(2 * held - 1)
        pair = np.maximum(weights, 0.0), np.maximum(-weights, 0.0)
        plus, minus = (
            state(device, each, 1.0, None, key.at(tile=tile)).held
            for tile, each in enumerate(pair)
        )
        return np.asarray(plus - minus)

    return made


def _drift(net: Net, path: Path) -> Iterator[Row]:
    for where, row in read(path):
        device = DEVICES[_DEVICES[row["model"]]]
        g_max = number(row, "g_max_uS", where) * 1e-6
        time_s = number(row, "t_s", where)
        whole = row["compensation"] == "global"
        found = [
            net.over(_drifted(device, g_max, time_s, seed, whole))
            for seed in range(DRIFT_SEEDS)
        ]
        word = "compensated" if whole else "as it is"
        yield from _rows(f"digits {row['model']} {time_s:g} s, {word}", found, row, where)


def _drifted(
    device: Device, g_max: float, time_s: float, seed: int, compensated: bool
) -> Maker:
    """Pairs that are programmed and drift; the scale is g_max, or restored from |G+ - G-|."""

    def made(layer: int, weights: Array) -> Array:
        now, start = np.zeros(weights.shape), np.zeros(weights.shape)
        for tile, sign in enumerate((1.0, -1.0)):
            key = Key(seed).at(layer=layer, tile=tile)
            target = np.maximum(sign * weights, 0.0) * g_max
            now += sign * state(device, target, g_max, time_s, key, frozen=True).held
            given = draws(device, key, target.shape)
            start += sign * device.programmed(target, g_max, given.programming)
        gain = np.abs(start).mean() / np.abs(now).mean() if compensated else 1.0
        return np.asarray(now * (gain / g_max))

    return made


def _rows(case: str, found: list[tuple[float, float]], row: Cells, where: str) -> Iterator[Row]:
    """Means over the seeds; without noise there is one, and nothing to spread."""
    accuracy, error = (float(mean) for mean in np.mean(found, axis=0))
    theirs = number(row, "n_seeds", where)
    spread = _SPREADS * sqrt(1 / len(found) + 1 / theirs)
    published = number(row, "acc_mean", where)
    bound = spread * number(row, "acc_sd", where) if theirs > 1 else _WRITTEN
    yield Row("analog", case, "accuracy", "1", published, accuracy, bound / published, _SOURCE)
    published = number(row, "mvm_rel_err_mean", where)
    if published < _EXACT:
        return  # nothing but roundings
    bound = spread * number(row, "mvm_rel_err_sd", where) / published if theirs > 1 else _EXACT
    quantity = "first_layer_error"
    yield Row("analog", case, quantity, "1", published, error, bound, _SOURCE)
