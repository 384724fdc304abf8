"""The regression over the ADC survey beside its golden values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrapla.simulators.analog.converters import survey
from tetrapla.suites.tables_ import number, read
from tetrapla.validation import Row

TABLE: Final = Path("analog", "adc_regression.csv")
_BOUND: Final = 1e-8  # of the table: ten digits are written
_SOURCE: Final = "regression over B. Murmann's ADC survey (CiMLoop), evaluated apart"


def rows(golden: Path) -> Iterator[Row]:
    """Energy and area of converters of 4 to 10 bits at four nodes and two rates."""
    for where, row in read(golden / TABLE):
        node, bits, rate = (number(row, name, where) for name in ("tech_nm", "bits", "freq_hz"))
        ours = survey(bits, rate, node)
        case = f"adc {bits:g} bits, {rate * 1e-6:g} MS/s, {node:g} nm"
        for name, unit, value in (
            ("energy_pj", "pJ", ours.energy_pj),
            ("area_um2", "um2", ours.area_mm2 * 1e6),
        ):
            published = number(row, name, where)
            quantity = name.partition("_")[0]
            yield Row("analog", case, quantity, unit, published, value, _BOUND, _SOURCE)
