"""`validate spiking`: every number of the tools' traces, and one that is changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.validation import GOLDEN, Row, validate

FILE = Path("neuro", "lava_dense_lif.npz")


@pytest.fixture(scope="module")
def rows(shipped: Callable[[str], list[Row]]) -> list[Row]:
    return shipped("spiking")


def test_every_number_of_22_traces_is_ours(rows: list[Row]) -> None:
    rows = [row for row in rows if row.quantity.endswith("mismatches") and row.ours is not None]
    # of 22 traces currents, voltages, spikes and the machine's spikes; of 2 networks
    # spikes; 4 runs of learning; 5 layers that other platforms ran
    assert len(rows) == 22 * 4 + 2 + 4 + 5
    assert all(row.passed and row.ours == 0 for row in rows)


def test_energy_and_time_of_other_tools_and_chips_are_ours(rows: list[Row]) -> None:
    rows = [row for row in rows if not row.quantity.endswith("mismatches")]
    assert all(row.passed is not False for row in rows)
    assert len([row for row in rows if row.case.startswith("sanafe") and row.passed]) == 2 * 11
    # 2^20 neurons x 20 Hz x 128 synapses x 26 pJ
    (identity,) = (row for row in rows if row.quantity == "events_times_energy")
    assert identity.ours == pytest.approx(2**20 * 20 * 128 * 26e-9)
    parts = [row.ours for row in rows if row.case.startswith("loihi, keywords")]
    assert parts[3] == pytest.approx(sum(part for part in parts[:3] if part is not None))
    # 80.49 mW at 296.5 a second, of which 70 are the x86 cores'
    assert parts[0] == pytest.approx(70 / 296.5 * 1e3)


def test_every_platforms_voltages_are_within_the_stated_tolerance(rows: list[Row]) -> None:
    counts = [row for row in rows if row.quantity.startswith("voltages_off_")]
    assert len(counts) == 4
    assert all(row.passed and row.ours == 0 for row in counts)
    errors = [row.ours for row in rows if row.quantity == "voltage_error"]
    assert len(errors) == len(counts)
    assert max(error for error in errors if error is not None) <= 2e-6


def test_traces_that_are_not_given_have_no_figure(rows: list[Row]) -> None:
    traces = [row for row in rows if row.case.startswith("nir trace")]
    assert len(traces) == 11
    assert all(row.ours is None and row.passed is None for row in traces)


def test_traces_that_are_given_are_held(tmp_path: Path) -> None:
    """One input spike, and traces without any answer but one platform's wrong spike."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    names = "norse snntorch spinnaker2 lava_cpu_float nengo sinabs rockpool spyx exact".split()
    names += ["lava_cpu_fixed", "lava_loihi_fixed"]
    arrays = {"S_in": (np.arange(100) == 5).astype(np.uint8)}
    for name in names:
        arrays[f"{name}_s"] = np.zeros(100, np.uint8)
        arrays[f"{name}_v"] = np.ones(100)
    arrays["nengo_s"][30] = 1
    np.savez(folder / "neuro" / "nir_lif.npz", **arrays)
    traces = [row for row in validate(["spiking"], folder) if row.case.startswith("nir trace")]
    spikes = {row.case: row for row in traces if row.quantity == "spike_mismatches"}
    assert len(spikes) == 11
    # a spike of 1 is below the threshold everywhere but of Lava's integers
    assert [case for case, row in spikes.items() if row.passed is False] == ["nir trace, nengo"]
    voltages = [row for row in traces if row.quantity.startswith("voltage")]
    assert voltages
    assert all(row.passed is False for row in voltages if row.bound is not None)


def test_mnist_by_hand(rows: list[Row]) -> None:
    held = {(row.case, row.quantity): row for row in rows if row.case.startswith("mnist, ")}
    assert all(row.bound is None for row in held.values())
    loihi = "mnist, Loihi, 400-400-10"
    # 410 neurons, one timestep: 51.2 + 21.6 pJ; 164,000 synapses of 35.5 pJ, and 400 spikes
    # of 69.3 pJ in a packet of 111
    still, spike = 410 * 72.8e-6, 164_000 * 35.5e-6 + 400 * 180.3e-6
    assert held[loihi, "energy_one_spike_each"].ours == pytest.approx(still + spike)
    paid = held[loihi, "spikes_per_source_paid"].ours
    assert paid == pytest.approx((2.5 - still) / spike)
    # 104 mW for 0.17 ms
    assert held[loihi, "energy_of_a_chip_at_rest"].ours == pytest.approx(17.68)
    # TrueNorth's 3840 neurons take 108 mW for 1 ms: within twice what a chip at rest draws
    truenorth = "mnist, TrueNorth, 3840 neurons (Esser)"
    assert held[truenorth, "energy_of_a_chip_at_rest"].ours == pytest.approx(63.1)
    assert held[truenorth, "energy_per_inference"].published == 108


def test_one_voltage_that_differs_breaks_its_bound(tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    with np.load(folder / FILE) as held:
        arrays = {name: held[name].copy() for name in held.files}
    arrays["c0_v"][3, 1] += 1
    np.savez(folder / FILE, **arrays)
    broken = [row for row in validate(["spiking"], folder) if row.passed is False]
    assert [(row.case, row.quantity, row.ours) for row in broken] == [
        ("lava_dense_lif mixed_on_grid", "voltage_mismatches", 1.0)
    ]


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_a_file_that_is_none_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        validate(["spiking"], tmp_path)
    assert str(caught.value) == f"{path}: must be a readable archive; see --golden"
