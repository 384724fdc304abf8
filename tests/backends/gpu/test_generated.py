"""Generated kernels: every operator on ragged shapes, what is folded, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.backends.gpu.helpers import Case, example, f32, interpreted
from tetrapla.backends.gpu.bounds import code as code_bound
from tetrapla.backends.gpu.bounds.rules import tracked
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.generated import expressions
from tetrapla.backends.gpu.generated.elementwise import of_one
from tetrapla.backends.gpu.generated.expressions import EXPRESSIONS
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.roundings import ROUNDINGS
from tetrapla.backends.gpu.generated.scope import Coordinates, Scope
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.plan import VIEWS
from tetrapla.backends.gpu.refusals import KNOWN
from tetrapla.backends.gpu.split_results import SPLIT
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Node
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Tensor
from tetrapla.simulators.gpu.kernels import Expression
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.values import executed

KINDS = sorted({*EXPRESSIONS} - {*VIEWS, *ROUNDINGS})  # those integers: test_operators

# operators of nn and qnn that the GPU refuses by name; of spike and crossbar it refuses all
REFUSED = """
nn.bit_cast nn.cast_unsaturated nn.conv3d nn.conv_transpose2d nn.conv_transpose3d
nn.determinant nn.dft nn.grid_sample nn.if nn.roi_align nn.scan nn.while
qnn.dequantize_blocks qnn.mx_quantize qnn.nvfp4_dequantize qnn.nvfp4_quantize
qnn.quantize_blocks
""".split()


# beside each operator's own example: rows and lanes that fill no block, other axes and types
RAGGED: list[Case] = [
    ("nn.sub", (f32(3, 1, 37), f32(5, 1)), {}),
    ("nn.sub", (Tensor((1500,), "i8"), Tensor((1500,), "i8")), {}),
    ("nn.mul", (Tensor((7, 3), "i64"), Tensor((3,), "i64")), {}),
    ("nn.equal", (Tensor((7, 3), "i64"), Tensor((3,), "i64")), {}),
    ("nn.maximum", (Tensor((7, 3), "ui8"), Tensor((7, 1), "ui8")), {}),
    ("nn.cast", (Tensor((5, 3), "i64"),), {"dtype": "f32"}),
    ("nn.cast", (f32(5, 3),), {"dtype": "i1"}),
    ("nn.cast", (Tensor((5, 3), "i1"),), {"dtype": "f32"}),
    ("nn.gelu", (f32(1, 1030),), {"approximate": "tanh"}),
    ("nn.reduce_sum", (Tensor((3, 70), "i32"),), {"axes": (1,), "keepdims": 0}),
    ("nn.reduce_sum", (f32(3, 1500, 2),), {"axes": (1,), "keepdims": 0}),
    ("nn.reduce_max", (f32(3, 5, 7),), {"axes": (0, 2), "keepdims": 0}),
    ("nn.reduce_max", (Tensor((3, 5), "i1"),), {"axes": (0,), "keepdims": 1}),
    ("nn.reduce_mean", (f32(2, 3, 5, 7),), {"axes": (-1, -2), "keepdims": 1}),
    ("nn.arg_max", (Tensor((3, 9), "i8"),), {"axis": 0, "keepdims": 1}),
    ("nn.layer_norm", (f32(3, 130), f32(130)), {"axis": -1, "epsilon": 1e-5}),
    ("nn.group_norm", (f32(2, 6, 5, 3), f32(6), f32(6)), {"groups": 3, "epsilon": 1e-5}),
    ("nn.log_softmax", (f32(3, 5, 7),), {"axis": 1}),
    ("nn.concat", (f32(2, 3, 5), f32(2, 4, 5)), {"axis": 1}),
    ("nn.slice", (f32(9, 40),), {"starts": (8, 1), "sizes": (4, 13), "steps": (-2, 3)}),
    ("nn.pad", (f32(3, 5),), {"pads": (1, -1, 2, 3), "mode": "constant", "value": -1.5}),
    ("nn.pad", (f32(3, 5),), {"pads": (1, 2, 2, 0), "mode": "edge", "value": 0.0}),
    ("nn.pad", (Tensor((3, 5), "i8"),), {"pads": (0, 2, 0, 3), "mode": "wrap", "value": 0.0}),
    ("nn.gather", (f32(4, 9, 3), Tensor((2, 2), "i32")), {"axis": 1}),
    ("nn.expand", (Tensor((3, 1), "i1"),), {"shape": (2, 3, 4)}),
    ("nn.depth_to_space", (f32(1, 12, 2, 3),), {"blocksize": 2, "mode": "CRD"}),
    ("nn.cumulative_sum", (Tensor((3, 9), "i8"),), {"axis": 0}),
    ("nn.space_to_depth", (f32(1, 3, 4, 6),), {"blocksize": 2, "mode": "DCR"}),
    ("nn.trilu", (f32(5, 5),), {"k": -1, "upper": 0}),
    ("nn.transpose", (Tensor((2, 3, 4), "i64"),), {"perm": (2, 0, 1)}),
    (
        "nn.scatter_elements",
        (Tensor((4, 5), "i32"), Tensor((3, 2), "i64"), Tensor((3, 2), "i32")),
        {"axis": 1, "reduction": "none"},
    ),
]


def resized(mode: str, sizes: tuple[int, ...], coordinate: str) -> Case:
    example = OPS["nn.resize"].example
    assert example is not None
    changed: dict[str, Attribute] = {
        "mode": mode,
        "sizes": sizes,
        "coordinate_transformation_mode": coordinate,
    }
    return "nn.resize", (f32(1, 2, 4, 5),), {**example[1], **changed}


def scattered(reduction: str) -> Case:
    types = f32(9, 4), Tensor((5, 1), "i64"), f32(5, 4)
    return "nn.scatter_nd", types, {"reduction": reduction}


def cases() -> list[Case]:
    own: list[Case] = []
    for kind in KINDS:
        own.append(example(kind))
    sizes = [
        resized("nearest", (1, 2, 8, 10), "asymmetric"),
        resized("nearest", (1, 2, 3, 7), "half_pixel"),
        resized("cubic", (1, 2, 9, 5), "align_corners"),
    ]
    updates = [scattered(reduction) for reduction in ("none", "add", "mul", "max", "min")]
    return [*own, *RAGGED, *sizes, *updates]


def drawn(rng: np.random.Generator, kind: str, place: int, tensor: Tensor) -> Array:
    """Numbers that the operator takes: indices within the smallest axis, no negative roots."""
    held = DTYPES[tensor.dtype]
    if held.kind == "b":
        return rng.random(tensor.shape) < 0.5
    if held.kind == "f":
        y = rng.normal(size=tensor.shape)
        variance = kind == "nn.batch_norm" and place == 4
        positive = variance or kind in ("nn.log", "nn.sqrt", "nn.pow", "nn.acosh")
        return (np.abs(y) + 0.1 if positive else y).astype(held)
    if kind in ("nn.gather", "nn.gather_elements", "nn.gather_nd", "nn.one_hot"):
        return rng.integers(-3, 3, tensor.shape).astype(held)
    if kind == "qnn.rescale" and place:
        low, high = ((2**30, 2**31), (2, 50))[place - 1]  # as the operator demands
        return rng.integers(low, high, tensor.shape).astype(held)
    if kind == "nn.reverse_sequence":
        return rng.integers(0, 9, tensor.shape).astype(held)
    if kind.startswith("nn.scatter") and place == 1:
        return rng.integers(-3, 3, tensor.shape).astype(held)
    return rng.integers(0, 127, tensor.shape).astype(held)


def together(rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """All cases in one module, so that Triton's interpreter is started once."""
    build, inputs = ModuleBuilder("all"), dict[str, Array]()
    for i, (kind, types, attributes) in enumerate(cases()):
        operands = []
        for j, tensor in enumerate(types):
            name = f"x{i}_{j}"
            operands.append(build.input(name, tensor.shape, tensor.dtype))
            inputs[name] = np.stack([drawn(rng, kind, j, tensor) for _ in range(2)])
        build.output(f"y{i}", build.op(kind, operands, attributes, f"{kind[3:]}_{i}"))
    return build.finish(), inputs


@pytest.mark.parametrize("number_format", ["fp16", "fp32"])
def test_every_generated_kernel_is_within_its_bound(
    number_format: str, rng: np.random.Generator
) -> None:
    module, inputs = together(rng)
    program = plan(module, number_format)
    assert len(program.kernels) == len(cases())
    made = [k for k in program.kernels if isinstance(k, Expression)]
    assert len(made) > 100
    assert Program.from_dict(json.loads(json.dumps(program.to_dict()))) == program
    reference = evaluate_many(module, inputs)
    held = executed(program, inputs)
    verdict = judged(Lowered(module, program), inputs, held, reference)
    assert verdict.passed, verdict
    assert verdict.bound is not None
    assert verdict.bound < 4e-3  # that of a sum of 1500 terms that cancel
    for name, wanted in reference.items():
        if wanted.dtype.kind != "f" and number_format == "fp32":
            assert np.array_equal(held.outputs[name], wanted), name


def test_the_emitted_kernels_are_what_the_simulator_computes(rng: np.random.Generator) -> None:
    module, inputs = together(rng)
    program = plan(module, "fp32")
    held = interpreted(program, inputs)
    reference = evaluate_many(module, inputs)
    assert judged(Lowered(module, program), inputs, held, reference).passed
    simulated = executed(program, inputs).outputs
    for kernel in program.kernels:
        if not isinstance(kernel, Expression) or any(
            i.op == "sum" and i.dtype == "f32" for i in kernel.code
        ):
            continue  # float sums are in another order, within the same bound
        name = f"y{kernel.name.rsplit('_', 1)[1]}"
        assert np.array_equal(held.outputs[name], simulated[name], equal_nan=True), kernel.name


def test_every_operator_is_lowered_or_refused_by_name() -> None:
    known = {*KNOWN, "nn.weight", *SPLIT}
    others = set(OPS) - known
    others = {kind for kind in others if not kind.startswith(("spike.", "crossbar."))}
    assert sorted(others) == sorted(REFUSED)
    build = ModuleBuilder("odd")
    x = build.input("x", (2, 3, 3))
    build.output("y", build.op("nn.determinant", [x], {}))
    build.output("z", build.op("nn.determinant", [x], {}))
    with pytest.raises(UnsupportedError) as refused:
        plan(build.finish(), "fp16")
    assert str(refused.value) == (
        "gpu has no kernel for nn.determinant (2); compute the whole model on the host with "
        "`tetrapla run`, or replace what is listed"
    )


def chain() -> tuple[Module, dict[str, Array]]:
    """GELU, a transpose, a slice, padding and a sum along the rows, none of them stored."""
    build = ModuleBuilder("chain")
    x, y = build.input("x", (5, 6)), build.input("y", (4, 1))
    h = build.op("nn.gelu", [x], {"approximate": "none"}, "gelu")
    h = build.op("nn.transpose", [h], {"perm": (1, 0)}, "turn")
    h = build.op("nn.slice", [h], {"starts": (1, 0), "sizes": (3, 5), "steps": (1, 1)}, "cut")
    pads: dict[str, Attribute] = {"pads": (1, 0, 0, 0), "mode": "constant", "value": 2.0}
    h = build.op("nn.pad", [h], pads, "pad")
    h = build.op("nn.sub", [h, y], {}, "less")
    build.output("z", build.op("nn.reduce_l2", [h], {"axes": (1,), "keepdims": 0}, "length"))
    rng = np.random.default_rng(3)
    shapes = {"x": (3, 5, 6), "y": (3, 4, 1)}
    return build.finish(), {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
    }


def test_a_chain_is_one_kernel_and_reads_its_inputs_once() -> None:
    module, inputs = chain()
    program = plan(module, "fp16")
    (kernel,) = program.kernels
    assert isinstance(kernel, Expression)
    assert (kernel.rows, kernel.length, kernel.sources) == (4, 5, ("x", "y"))
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, held, reference)
    assert verdict.passed, verdict


def test_a_coordinate_that_is_put_together_again_costs_nothing() -> None:
    build = ModuleBuilder("flat")
    x = build.input("x", (4, 6, 5))
    h = build.op("nn.reshape", [build.op("nn.exp", [x], {}, "exp")], {"shape": (24, 5)}, "flat")
    build.output("y", build.op("nn.neg", [h], {}, "neg"))
    (kernel,) = plan(build.finish(), "fp32").kernels
    assert isinstance(kernel, Expression)
    assert [i.op for i in kernel.code] == ["row", "load", "exp", "neg"]


def test_a_coordinate_that_was_cut_short_is_taken_apart_rightly(
    rng: np.random.Generator,
) -> None:
    # a transposed convolution's phases, of whose 6 x 6 pixels 5 x 5 are kept
    build = ModuleBuilder("cut")
    x = build.input("x", (1, 2, 2, 2, 3, 3))
    h = build.op("nn.exp", [x], {}, "exp")
    h = build.op("nn.transpose", [h], {"perm": (0, 1, 4, 2, 5, 3)}, "shuffled")
    h = build.op("nn.reshape", [h], {"shape": (1, 2, 6, 6)}, "pixels")
    cut: dict[str, Attribute] = {
        "starts": (0, 0, 0, 0), "sizes": (1, 2, 5, 5), "steps": (1, 1, 1, 1)
    }  # fmt: skip
    build.output("y", build.op("nn.slice", [h], cut, "cut"))
    module = build.finish()
    inputs = {"x": rng.normal(size=(2, 1, 2, 2, 2, 3, 3)).astype(np.float32)}
    program = plan(module, "fp32")
    assert len(program.kernels) == 1
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    assert judged(Lowered(module, program), inputs, held, reference).mismatches == 0


def test_a_value_that_two_read_is_stored_once() -> None:
    build = ModuleBuilder("twice")
    x = build.input("x", (4, 6))
    h = build.op("nn.exp", [x], {}, "exp")
    build.output("a", build.op("nn.neg", [h], {}, "neg"))
    build.output("b", build.op("nn.abs", [h], {}, "abs"))
    assert [k.name for k in plan(build.finish(), "fp32").kernels] == ["exp", "neg", "abs"]


def test_the_text_is_the_same_each_time() -> None:
    first, second = (sources(plan(chain()[0], "fp16"))["kernels.py"] for _ in range(2))
    assert first == second
    assert 'reduce_l2."""' in str(first)


def test_a_wrong_lowering_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs = chain()
    wrong = {**expressions.FOLDED, "nn.gelu": of_one(lambda s, node, x: x * 0.5)}
    monkeypatch.setattr(expressions, "FOLDED", wrong)
    program = plan(module, "fp16")
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    assert not judged(Lowered(module, program), inputs, held, reference).passed


@pytest.mark.parametrize(("number_format", "factor"), [("fp16", 1.002), ("fp32", 1.00001)])
def test_a_lowering_that_is_a_little_wrong_is_caught(
    number_format: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = chain()
    right = expressions.FOLDED["nn.gelu"]

    def scaled(scope: Scope, node: Node, at: Coordinates) -> Register:
        return right(scope, node, at) * factor

    wrong = {**expressions.FOLDED, "nn.gelu": scaled}
    monkeypatch.setattr(expressions, "FOLDED", wrong)
    program = plan(module, number_format)
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, held, reference)
    assert verdict.mismatches, verdict


def test_a_rounding_near_a_tie_may_go_either_way() -> None:
    build = ModuleBuilder("tie")
    x = build.input("x", (4,))
    h = build.op("nn.exp", [x], {}, "exp")
    build.output("y", build.op("nn.floor", [h], {}, "floor"))
    module = build.finish()
    tied, clear = np.log(3.0), np.log(3.5)
    inputs = {"x": np.array([[tied, clear, tied, clear]], np.float32)}
    node = module.graph.nodes[1]
    exact = np.array([[3.0, 3.5, 3.0, 3.5]])
    made = code_bound.rule(node, [tracked(exact, np.full((1, 4), 1e-6))])
    assert made.d.tolist() == [[1.0, 0.0, 1.0, 0.0]]
    program = plan(module, "fp32")
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    assert judged(Lowered(module, program), inputs, held, reference).mismatches == 0


def test_a_mask_of_infinities_is_exact(rng: np.random.Generator) -> None:
    build = ModuleBuilder("mask")
    x = build.input("x", (4, 4))
    mask = build.weight("mask", np.triu(np.full((4, 4), -np.inf, np.float32), 1))
    h = build.op("nn.add", [x, mask], {}, "masked")
    build.output("y", build.op("nn.softmax", [h], {"axis": 1}, "softmax"))
    module = build.finish()
    inputs = {"x": rng.normal(size=(3, 4, 4)).astype(np.float32)}
    program = plan(module, "fp16")
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, held, reference)
    assert verdict.passed, verdict
    assert (held.outputs["y"][:, 0, 1:] == 0).all()
