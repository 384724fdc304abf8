"""What finding out how a chip is costs: reads of its arrays, once, and their energy.

Beside the energy of an inference, never in it, and without the chip's static power. Cells are
written anew only where faults are looked for; writing has no price here, as programming has
none.
"""

from __future__ import annotations

from typing import Final

from tetrapla.simulators.analog.costing import ADC, DAC, HOLD, JOULE, READ, UNKNOWN
from tetrapla.simulators.analog.mapping import sizes
from tetrapla.simulators.analog.program import Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.report import Run, price, summed

AVERAGED: Final = 64  # reads of a row, assumed: an eighth of a read's noise is left
_STATES: Final = 2  # a stuck cell shows at g_min or at g_max


def note(program: Program, spec: AnalogSpec, trial: Run | None) -> tuple[str, ...]:
    """One sentence where the spec's recovery reads the chip; `trial` is the one that was run.

    * drift: every row alone, `AVERAGED` times, after programming and at the time of the reads.
    * rows: every row alone, all cells of the array at g_min and then at g_max.
    * outputs: the trial's invocations.
    """
    alone = 0
    if spec.recovery.drift != "none" and spec.device.noisy:
        alone += 2 * AVERAGED
    if spec.recovery.rows != "none" and spec.faults.any:
        alone += _STATES
    reads, energies = 0, list[float | None]()
    if alone:
        actions: dict[str, int | float] = dict.fromkeys((DAC, READ, HOLD, ADC), 0)
        held = {(step.number, step.first_tile): step for step in program.products}
        for step in held.values():
            for tile in step.tiles:
                own = alone * tile.rows * step.copies
                reads += own
                for action in (DAC, READ, HOLD):
                    actions[action] += own
                actions[ADC] += own * sizes(step, tile, spec)[1]
        if JOULE in spec.cost:
            # a row alone takes what its own cells do: not computed, so unknown
            actions[UNKNOWN] = actions.pop(READ)
        energies.append(price(actions, spec.prices).total_pj)
    if trial is not None and program.trial is not None:
        many = program.trial.invocations
        each = summed([layer.actions for layer in trial.layers])
        reads += many * int(each.get(HOLD, 0))
        whole = price(each, spec.prices).total_pj
        energies.append(None if whole is None else many * whole)
    if not energies:
        return ()
    known = [energy for energy in energies if energy is not None]
    total = f"{sum(known):.4g} pJ" if len(known) == len(energies) else "energy unknown"
    return (
        f"recovery: {reads:,} test reads of arrays, {total}, once per chip; the energy of an "
        "inference is without them",
    )
