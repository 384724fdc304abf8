"""The figures of the page as files inside it."""

from __future__ import annotations

from collections.abc import Sequence

from tetrapla.columns import Facts
from tetrapla.comparison import SCHEMA, csv_of
from tetrapla.page.parts import link
from tetrapla.simulators.report import to_json


def downloads(reports: Sequence[Facts]) -> str:
    """All reports as JSON, as --json writes them, and a row of CSV for each."""
    links = [
        link(
            "report.json",
            "application/json",
            to_json({"schema": SCHEMA, "reports": list(reports)}),
        ),
        link("report.csv", "text/csv", csv_of(reports)),
    ]
    return (
        "<p>The JSON has everything on this page, with units in its names; the CSV has a row "
        "for each machine and model. Each chart has a button that saves it as SVG.</p>"
        f"<p class=files>{' '.join(links)}</p>"
    )
