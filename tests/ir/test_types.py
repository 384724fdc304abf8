"""Every element type: its name, its width, and the way out to a file and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tetrapla.frontend import mlir_text
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.convert import tensor_of, type_of
from tetrapla.ir.graph import BITS, DTYPES, Value
from tetrapla.ir.mlir import Location, context
from tetrapla.ir.op import Tensor

WIDTHS = {
    "f64": 64,
    "bf16": 16,
    "f8E8M0FNU": 8,
    "f6E3M2FN": 6,
    "f4E2M1FN": 4,
    "ui2": 2,
    "i1": 8,
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_mlir_knows_the_type_and_gives_its_name_back(dtype: str) -> None:
    with context(), Location.unknown():
        assert tensor_of(type_of(Tensor((2, 3), dtype))) == Tensor((2, 3), dtype)


def test_small_elements_are_packed_in_memory() -> None:
    assert {dtype: BITS[dtype] for dtype in WIDTHS} == WIDTHS
    found = {dtype: Value(0, (3, 3), dtype).traffic_bytes for dtype in WIDTHS}
    assert found == {
        "f64": 72, "bf16": 18, "f8E8M0FNU": 9, "f6E3M2FN": 7, "f4E2M1FN": 5, "ui2": 3, "i1": 9
    }  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_of_the_type_survives_a_file(dtype: str, tmp_path: Path) -> None:
    build = ModuleBuilder("held")
    held = DTYPES[dtype]
    bits = np.random.default_rng(0).integers(0, 2, (4, 3)).astype(np.uint8)
    array = bits.astype(held)
    assert len(np.unique(array.astype(np.float32))) == 2 if dtype != "f8E8M0FNU" else True
    build.output("y", build.weight("w", array))
    module = build.finish()
    mlir_text.save(module, tmp_path / "held.mlir")
    read = mlir_text.load(tmp_path / "held.mlir")
    assert read.weights["w"].dtype == held
    assert read.weights["w"].tobytes() == array.tobytes()
    assert read.text() == module.text()
