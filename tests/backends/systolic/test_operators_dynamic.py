"""Products of two computed operands, concatenations, and who computes what: every bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, Net, chip
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program

_SMALL = ("memories.unified_buffer=600 B",)


def exact(module: Module, inputs: dict[str, Array], *settings: str) -> Program:
    """Compile, run, and hold every bit of every output against the reference."""
    spec = chip(8, 8, 4096, 4, *settings)
    program = compile_graph(module.graph, spec, "m")
    found = run(program, spec, inputs, KEY).outputs
    for name, wanted in evaluate_many(module, inputs).items():
        assert found[name].dtype == wanted.dtype
        np.testing.assert_array_equal(found[name], wanted)
    return program


def ops(program: Program) -> list[str]:
    return [layer.op for layer in program.layers[1:-1]]


def _matmul(
    b: ModuleBuilder, x: Value, w: Value, zeros: tuple[int, int], bias: Array | None = None
) -> Value:
    operands = [x, w, *([] if bias is None else [b.weight("bias", bias)])]
    attributes: dict[str, Attribute] = {"x_zero_point": zeros[0], "w_zero_point": zeros[1]}
    return b.op("qnn.matmul", operands, attributes, name="product")


def _bytes(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    info = np.iinfo(DTYPES[dtype])
    return rng.integers(info.min, info.max + 1, (2, *shape)).astype(DTYPES[dtype])


@pytest.mark.parametrize("zeros", [(0, 0), (-128, 0), (0, -128), (5, 127), (127, -128)])
@pytest.mark.parametrize("dtypes", [("i8", "i8"), ("ui8", "ui8"), ("ui8", "i8")])
def test_zero_points_of_both_operands_are_part_of_the_sums(
    rng: np.random.Generator, zeros: tuple[int, int], dtypes: tuple[str, str]
) -> None:
    shapes = (5, 11), (11, 10)
    held = tuple(z + 128 if d == "ui8" else z for z, d in zip(zeros, dtypes, strict=True))
    b = ModuleBuilder("net")
    values = [b.input(n, s, d) for n, s, d in zip("xw", shapes, dtypes, strict=True)]
    bias = rng.integers(-900, 900, 10).astype(np.int32)
    b.output("y", _matmul(b, values[0], values[1], (held[0], held[1]), bias))
    pairs = zip("xw", shapes, dtypes, strict=True)
    exact(b.finish(), {name: _bytes(rng, shape, dtype) for name, shape, dtype in pairs})


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((3, 4, 6), (3, 6, 5)),
        ((2, 3, 4, 6), (1, 3, 6, 5)),
        ((1, 4, 6), (3, 6, 5)),
        ((3, 4, 6), (6, 5)),
        ((1, 6), (2, 6, 1)),
    ],
)
def test_batches_broadcast(
    rng: np.random.Generator, x: tuple[int, ...], w: tuple[int, ...]
) -> None:
    b = ModuleBuilder("net")
    values = [b.input("x", x, "i8"), b.input("w", w, "i8")]
    b.output("y", _matmul(b, values[0], values[1], (3, -4)))
    inputs = {"x": _bytes(rng, x, "i8"), "w": _bytes(rng, w, "i8")}
    assert ops(exact(b.finish(), inputs)) == ["qnn.matmul"]


def test_heads_are_read_where_they_lie(rng: np.random.Generator) -> None:
    """Slices of one projection, a transposed key, and a result that is joined again."""
    net = Net(rng, (2, 5, 8))
    b = net.builder
    joined = net.product(net.x, 24, "qkv")
    parts = []
    for number in range(3):
        sizes: dict[str, Attribute] = {
            "starts": (0, 0, 8 * number),
            "sizes": (2, 5, 8),
            "steps": (1, 1, 1),
        }
        part = b.op("nn.slice", [joined], sizes)
        part = b.op("nn.reshape", [part], {"shape": (2, 5, 2, 4)})
        parts.append(b.op("nn.transpose", [part], {"perm": (0, 2, 1, 3)}))
    key = b.op("nn.transpose", [parts[1]], {"perm": (0, 1, 3, 2)})
    scores = net.requantize(_matmul(b, parts[0], key, (5, 5)), 3, "scores", 2)
    mixed = net.requantize(_matmul(b, scores, parts[2], (2, 5)), 3, "mixed", 5)
    mixed = b.op("nn.transpose", [mixed], {"perm": (0, 2, 1, 3)})
    mixed = b.op("nn.reshape", [mixed], {"shape": (2, 5, 8)})
    program = exact(net.finish(net.product(mixed, 4, "out")), net.inputs(2))
    assert ops(program) == ["qnn.matmul"] * 4  # no copy between them


def test_a_batch_of_constant_matrices(rng: np.random.Generator) -> None:
    b = ModuleBuilder("net")
    x = b.input("x", (3, 4, 6), "ui8")
    w = b.weight("w", rng.integers(-128, 128, (3, 6, 5)).astype(np.int8))
    acc = _matmul(b, x, w, (9, 0))
    b.output("sums", acc)
    scale = b.weight("scale", (rng.random(5) * 0.01).astype(np.float32))
    clamp: dict[str, Attribute] = {"zero_point": 7, "low": 0, "high": 255, "axis": 2}
    b.output("y", b.op("qnn.requantize", [acc, scale], {**clamp, "dtype": "ui8"}))
    exact(b.finish(), {"x": _bytes(rng, (3, 4, 6), "ui8")})


def _concat(b: ModuleBuilder, x: Value, y: Value, scale: float, axis: int = 1) -> Value:
    attributes: dict[str, Attribute] = {
        "axis": axis,
        "a_scale": 0.5,
        "a_zero_point": 5,
        "b_scale": scale,
        "b_zero_point": 5,
        "y_scale": 0.5,
        "y_zero_point": 5,
    }
    return b.op("qnn.concat", [x, y], attributes, name="join")


def test_a_concatenation_under_one_scale_is_written_in_place(rng: np.random.Generator) -> None:
    net = Net(rng, (2, 3, 4, 5))
    left, right = (net.conv(net.x, n, (1, 1), f"conv{n}") for n in (4, 6))
    y = _concat(net.builder, left, right, 0.5)
    last = net.conv(y, 3, (3, 3), "last", pads=(1, 1, 1, 1))
    program = exact(net.finish(last, left), net.inputs(2))
    assert ops(program) == ["qnn.conv2d"] * 3


def test_what_has_another_scale_is_rescaled_on_its_way(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 3, 4, 5))
    left, right = (net.conv(net.x, n, (1, 1), f"conv{n}") for n in (4, 6))
    y = _concat(net.builder, left, right, 0.3)
    program = exact(net.finish(net.conv(y, 3, (1, 1), "last")), net.inputs(2))
    assert ops(program) == ["qnn.conv2d", "qnn.conv2d", "qnn.concat", "qnn.conv2d"]


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_any_axis_is_joined(rng: np.random.Generator, axis: int) -> None:
    net = Net(rng, (2, 4, 4, 4))
    left = net.conv(net.x, 4, (1, 1), "conv")
    pool: dict[str, Attribute] = {
        "kernel": (3, 3),
        "strides": (1, 1),
        "pads": (1, 1, 1, 1),
        "dilations": (1, 1),
    }
    right = net.builder.op("nn.max_pool2d", [net.x], pool)
    y = _concat(net.builder, left, _concat(net.builder, net.x, right, 0.5, axis), 0.5, axis)
    exact(net.finish(net.builder.op("nn.relu", [y])), net.inputs(2))


def test_what_has_no_routine_stays_with_the_host_at_the_ends(rng: np.random.Generator) -> None:
    net = Net(rng, (2, 4, 4))
    b = net.builder
    scale = b.weight("s", np.full(1, 0.1, np.float32))
    y = net.product(net.x, 4, "a")
    real = b.op("qnn.dequantize", [y, scale], {"zero_point": 0, "axis": 0}, name="real")
    y = b.op("nn.determinant", [real], name="determinant")
    program = exact(net.finish(b.op("nn.exp", [y], name="exp")), net.inputs(2))
    assert ops(program) == ["qnn.matmul"]
    assert [step.name for step in program.after] == ["real", "determinant", "exp"]


def test_floats_between_are_one_routine_on_bytes(rng: np.random.Generator) -> None:
    net = Net(rng, (3, 8))
    b = net.builder
    one, two = (b.weight(n, np.full(1, v, np.float32)) for n, v in (("s", 0.1), ("t", 0.02)))
    gamma = b.weight("gamma", rng.random(8).astype(np.float32))
    y = net.product(net.x, 8, "a")
    real = b.op("qnn.dequantize", [y, one], {"zero_point": 5, "axis": 0})
    normal = b.op("nn.layer_norm", [real, gamma], {"axis": -1, "epsilon": 1e-5}, name="ln")
    gated = b.op("nn.mul", [b.op("nn.sigmoid", [normal]), real])
    quantize: dict[str, Attribute] = {"zero_point": 1, "axis": 0, "dtype": "i8"}
    y = net.product(b.op("qnn.quantize", [gated, two], quantize), 4, "b")
    program = exact(net.finish(y), net.inputs(2))
    assert ops(program) == ["qnn.matmul", "nn.layer_norm", "qnn.matmul"]
    (routine,) = program.routines
    assert [place.dtype for place in (*routine.operands, *routine.results)] == [
        "i8",
        "f32",
        "i8",
    ]
    assert [step.kind for step in routine.steps] == [
        "qnn.dequantize",
        "nn.layer_norm",
        "nn.sigmoid",
        "nn.mul",
        "qnn.quantize",
    ]


def test_a_table_stays_in_dram_and_negative_indices_count_from_its_end(
    rng: np.random.Generator,
) -> None:
    b = ModuleBuilder("net")
    table = b.weight("table", rng.standard_normal((7, 3)).astype(np.float32))
    rows = b.op("nn.gather", [table, b.input("i", (2, 4), "i32")], {"axis": 0}, name="words")
    b.output("y", b.op("nn.exp", [rows], name="exp"))
    indices = np.array([[[0, 6, -1, -7], [3, 3, 2, 1]]], np.int32)
    program = exact(b.finish(), {"i": indices})
    assert ops(program) == ["nn.gather", "nn.exp"]
    assert len(program.gathers) == 1


@pytest.mark.parametrize("dtype", ["i8", "ui8"])
@pytest.mark.parametrize(("settings", "vectors"), [((), 1), (_SMALL, 4)])
def test_a_depthwise_convolution_runs_where_it_is_faster(
    rng: np.random.Generator, dtype: str, settings: tuple[str, ...], vectors: int
) -> None:
    """40 pixels: 9 cycles each on 8 lanes; on 8 x 8 PEs two tiles for each channel.

    256 x 256 PEs take all channels in one tile, which is as long as the shift of its weights.
    """
    net = Net(rng, (2, 8, 7, 6), dtype)
    window = {"groups": 8, "pads": (1, 0, 1, 1), "strides": (2, 1)}
    y = net.conv(net.x, 8, (3, 3), "depthwise", **window)
    module = net.finish(net.conv(y, 4, (1, 1), "pointwise"))
    program = exact(module, net.inputs(2), *settings)
    assert [i.op for i in program.instructions].count("VE") == vectors
    large = compile_graph(module.graph, chip(256, 256), "m")
    assert "VE" not in [i.op for i in large.instructions]


@pytest.mark.parametrize("dtype", ["i8", "ui8"])
def test_a_table_of_a_function_is_looked_up(rng: np.random.Generator, dtype: str) -> None:
    net = Net(rng, (2, 3, 4, 5), dtype)
    table = net.builder.weight("table", _bytes(rng, (256,), dtype)[0])
    y = net.builder.op("qnn.lookup", [net.conv(net.x, 4, (1, 1), "a"), table], {}, "function")
    module = net.finish(net.conv(y, 4, (1, 1), "b"))
    program = exact(module, net.inputs(2), "vector.lanes=4")  # as many as channels
    assert ops(program) == ["qnn.conv2d", "qnn.lookup", "qnn.conv2d"]
    assert program.routines == ()


def test_no_routine_waits_for_itself(rng: np.random.Generator) -> None:
    """What follows a product of a routine's result is another routine, though shapes agree."""
    net = Net(rng, (3, 8))
    b = net.builder
    scale = b.weight("s", np.full(1, 0.02, np.float32))
    quantize: dict[str, Attribute] = {"zero_point": 5, "axis": 0, "dtype": "i8"}
    dequantize: dict[str, Attribute] = {"zero_point": 5, "axis": 0}
    real = b.op("qnn.dequantize", [net.product(net.x, 8, "first"), scale], dequantize)
    gate = b.op("nn.exp", [b.op("nn.tanh", [real], name="tanh")], name="exp")
    inner = net.product(b.op("qnn.quantize", [gate, scale], quantize), 8, "second")
    y = b.op("nn.mul", [gate, b.op("qnn.dequantize", [inner, scale], dequantize)], name="mul")
    last = net.product(b.op("qnn.quantize", [y, scale], quantize), 4, "third")
    program = exact(net.finish(last), net.inputs(2))
    assert ops(program) == ["qnn.matmul", "nn.tanh", "qnn.matmul", "nn.mul", "qnn.matmul"]
    assert [len(routine.results) for routine in program.routines] == [2, 1]


def test_floats_that_were_joined_are_never_written(rng: np.random.Generator) -> None:
    """Two scales: each reader dequantises and joins the bytes for itself."""
    net = Net(rng, (1, 3, 4, 5))
    b = net.builder
    parts = []
    for filters, step in ((4, 0.1), (6, 0.3)):
        scale = b.weight(f"s{filters}", np.full(1, step, np.float32))
        y = net.conv(net.x, filters, (1, 1), f"conv{filters}")
        parts.append(b.op("qnn.dequantize", [y, scale], {"zero_point": 5, "axis": 0}))
    both = b.op("nn.concat", parts, {"axis": 1}, name="join")
    quantize: dict[str, Attribute] = {"zero_point": 5, "axis": 0, "dtype": "i8"}
    one = b.op("qnn.quantize", [b.op("nn.relu", [both]), scale], quantize)
    two = b.op("qnn.quantize", [b.op("nn.sigmoid", [both]), scale], quantize)
    program = exact(
        net.finish(net.conv(one, 2, (1, 1), "a"), net.conv(two, 2, (1, 1), "b")), net.inputs(2)
    )
    assert len(program.routines) == 2
    for routine in program.routines:
        assert {p.dtype for p in (*routine.operands, *routine.results)} == {"i8"}
        assert [step.kind for step in routine.steps][:3] == [
            "qnn.dequantize",
            "qnn.dequantize",
            "nn.concat",
        ]


def test_a_routine_does_not_read_a_part_of_what_it_is_about_to_write(
    rng: np.random.Generator,
) -> None:
    b = ModuleBuilder("net")
    y = b.op("nn.exp", [b.input("x", (2, 5, 8))], name="exp")
    sizes: dict[str, Attribute] = {"starts": (0, 0, 0), "sizes": (2, 1, 8), "steps": (1, 1, 1)}
    first = b.op("nn.slice", [y], sizes)
    b.output("y", b.op("nn.mul", [y, first], name="mul"))
    x = rng.standard_normal((2, 2, 5, 8)).astype(np.float32)
    assert ops(exact(b.finish(), {"x": x})) == ["nn.exp", "nn.mul"]
