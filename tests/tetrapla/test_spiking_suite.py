"""`validate spiking`: every number of the tools' traces, and one that is changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.validation import GOLDEN, validate

FILE = Path("neuro", "lava_dense_lif.npz")


def test_every_number_of_22_traces_is_ours() -> None:
    rows = [row for row in validate(["spiking"]) if row.quantity.endswith("mismatches")]
    # of 22 traces currents, voltages, spikes and the machine's spikes; of 2 networks
    # spikes; 4 runs of learning and 4 rules of platforms
    assert len(rows) == 22 * 4 + 2 + 4 + 4
    assert all(row.passed and row.ours == 0 for row in rows)


def test_energy_and_time_of_other_tools_and_chips_are_ours() -> None:
    rows = [row for row in validate(["spiking"]) if not row.quantity.endswith("mismatches")]
    assert all(row.passed is not False for row in rows)
    assert len([row for row in rows if row.case.startswith("sanafe") and row.passed]) == 2 * 11
    # 2^20 neurons x 20 Hz x 128 synapses x 26 pJ
    (identity,) = (row for row in rows if row.quantity == "events_times_energy")
    assert identity.ours == pytest.approx(2**20 * 20 * 128 * 26e-9)
    parts = [row.ours for row in rows if row.case.startswith("loihi, keywords")]
    assert parts[3] == pytest.approx(sum(part for part in parts[:3] if part is not None))
    # 80.49 mW at 296.5 a second, of which 70 are the x86 cores'
    assert parts[0] == pytest.approx(70 / 296.5 * 1e3)


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
