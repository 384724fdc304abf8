"""Design points of the array: what a spec may say, and the exact words where it may not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.spec import ArraySection, SystolicSpec

ROW = {"rows": 8, "cols": 8}


def refusal(**fields: object) -> str:
    with pytest.raises(ValidationError) as refused:
        ArraySection.model_validate({**ROW, **fields})
    return str(refused.value)


def test_an_array_is_one_dense_int8_unit_unless_it_says_more() -> None:
    array = ArraySection.model_validate(ROW)
    assert (array.dataflow, array.units, array.sparsity) == ("weight_stationary", 1, "none")
    assert dict(array.formats) == {"int8": 1}
    assert (array.gate_zeros, array.element_bytes) == (False, 1)
    assert ArraySection.model_validate({**ROW, "formats": {"bf16": 1}}).element_bytes == 2
    assert ArraySection.model_validate({**ROW, "formats": {"int8": 2}}).formats["int8"] == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"formats": {"int9": 1}},
            "array.formats.int9 must be one of int8, int16x8, int16, bf16, fp16, int4, not "
            "int9; did you mean 'int8'?",
        ),
        (
            {"formats": {"int8": 0}},
            "array.formats.int8 must be at least 1 cycle a row, not 0; leave a format out that "
            "the array lacks",
        ),
        (
            {"formats": {}},
            "array.formats must have a format that is multiplied, not none; add int8: 1",
        ),
        (
            {"formats": {"int4": 1}},
            "array.formats must have a format that is multiplied, not int4; add int8: 1",
        ),
        (
            {"formats": {"int8": 1, "int4": 2}},
            "array.formats.int4 must be as int8, of which it is a form of storage, not 2; set "
            "both to the same cycles",
        ),
        (
            {"units": 512},
            "array.units x array.cols must be at most 4095, not 4096; take fewer or narrower "
            "units",
        ),
        (
            {"rows": 2048, "sparsity": "2:4"},
            "array.rows must be at most 2047 with 2:4 sparsity, not 2048; take fewer rows",
        ),
        (
            {"dataflow": "output_stationary", "sparsity": "2:4"},
            "array.sparsity must be none with dataflow output_stationary, not 2:4; only "
            "weights that stay in place can be compressed",
        ),
    ],
)
def test_an_array_that_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    assert message in refusal(**fields)


def test_an_unknown_dataflow_is_refused() -> None:
    with pytest.raises(SpecError) as refused:
        load_spec("tpu-v1", SystolicSpec, ["array.dataflow=row_stationary"])
    assert str(refused.value) == (
        "--set array.dataflow must be 'weight_stationary', 'output_stationary' or "
        "'input_stationary', not 'row_stationary'; did you mean 'weight_stationary'?"
    )
