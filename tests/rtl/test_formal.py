"""The proofs hold, and would not for a PE or an array with an error."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rtl.mutants import Mutant
from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.rtl import formal, yosys
from tetrapla.simulators.rtl.formal import CLAIMS, outcome
from tetrapla.simulators.rtl.toolchain import SOURCES

PE, EQUAL = CLAIMS
SHORT = replace(EQUAL, depth=3)

PE_MUTANTS = (
    Mutant("pe_ws.sv", "pass_o <= shadow;", "pass_o <= weight_i;"),
    Mutant("pe_ws.sv", "swap_i ? shadow : weight;", "swap_o ? shadow : weight;"),
    Mutant("pe_ws.sv", "product = act_i * weight_now;", "product = act_i * weight;"),
    Mutant("pe_ws.sv", "sum_o <= sum_i + 32'(product);", "sum_o <= sum_i + 32'(product) + 1;"),
    Mutant("pe_ws.sv", "act_o <= act_i;", "act_o <= {act_i[8:1], act_i[0] & ~shift_i};"),
    Mutant("pe_ws.sv", "logic signed [16:0] product;", "logic signed [15:0] product;"),
)
ARRAY_MUTANTS = (
    Mutant("sa_ws.sv", "POINTER'(32'(now) + C - 1 - c)", "POINTER'(32'(now) + C - c)"),
    Mutant("sa_ws.sv", "act_n[r][c] = act[r][c-1];", "act_n[r][c] = act_n[r][c-1];"),
    Mutant("sa_ws.sv", "weight_ring[POINTER'(32'(now)-c)]", "weight_ring[now]"),
)


@pytest.mark.parametrize("claim", [PE, EQUAL])
def test_the_claims_hold(claim: formal.Claim) -> None:
    assert outcome(claim).broken is None


@pytest.mark.parametrize("mutant", PE_MUTANTS, ids=str)
def test_an_error_in_the_pe_breaks_its_proof(mutant: Mutant, tmp_path: Path) -> None:
    own = tmp_path / mutant.file
    own.write_text(mutant.applied(SOURCES), "utf-8")
    assert outcome(PE, [own]).broken is not None


@pytest.mark.parametrize("mutant", ARRAY_MUTANTS, ids=str)
def test_an_error_in_the_array_breaks_its_proof(mutant: Mutant, tmp_path: Path) -> None:
    own = tmp_path / mutant.file
    own.write_text(mutant.applied(SOURCES), "utf-8")
    sources = [own if name == mutant.file else SOURCES / name for name in EQUAL.files]
    assert outcome(replace(EQUAL, depth=7), sources).broken is not None


def test_the_command_prints_what_is_proven_and_how_deep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(formal, "CLAIMS", (PE, SHORT))
    assert formal.main() == 0
    assert capsys.readouterr().out == (
        "pe_ws: proven for runs of any length (induction, depth 2): every register of the PE "
        "holds what the inputs of the cycle before say\n"
        "sa_ws_equal: proven for 3 cycles from a state of zeros: the 2 x 2 array as loops has "
        "the sums of the array of PEs in every cycle, for the operands of which only the two "
        "highest bits may be set\n"
    )


def test_the_command_prints_what_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = formal.Outcome(PE, 2)
    monkeypatch.setattr(formal, "CLAIMS", (PE,))
    monkeypatch.setattr(formal, "outcome", lambda claim: broken)  # pyright: ignore
    assert formal.main() == 1
    assert capsys.readouterr().out == (
        "pe_ws: NOT SO, broken in cycle 2: every register of the PE holds what the inputs of "
        "the cycle before say\n"
    )


def test_a_missing_solver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "z3", None)
    with pytest.raises(UnsupportedError) as caught:
        outcome(PE)
    assert str(caught.value) == (
        "proofs need Z3, which is not installed; pip install 'tetrapla[rtl]'"
    )


def test_a_missing_yosys_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yosys, "find_spec", lambda name: None)  # pyright: ignore
    with pytest.raises(UnsupportedError) as caught:
        outcome(PE)
    assert str(caught.value) == (
        "proofs and synthesis need Yosys, which is not installed; pip install 'tetrapla[rtl]'"
    )


def test_what_yosys_refuses_is_shown(tmp_path: Path) -> None:
    own = tmp_path / "pe_ws.sv"
    own.write_text("module pe_ws(input wire clk_i);\nwire x = ;\nendmodule\n", "utf-8")
    with pytest.raises(UnsupportedError) as caught:
        outcome(PE, [own])
    assert str(caught.value).startswith(
        "Yosys must accept pe_ws.sv, not say: pe_ws.sv:2: ERROR"
    )
