"""`regions`: the grids that `--region` knows."""

from __future__ import annotations


def regions() -> int:
    """List the grids: CO2 of a kilowatt-hour, its year and source."""
    from tetrapla import carbon
    from tetrapla.table import show_rows

    rows = [
        (each.code, each.name, str(each.year), f"{each.g_per_kwh:g} g/kWh", each.source)
        for each in carbon.regions().values()
    ]
    title = "grids, CO2 equivalent of a kilowatt-hour, mean of a year"
    show_rows(title, ("code", "name", "year", "intensity", "source"), rows)
    return 0
