"""What the tests of whole models on crossbars share: small chips, one check."""

from __future__ import annotations

from functools import lru_cache

from tetrapla.backends.analog import TARGET
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import macs
from tetrapla.simulators.analog import machine
from tetrapla.simulators.analog.program import Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck, assemble
from tetrapla.simulators.spec_ import load_spec

KEY = Key(0)
EXACT = CrossCheck("bit_exact", 0, None, None, True)


@lru_cache
def chip(rows: int, cols: int, *settings: str) -> AnalogSpec:
    """ISAAC with other arrays, enough of them for any test."""
    own = (f"array.rows={rows}", f"array.cols={cols}", "array.tiles=1000")
    return load_spec("isaac", AnalogSpec, (*own, *settings)).spec


def compiled(
    module: Module, spec: AnalogSpec, data: dict[str, Array] | None
) -> Lowered[Program]:
    return TARGET.lower(module, spec, data, Options())


def verdict(
    lowered: Lowered[Program], spec: AnalogSpec, data: dict[str, Array]
) -> tuple[CrossCheck, machine.AnalogRun]:
    """The run's check against the interpreter; every invariant of a report holds as well."""
    found = machine.run(lowered.program, spec, data, KEY)
    assemble(
        found,
        model="model",
        target=spec.name,
        family="analog",
        command="",
        cost=spec.prices,
        macs=macs(lowered.module.graph.nodes),
        least_cycles=TARGET.least_cycles(lowered.program, spec),
    )
    reference = evaluate_many(lowered.module, data)
    check = TARGET.cross_check(lowered, spec, data, found, reference)
    assert check is not None
    return check, found
