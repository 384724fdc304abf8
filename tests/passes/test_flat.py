"""The pipelines for an array of multipliers: what is left of a model, and how it is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.frontend.zoo import networks
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import RegistryError
from tetrapla.ir.graph import Array, Attribute, Graph, Node, Value
from tetrapla.ir.interpret import evaluate, evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes import pipeline_
from tetrapla.passes.pipeline_ import ARRAY, flattened

APART = frozenset(
    f"nn.{kind}"
    for kind in (
        "attention conv3d conv_transpose2d conv_transpose3d gru if lstm rnn scan while"
    ).split()
)
PRODUCTS = ("nn.matmul", "nn.conv2d")
NARROW = {"bf16": "bf16", "fp16": "f16"}
PLAIN: dict[str, Attribute] = {"activation": "none"}
# with loops, recurrent layers, attention, embeddings and rare convolutions; none is large
ZOO = (
    "capsnet",
    "dcgan-generator",
    "elman",
    "gat",
    "gru",
    "lif-digits",
    "ntm-step",
    "shufflenet-v2",
)


def bare(graph: Graph) -> Graph:
    """The graph without arrays."""
    nodes = (replace(n, bodies=tuple(map(bare, n.bodies))) for n in graph.nodes)
    return replace(graph, nodes=tuple(nodes), weights={})


def left(module: Module, quant: str) -> list[str]:
    """Nodes that neither an array in that format nor a vector unit computes."""
    wanted = NARROW.get(quant)
    return [
        node.name
        for node in module.graph.nodes
        if node.kind in APART or (node.kind in PRODUCTS and node.operands[0].dtype != wanted)
    ]


def found(module: Module, kind: str) -> list[Node]:
    return [node for node in module.graph.nodes if node.kind == kind]


@pytest.mark.parametrize("quant", ["int8", "bf16"])
@pytest.mark.parametrize("name", ZOO)
def test_of_a_network_the_array_gets_its_own_products_alone(name: str, quant: str) -> None:
    shapes = Module.from_graph(bare(networks()[name].graph()), name)
    made = flattened(shapes, {}, quant)
    assert left(made, quant) == []
    assert made.shape_only


@pytest.mark.parametrize("quant", ARRAY)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_step_of_the_random_graphs_is_taken_apart(family: str, quant: str) -> None:
    build, steps = FAMILIES[family]
    module = build(steps, 3)
    inputs = sampled(module, 3)
    made = flattened(module, inputs, quant)
    assert left(made, quant) == []
    wanted, given = evaluate_many(module, inputs), evaluate_many(made, inputs)
    for name, array in wanted.items():
        # no statement on accuracy: what comes out still follows what came out before
        assert np.corrcoef(array.ravel(), given[name].ravel())[0, 1] > 0.9, name


def test_a_model_without_weights_has_the_operators_of_the_one_that_has_them() -> None:
    for family in ("sequential", "transformer"):
        build, steps = FAMILIES[family]
        # a branch or loop whose end only values decide stays where there are none
        plain = [step for step in steps if step not in ("counted", "decided", "constant")]
        module = build(plain, 4)
        shapes = Module.from_graph(bare(module.graph), "bare")
        made = [flattened(each, sampled(module, 4), "int8") for each in (module, shapes)]
        products = [
            [(n.kind, n.result.shape) for n in each.graph.nodes if "matmul" in n.kind]
            for each in made
        ]
        assert products[0] == products[1]


class Draft:
    """A module under construction, with weights drawn."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.build, self.rng = ModuleBuilder("draft"), rng
        self.inputs: dict[str, Array] = {}

    def input(self, name: str, *shape: int) -> Value:
        self.inputs[name] = self.rng.standard_normal((4, *shape)).astype(np.float32)
        return self.build.input(name, shape)

    def weight(self, *shape: int) -> Value:
        return self.build.weight("w", self.rng.standard_normal(shape).astype(np.float32))

    def op(self, kind: str, *operands: Value, **held: Attribute) -> Value:
        return self.build.op(f"nn.{kind}", operands, held)

    def made(self, *outputs: Value, quant: str = "int8") -> Module:
        for i, value in enumerate(outputs):
            self.build.output(f"y{i}", value)
        return flattened(self.build.finish(), self.inputs, quant)


@pytest.mark.parametrize("quant", ["int8", "int16"])
def test_the_second_matrix_of_a_product_of_activations_has_the_zero_point_0(
    quant: str, rng: np.random.Generator
) -> None:
    draft = Draft(rng)
    x, z = draft.input("x", 6, 8), draft.input("z", 6, 8)
    keys = draft.op("matmul", draft.op("abs", z), draft.weight(8, 8), **PLAIN)
    made = draft.made(
        draft.op("matmul", x, draft.op("transpose", keys, perm=(1, 0)), **PLAIN), quant=quant
    )
    both = [n for n in found(made, "qnn.matmul") if not made.graph.is_weight(n.operands[1])]
    assert [node.int("w_zero_point") for node in both] == [0]
    # nothing was quantised twice for it: the layer before makes them so
    assert not found(made, "qnn.dequantize")[1:]


def test_an_embedding_is_a_gather_of_bytes(rng: np.random.Generator) -> None:
    draft = Draft(rng)
    ids = draft.build.input("ids", (5,), "i64")
    draft.inputs["ids"] = rng.integers(0, 20, (4, 5))
    rows = draft.op("gather", draft.weight(20, 8), ids, axis=0)
    made = draft.made(draft.op("matmul", rows, draft.weight(8, 3), **PLAIN))
    (gather,) = found(made, "nn.gather")
    assert [value.dtype for value in gather.operands] == ["i8", "i64"]
    assert made.graph.is_weight(gather.operands[0])
    assert not found(made, "qnn.quantize")


def test_a_factor_changes_the_scale_alone(rng: np.random.Generator) -> None:
    draft = Draft(rng)
    y = draft.op("matmul", draft.input("x", 4, 8), draft.weight(8, 8), **PLAIN)
    number = draft.build.weight("number", np.array(0.125, np.float32))
    made = draft.made(draft.op("mul", y, number), draft.op("div", y, number))
    assert [n.kind for n in made.graph.nodes if n.kind.endswith(("mul", "div"))] == [
        "qnn.matmul"
    ]
    scales = [made.graph.weight(n.operands[1])[0] for n in found(made, "qnn.dequantize")]
    assert scales[0] * 64 == scales[1]  # by 1/8 and by 8, both exact in binary


def test_what_is_joined_shares_a_scale(rng: np.random.Generator) -> None:
    draft = Draft(rng)
    x, z = draft.input("x", 4, 8), draft.input("z", 4, 8)
    parts = [
        draft.op("matmul", draft.op("mul", each, draft.weight(8)), draft.weight(8, 8), **PLAIN)
        for each in (x, z)
    ]
    joined = draft.op("concat", *parts, axis=1)
    made = draft.made(draft.op("matmul", joined, draft.weight(16, 3), **PLAIN))
    (node,) = found(made, "qnn.concat")
    assert len({node.float(f"{which}_scale") for which in "aby"}) == 1
    assert len({node.int(f"{which}_zero_point") for which in "aby"}) == 1


def test_the_steps_of_a_layer_share_scales_and_weights(rng: np.random.Generator) -> None:
    draft = Draft(rng)
    x = draft.input("x", 6, 2, 4)
    held: dict[str, Attribute] = {"direction": "forward", "activations": "tanh", "clip": 0.0}
    y, _ = draft.build.ops("nn.rnn", [x, draft.weight(1, 5, 4), draft.weight(1, 5, 5)], held)
    y = draft.op("reshape", y, shape=(12, 5))
    made = draft.made(draft.op("matmul", y, draft.weight(5, 3), **PLAIN))
    steps = [n for n in found(made, "qnn.matmul") if "/step." in n.name]
    assert len(steps) == 5  # the first state is zero
    assert len({node.operands[1].index for node in steps}) == 1
    assert len({node.int("x_zero_point") for node in steps}) == 1
    scales = [n for n in found(made, "qnn.requantize") if "/step." in n.name]
    assert len({node.operands[1].index for node in scales}) == 1
    # the first step reads what the input gives, which has a scale of its own
    assert len({node.operands[1].index for node in found(made, "qnn.lookup")}) == 2


def test_the_rounds_of_a_loop_share_the_weights_of_a_layer_inside(
    rng: np.random.Generator,
) -> None:
    draft = Draft(rng)
    x = draft.input("x", 3, 1, 2, 4)
    body = draft.build.body()
    held: dict[str, Attribute] = {"direction": "forward", "activations": "tanh", "clip": 0.0}
    state, row = body.input("state", (1, 2, 4)), body.input("row", (1, 2, 4))
    weights = [
        body.weight(name, rng.standard_normal((1, 4, 4)).astype(np.float32)) for name in "wr"
    ]
    operands = [row, *weights, body.weight("b", np.zeros((1, 8), np.float32)), state]
    _, last = body.ops("nn.rnn", operands, held, "cell")
    body.output("state", last)
    start = draft.input("start", 1, 2, 4)
    counts = {"carried": 1, "scanned": 1, "trips": 3}
    (last,) = draft.build.ops("nn.scan", [start, x], counts, "loop", [body.graph()])
    made = draft.made(draft.op("reshape", last, shape=(2, 4)))
    products = found(made, "qnn.matmul")
    assert len(products) == 6  # one of the input and one of the state in each of three rounds
    assert len({node.operands[1].index for node in products}) == 2


def test_hidden_scores_stay_floats_and_so_does_a_last_softmax(
    rng: np.random.Generator,
) -> None:
    draft = Draft(rng)
    x = draft.input("x", 1, 2, 6, 4)
    held: dict[str, Attribute] = {"scale": 0.5, "causal": 1, "causal_offset": 0}
    y = draft.op("attention", x, x, x, **held, masked_rows="nan", block=0)
    y = draft.op("matmul", y, draft.weight(4, 4), **PLAIN)
    made = draft.made(draft.op("softmax", y, axis=-1))
    assert len(found(made, "nn.softmax")) == 2
    assert left(made, "int8") == []


@pytest.mark.parametrize("lowest", [-1e4, -3.4028234663852886e38])
def test_an_added_mask_leaves_the_scores_their_steps_on_every_machine(
    lowest: float, rng: np.random.Generator
) -> None:
    build = ModuleBuilder("masked")
    x = build.input("x", (6, 8))
    w = build.weight("w", rng.standard_normal((8, 6)).astype(np.float32))
    scores = build.op("nn.matmul", [x, w], PLAIN, "scores")
    hidden = np.where(np.arange(6) < 4, 0, lowest).astype(np.float32)
    masked = build.op("nn.add", [scores, build.weight("mask", hidden)], {}, "masked")
    build.output("y", build.op("nn.softmax", [masked], {"axis": -1}, "softmax"))
    module = build.finish()
    inputs = {"x": rng.standard_normal((16, 6, 8)).astype(np.float32)}
    made = pipeline_.quantised(module, inputs, "int8")
    assert found(made, "qnn.add") == []
    exact, rounded = (evaluate_many(each, inputs)["y"] for each in (module, made))
    # half a step of every operand and of the scores; a probability moves by half of a score
    x_all, w_all = inputs["x"], module.weights["w"]
    in_x = np.ptp(x_all) / 255 / 2 * np.abs(w_all).sum(axis=0).max()
    in_w = np.abs(w_all).max() / 127 / 2 * np.abs(x_all).sum(axis=-1).max()
    in_scores = np.ptp(x_all @ w_all) / 255 / 2
    assert np.abs(exact - rounded).max() <= (in_x + in_w + in_scores) / 2


def test_a_softmax_over_many_keys_has_steps_of_its_largest_probability(
    rng: np.random.Generator,
) -> None:
    draft = Draft(rng)
    x, z = draft.input("x", 1, 1, 2, 4), draft.input("z", 1, 1, 2000, 4)
    held: dict[str, Attribute] = {"scale": 0.1, "causal": 0, "causal_offset": 0}
    y = draft.op("attention", x, z, z, **held, masked_rows="nan", block=0)
    made = draft.made(y)
    (node,) = found(made, "qnn.softmax")
    # about 2000 equal probabilities: the largest lies between 1/2000 and 1/250
    assert 2**-19 <= node.float("y_scale") <= 2**-15
    # the reciprocal, of which the operator takes the floor, is a whole number
    assert (
        np.floor(np.float32(1) / np.float32(node.float("y_scale"))) * node.float("y_scale") == 1
    )


def test_products_that_integers_cannot_hold_become_narrow_floats(
    rng: np.random.Generator,
) -> None:
    build = ModuleBuilder("unbounded")
    x = build.input("x", (3, 4))
    huge = build.op("nn.mul", [x, build.weight("huge", np.full(4, 1e38, np.float32))])
    w = build.weight("w", rng.standard_normal((4, 2)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [huge, w], PLAIN))
    inputs = {"x": rng.standard_normal((2, 3, 4)).astype(np.float32)}
    module = build.finish()
    assert left(flattened(module, inputs, "int8"), "int8") == ["matmul"]
    assert left(flattened(module, inputs, "int8", rest="bf16"), "bf16") == []


def test_four_bits_stay_where_they_may(rng: np.random.Generator) -> None:
    build = ModuleBuilder("narrow")
    w = build.weight("w", rng.standard_normal((8, 3)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [build.input("x", (5, 8)), w], PLAIN))
    module, inputs = build.finish(), {"x": rng.standard_normal((4, 5, 8)).astype(np.float32)}
    held = [
        found(flattened(module, inputs, "int4", narrow=narrow), "qnn.matmul")[0].operands[1]
        for narrow in (True, False)
    ]
    assert [value.dtype for value in held] == ["i4", "i8"]


def test_four_bits_of_a_large_model_are_rounded_in_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build, _ = FAMILIES["convolutional"]
    module = build(("conv",), 1)
    inputs = sampled(module, 1)
    monkeypatch.setattr(pipeline_, "MOST_REPAIRED", 10)
    large = flattened(module, inputs, "int4")
    text = "quantize{weights=i4,rounding=mse,correct_bias=true,all_operators=true,whole=true}"
    wanted = flattened(module, inputs, f"{text},clean")
    assert large.text() == wanted.text()
    assert all(
        np.array_equal(large.weights[name], wanted.weights[name]) for name in wanted.weights
    )
    monkeypatch.undo()
    repaired = flattened(module, inputs, "int4").weights
    assert any(not np.array_equal(repaired[name], large.weights[name]) for name in repaired)


def test_a_text_follows_the_flat_pipeline() -> None:
    build, _ = FAMILIES["sequential"]
    module = build(("lstm", "scan"), 1)
    made = flattened(module, sampled(module, 1), "quantize{bits=16},clean")
    assert not any(node.kind in APART for node in made.graph.nodes)
    with pytest.raises(RegistryError, match="no pass 'quantise'; did you mean 'quantize'"):
        flattened(module, sampled(module, 1), "quantise{bits=16}")


def test_pads_and_slices_move_integers(rng: np.random.Generator) -> None:
    draft = Draft(rng)
    x = draft.input("x", 1, 2, 4, 4)
    y = draft.op("conv2d", x, draft.weight(2, 2, 1, 1), strides=(1, 1), pads=(0,) * 4,
                 dilations=(1, 1), groups=1, **PLAIN)  # fmt: skip
    y = draft.op("pad", y, pads=(0, 0, 1, 1, 0, 0, 1, 1), mode="constant", value=0.0)
    y = draft.op("slice", y, starts=(0, 0, 0, 2), sizes=(1, 2, 6, 3), steps=(1, 1, 1, 1))
    made = draft.made(draft.op("reshape", y, shape=(1, 36)))
    kinds = [n.kind for n in made.graph.nodes]
    assert kinds[-4:] == ["nn.pad", "nn.slice", "nn.reshape", "qnn.dequantize"]
    sample = {"x": draft.inputs["x"][0]}
    found_ = evaluate(made, sample)["y0"].reshape(1, 2, 6, 3)
    # what is padded is exactly zero: the integer that stands for it is the zero point
    assert not found_[:, :, (0, -1)].any()
