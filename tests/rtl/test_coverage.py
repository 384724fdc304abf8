"""What random programs reach: every line and branch, but for those that are listed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rtl.covered import PROGRAMS, covered
from tetrapla.simulators.rtl import coverage
from tetrapla.simulators.rtl.coverage import Point, missed, read, share, source, table
from tetrapla.simulators.rtl.toolchain import SOURCES

GUARD = "legal entries of a table are no longer than the table"
ERRORS = "the programs are legal; tests/rtl/test_toolchain.py has words that are not"
EXCUSED = {
    "accumulators.sv": {"if (at < 4 * ROW_WORDS)": GUARD},
    "descriptors.sv": {"if (32'(moved_i) + n < BYTES)": GUARD},
    "vector_unit.sv": {"if (word < ROW_WORDS)": GUARD},
    "dispatcher.sv": {
        "end else if (!valid && !done_o) begin": ERRORS,
        "status[0] <= 32'(legal(word_o) ? UNKNOWN : ILLEGAL);": ERRORS,
    },
}
REFUSES = (
    "error_register.sv"  # whose branches are illegal programs: the tests of errors play them
)


def test_every_line_and_branch_is_reached_or_excused() -> None:
    counts = covered(PROGRAMS)
    found = {
        (p.file, source(p)[0])
        for kind in ("line", "branch")
        for p in missed(counts, kind)
        if p.file != REFUSES
    }
    assert found <= {(file, text) for file, texts in EXCUSED.items() for text in texts}
    reached, there = share(counts, "branch")
    assert there > 350
    # what never toggles: high bits of addresses and counts, which the small memories do not
    # need, and of the 40 bits of the cycle; operands and sums of the arrays all do
    assert share(counts, "toggle")[0] > 0.6 * share(counts, "toggle")[1]
    for array in ("sa_ws.sv", "sa_os.sv"):
        reached, there = share(counts, "toggle", array)
        assert reached >= 0.99 * there > 0


def test_what_is_excused_is_in_the_sources() -> None:
    for file, texts in EXCUSED.items():
        for text in texts:
            assert text in (SOURCES / file).read_text("utf-8")


def record(line: int, column: int, kind: str, what: str, count: int, **more: str) -> str:
    values = {"f": "/a/pe_ws.sv", "l": line, "n": column, "page": f"v_{kind}/pe_ws", "o": what}
    key = "".join(f"\x01{name}\x02{value}" for name, value in (values | more).items())
    return f"C '{key}' {count}\n"


RECORDS = (
    "# SystemC::Coverage-3\n"
    + record(25, 3, "line", "block", 4, S="25-27", h="TOP.a")
    + record(25, 3, "line", "block", 3, S="25-27", h="TOP.b")
    + record(29, 7, "branch", "else", 0, h="TOP.a")
)


def test_instances_are_added_and_printed_by_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.dat").write_text(RECORDS, "utf-8")
    counts = read(tmp_path.glob("*.dat"))
    block = Point("pe_ws.sv", 25, 3, "line", "block", "25-27")
    other = Point("pe_ws.sv", 29, 7, "branch", "else")
    assert counts == {block: 7, other: 0}
    assert missed(counts, "branch") == [other]
    rows = [line.split() for line in table(counts).splitlines()]
    assert rows == [
        ["file", "line", "branch", "toggle"],
        ["pe_ws.sv", *"1 of 1 100.0 % 0 of 1 0.0 % none".split()],
        ["all", *"1 of 1 100.0 % 0 of 1 0.0 % none".split()],
    ]
    coverage.show(counts)
    assert capsys.readouterr().out == (
        table(counts) + f"never: pe_ws.sv:29 else: {source(other)[0]}\n"
    )
