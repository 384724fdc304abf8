"""What is proven of the RTL, for all inputs and not only for those that a test plays.

    python -m tetrapla.simulators.rtl.formal

Yosys makes of a module its first states, the steps from a state to the next and the assertions
that the source holds; Z3 looks for states that break one. A proof by induction shows that no
run of any length breaks an assertion: none of its first `depth` states does, and behind `depth`
states that break none comes another one. A bounded proof says it of `depth` cycles from a
state of zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.rtl.toolchain import SOURCES
from tetrapla.simulators.rtl.yosys import yosys


@dataclass(frozen=True)
class Claim:
    """Assertions of a module.

    Attributes:
        top: the module.
        files: names below `SOURCES`, or paths.
        depth: cycles.
        induction: for runs of any length; else from zeros, for `depth` cycles.
        says: the claim in words.
    """

    top: str
    files: tuple[str | Path, ...]
    depth: int
    induction: bool
    says: str


@dataclass(frozen=True)
class Outcome:
    """Of a proof: `broken` is the cycle of a counterexample, None where there is none."""

    claim: Claim
    broken: int | None

    def __str__(self) -> str:
        claim = self.claim
        if self.broken is not None:
            return f"{claim.top}: NOT SO, broken in cycle {self.broken}: {claim.says}"
        how = (
            f"proven for runs of any length (induction, depth {claim.depth})"
            if claim.induction
            else f"proven for {claim.depth} cycles from a state of zeros"
        )
        return f"{claim.top}: {how}: {claim.says}"


CLAIMS = (
    Claim(
        "pe_ws",
        ("pe_ws.sv",),
        2,
        True,
        "every register of the PE holds what the inputs of the cycle before say",
    ),
    Claim(
        "sa_ws_equal",
        ("pe_ws.sv", "sa_ws.sv", "sa_ws_structural.sv", "sa_ws_equal.sv"),
        12,
        False,
        "the 2 x 2 array as loops has the sums of the array of PEs in every cycle, for the "
        "operands of which only the two highest bits may be set",
    ),
)

# flat, with registers of one bit, without those that never change, and with multipliers no
# wider than what can reach them: else the solver would find all that out for each cycle again
_SMALLER = ("opt_dff -sat -nodffe -nosdff", "opt_expr -mux_undef -fine", "opt_merge")
_BITS = ("dffunmap", "simplemap t:$dff t:$mux t:$pmux t:$and t:$or t:$not")
_BOUNDED = (
    "setundef -zero -init",
    "memory_map",
    "opt -full",
    *_BITS,
    "opt -full",
    *(5 * _SMALLER),
    "wreduce",
    "opt_expr -fine",
    *_BITS,
    "opt_merge",
    "opt_clean",
)
_STATES = 2**8


def outcome(claim: Claim, sources: Sequence[Path] = ()) -> Outcome:
    """Prove a claim.

    Args:
        claim: one of `CLAIMS`.
        sources: instead of the claim's files.

    Raises:
        UnsupportedError: Yosys or Z3 is missing, or cannot decide.
    """
    paths = [*sources] or [SOURCES / name for name in claim.files]
    model = yosys(paths, [*_script(claim)], "made.smt2")
    if claim.depth >= _STATES:
        raise UnsupportedError(
            f"the depth of a proof must be below {_STATES}, not {claim.depth}; prove less"
        )
    # states are numbers: then all that a state holds is bits, and Z3 decides it as bits
    top = claim.top
    model = model.replace(
        f"(declare-sort |{top}_s| 0)", f"(define-sort |{top}_s| () (_ BitVec 8))"
    )
    for cycle in range(claim.depth + (0 if claim.induction else 1)):
        if _satisfiable(model + _question(top, cycle, from_start=True)):
            return Outcome(claim, cycle)
    if claim.induction and _satisfiable(model + _question(top, claim.depth, from_start=False)):
        return Outcome(claim, claim.depth)
    return Outcome(claim, None)


def _script(claim: Claim) -> Iterator[str]:
    yield "read_verilog -defer -formal -sv {sources}"
    yield f"hierarchy -check -top {claim.top}"
    yield f"prep -flatten -top {claim.top}"
    yield "async2sync"
    if not claim.induction:
        yield from _BOUNDED
    yield "dffunmap"
    yield "write_smt2 -wires made.smt2"


def _question(top: str, cycle: int, from_start: bool) -> str:
    """Is there a run that breaks an assertion in a cycle and none before?"""
    state = [f"#x{n:02x}" for n in range(cycle + 1)]
    said = [f"(|{top}_t| {one} {two})" for one, two in pairwise(state)]
    said += [f"(and (|{top}_h| {one}) (|{top}_u| {one}))" for one in state]
    said += [f"(|{top}_a| {one})" for one in state[:-1]]
    said += [f"(|{top}_i| {state[0]})"] if from_start else []
    said += [f"(not (|{top}_a| {state[-1]}))"]
    return "".join(f"(assert {one})\n" for one in said)


def _satisfiable(text: str) -> bool:
    try:
        import z3
    except ImportError:
        raise UnsupportedError(
            "proofs need Z3, which is not installed; pip install 'tetrapla[rtl]'"
        ) from None
    solver = z3.SolverFor("QF_UFBV")
    solver.from_string(text)
    found = str(solver.check())
    if found == "unknown":
        raise UnsupportedError(
            f"Z3 must decide the question, not give up ({solver.reason_unknown()}); prove less"
        )
    return found == "sat"


def main() -> int:
    """Prove all claims and print each; 1 where one does not hold."""
    broken = 0
    for claim in CLAIMS:
        found = outcome(claim)
        sys.stdout.write(f"{found}\n")
        sys.stdout.flush()
        broken |= found.broken is not None
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
