"""The roof of a machine: the most it multiplies in a second, and what feeds it.

A layer's place under it is its multiply-accumulates per byte of traffic and per second: S.
Williams, A. Waterman and D. Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MULTIPLIERS: Final = ("mac", "op", "flop")
_NO_FORMAT: Final = ("idle", "zero", "op")


@dataclass(frozen=True)
class Roof:
    """What no layer can beat.

    Attributes:
        peak_macs_per_s: of all its multipliers; None where it has no such figure.
        bandwidth_bytes_per_s: of the memory that layers' `traffic_bytes` come from; None
            where no layer waits for one.
        peak, bandwidth: which fields of the spec they are made of, or why there is none.
    """

    peak_macs_per_s: float | None
    bandwidth_bytes_per_s: float | None
    peak: str
    bandwidth: str

    def to_dict(self) -> dict[str, Any]:
        """The report's key `roofline`."""
        return {
            "peak_macs_per_s": self.peak_macs_per_s,
            "bandwidth_bytes_per_s": self.bandwidth_bytes_per_s,
            "sources": {"peak": self.peak, "bandwidth": self.bandwidth},
        }


def roof_of(data: Mapping[str, Any] | None) -> Roof | None:
    """The roof that `to_dict` wrote."""
    if data is None:
        return None
    said = data["sources"]
    figures = (data["peak_macs_per_s"], data["bandwidth_bytes_per_s"])
    return Roof(*figures, said["peak"], said["bandwidth"])


def most_used(actions: Mapping[str, int | float]) -> str | None:
    """The number format of most multiplications; None where no action names one.

    Arithmetic between products is in float32, which is the answer only where nothing else is.
    """
    found: dict[str, float] = {}
    for action, count in actions.items():
        unit, _, name = action.partition(".")
        if unit in _MULTIPLIERS and name not in _NO_FORMAT and count:
            found[name] = count
    products = {name: count for name, count in found.items() if name != "fp32"} or found
    return max(products, key=lambda name: products[name], default=None)
