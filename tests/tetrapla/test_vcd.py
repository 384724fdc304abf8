"""Waveforms: what a reader of another project finds in them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tetrapla.simulators.vcd_ import Wire, ascii_bits, vcd

Cli = Callable[..., Any]
SMALL = ("--set", "array.rows=16", "--set", "array.cols=16")


def test_a_small_dump_by_hand() -> None:
    # what holds before the first cycle is shown in it; 3 and 3 again is one change
    wires = [
        Wire("a", "bit", 1, [(0, 1), (6, 0)]),
        Wire("a", "word", 4, [(5, 3), (6, 3), (7, -1)]),
        Wire("b", "late", 2, [(6, 2), (9, 1)]),
    ]
    assert vcd(wires, 5, 8, "me 1", "why") == (
        "$version me 1 $end\n$comment why $end\n$timescale 1 ps $end\n"
        "$scope module machine $end\n$var wire 1 ! clk $end\n"
        '$scope module a $end\n$var wire 1 " bit $end\n$var wire 4 # word [3:0] $end\n'
        "$upscope $end\n$scope module b $end\n$var wire 2 $ late [1:0] $end\n$upscope $end\n"
        "$upscope $end\n$enddefinitions $end\n"
        '#10\n1!\n$dumpvars\n1"\nb11 #\nbx $\n$end\n#11\n0!\n'
        '#12\n1!\n0"\nb10 $\n#13\n0!\n#14\n1!\nb1111 #\n#15\n0!\n#16\n1!\n'
    )
    assert ascii_bits("MM", 3) == int.from_bytes(b"MM ", "big")


def test_more_wires_than_characters_have_different_names() -> None:
    wires = [Wire("a", f"w{n}", 1, [(0, 0)]) for n in range(20_000)]
    lines = vcd(wires, 0, 1, "v", "c").splitlines()
    codes = [line.split()[3] for line in lines if line.startswith("$var")]
    assert len(set(codes)) == 20_001


@pytest.fixture(scope="module")
def dumped(mlp: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    from tetrapla.__main__ import run

    folder = tmp_path_factory.mktemp("vcd")
    words = ["simulate", mlp, "-t", "tpu-v1", *SMALL, "--samples", "1", "--data", "digits"]
    files = ["--vcd", str(folder / "a.vcd"), "--json", str(folder / "r.json")]
    assert run([*words, *files]) == 0
    return folder / "a.vcd", json.loads((folder / "r.json").read_text("utf-8"))


def high_cycles(reader: Any, name: str) -> int:
    """Cycles in which a wire of one bit is 1."""
    changes = reader[name].tv
    ends = [*(time for time, _ in changes[1:]), reader.endtime]
    return sum(
        (end - time) // 2
        for (time, value), end in zip(changes, ends, strict=True)
        if value == "1"
    )


def test_another_reader_finds_the_layer_in_it(dumped: tuple[Path, dict[str, Any]]) -> None:
    vcdvcd = pytest.importorskip("vcdvcd", reason="needs the extra test")
    path, report = dumped
    reader = vcdvcd.VCDVCD(str(path))
    names = [row["name"] for row in report["layers"]]
    first = next(row for row in report["layers"] if row["macs"])
    assert f"layer {first['name']}:" in path.read_text("utf-8")
    # the file has as many cycles as the report says the layer takes
    edges = [time for time, value in reader["machine.clk"].tv if value == "1"]
    assert len(edges) - 1 == first["cycles"]
    before = sum(row["cycles"] for row in report["layers"][: names.index(first["name"])])
    assert edges[0] == 2 * before
    # one row of activations, 64 weights deep: 4 tiles of 16, for each tile of 16 outputs
    tiles = -(-64 // 16) * -(-(first["macs"] // 64) // 16)
    # a row is a cycle; the last tiles' sums may be written when the next layer has begun
    assert high_cycles(reader, "machine.MM.busy") <= tiles
    assert 0 < high_cycles(reader, "machine.accumulators.write_valid") <= tiles
    assert high_cycles(reader, "machine.LW.busy") >= 16  # a tile of weights
    assert not set("xz") & set(reader["machine.accumulators.column_0[63:0]"].tv[-1][1])


def test_the_same_command_gives_the_same_dump(
    cli: Cli, mlp: str, dumped: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    words = ("simulate", mlp, "-t", "tpu-v1", *SMALL, "--samples", 1, "--data", "digits")
    assert cli(*words, "--vcd", tmp_path / "b.vcd").status == 0
    assert (tmp_path / "b.vcd").read_bytes() == dumped[0].read_bytes()


def test_what_has_no_waveforms_is_refused(
    mlp: str, refused: Callable[..., None], cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "a.vcd"
    refused(
        "--vcd must come with a systolic target, not h100 of the family gpu; take tpu-v1, or "
        "--trace for this one",
        *("simulate", mlp, "-t", "h100", "--vcd", file),
    )
    refused(
        "--layer must come with --vcd, not alone; give --vcd FILE",
        *("simulate", mlp, "-t", "tpu-v1", "--layer", "fc1"),
    )
    done = cli("simulate", mlp, "-t", "tpu-v1", *SMALL, "--vcd", file, "--layer", "nothing")
    assert done.status == 2
    assert done.err.startswith(
        "error: --layer must be a layer of the program, not 'nothing'; there are: (input), "
    )
    assert not file.exists()
