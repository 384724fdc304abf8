"""Moments of cells beside tables computed apart: programming errors, exponents, PCM's drift."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.analog.devices import DEVICES
from tetrapla.simulators.analog.devices.device import Device
from tetrapla.simulators.analog.devices.pcm import Pcm
from tetrapla.suites.tables_ import Cells, number, read
from tetrapla.validation import Row

STATISTICS: Final = Path("analog", "device_stats.csv")
DRIFT: Final = Path("analog", "pcm_drift.csv")
_WRITTEN: Final = 1e-6  # both are closed forms; seven digits are written
_QUADRATURE: Final = 0.005
_SOURCE: Final = "the published fits in closed form, computed apart"
_DRIFTED: Final = "the published fits by Gauss quadrature, computed apart"
_NAMES: Final = {
    ("reram_wan", 1.0): "reram_wan_1s",
    ("reram_wan", 86400.0): "reram_wan_1d",
    ("reram_wan", 172800.0): "reram_wan_2d",
}
_MODELS: Final = {"hermes1": "hermes_1", "hermes2": "hermes_2", "sonos": "sonos_40nm"}
_SIEMENS: Final = {"uS": 1e-6, "nA": 1e-8}  # SONOS is read at 0.1 V
_NOT_CLIPPED: Final = ("rram_milo", "rram_wan_cubic")  # in the table


def rows(golden: Path) -> Iterator[Row]:
    """Every line of the tables."""
    for where, row in read(golden / STATISTICS):
        yield from _programmed(row, where)
    for where, row in read(golden / DRIFT):
        yield from _drifted(row, where)


def _device(row: Cells, time_s: float, where: str) -> Device:
    model = row.get("model") or ""
    name = _NAMES.get((model, time_s), _MODELS.get(model, model))
    if name not in DEVICES:
        raise ModelError(
            f"{where}: model must be a known device, not {model!r}; mend the table"
        )
    return DEVICES[name]


def _programmed(row: Cells, where: str) -> Iterator[Row]:
    time_s, g_max, target = (number(row, name, where) for name in ("t_s", "g_max", "g_target"))
    device, unit = _device(row, time_s, where), _SIEMENS.get(row["unit"], 1e-6)
    goal = np.array([target * unit])
    at_s = time_s if row["model"] == "sonos" else None
    found = device.central_moments(goal, g_max * unit, at_s)
    # the tail of a clipped normal is its deviation before clipping
    values = {"sigma": found.tail / unit}
    if row["model"] not in _NOT_CLIPPED:
        values["mean_after"] = found.mean / unit
        values["sd_after"] = np.sqrt(found.variance) / unit
    if row["nu_mean"] and isinstance(device, Pcm):
        nu = device.exponent_moments(goal, g_max * unit)
        values["nu_mean"], values["nu_sd"] = nu
    case = f"{row['model']} {target:g} {row['unit']} of {g_max:g}, {time_s:g} s"
    for name, ours in values.items():
        shown = "1" if name.startswith("nu") else row["unit"]
        published = number(row, name, where)
        yield Row("analog", case, name, shown, published, float(ours[0]), _WRITTEN, _SOURCE)


def _drifted(row: Cells, where: str) -> Iterator[Row]:
    names = ("g_target_uS", "g_max_uS", "t_s", "with_programming_noise")
    target, g_max, time_s, noisy = (number(row, name, where) for name in names)
    device = _device(row, time_s, where).scaled(programming=noisy)
    if not isinstance(device, Pcm):
        raise ModelError(f"{where}: model must be a PCM, not {row['model']!r}; mend the table")
    mean, variance = device.read_moments(np.array([target * 1e-6]), g_max * 1e-6, time_s)
    case = f"{row['model']} {target:g} uS after {time_s:g} s"
    case += "" if noisy else ", exactly programmed"
    for name, ours in (("mean", mean), ("sd", np.sqrt(variance))):
        published = number(row, f"{name}_uS", where)
        yield Row(
            "analog", case, name, "uS", published, float(ours[0]) * 1e6, _QUADRATURE, _DRIFTED
        )
