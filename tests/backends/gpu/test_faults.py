"""Wrong machines on a deep network: each is caught, and the right one passes closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tetrapla.backends.gpu import TARGET
from tetrapla.backends.gpu.bounds import verdict
from tetrapla.backends.gpu.bounds.bound import Kept, error_bounds, kernel_bounds
from tetrapla.backends.gpu.bounds.rules import (
    ROUNDINGS,
    SUBNORMAL16,
    U16,
    Tracked,
    rectified,
    stored,
)
from tetrapla.backends.gpu.bounds.verdict import cross_check
from tetrapla.backends.gpu.lower import lower, planned
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.builder import Builder
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu import values as machine_values
from tetrapla.simulators.gpu.kernels import Conv
from tetrapla.simulators.gpu.machine import GpuRun
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.steps import Bias
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck

DEPTH, CHANNELS, SIZE = 12, 16, 6
MIDDLE = "conv2d_6"
Inputs = dict[str, Array]


def deep(rng: np.random.Generator) -> Module:
    """12 convolutions with ReLU that keep the scale of what they read."""
    b = Builder("deep")
    h = b.input("x", (1, CHANNELS, SIZE, SIZE))
    for _ in range(DEPTH):
        fan_in = 9 * CHANNELS
        w = rng.normal(size=(CHANNELS, CHANNELS, 3, 3)) * np.sqrt(2 / fan_in)
        bias = 0.5 * rng.normal(size=CHANNELS)
        h = b.conv2d(h, w.astype(np.float32), bias.astype(np.float32), pads=1).relu()
    b.output("y", h)
    return b.build()


@pytest.fixture(scope="module")
def compiled(h100: GpuSpec) -> Lowered[Program]:
    return lower(deep(np.random.default_rng(0)), h100, None, Options(quant="none"))


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    shape = (3, 1, CHANNELS, SIZE, SIZE)
    return {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}


@pytest.fixture(scope="module")
def reference(compiled: Lowered[Program], inputs: Inputs) -> Inputs:
    return evaluate_many(compiled.module, inputs)


def ran(lowered: Lowered[Program], spec: GpuSpec, inputs: Inputs) -> GpuRun:
    found = TARGET.run(lowered.program, spec, inputs, Key(0))
    assert isinstance(found, GpuRun)
    return found


@pytest.fixture
def judge(
    compiled: Lowered[Program], h100: GpuSpec, inputs: Inputs, reference: Inputs
) -> Callable[[GpuRun], CrossCheck]:
    return lambda run: cross_check(compiled, h100, inputs, run, reference)


Judge = Callable[[GpuRun], CrossCheck]


def test_twelve_layers_have_a_bound_of_a_thousandth(
    compiled: Lowered[Program], h100: GpuSpec, inputs: Inputs, judge: Judge
) -> None:
    check = judge(ran(compiled, h100, inputs))
    assert check.passed, check
    assert check.kind == "tolerance"
    assert check.mismatches == 0
    assert check.max_rel_error is not None
    assert check.bound is not None
    assert 2e-5 < check.max_rel_error < check.bound < 1e-3


def bounded(
    lowered: Lowered[Program], inputs: Inputs, run: GpuRun
) -> tuple[dict[int, Array], list[Kept]]:
    """What the kernels stored, by index of the value, and what they should have."""
    graph = lowered.module.graph
    _, layout = planned(lowered.module, "fp16")
    values = [graph.inputs[0][1], *(node.result for node in graph.nodes)]
    found = {
        v.index: layout.shaped(v, run.held.stored[layout.names[v.index]])
        for v in values
        if v.index in layout.names
    }
    return found, list(kernel_bounds(graph, layout, inputs, found))


def test_no_kernel_of_twelve_layers_has_a_wide_bound(
    compiled: Lowered[Program], h100: GpuSpec, inputs: Inputs
) -> None:
    graph = compiled.module.graph
    found, kept = bounded(compiled, inputs, ran(compiled, h100, inputs))
    assert len(kept) == 1 + DEPTH
    for kernel in kept[1:]:
        assert kernel.bound.max() < 2e-3 * np.abs(kernel.exact).max()
        # the machine is wrong by a share of the bound that ten times the bound would not show
        error = np.abs(found[kernel.index].astype(np.float64) - kernel.exact)
        assert error.max() > 0.2 * kernel.bound.max()
    # from the inputs on, nothing would be said: it is why kernels are judged one by one
    whole = error_bounds(graph, planned(compiled.module, "fp16")[1], inputs)["y"]
    assert whole.max() > 10 * np.abs(kept[-1].exact).max()


@pytest.mark.parametrize(("share", "outside"), [(0.9, 0), (1.5, 1)])
def test_an_element_has_its_own_bound(
    share: float,
    outside: int,
    compiled: Lowered[Program],
    h100: GpuSpec,
    inputs: Inputs,
    judge: Judge,
) -> None:
    run = ran(compiled, h100, inputs)
    _, kept = bounded(compiled, inputs, run)
    last, where = kept[-1], (1, 0, 3, 2, 2)
    moved = np.array(run.outputs["y"])
    moved[where] = last.exact[where] + share * last.bound[where]
    (port,) = compiled.program.outputs
    buffers = {**run.held.stored, port.buffer: moved.reshape(len(moved), -1)}
    held = replace(run.held, stored=buffers)
    check = judge(replace(run, outputs={"y": moved}, held=held))
    assert (check.mismatches, check.passed) == (outside, outside == 0)


@pytest.mark.parametrize("fault", ["zero", "another input", "scaled", "one element"])
def test_outputs_that_no_kernel_stored_are_caught(
    fault: str, compiled: Lowered[Program], h100: GpuSpec, inputs: Inputs, judge: Judge
) -> None:
    run = ran(compiled, h100, inputs)
    wrong = np.array(run.outputs["y"])
    match fault:
        case "zero":
            wrong[:] = 0
        case "another input":
            wrong = wrong[::-1]
        case "scaled":
            wrong *= np.float32(1.01)
        case _:
            wrong[1, 0, 3, 2, 2] += np.float32(0.01)
    check = judge(replace(run, outputs={"y": wrong}))
    assert not check.passed
    assert check.mismatches
    # nor when the buffer of the last kernel holds the same
    (port,) = compiled.program.outputs
    buffers = {**run.held.stored, port.buffer: wrong.reshape(len(wrong), -1)}
    held = replace(run.held, stored=buffers)
    assert not judge(replace(run, outputs={"y": wrong}, held=held)).passed


def changed_dot(change: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    whole = machine_values.dot

    def dot(kernel, x, w):  # type: ignore[no-untyped-def]
        return change(x, w) if kernel.name == MIDDLE else whole(kernel, x, w)

    return dot


def half_accumulators(x: Array, w: Array) -> Array:
    total = np.zeros((len(x), x.shape[1], w.shape[2]), np.float16)
    for i in range(x.shape[2]):
        total = total + x[:, :, i : i + 1] * w[:, i : i + 1]
    return total.astype(np.float32)


def integer_weights(x: Array, w: Array) -> Array:
    scale = np.abs(w).max() / np.float32(127)
    rounded = np.rint(w.astype(np.float32) / scale) * scale
    return np.asarray(np.matmul(x.astype(np.float32), rounded))


def bfloat_operands(x: Array, w: Array) -> Array:
    def short(a: Array) -> Array:
        bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
        return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32)

    return np.asarray(np.matmul(short(x), short(w)))


def last_tap_dropped(x: Array, w: Array) -> Array:
    return np.asarray(np.matmul(x[..., :-1].astype(np.float32), w[:, :-1].astype(np.float32)))


@pytest.mark.parametrize(
    "fault", [half_accumulators, integer_weights, bfloat_operands, last_tap_dropped]
)
def test_one_layer_of_other_arithmetic_is_caught(
    fault: Callable[[Array, Array], Array],
    compiled: Lowered[Program],
    h100: GpuSpec,
    inputs: Inputs,
    judge: Judge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine_values, "dot", changed_dot(fault))
    check = judge(ran(compiled, h100, inputs))
    assert not check.passed
    assert check.mismatches


def test_a_dropped_tile_in_the_middle_is_caught(
    compiled: Lowered[Program],
    h100: GpuSpec,
    inputs: Inputs,
    judge: Judge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = machine_values.tile

    def dropping(kernel, flat, z, row, column):  # type: ignore[no-untyped-def]
        total, where = whole(kernel, flat, z, row, column)
        return (total * 0 if kernel.name == MIDDLE else total), where

    monkeypatch.setattr(machine_values, "tile", dropping)
    assert not judge(ran(compiled, h100, inputs)).passed


@pytest.mark.parametrize("share", [1.02, 0.98])
def test_a_bias_off_by_two_percent_is_caught(
    share: float,
    compiled: Lowered[Program],
    h100: GpuSpec,
    inputs: Inputs,
    judge: Judge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def apply(self: Bias, y: Array, channel: Callable[[str], Array]) -> Array:
        return np.asarray(y + channel(self.bias) * np.float32(share))

    monkeypatch.setattr(Bias, "apply", apply)
    assert not judge(ran(compiled, h100, inputs)).passed


def test_a_wrong_window_is_caught(
    compiled: Lowered[Program], h100: GpuSpec, inputs: Inputs, judge: Judge
) -> None:
    program = compiled.program
    for change in ({"pads": (0, 1, 2, 1)}, {"pads": (1, 2, 1, 0)}, {"dilations": (1, 2)}):
        kernels = tuple(
            replace(k, **change) if isinstance(k, Conv) and k.name == MIDDLE else k
            for k in program.kernels
        )
        assert kernels != program.kernels
        broken = replace(compiled, program=replace(program, kernels=kernels))
        assert not judge(ran(broken, h100, inputs)).passed


def test_an_input_that_was_not_loaded_is_caught(
    compiled: Lowered[Program], h100: GpuSpec, inputs: Inputs, judge: Judge
) -> None:
    assert not judge(ran(compiled, h100, {"x": inputs["x"][::-1]})).passed


def test_a_bound_too_wide_is_no_bound(
    compiled: Lowered[Program],
    h100: GpuSpec,
    inputs: Inputs,
    judge: Judge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = ran(compiled, h100, inputs)
    honest = judge(run)
    assert honest.bound is not None
    monkeypatch.setattr(verdict, "WIDEST", honest.bound / 10)
    check = judge(run)
    assert (check.mismatches, check.passed) == (0, False)
    assert check.bound is not None
    assert check.bound >= honest.bound


def test_the_invocations_between_the_probed_ones_are_judged_too(
    h100: GpuSpec, rng: np.random.Generator
) -> None:
    b = Builder("shallow")
    b.output("y", b.matmul(b.input("x", (1, 20)), rng.normal(size=(20, 6)).astype("f")))
    lowered = lower(b.build(), h100, None, Options(quant="none"))
    inputs = {"x": rng.normal(size=(40, 1, 20)).astype(np.float32)}
    run, reference = ran(lowered, h100, inputs), evaluate_many(lowered.module, inputs)
    assert len(run.held.probed) == 16
    assert (run.held.probed[0], run.held.probed[-1]) == (0, 39)
    assert cross_check(lowered, h100, inputs, run, reference).passed
    for invocation in range(40):
        wrong = np.array(run.outputs["y"])
        wrong[invocation] *= np.float32(1.1)
        broken = replace(run, outputs={"y": wrong})
        assert not cross_check(lowered, h100, inputs, broken, reference).passed


def test_what_was_stored_cannot_be_changed(
    compiled: Lowered[Program], h100: GpuSpec, inputs: Inputs
) -> None:
    held = ran(compiled, h100, inputs).held
    assert sorted(held.stored) == sorted(
        buffer.name for buffer in compiled.program.buffers if buffer.role != "weight"
    )
    for array in held.stored.values():
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_float16_outputs_alone_overflow(h100: GpuSpec, rng: np.random.Generator) -> None:
    b = Builder("large")
    x = b.input("x", (1, 64))
    h = b.matmul(x, rng.normal(size=(64, 32)).astype(np.float32)).relu()
    b.output("y", b.matmul(h, (1e4 * rng.normal(size=(32, 10))).astype(np.float32)))
    lowered = lower(b.build(), h100, None, Options(quant="none"))
    inputs = {"x": rng.uniform(size=(4, 1, 64)).astype(np.float32)}
    run = ran(lowered, h100, inputs)
    assert np.abs(run.outputs["y"]).max() > 65504
    reference = evaluate_many(lowered.module, inputs)
    check = cross_check(lowered, h100, inputs, run, reference)
    assert check.passed, check
    # from the inputs on, too: the outputs are float32
    _, layout = planned(lowered.module, "fp16")
    assert np.isfinite(error_bounds(lowered.module.graph, layout, inputs)["y"]).all()


def test_storage_is_charged_by_half_a_unit_in_the_last_place() -> None:
    # 11 significant bits: half of 2^-10 of the leading one
    assert U16 == 2.0**-11
    assert SUBNORMAL16 == 2.0**-25
    v, d = np.array([[1.0, 4.0, 1 / 3]]), np.array([[0.5, 0.25, 0.0]])
    made = stored(Tracked(v, d, np.array([1.0])), ROUNDINGS["f16"])
    assert made.d[0, :2].tolist() == [
        0.5 + 1.5 * 2.0**-11 + 2.0**-25,
        0.25 + 4.25 * 2.0**-11 + 2.0**-25,
    ]
    # what has no error is rounded itself
    assert (made.v[0, 2], made.d[0, 2]) == (float(np.float16(1 / 3)), 0.0)
    worst = np.float64(np.float16(1.0)) + 2.0**-11  # a tie between two halves
    assert abs(float(np.float16(worst)) - worst) == 2.0**-11


def test_relu_keeps_the_error_above_zero_alone() -> None:
    v, d = rectified(np.array([1.0, -1.0, -1.0, 0.0]), np.array([0.5, 0.25, 1.5, 0.5]))
    assert v.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert d.tolist() == [0.5, 0.0, 0.5, 0.5]
