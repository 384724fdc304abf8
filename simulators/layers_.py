"""The per-layer table of a report: rows, as a data frame and as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from importlib import import_module
from typing import Any

from tetrapla.ir.errors import UnsupportedError


@dataclass(frozen=True)
class LayerRow:
    """One row of a report's table."""

    name: str
    op: str
    cycles: float
    macs: int
    utilization_frac: float | None
    bound_by: str
    energy_pj: float | None
    traffic_bytes: float | None = None


@dataclass(frozen=True)
class Layers:
    """The per-layer table of a report."""

    rows: tuple[LayerRow, ...]

    def __iter__(self) -> Iterator[LayerRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`, a row per layer."""
        try:
            pandas: Any = import_module("pandas")
        except ImportError:
            raise UnsupportedError(
                "to_pandas needs pandas, which is not installed; pip install pandas"
            ) from None
        return pandas.DataFrame([asdict(row) for row in self.rows], columns=list(_COLUMNS))

    def to_polars(self) -> Any:
        """Return a `polars.DataFrame`, a row per layer."""
        try:
            polars: Any = import_module("polars")
        except ImportError:
            raise UnsupportedError(
                "to_polars needs polars, which is not installed; pip install polars"
            ) from None
        rows = [asdict(row) for row in self.rows]
        kinds = {"text": polars.String, "count": polars.Int64, "number": polars.Float64}
        return polars.DataFrame(
            {name: [row[name] for row in rows] for name in _COLUMNS},
            schema={name: kinds[_KINDS.get(name, "number")] for name in _COLUMNS},
            strict=False,
        )

    def to_html(self) -> str:
        """Return the table as HTML, escaped."""
        head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{shown(getattr(row, name))}</td>" for name in _COLUMNS)
            + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_html_(self) -> str:
        return self.to_html()


_COLUMNS = tuple(LayerRow.__dataclass_fields__)
_KINDS = {"name": "text", "op": "text", "bound_by": "text", "macs": "count"}


def shown(value: object) -> str:
    """A cell of a table, escaped; n/a for what is unknown."""
    if value is None:
        return "n/a"
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))
