"""Results as tables for other programs: rows with units in the columns' names.

CSV is plain Python. Parquet is written by DuckDB or polars, data frames are pandas' or polars',
each where it is installed.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrapla.columns import every, pareto
from tetrapla.ir.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from tetrapla.columns import Facts
    from tetrapla.sweeps.grid import Sweep

SUFFIX = ".parquet"


@dataclass(frozen=True)
class Frame:
    """Columns by name, all of one length; None where a figure is not known."""

    columns: Mapping[str, Sequence[Any]]

    def to_csv(self) -> str:
        """One row per line, empty where a figure is not known."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        for row in zip(*self.columns.values(), strict=True):
            writer.writerow(["" if value is None else value for value in row])
        return text.getvalue()

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`."""
        return _library("pandas", "to_pandas").DataFrame(dict(self.columns))

    def to_polars(self) -> Any:
        """A `polars.DataFrame`."""
        return _library("polars", "to_polars").DataFrame(
            {name: _settled(held) for name, held in self.columns.items()}, strict=False
        )

    def to_parquet(self) -> bytes:
        """A Parquet file, by DuckDB or else by polars.

        Raises:
            UnsupportedError: neither is installed.
        """
        check_parquet()
        try:
            import_module("duckdb")
        except ImportError:
            held = io.BytesIO()
            self.to_polars().write_parquet(held)
            return held.getvalue()
        return self._by_duckdb()

    def _by_duckdb(self) -> bytes:
        duckdb = _library("duckdb", "--parquet")
        kinds = {name: _sql_type(held) for name, held in self.columns.items()}
        names = ", ".join(f"{_quoted(name)} {kind}" for name, kind in kinds.items())
        with tempfile.TemporaryDirectory() as folder, duckdb.connect() as base:
            base.execute(f"CREATE TABLE held ({names})")
            marks = ", ".join("?" * len(kinds))
            rows = [
                [_as(kind, value) for kind, value in zip(kinds.values(), row, strict=True)]
                for row in zip(*self.columns.values(), strict=True)
            ]
            if rows:
                base.executemany(f"INSERT INTO held VALUES ({marks})", rows)
            path = Path(folder) / "held.parquet"
            place = str(path).replace("'", "''")
            base.execute(f"COPY held TO '{place}' (FORMAT parquet)")
            return path.read_bytes()


def of_reports(reports: Iterable[Facts]) -> Frame:
    """A row for each report, the columns of `compare --csv`."""
    held = list(reports)
    best = pareto(held)
    found: dict[str, list[Any]] = {}
    for column in every():
        own = best if column.key == "pareto" else [column.value(each) for each in held]
        found[column.key] = list(own)
    return Frame(found)


def of_sweep(sweep: Sweep) -> Frame:
    """A row for each point: what it sets, under ``set.FIELD``, then as `of_reports`.

    `pareto` is the sweep's own: of its objectives.
    """
    names = dict.fromkeys(name for point in sweep.points for name in point.settings)
    found: dict[str, Sequence[Any]] = {
        f"set.{name}": [point.settings.get(name) for point in sweep.points] for name in names
    }
    reports = of_reports(point.report.to_dict(sight=False) for point in sweep.points)
    found |= {**reports.columns, "pareto": [point.pareto for point in sweep.points]}
    return Frame(found)


def check_parquet(path: Path | None = None) -> None:
    """Refuse a name of another kind, and a file that nothing installed can write.

    Raises:
        ModelError: the name does not end in .parquet.
        UnsupportedError: neither polars nor DuckDB is installed.
    """
    if path is not None and path.suffix != SUFFIX:
        raise ModelError(f"--parquet must end in {SUFFIX}, not '{path}'; rename it")
    for name in ("duckdb", "polars"):
        try:
            import_module(name)
        except ImportError:
            continue
        return
    raise UnsupportedError(
        "--parquet needs duckdb or polars, which are not installed; "
        'pip install "tetrapla[parquet]"'
    )


def _settled(held: Sequence[Any]) -> list[Any]:
    """Numbers of one type where whole and broken ones are mixed."""
    if any(isinstance(value, float) for value in held):
        return [float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in held]
    return list(held)


def _sql_type(held: Sequence[Any]) -> str:
    kinds = {type(value) for value in held if value is not None}
    if kinds <= {bool} and kinds:
        return "BOOLEAN"
    if kinds <= {int} and kinds:
        return "BIGINT"
    return "DOUBLE" if kinds <= {int, float} and kinds else "VARCHAR"


def _as(kind: str, value: Any) -> Any:
    return str(value) if kind == "VARCHAR" and value is not None else value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _library(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UnsupportedError(
            f"{what} needs {name}, which is not installed; pip install {name}"
        ) from None
