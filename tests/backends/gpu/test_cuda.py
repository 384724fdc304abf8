"""Kernels in CUDA C under the CPU emulation: every operator, in every format it has."""

from __future__ import annotations

import ctypes
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.gpu.helpers import FAST, Case, example, f32
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.cuda.emulated import run_emulated
from tetrapla.backends.gpu.cuda.run import Cpu
from tetrapla.backends.gpu.cuda.source import cuda_sources
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.refusals import KNOWN
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import Tensor
from tetrapla.ir.unfuse import unfused
from tetrapla.simulators.gpu.formats import to_tf32
from tetrapla.simulators.gpu.kinds import KERNELS
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.values import Held, executed

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="g++ is not installed: it compiles the emulation"
)
INVOCATIONS = 2
# their second operand and those behind it are constants of the model
PARAMETERS = ("nn.conv2d", "nn.matmul", "nn.batch_norm")
INDEXED = ("nn.gather", "nn.gather_elements", "nn.gather_nd", "nn.one_hot")


def geometry(**changed: Attribute) -> dict[str, Attribute]:
    _, _, attributes = example("nn.conv2d")
    return {**attributes, "activation": "none", **changed}


def gru(late: int) -> Case:
    types = f32(4, 3, 7), f32(1, 27, 7), f32(1, 27, 9), f32(1, 54)
    kind, _, attributes = example("nn.gru")
    return kind, types, {**attributes, "direction": "reverse", "linear_before_reset": late}


# beside each operator's own example: what fills no block and no tile, and what fills several
RAGGED: list[Case] = [
    ("nn.matmul", (f32(37, 150), f32(150, 70)), {"activation": "none"}),
    ("nn.matmul", (f32(1, 131), f32(131, 3)), {"activation": "none"}),
    ("nn.matmul", (f32(2, 3, 5, 17), f32(1, 3, 17, 9)), {"activation": "none"}),
    (
        "nn.conv2d",
        (f32(2, 6, 9, 7), f32(9, 2, 3, 2), f32(9)),
        geometry(strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 2), groups=3),
    ),
    ("nn.softmax", (f32(3, 5, 7),), {"axis": 1}),
    ("nn.softmax", (f32(2, 1030),), {"axis": 1}),
    ("nn.layer_norm", (f32(3, 130), f32(130)), {"axis": -1, "epsilon": 1e-5}),
    ("nn.reduce_sum", (f32(3, 1500, 2),), {"axes": (1,), "keepdims": 0}),
    ("nn.reduce_max", (Tensor((3, 5), "i1"),), {"axes": (0,), "keepdims": 1}),
    ("nn.reduce_sum", (Tensor((3, 300), "i32"),), {"axes": (1,), "keepdims": 0}),
    ("nn.mul", (Tensor((7, 3), "i64"), Tensor((3,), "i64")), {}),
    ("nn.sub", (Tensor((1500,), "i8"), Tensor((1500,), "i8")), {}),
    ("nn.cast", (f32(5, 3),), {"dtype": "i1"}),
    ("nn.arg_max", (Tensor((3, 9), "i8"),), {"axis": 0, "keepdims": 1}),
    ("nn.global_average_pool", (f32(2, 3, 17, 19),), {}),
    ("nn.transpose", (Tensor((2, 3, 4), "i64"),), {"perm": (2, 0, 1)}),
    (
        "nn.attention",
        (f32(2, 4, 70, 24), f32(2, 4, 90, 24), f32(2, 4, 90, 40), Tensor((70, 90), "i1")),
        {"scale": 0.2, "causal": 1, "causal_offset": 20, "masked_rows": "nan", "block": 32},
    ),
    (
        "nn.attention",  # more columns than shared memory has room for
        (f32(1, 1, 3, 700), f32(1, 1, 5, 700), f32(1, 1, 5, 3)),
        {"scale": 0.04, "causal": 0, "causal_offset": 0, "masked_rows": "nan", "block": 32},
    ),
    (
        "nn.lstm",
        (
            *(f32(4, 3, 7), f32(2, 36, 7), f32(2, 36, 9), f32(2, 72), f32(2, 3, 9)),
            *(f32(2, 3, 9), Tensor((3,), "i32"), f32(2, 27)),
        ),
        {
            "direction": "bidirectional",
            "activations": "sigmoid,tanh,tanh,sigmoid,tanh,relu",
            "clip": 1.5,
            "input_forget": 0,
        },
    ),
    gru(0),
    gru(1),
]


def cases() -> list[Case]:
    return [*(example(kind) for kind in sorted(KNOWN)), *RAGGED]


def drawn(rng: np.random.Generator, kind: str, place: int, tensor: Tensor) -> Array:
    """Numbers that the operator takes: indices within the smallest axis, no negative roots."""
    dtype = DTYPES[tensor.dtype]
    if dtype.kind == "b":
        return rng.random(tensor.shape) < 0.5
    if dtype.kind not in "iu":
        y = rng.normal(size=tensor.shape)
        scale = kind.startswith("qnn.") and place > 0
        variance = kind == "nn.batch_norm" and place == 4
        positive = scale or variance or kind in ("nn.log", "nn.sqrt", "nn.pow", "nn.acosh")
        return (np.abs(y) / 9 + (1.1 if kind == "nn.acosh" else 0.1) if positive else y).astype(
            dtype
        )
    if kind == "qnn.rescale" and place > 0:
        low, high = ((2**30, 2**31 - 1), (31, 40))[place - 1]
        return rng.integers(low, high, tensor.shape).astype(dtype)
    if kind in INDEXED or (kind.startswith("nn.scatter") and place == 1):
        return rng.integers(-3, 3, tensor.shape).astype(dtype)
    if kind.startswith("qnn."):
        least, most = (-90_000, 90_000) if dtype.itemsize > 2 else (-128, 127)
        return rng.integers(max(least, np.iinfo(dtype).min), most, tensor.shape).astype(dtype)
    return rng.integers(1 if place else 0, 7, tensor.shape).astype(dtype)


def together(listed: list[Case], rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """All cases in one module, so that g++ is started once."""
    build, inputs = ModuleBuilder("all"), dict[str, Array]()
    for i, (kind, types, attributes) in enumerate(listed):
        operands = []
        for j, tensor in enumerate(types):
            name = f"x{i}_{j}"
            batched = kind == "nn.matmul" and len(tensor.shape) > 2
            constant = (kind in PARAMETERS and not batched) or kind.startswith("qnn.")
            if j > 0 and constant and kind != "qnn.add":
                operands.append(build.weight(name, drawn(rng, kind, j, tensor)))
                continue
            if kind == "nn.lstm" and tensor.dtype == "i32":  # every sequence has all steps
                steps = np.full(tensor.shape, types[0].shape[0], np.int32)
                operands.append(build.weight(name, steps))
                continue
            operands.append(build.input(name, tensor.shape, tensor.dtype))
            inputs[name] = np.stack([drawn(rng, kind, j, tensor) for _ in range(INVOCATIONS)])
        made, *_ = build.ops(kind, operands, attributes, f"{kind[3:]}_{i}")
        build.output(f"y{i}", made)
    return unfused(build.finish()), inputs


def differing(found: Held, wanted: Held, name: str) -> int:
    """Elements of a buffer that two machines do not agree on."""
    a, b = (np.asarray(held.stored[name]).astype(np.float64) for held in (found, wanted))
    return int(np.count_nonzero(~((a == b) | (np.isnan(a) & np.isnan(b)))))


def integers(program: Program) -> list[str]:
    kept = (b for b in program.buffers if b.role != "weight")
    return [b.name for b in kept if b.dtype in ("i8", "ui8", "i32", "i64", "i1")]


@pytest.mark.parametrize("number_format", ["fp16", "fp32", "bf16"])
def test_every_operator_is_within_its_bound_and_integers_are_exact(
    number_format: str, rng: np.random.Generator
) -> None:
    module, inputs = together(cases(), rng)
    program = plan(module, number_format)
    held = run_emulated(program, inputs, FAST)
    verdict = judged(Lowered(module, program), inputs, held, evaluate_many(module, inputs))
    assert verdict.passed, verdict
    simulated = executed(program, inputs)
    wrong = {name: differing(held, simulated, name) for name in integers(program)}
    assert len(wrong) > 20
    assert not any(wrong.values()), {name: n for name, n in wrong.items() if n}


def test_every_kind_of_kernel_is_among_them(rng: np.random.Generator) -> None:
    module, _ = together(cases(), rng)
    made = {type(kernel).__name__ for kernel in plan(module, "fp16").kernels}
    assert made == set(KERNELS)


def test_an_integer_plan_has_no_mismatch(rng: np.random.Generator) -> None:
    kinds = [kind for kind in sorted(KNOWN) if kind.startswith("qnn.")]
    module, inputs = together([example(kind) for kind in kinds], rng)
    program = plan(module, "int8")
    held, simulated = run_emulated(program, inputs, FAST), executed(program, inputs)
    assert [name for name in simulated.stored if differing(held, simulated, name)] == []


def test_the_edges_of_integers_are_the_plans() -> None:
    """Wrapping sums, the least number over -1, shifts by all bits and more."""
    build, inputs = ModuleBuilder("edges"), dict[str, Array]()
    names = ("add", "mul", "sub", "idiv", "shift_left", "shift_right", "maximum", "mod", "mod")
    signs: list[dict[str, Attribute]] = [{"fmod": fmod} for fmod in (0, 1)]
    listed = [
        (f"nn.{name}", signs[i % 2] if name == "mod" else {}) for i, name in enumerate(names)
    ]
    for dtype in ("i8", "ui8", "i32", "i64"):
        info = np.iinfo(DTYPES[dtype].name)
        near = [info.min, info.min + 1, info.max - 1, info.max, 0, 1, 2, 3, 7, 31, 63, 64]
        values = np.array([*near, *(-n for n in near[5:] if info.min < 0)], DTYPES[dtype])
        pairs = np.array([*product(values, values)], DTYPES[dtype])
        operands = [build.input(f"{dtype}{i}", (len(pairs),), dtype) for i in range(2)]
        inputs |= {f"{dtype}{i}": pairs[None, :, i] for i in range(2)}
        for i, (kind, attributes) in enumerate(listed):
            made = build.op(kind, operands, attributes)
            build.output(f"{dtype}_{kind}_{i}", made)
    module = build.finish()
    found = run_emulated(plan(module, "fp32"), inputs, FAST).outputs
    wanted = evaluate_many(module, inputs)
    assert [name for name in wanted if not np.array_equal(found[name], wanted[name])] == []


def test_numbers_that_are_none_go_the_plans_way() -> None:
    """Infinities, NaN and numbers beyond a type through steps, maxima and sums."""
    odd = np.array([np.nan, np.inf, -np.inf, 0.5, -0.5, 1.5, 2.5, 1e6, -1e6, 65520, 1e-8, 3e38])
    x = odd.astype(np.float32)[None]
    build = ModuleBuilder("odd")
    given_ = build.input("x", (12,))
    scale = build.weight("s", np.array([1.0], np.float32))
    for dtype in ("i8", "ui8"):
        attributes: dict[str, Attribute] = {"zero_point": 3, "axis": 0, "dtype": dtype}
        build.output(dtype, build.op("qnn.quantize", [given_, scale], attributes))
    for kind in ("nn.relu", "nn.neg", "nn.abs", "nn.floor", "nn.round"):
        build.output(kind, build.op(kind, [given_], {}))
    build.output("most", build.op("nn.reduce_max", [given_], {"axes": (0,), "keepdims": 0}))
    build.output("sum", build.op("nn.softmax", [given_], {"axis": 0}))
    module = build.finish()
    for number_format in ("fp16", "bf16", "fp32"):
        program = plan(module, number_format)
        found, wanted = run_emulated(program, {"x": x}, FAST), executed(program, {"x": x})
        for name in wanted.stored:
            assert differing(found, wanted, name) == 0, (number_format, name)


ROUNDED = """
#include "kernels.cu"
extern "C" void rounded(const float *x, float *y, int n, int kind)
{
    for (int i = 0; i < n; i++) {
        if (kind == 0) y[i] = read(to_f16(x[i]));
        if (kind == 1) y[i] = read(to_bf16(x[i]));
        if (kind == 2) y[i] = read(to_f8e4m3(x[i]));
        if (kind == 3) y[i] = read(to_f8e5m2(x[i]));
        if (kind == 4) y[i] = to_tf32(x[i]);
    }
}
"""


def test_small_floats_are_rounded_as_numpy_rounds_them(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Every float of 16 bits, what lies halfway between two of 8 or 16 bits, and any others."""
    build = ModuleBuilder("empty")
    build.output("y", build.op("nn.relu", [build.input("x", (1,))], {}))
    for name, content in cuda_sources(plan(build.finish(), "fp32")).items():
        (tmp_path / name).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    (tmp_path / "emulate.cpp").write_text(ROUNDED, "utf-8")
    library = Cpu(tmp_path, FAST).emulated
    every = np.arange(2**16, dtype=np.uint16)
    halves = (every.view(np.float16).astype(np.float32), (every.astype(np.uint32) << 16))
    x = np.concatenate([halves[0], halves[1].view(np.float32)])
    with np.errstate(all="ignore"):
        up = np.nextafter(x, np.float32(np.inf))
        between = (
            x * np.float32(1 + 2.0**-4),
            x * np.float32(1 + 2.0**-9),
            x * np.float32(1.125),
        )
    drawn_ = rng.integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    x = np.ascontiguousarray(np.concatenate([x, up, *between, drawn_]).astype(np.float32))
    for kind, dtype in enumerate(("f16", "bf16", "f8E4M3FN", "f8E5M2", "tf32")):
        y = np.empty_like(x)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]
        library["rounded"](*pointers, len(x), kind)
        with np.errstate(all="ignore"):
            wanted = to_tf32(x) if dtype == "tf32" else x.astype(DTYPES[dtype])
        wanted = wanted.astype(np.float32)
        wrong = ~((y == wanted) | (np.isnan(y) & np.isnan(wanted)))
        assert not wrong.any(), (dtype, x[wrong][:5], y[wrong][:5], wanted[wrong][:5])


@settings(max_examples=6)
@given(data=st.data())
def test_products_of_any_shape_are_the_plans(data: st.DataObject) -> None:
    """Several ragged products and convolutions in one module, integers without a mismatch."""
    build, inputs = ModuleBuilder("ragged"), dict[str, Array]()
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size = st.integers(1, 40)
    for i in range(4):
        m, k, n = (
            data.draw(size),
            data.draw(size) * data.draw(st.integers(1, 5)),
            data.draw(size),
        )
        operands = []
        for j, shape in enumerate(((m, k), (k, n))):
            dtype = data.draw(st.sampled_from(["i8", "ui8"]))
            operands.append(build.input(f"q{i}_{j}", shape, dtype))
            info = np.iinfo(DTYPES[dtype].name)
            drawn_ = rng.integers(info.min, info.max, (1, *shape), DTYPES[dtype], endpoint=True)
            inputs[f"q{i}_{j}"] = drawn_
        zeros = {name: int(rng.integers(0, 100)) for name in ("x_zero_point", "w_zero_point")}
        _, _, attributes = example("qnn.matmul")
        made = build.op("qnn.matmul", operands, {**attributes, **zeros})
        build.output(f"integer{i}", made)
        floats = [build.input(f"f{i}_{j}", s) for j, s in enumerate(((m, k), (k, n)))]
        inputs |= {
            f"f{i}_{j}": rng.normal(size=(1, *s)).astype(np.float32)
            for j, s in enumerate(((m, k), (k, n)))
        }
        build.output(f"float{i}", build.op("nn.matmul", floats, {"activation": "none"}))
    module = unfused(build.finish())
    program = plan(module, data.draw(st.sampled_from(["fp16", "fp32", "bf16"])))
    held = run_emulated(program, inputs, FAST)
    verdict = judged(Lowered(module, program), inputs, held, evaluate_many(module, inputs))
    assert verdict.passed, verdict
    simulated = executed(program, inputs)
    assert all(differing(held, simulated, name) == 0 for name in integers(program))
