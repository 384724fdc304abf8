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
    rows = validate(["spiking"])
    assert len({row.case for row in rows}) == 22
    assert len(rows) == 66  # currents, voltages, spikes
    assert all(row.passed and row.ours == 0 for row in rows)


def test_one_voltage_that_differs_breaks_its_bound(tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    with np.load(folder / FILE) as held:
        arrays = {name: held[name].copy() for name in held.files}
    arrays["c0_v"][3, 1] += 1
    np.savez(folder / FILE, **arrays)
    broken = [row for row in validate(["spiking"], folder) if not row.passed]
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
