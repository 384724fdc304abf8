"""StableHLO and TOSA text: what exporters write computes what their frameworks computed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from tetrapla.frontend import mlir_text
from tetrapla.frontend.onnx import load as load_onnx
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.pipeline_ import canonical

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "tetrapla" / "data"
DIALECTS = ("stablehlo", "tosa")
EXPORTED = [
    pytest.param(path, id=f"{path.parent.name} {path.stem}")
    for dialect in DIALECTS
    for path in sorted((HERE / dialect).glob("*.mlir"))
]


Near: TypeAlias = Callable[[Module, dict[str, Array], Array, Array], None]


def load(dialect: str, text: str) -> Module:
    module: Module = import_module(f"tetrapla.frontend.{dialect}.operators").load(text, "m")
    return module


def export(dialect: str, module: Module) -> str:
    return str(import_module(f"tetrapla.frontend.{dialect}.export").export(module))


@pytest.mark.parametrize("path", EXPORTED)
def test_an_exported_network_computes_what_its_framework_did(path: Path, near: Near) -> None:
    module = mlir_text.load(path)
    with np.load(path.with_suffix(".npz")) as held:
        arrays = dict(held)
    inputs = {name: arrays[f"in{i}"] for i, name in enumerate(module.inputs)}
    found = evaluate(module, inputs)
    assert len(found) == sum(key.startswith("out") for key in arrays)
    for i, array in enumerate(found.values()):
        near(module, inputs, array, arrays[f"out{i}"])


def test_an_image_network_of_jax_is_imported_without_transpositions_between_layers() -> None:
    kinds = [n.kind for n in mlir_text.load(HERE / "stablehlo" / "jax_cnn.mlir").graph.nodes]
    assert kinds.count("nn.conv2d") == 3
    assert kinds.count("nn.average_pool2d") == 2  # sums of windows over their counts
    assert kinds.count("nn.transpose") == 2  # the image, and what is flattened


def test_names_come_from_the_exporter() -> None:
    module = mlir_text.load(HERE / "stablehlo" / "jax_parts.mlir")
    assert [*module.inputs] == ["x", "i"]
    assert [*module.outputs][:2] == ["result_0", "result_1"]


CHANGED: dict[tuple[str, str], dict[str, Attribute]] = {  # examples that the dialects express
    ("stablehlo", "nn.gather_nd"): {"batch_dims": 0},
    ("stablehlo", "nn.mod"): {"fmod": 1},
    ("stablehlo", "nn.pad"): {"mode": "constant"},
    ("tosa", "nn.conv2d"): {"groups": 1},
    ("tosa", "nn.conv_transpose2d"): {"groups": 1, "dilations": (1, 1)},
    ("tosa", "nn.gather_nd"): {"batch_dims": 0},
    ("tosa", "nn.pad"): {"mode": "constant"},
    ("tosa", "nn.slice"): {"starts": (3, 0), "steps": (-1, 1)},
    ("tosa", "qnn.conv2d"): {"groups": 1},
}
COMPOSED = {  # written as several operations, so that roundings differ
    "stablehlo": (
        *("nn.conv2d", "nn.matmul"),  # the bias is an addition of its own
        *("nn.gelu", "nn.global_average_pool", "nn.hard_sigmoid", "nn.hard_swish"),
        *("nn.layer_norm", "nn.log_softmax", "nn.reduce_l2", "nn.reduce_sum_square"),
        *("nn.rms_norm", "nn.silu", "nn.softmax", "nn.softplus"),
    ),
    "tosa": (
        *("nn.global_average_pool", "nn.matmul"),
        *("nn.batch_norm", "nn.div", "nn.elu", "nn.gelu", "nn.hard_sigmoid", "nn.hard_swish"),
        *("nn.layer_norm", "nn.log_softmax", "nn.reduce_l2", "nn.reduce_sum_square"),
        *("nn.reduce_mean", "nn.reduce_prod", "nn.reduce_sum", "nn.rms_norm", "nn.silu"),
        *("nn.softmax", "nn.softplus", "nn.sqrt"),
    ),
}


def writers(dialect: str) -> list[str]:
    held = import_module(f"tetrapla.frontend.{dialect}.export").WRITERS
    return sorted(kind for kind in held if OPS[kind].example is not None)


def example(dialect: str, kind: str) -> Module:
    types, attributes = OPS[kind].example or ((), {})
    shapes = [t.shape for t in types]
    if (dialect, kind.split(".")[1]) == ("tosa", "conv2d"):  # all channels together
        shapes[1] = (shapes[1][0], shapes[0][1], *shapes[1][2:])
    if (dialect, kind) == ("tosa", "nn.conv_transpose2d"):
        shapes[2] = shapes[1][1:2]
    build = ModuleBuilder("m")
    values = [
        build.input(f"in{i}", shape, t.dtype)
        for i, (shape, t) in enumerate(zip(shapes, types, strict=True))
    ]
    held = {**attributes, **CHANGED.get((dialect, kind), {})}
    build.output("out0", build.op(kind, values, held))
    return build.finish()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_row_or_column_is_taken_by_one_number(
    dialect: str, axis: int, rng: np.random.Generator
) -> None:
    build = ModuleBuilder("m")
    x, place = build.input("in0", (4, 5)), build.input("in1", (), "i64")
    build.output("out0", build.op("nn.gather", [x, place], {"axis": axis}))
    module = build.finish()
    inputs = {"in0": rng.standard_normal((4, 5)).astype(np.float32), "in1": np.array(-2)}
    back = load(dialect, export(dialect, module))
    assert np.array_equal(evaluate(back, inputs)["out0"], evaluate(module, inputs)["out0"])


@pytest.mark.parametrize("kind", ["nn.layer_norm", "nn.rms_norm", "nn.reduce_l2"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_squares_that_f16_does_not_hold_are_written_wide(dialect: str, kind: str) -> None:
    example_ = OPS[kind].example
    assert example_ is not None
    types, attributes = example_
    build = ModuleBuilder("m")
    values = [build.input(f"in{i}", t.shape, "f16") for i, t in enumerate(types)]
    build.output("out0", build.op(kind, values, attributes))
    module = build.finish()
    # 4096 squared is 2^24, f16 ends at 65504
    ramp = np.arange(np.prod(types[0].shape)).reshape(types[0].shape) - 3
    arrays = [(4096 * (ramp % 7 - 3)), *(np.ones(t.shape) for t in types[1:])]
    inputs = {f"in{i}": array.astype(np.float16) for i, array in enumerate(arrays)}
    found = evaluate(load(dialect, export(dialect, module)), inputs)["out0"]
    expected = evaluate(module, inputs)["out0"]
    # both round once from float32 or wider: neighbours at most, 2^-10 of the number apart
    assert np.all(np.isfinite(expected))
    assert np.all(np.abs(found - expected) <= 2.0**-10 * np.abs(expected))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_both_forms_of_gelu_are_written(
    dialect: str, approximate: str, rng: np.random.Generator, near: Near
) -> None:
    build = ModuleBuilder("m")
    y = build.op("nn.gelu", [build.input("in0", (5, 7))], {"approximate": approximate})
    build.output("out0", y)
    module = build.finish()
    inputs = drawn(module, rng)
    back = load(dialect, export(dialect, module))
    near(back, inputs, evaluate(back, inputs)["out0"], evaluate(module, inputs)["out0"])


def drawn(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    """The first operand of both signs, the others positive, indices from both ends."""
    found: dict[str, Array] = {}
    for i, (name, value) in enumerate(module.inputs.items()):
        array: Array = 2 * rng.standard_normal(value.shape)
        array = array if i == 0 else np.abs(array) + 0.5
        if i == 1 and module.graph.nodes[0].kind.startswith("nn.gather"):
            array = rng.integers(-2, 2, value.shape)
        found[name] = array.astype(DTYPES[value.dtype])
    return found


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [(d, k) for d in DIALECTS for k in writers(d) if (d, k) != ("tosa", "qnn.rescale")],
)
def test_an_operator_written_and_read_back_computes_the_same(
    dialect: str, kind: str, rng: np.random.Generator, near: Near
) -> None:
    module = example(dialect, kind)
    inputs = drawn(module, rng)
    back = load(dialect, export(dialect, module))
    given = dict(zip(back.inputs, inputs.values(), strict=True))
    (expected,), (found,) = evaluate(module, inputs).values(), evaluate(back, given).values()
    if kind in COMPOSED[dialect]:
        near(back, given, found, expected)
    else:
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected, equal_nan=True)


def attention() -> Module:
    """Two layers over rows, and a softmax of products between them."""
    rng = np.random.default_rng(7)
    build = ModuleBuilder("attention")
    x = build.input("x", (2, 5, 8))
    w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 8), (8,)))
    operands = [x, build.weight("w", w), build.weight("b", b)]
    q = build.op("nn.matmul", operands, {"activation": "relu"})
    k = build.op("nn.transpose", [q], {"perm": (0, 2, 1)})
    scores = build.op("nn.matmul", [q, k], {"activation": "none"})
    weights = build.op("nn.softmax", [scores], {"axis": -1})
    build.output("out0", build.op("nn.matmul", [weights, x], {"activation": "none"}))
    return build.finish()


def image() -> Module:
    """A strided convolution, a pool and a mean."""
    rng = np.random.default_rng(8)
    build = ModuleBuilder("image")
    x = build.input("x", (1, 3, 9, 9))
    w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 3, 2), (4,)))
    window: dict[str, Attribute] = {"strides": (2, 1), "pads": (0,) * 4, "dilations": (1, 1)}
    held: dict[str, Attribute] = {**window, "groups": 1, "activation": "relu"}
    y = build.op("nn.conv2d", [x, build.weight("w", w), build.weight("b", b)], held)
    pool: dict[str, Attribute] = {**window, "kernel": (2, 2)}
    y = build.op("nn.max_pool2d", [y], pool)
    build.output("out0", build.op("nn.global_average_pool", [y]))
    return build.finish()


def digits() -> Module:
    return canonical(load_onnx(DATA / "digits_mlp.onnx"))


def compiled_by_mlir(dialect: str, text: str, inputs: dict[str, Array], made: Array) -> None:
    """Run a text by MLIR's own lowering of its dialect; `made` takes the result."""
    from tetrapla.ir.jit import PIPELINE
    from tetrapla.ir.mlir import compiled, linalg_of

    to_linalg = "func.func(tosa-to-linalg-named,tosa-to-linalg,tosa-to-arith,tosa-to-tensor),"
    first = {"tosa": to_linalg, "stablehlo": ""}[dialect] + "linalg-generalize-named-ops,"
    lowered = linalg_of(text) if dialect == "stablehlo" else text
    head = "builtin.module("
    run = compiled(lowered, PIPELINE.replace(head, head + first, 1))
    held = [np.require(array, requirements="C") for array in (*inputs.values(), made)]
    run("main", [array.ctypes.data for array in held])


@pytest.mark.parametrize("build", [attention, image, digits])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_mlir_itself_computes_the_same_from_what_is_written(
    dialect: str, build: Callable[[], Module], rng: np.random.Generator, near: Near
) -> None:
    module = build()
    inputs = {
        name: rng.random(value.shape, np.float32) for name, value in module.inputs.items()
    }
    (expected,) = evaluate(module, inputs).values()
    text = export(dialect, module)
    found = np.empty_like(expected)
    compiled_by_mlir(dialect, text, inputs, found)
    near(module, inputs, found, expected)
    back = load(dialect, text)
    (again,) = evaluate(back, dict(zip(back.inputs, inputs.values(), strict=True))).values()
    near(module, inputs, again, expected)
