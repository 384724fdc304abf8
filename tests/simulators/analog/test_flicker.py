"""1/f noise that is another at every read, or one for all reads of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.simulators.analog.helpers import compiled
from tetrapla.backends.analog.check import cross_check
from tetrapla.simulators.analog import cells, machine
from tetrapla.simulators.analog.devices import cells as device_cells
from tetrapla.simulators.random_ import Key

RUN = "device.flicker=run"
PCM = ("device.model=pcm_like", "device.g_max=25 uS", "device.time=3600 s")
CMO = ("device.model=reram_cmo_2pct", "device.g_min=9 uS", "device.g_max=88.2 uS")
QUIET = "device.read_noise=0"


def test_reads_of_a_run_are_alike_and_runs_are_not() -> None:
    lowered, spec, inputs, _ = compiled(*PCM, QUIET, RUN)
    same = {"x": np.repeat(inputs["x"][:1], 5, axis=0)}
    found, other = (
        machine.run(lowered.program, spec, same, Key(seed)).outputs["y"] for seed in (0, 1)
    )
    assert (found == found[0]).all()
    assert not np.array_equal(found, other)
    # at every read, it is another
    lowered, spec, _, _ = compiled(*PCM, QUIET)
    found = machine.run(lowered.program, spec, same, Key(0)).outputs["y"]
    assert not (found == found[0]).all()


def test_cells_hold_it_and_their_reads_are_silent() -> None:
    lowered, spec, _, _ = compiled(*PCM, QUIET, RUN)
    _, plain, _, _ = compiled(*PCM, QUIET)
    (step,) = lowered.program.products
    held, bare = (cells.programmed(step, 0, one, Key(0)) for one in (spec, plain))
    assert held.read_sd is None
    assert bare.read_sd is not None
    moved = (held.placed - bare.placed)[bare.placed > 1]
    z = moved / bare.read_sd[bare.placed > 1]
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs((z * z).mean() - 1) < 4 * np.sqrt(2 / len(z))


@pytest.mark.parametrize(
    "overrides",
    [
        (*PCM, RUN),
        (*PCM, RUN, QUIET, "recovery.drift=column", "recovery.outputs=reestimated"),
        (*CMO, RUN, "faults.stuck_low=0.02", "device.spread=0.05", "adc.sign=signed"),
        (*PCM, RUN, "device.programming=0", "device.drift=0"),
    ],
    ids=" ".join,
)
def test_an_honest_machine_passes(overrides: tuple[str, ...]) -> None:
    lowered, spec, inputs, reference = compiled(*overrides)
    run = machine.run(lowered.program, spec, inputs, Key(2))
    found = cross_check(lowered, spec, inputs, run, reference)
    assert found.kind == "statistical"
    assert found.passed, found


def test_a_run_that_lacks_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered, spec, inputs, reference = compiled(*PCM, RUN, "device.programming=0")
    right = device_cells.state

    def state(*given: Any, frozen: bool) -> Any:
        del frozen
        return right(*given, frozen=False)

    monkeypatch.setattr(cells, "state", state)
    run = machine.run(lowered.program, spec, inputs, Key(2))
    assert not cross_check(lowered, spec, inputs, run, reference).passed


@pytest.mark.parametrize("device", [(*PCM, "device.read=0"), ("device.read_noise=0.01",)])
def test_without_such_noise_nothing_changes(device: tuple[str, ...]) -> None:
    lowered, spec, inputs, _ = compiled(*device, RUN)
    _, bare, _, _ = compiled(*device)
    found, other = (
        machine.run(lowered.program, one, inputs, Key(1)).outputs["y"] for one in (spec, bare)
    )
    assert np.array_equal(found, other)
