"""The float passes one by one: what each rewrites, and what it must leave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.eliminate_common import EliminateCommon
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode
from tetrapla.passes.fold_batch_norm import FoldBatchNorm
from tetrapla.passes.fold_constants import FoldConstants
from tetrapla.passes.fuse_epilogue import FuseEpilogue
from tetrapla.passes.pipeline_ import canonical

CONV: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
    "dilations": (1, 1),
    "groups": 1,
    "activation": "none",
}
PLAIN: dict[str, Attribute] = {"activation": "none"}


def _kinds(module: Module) -> list[str]:
    return [node.kind for node in module.graph.nodes]


def _ones(build: ModuleBuilder, symbol: str, *shape: int) -> Value:
    return build.weight(symbol, np.ones(shape, np.float32))


def _convolution(build: ModuleBuilder) -> Value:
    x = build.input("x", (1, 2, 3, 3))
    return build.op("nn.conv2d", [x, _ones(build, "w", 4, 2, 1, 1)], CONV, name="conv")


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1, 1, 1), (), (1,)])
def test_a_channel_bias_and_a_relu_join_the_convolution(shape: tuple[int, ...]) -> None:
    build = ModuleBuilder("m")
    x = _convolution(build)
    x = build.op("nn.add", [build.weight("b", np.full(shape, 3, np.float32)), x])
    build.output("y", build.op("nn.relu", [x]))
    (node,) = FuseEpilogue()(build.finish()).graph.nodes
    assert (node.kind, node.name, node.str("activation")) == ("nn.conv2d", "conv", "relu")
    assert node.operands[2].shape == (4,)


@pytest.mark.parametrize("shape", [(3,), (4, 3, 3), (1, 3), (2, 4, 1, 1)])
def test_an_addend_that_is_no_channel_bias_stays(shape: tuple[int, ...]) -> None:
    build = ModuleBuilder("m")
    build.output("y", build.op("nn.add", [_convolution(build), _ones(build, "b", *shape)]))
    assert _kinds(FuseEpilogue()(build.finish())) == ["nn.conv2d", "nn.add"]


def test_the_bias_of_a_product_runs_along_its_last_axis() -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (2, 5, 3))
    x = build.op("nn.matmul", [x, _ones(build, "w", 3, 4)], PLAIN)
    x = build.op("nn.add", [x, _ones(build, "b", 1, 4)])
    # a second addition cannot join: (p + b) + c is not p + (b + c)
    build.output("y", build.op("nn.add", [x, _ones(build, "c", 4)]))
    assert _kinds(FuseEpilogue()(build.finish())) == ["nn.matmul", "nn.add"]


@pytest.mark.parametrize("how", ["output", "second reader", "computed addend"])
def test_nothing_fuses_over_a_value_that_others_see(how: str) -> None:
    build = ModuleBuilder("m")
    x = _convolution(build)
    addend = _ones(build, "b", 4, 1, 1)
    if how == "computed addend":
        addend = build.op("nn.relu", [build.input("z", (4, 1, 1))])
    build.output("y", build.op("nn.add", [x, addend]))
    if how == "output":
        build.output("inner", x)
    if how == "second reader":
        build.output("z", build.op("nn.softmax", [x], {"axis": 1}))
    module = build.finish()
    assert sorted(_kinds(FuseEpilogue()(module))) == sorted(_kinds(module))


def _normalised(build: ModuleBuilder, x: Value) -> Value:
    parameters = [[2.0] * 4, [1.0] * 4, [3.0] * 4, [0.25] * 4]
    held = [build.weight(f"p{i}", np.array(p, np.float32)) for i, p in enumerate(parameters)]
    return build.op("nn.batch_norm", [x, *held], {"epsilon": 0.0})


def test_a_batch_norm_joins_the_convolution() -> None:
    build = ModuleBuilder("m")
    build.output("y", _normalised(build, _convolution(build)))
    module = FoldBatchNorm()(build.finish())
    (node,) = module.graph.nodes
    # gain = 2 / sqrt(0.25) = 4; w' = 4; b' = (0 - 3) 4 + 1 = -11
    assert module.graph.weight(node.operands[1]).tolist() == [[[[4.0]], [[4.0]]]] * 4
    assert module.graph.weight(node.operands[2]).tolist() == [-11.0] * 4


def test_batch_norms_in_a_row_are_folded_at_once() -> None:
    build = ModuleBuilder("m")
    build.output("y", _normalised(build, _normalised(build, _convolution(build))))
    module = FoldBatchNorm()(build.finish())
    (node,) = module.graph.nodes
    # gain = 4 twice: w' = 16; b' = (-11 - 3) 4 + 1 = -55
    assert module.graph.weight(node.operands[1]).tolist() == [[[[16.0]], [[16.0]]]] * 4
    assert module.graph.weight(node.operands[2]).tolist() == [-55.0] * 4


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_a_batch_norm_of_narrow_floats_stays(dtype: str) -> None:
    build, held = ModuleBuilder("m"), DTYPES[dtype]
    x = build.input("x", (2, 3), dtype)
    x = build.op("nn.matmul", [x, build.weight("w", np.ones((3, 4), held))], PLAIN)
    parameters = [build.weight(f"p{i}", np.ones(4, held)) for i in range(4)]
    build.output("y", build.op("nn.batch_norm", [x, *parameters], {"epsilon": 0.0}))
    module = build.finish()
    assert FoldBatchNorm()(module) is module


@pytest.mark.parametrize("how", ["rank 3", "activation", "output"])
def test_a_batch_norm_stays_where_it_cannot_be_folded(how: str) -> None:
    build = ModuleBuilder("m")
    if how == "rank 3":  # its channels are axis 1, the product's are axis 2
        x = build.input("x", (2, 4, 3))
        x = build.op("nn.matmul", [x, _ones(build, "w", 3, 4)], PLAIN)
    elif how == "activation":
        x = build.input("x", (2, 3))
        x = build.op("nn.matmul", [x, _ones(build, "w", 3, 4)], {"activation": "relu"})
    else:
        x = _convolution(build)
        build.output("inner", x)
    build.output("y", _normalised(build, x))
    module = build.finish()
    assert _kinds(FoldBatchNorm()(module)) == _kinds(module)


def test_constants_fold_through_a_chain() -> None:
    build = ModuleBuilder("m")
    w = build.op("nn.transpose", [_ones(build, "w", 4, 3)], {"perm": (1, 0)}, name="turned")
    w = build.op("nn.relu", [w], name="rectified")
    build.output("y", build.op("nn.matmul", [build.input("x", (1, 3)), w], PLAIN))
    module = FoldConstants()(build.finish())
    assert (_kinds(module), list(module.weights)) == (["nn.matmul"], ["rectified"])


def test_a_broadcast_that_would_blow_up_the_model_stays() -> None:
    build = ModuleBuilder("m")
    column, row = _ones(build, "c", 2048, 1), _ones(build, "r", 1, 1024)
    build.output("y", build.op("nn.add", [column, row]))
    # 2048 * 1024 = 2^21 elements from 3072
    assert _kinds(FoldConstants()(build.finish())) == ["nn.add"]


def test_integer_weights_are_not_folded_to_floats() -> None:
    build = ModuleBuilder("m")
    w = build.weight("w", np.ones((3, 4), np.int8))
    operands = [w, _ones(build, "scale", 1)]
    w = build.op("qnn.dequantize", operands, {"zero_point": 0, "axis": 0})
    build.output("y", build.op("nn.matmul", [build.input("x", (1, 3)), w], PLAIN))
    assert _kinds(FoldConstants()(build.finish())) == ["qnn.dequantize", "nn.matmul"]


def test_dead_code_goes_and_inputs_stay() -> None:
    build = ModuleBuilder("m")
    x, unused = build.input("x", (2,)), build.input("unused", (2,))
    build.op("nn.add", [build.op("nn.relu", [unused]), _ones(build, "w", 2)])
    build.output("y", build.op("nn.relu", [x]))
    module = EliminateDeadCode()(build.finish())
    assert _kinds(module) == ["nn.relu"]
    assert (list(module.inputs), dict(module.weights)) == (["x", "unused"], {})


def test_equal_nodes_and_equal_weights_become_one() -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (2,))
    a = build.op("nn.add", [x, _ones(build, "a", 2)], name="first")
    b = build.op("nn.add", [x, _ones(build, "b", 2)], name="second")
    build.output("y", build.op("nn.add", [a, b]))
    build.output("softmax", build.op("nn.softmax", [x], {"axis": 0}))
    build.output("other axis", build.op("nn.softmax", [x], {"axis": -1}))
    module = EliminateCommon()(build.finish())
    assert [node.name for node in module.graph.nodes][:2] == ["first", "add"]
    assert (_kinds(module).count("nn.softmax"), list(module.weights)) == (2, ["a"])


def test_a_zero_and_a_negative_zero_are_two_weights() -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (1,))
    for i, zero in enumerate((0.0, -0.0)):
        array = np.array([zero], np.float32)
        build.output(f"y{i}", build.op("nn.add", [x, build.weight(f"w{i}", array)]))
    module = EliminateCommon()(build.finish())
    found = evaluate(module, {"x": np.array([-0.0], np.float32)})
    assert [bool(np.signbit(found[k][0])) for k in ("y0", "y1")] == [False, True]


def test_a_network_becomes_its_layers(network: Module) -> None:
    assert [node.name for node in canonical(network).graph.nodes] == [
        "conv1",
        "conv2",
        "residual",
        "relu2",
        "maximum",
        "mean",
        "flatten",
        "logits",
        "softmax",
        "global",
    ]


def test_a_bias_between_convolution_and_batch_norm_is_folded_too(
    rng: np.random.Generator,
) -> None:
    build = ModuleBuilder("m")
    x = build.op("nn.add", [_convolution(build), _ones(build, "b", 4, 1, 1)])
    build.output("y", build.op("nn.relu", [_normalised(build, x)]))
    module = build.finish()
    inputs: dict[str, Array] = {"x": rng.standard_normal((1, 2, 3, 3)).astype(np.float32)}
    fused = canonical(module)
    assert _kinds(fused) == ["nn.conv2d"]
    # K = 2: 2 (K + 4) u of the largest term, 4 * |x0 + x1| + 11 < 64
    bound = 2 * 6 * 2.0**-24 * 64
    moved = np.abs(evaluate(module, inputs)["y"] - evaluate(fused, inputs)["y"]).max()
    assert moved <= bound


def _shapes(build: Callable[[ModuleBuilder], None]) -> Module:
    made = ModuleBuilder("shapes")
    build(made)
    return made.finish()


def test_a_shape_only_module_is_fused_without_values() -> None:
    def build(made: ModuleBuilder) -> None:
        x = made.input("x", (1, 2, 3, 3))
        turned = made.shape_of_weight("w", (2, 4, 1, 1), "f32")
        w = made.op("nn.transpose", [turned], {"perm": (1, 0, 2, 3)}, name="turned")
        x = made.op("nn.conv2d", [x, w], CONV)
        bias = made.shape_of_weight("b", (1, 4, 1, 1), "f32")
        made.output("y", made.op("nn.relu", [made.op("nn.add", [x, bias])]))

    (node,) = canonical(_shapes(build)).graph.nodes
    assert (node.kind, node.str("activation")) == ("nn.conv2d", "relu")
    assert [value.shape for value in node.operands[1:]] == [(4, 2, 1, 1), (4,)]


@pytest.mark.parametrize(("limit", "folded"), [(11, False), (12, True), (2**20, True)])
def test_a_constant_grows_up_to_the_limit_only(limit: int, folded: bool) -> None:
    build = ModuleBuilder("grown")
    row = build.weight("row", np.ones(3, np.float32))
    build.output("y", build.op("nn.expand", [row], {"shape": (4, 3)}))
    after = FoldConstants(limit)(build.finish())
    assert [node.kind for node in after.graph.nodes] == ([] if folded else ["nn.expand"])


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        FoldConstants(-1)
    assert str(caught.value) == "limit must be 0 or more, not -1"
