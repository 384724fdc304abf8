"""Tables for other programs: CSV, Parquet by either library, data frames."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tetrapla.frames import Frame
from tetrapla.simulators.layers_ import LayerRow, Layers

Cli = Callable[..., Any]
FRAME = Frame(
    {
        "name": ["a", "b"],
        "count": [1, None],
        "energy_pj": [2, 0.5],
        "passed": [True, None],
        'odd "one"': [None, None],
    }
)
ROWS: list[list[Any]] = [["a", 1, 2.0, True, None], ["b", None, 0.5, None, None]]


def test_csv_has_the_units_in_its_head_and_holes_where_nothing_is_known() -> None:
    assert FRAME.to_csv() == (
        'name,count,energy_pj,passed,"odd ""one"""\na,1,2,True,\nb,,0.5,,\n'
    )


@pytest.mark.parametrize("writer", ["polars", "duckdb"])
def test_parquet_by_either_library_is_read_back(
    writer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip(writer, reason="needs duckdb or polars")
    duckdb = pytest.importorskip("duckdb", reason="reads what was written")
    path = tmp_path / "a.parquet"
    with monkeypatch.context() as patch:
        if writer == "polars":
            patch.setitem(sys.modules, "duckdb", None)
        path.write_bytes(FRAME.to_parquet())
        again = FRAME.to_parquet()
    found = duckdb.sql(f"SELECT * FROM '{path}'")
    assert found.columns == list(FRAME.columns)
    assert [list(row) for row in found.fetchall()] == ROWS
    assert again == path.read_bytes()


def test_without_a_library_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[..., None], mlp: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    words = ("compare", mlp, "--targets", "tpu-v1", "--parquet")
    refused(f"--parquet must end in .parquet, not '{path}'; rename it", *words, path)
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    refused(
        "--parquet needs duckdb or polars, which are not installed; "
        'pip install "tetrapla[parquet]"',
        *(*words, tmp_path / "a.parquet"),
    )


def test_a_comparison_and_a_sweep_write_the_same_rows_in_both_forms(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs the extra parquet")
    grid = ("--set", "array.rows=16,32")
    commands: list[tuple[str, ...]] = [
        ("compare", mlp, "--targets", "tpu-v1,h100"),
        ("sweep", mlp, "--target", "tpu-v1", *grid),
    ]
    head, rows = list[str](), list[list[str]]()
    for words in commands:
        table, packed = tmp_path / "a.csv", tmp_path / "a.parquet"
        assert cli(*words, "--csv", table, "--parquet", packed).status == 0
        head, *rows = csv.reader(io.StringIO(table.read_text("utf-8")))
        found = duckdb.sql(f"SELECT * FROM '{packed}'")
        assert found.columns == head
        assert len(found.fetchall()) == len(rows) == 2
        latencies = duckdb.sql(f"SELECT time_s FROM '{packed}'").fetchall()
        assert [each for (each,) in latencies] == [float(r[head.index("time_s")]) for r in rows]
    assert head[0] == "set.array.rows"
    assert [row[0] for row in rows] == ["16", "32"]


def test_layers_become_data_frames() -> None:
    pandas = pytest.importorskip("pandas", reason="needs the extra test")
    polars = pytest.importorskip("polars", reason="needs the extra test")
    layers = Layers(
        (
            LayerRow("a", "nn.conv2d", 7, 9, None, "dma", 2.5),
            LayerRow("b", "nn.relu", 2.5, 0, 0.5, "array", None),
        )
    )
    found = layers.to_polars()
    assert found.columns == list(layers.to_pandas().columns)
    assert found["macs"].dtype == polars.Int64
    assert found["cycles"].to_list() == [7.0, 2.5]
    assert found["energy_pj"].to_list() == [2.5, None]
    assert Layers(()).to_polars().schema == found.schema
    assert isinstance(FRAME.to_pandas(), pandas.DataFrame)
    assert FRAME.to_polars().rows() == [tuple(row) for row in ROWS]
