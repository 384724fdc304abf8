"""A report from its JSON, so that what was computed once need not be computed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tetrapla.simulators.layers_ import LayerRow, Layers
from tetrapla.simulators.price_ import Energy
from tetrapla.simulators.report import Accuracy, CrossCheck, Report
from tetrapla.simulators.roof_ import roof_of
from tetrapla.simulators.spec_ import Provenance
from tetrapla.simulators.yield_ import Yield


def report_of(data: Mapping[str, Any]) -> Report:
    """The report whose `to_dict` is `data`; its outputs and pictures are not in it.

    Raises:
        KeyError, TypeError: the data is not a report's.
    """
    energy, spread = data["energy_pj"], data["energy_pj"]["range"]
    right = data["accuracy"]
    return Report(
        **{name: data[name] for name in _PLAIN},
        energy=Energy(energy["total"], dict(energy["by_unit"])),
        energy_range_pj=None if spread is None else (spread[0], spread[1]),
        accuracy=None if right is None else Accuracy(**right),
        cross_check=_check(data["cross_check"]),
        second_check=_check(data.get("second_check")),
        layers=Layers(tuple(LayerRow(**row) for row in data["layers"])),
        warnings=tuple(data["warnings"]),
        provenance=tuple(Provenance(**entry) for entry in data["provenance"]),
        chip_yield=_yield(data.get("yield")),
        roof=roof_of(data.get("roofline")),
        seen=data.get("sight"),
        interval_s=data.get("interval_s"),
        more={name: data[name] for name in _MORE if name in data},
    )


_PLAIN = (
    *("model", "target", "family", "command", "seed", "batch", "cycles", "time_s"),
    "area_mm2",
)
_MORE = ("model_sha256", "quant", "normalised", "co2", "cost")


def _yield(data: Mapping[str, Any] | None) -> Yield | None:
    if data is None:
        return None
    low, high = data["interval_95"]
    return Yield(
        chips=data["chips"],
        least_accuracy=data["least_accuracy"],
        good_frac=data["good_frac"],
        interval_95=(low, high),
        accuracy_quantiles=data["accuracy_quantiles"],
    )


def _check(data: Mapping[str, Any] | None) -> CrossCheck | None:
    return None if data is None else CrossCheck(**data)
