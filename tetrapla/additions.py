"""What the settings add to a finished report: its format, scaled figures, CO2 and cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tetrapla.settings import Settings
from tetrapla.simulators.report import Report


def added(report: Report, settings: Settings, quant: str | None = None) -> Report:
    """A report with what was asked for beside the machine's own figures.

    Args:
        report: of the machine.
        settings: with `normalize`, `region`, `pue`, `price_per_kwh`.
        quant: the number format, where a comparison has several.
    """
    more: dict[str, Any] = {} if quant is None else {"quant": quant}
    said = list[str]()
    if settings.normalize is not None:
        from tetrapla.normalize import normalised, scale_of

        facts = report.to_dict(sight=False)
        more["normalised"], text = normalised(facts, scale_of(settings.normalize))
        said.append(text)
    if settings.region is not None or settings.price_per_kwh is not None:
        from tetrapla import carbon

        pue = carbon.PUE if settings.pue is None else settings.pue
        energy_pj, price = report.energy.total_pj, settings.price_per_kwh
        where = None if settings.region is None else carbon.region(settings.region)
        if where is not None:
            more["co2"] = carbon.emissions(energy_pj, where, pue)
        if price is not None:
            more["cost"] = carbon.bill(energy_pj, price, pue)
        said.append(carbon.sentence(where, price, pue))
    if not more:
        return report
    return replace(report, more={**report.more, **more}, warnings=(*report.warnings, *said))
