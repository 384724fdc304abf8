"""Crossbars with lossless converters fold to one integer product; others stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ir.crossbar.chains import Chain, inputs_of, module_of, product
from tests.ir.crossbar.test_law import chains
from tetrapla.ir.crossbar.mapping import SCHEMES, Layout
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.quant.dialect import RANGES
from tetrapla.passes.fold_lossless_crossbars import FoldLosslessCrossbars

FOLD = FoldLosslessCrossbars()


def fits(chain: Chain) -> bool:
    """Whether the type of the inputs holds nothing that the DAC cannot drive."""
    low, high = RANGES[chain.dtype]
    half = 1 << chain.code_bits - 1
    allowed = {
        "unsigned": (0, 2 * half - 1),
        "sign_magnitude": (1 - half, half - 1),
    }.get(chain.form, (-half, half - 1))
    return allowed[0] <= low and high <= allowed[1]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(chains(), st.integers(-2, 2))
def test_values_stay_and_nothing_is_left_of_the_crossbar_where_codes_are_lossless(
    drawn: tuple[Chain, Array], missing: int
) -> None:
    chain, x = drawn
    chain = replace(chain, missing_bits=min(missing, chain.bits - 1))
    module = module_of(chain)
    folded = FOLD(module)
    assert np.array_equal(evaluate(folded, {"x": x})["y"], evaluate(module, {"x": x})["y"])
    kinds = {node.kind for node in folded.graph.nodes}
    if chain.missing_bits <= 0 and fits(chain):
        assert kinds <= {"qnn.matmul", "nn.add"}
        assert np.array_equal(evaluate(folded, {"x": x})["y"], product(x, chain))
    else:
        assert folded is module


def chain_of(scheme: str = "differential", **fields: Any) -> Chain:
    pairs = 2 if scheme == "n_pair" else 1
    weights = np.random.default_rng(0).integers(-15, 16, (8, 4)).astype(np.int8)
    return Chain(Layout(scheme, 2, 3, pairs), weights, **fields)


@pytest.mark.parametrize(
    "form", [("offset", "i8"), ("unsigned", "ui8"), ("sign_magnitude", "i16")]
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_bit_too_few_is_refused_and_one_more_is_not(
    scheme: str, form: tuple[str, str]
) -> None:
    # -2^15, which the type holds, has a magnitude of 16 bits
    bits = 17 if form[0] == "sign_magnitude" else 8
    chain = chain_of(scheme, form=form[0], dtype=form[1], code_bits=bits)
    for missing, folds in ((1, False), (0, True), (-1, True)):
        module = module_of(replace(chain, missing_bits=missing))
        assert (FOLD(module) is not module) == folds


REFUSED: list[tuple[str, Chain]] = [
    ("a step of two units", chain_of(lsb=2.0)),
    ("drawn programming errors", chain_of(drawn=True)),
    ("a read with noise", chain_of(noisy=True)),
    ("cells that are clipped", chain_of(limits=(0.0, 2.0))),
    ("cells that conduct at level 0", chain_of(limits=(0.5, 3.0))),
    ("half a volt a step", chain_of(changes={"dac": {"step_v": 0.5}})),
    ("inputs that the DAC cannot drive", chain_of(dtype="i16")),
    ("inputs wider than a product's", chain_of(dtype="i32", code_bits=31)),
    ("other shifts", chain_of(changes={"shift_add": {"shifts": (0, 2, 5)}})),
    ("a part that is negative", chain_of(changes={"shift_add": {"negative": (0, 0, 1)}})),
    ("another width of digits", chain_of(changes={"shift_add": {"digit_bits": 2}})),
    ("digits that are signs", chain_of(changes={"shift_add": {"signed_inputs": 1}})),
    (
        "signs that are digits",
        chain_of(form="twos_complement", changes={"shift_add": {"signed_inputs": 0}}),
    ),
    ("a narrow sum", chain_of(changes={"shift_add": {"sum_bits": 12}})),
    (
        "wider codes than are made",
        chain_of(changes={"shift_add": {"code_bits": 9, "sum_bits": 40}}),
    ),
    ("codes in another format", chain_of(changes={"shift_add": {"code_format": "offset"}})),
    ("a pair of another scheme", chain_of(changes={"combine": {"scheme": "n_pair"}})),
    (
        "another offset",
        chain_of("digital_offset", changes={"combine": {"offset": 16}}),
    ),
    ("pairs of what is no pair", chain_of("digital_offset", subtracted=True)),
    ("the sum of other inputs", chain_of("digital_offset", summed="other")),
    (
        "weights beyond 16 bits",
        Chain(Layout("differential", 2, 9), np.full((2, 1), 40_000, np.int32)),
    ),
]


@pytest.mark.parametrize("chain", [c for _, c in REFUSED], ids=[name for name, _ in REFUSED])
def test_what_the_proof_does_not_hold_for_stays(chain: Chain) -> None:
    module = module_of(chain)
    assert FOLD(module) is module


def test_the_bound_on_the_sum_is_tight() -> None:
    # 8 rows of level 3: 24 a sum; 1 + 4 + 16 over slices, 2^8 - 1 over digits: 128520 < 2^17
    for bits, folds in ((17, False), (18, True)):
        module = module_of(chain_of(changes={"shift_add": {"sum_bits": bits}}))
        assert (FOLD(module) is not module) == folds


def test_weights_that_are_computed_stay() -> None:
    graph = module_of(chain_of()).graph
    mapped = graph.nodes[0].operands[0]
    left = {index: name for index, name in graph.constants.items() if index != mapped.index}
    arrays = {index: graph.weights[index] for index in left}
    inputs = (*graph.inputs, ("w", mapped))
    changed = replace(graph, inputs=inputs, constants=left, weights=arrays)
    module = Module.from_graph(changed, "computed")
    assert FOLD(module) is module


def test_what_else_reads_the_codes_keeps_them() -> None:
    module = module_of(chain_of())
    seen = watched(module)
    folded = FOLD(seen)
    kinds = [node.kind for node in folded.graph.nodes]
    assert "qnn.matmul" in kinds
    assert "crossbar.adc" in kinds
    assert "crossbar.combine" not in kinds
    x = {"x": inputs_of(chain_of(), np.random.default_rng(1))}
    before, after = evaluate(seen, x), evaluate(folded, x)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def watched(module: Module) -> Module:
    """The same module with its codes as an output, too."""
    graph = module.graph
    codes = next(node.result for node in graph.nodes if node.kind == "crossbar.adc")
    return Module.from_graph(replace(graph, outputs=(*graph.outputs, ("codes", codes))), "m")
