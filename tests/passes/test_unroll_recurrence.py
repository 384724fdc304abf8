"""Recurrent layers as the operators of their steps: every form of every layer."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.cells_ import CELLS
from tetrapla.passes.unroll_recurrence import UnrollRecurrence

STEPS, BATCH, WIDTH, HIDDEN = 5, 3, 4, 6
GATES = {"nn.rnn": 1, "nn.gru": 3, "nn.lstm": 4}
FUNCTIONS = {"nn.rnn": "tanh", "nn.gru": "sigmoid,tanh", "nn.lstm": "sigmoid,tanh,tanh"}
ODD = (
    "relu softsign softplus affine affine:0.5:0.1 leaky_relu leaky_relu:0.1 thresholded_relu "
    "thresholded_relu:0.2 scaled_tanh scaled_tanh:0.7:0.9 hard_sigmoid hard_sigmoid:0.3 elu "
    "elu:0.5 sigmoid tanh"
).split()


class Layer:
    """A layer under construction, whose parameters are constants or inputs."""

    def __init__(self, kind: str, rng: np.random.Generator, constant: bool, dtype: str) -> None:
        self.kind, self.rng, self.constant, self.dtype = kind, rng, constant, dtype
        self.build = ModuleBuilder("layer")
        self.inputs: dict[str, Array] = {}

    def value(self, name: str, *shape: int) -> Value:
        array = (self.rng.standard_normal(shape) / 2).astype(DTYPES[self.dtype])
        if self.constant and name != "x":
            return self.build.weight(name, array)
        self.inputs[name] = array
        return self.build.input(name, shape, self.dtype)

    def lengths(self) -> Value:
        self.inputs["lengths"] = np.array([5, 0, 3], np.int64)
        return self.build.input("lengths", (BATCH,), "i64")

    def operands(self, directions: int, count: int) -> list[Value]:
        """x, w and r, and so many of b, the first states, lengths and peepholes."""
        rows = GATES[self.kind] * HIDDEN
        found = [self.value("x", STEPS, BATCH, WIDTH)]
        found += [self.value(n, directions, rows, c) for n, c in (("w", WIDTH), ("r", HIDDEN))]
        states = ("h0", "c0") if self.kind == "nn.lstm" else ("h0",)
        for name in ("b", *states, "lengths", "p")[:count]:
            match name:
                case "lengths":
                    found.append(self.lengths())
                case "b" | "p":
                    size = 2 * rows if name == "b" else 3 * HIDDEN
                    found.append(self.value(name, directions, size))
                case _:
                    found.append(self.value(name, directions, BATCH, HIDDEN))
        return found

    def module(self, operands: list[Value], held: dict[str, Attribute]) -> Module:
        own = {"nn.gru": {"linear_before_reset": 0}, "nn.lstm": {"input_forget": 0}}
        given: dict[str, Attribute] = {**own.get(self.kind, {}), "clip": 0.0}
        for i, value in enumerate(self.build.ops(self.kind, operands, given | held, "cell")):
            self.build.output(f"y{i}", value)
        return self.build.finish()


def distance(module: Module, inputs: dict[str, Array]) -> float:
    """Between both forms, relative to the largest of each output."""
    made = UnrollRecurrence()(module)
    assert not any(node.kind in CELLS for node in made.graph.nodes)
    assert UnrollRecurrence()(made) is made
    before, after = evaluate(module, inputs), evaluate(made, inputs)
    return max(
        float(np.abs(before[name].astype(np.float64) - after[name]).max())
        / float(np.abs(before[name]).max())
        for name in before
    )


# what the pass admits, in the units of the type; a narrow type may round to a neighbour
SMALL = {
    "f32": UnrollRecurrence.max_rel_error,
    "f64": UnrollRecurrence.max_rel_error,
    "f16": 2.0**-10,
    "bf16": 2.0**-7,
}
FORMS = [
    (kind, count)
    for kind in CELLS
    for count in range({"nn.rnn": 4, "nn.gru": 4, "nn.lstm": 6}[kind])
]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("kind", "count"), FORMS)
def test_the_steps_give_what_the_layer_gives(
    kind: str, count: int, direction: str, constant: bool, rng: np.random.Generator
) -> None:
    layer = Layer(kind, rng, constant, "f32")
    directions = 2 if direction == "bidirectional" else 1
    activations = ",".join([FUNCTIONS[kind]] * directions)
    held: dict[str, Attribute] = {"direction": direction, "activations": activations}
    module = layer.module(layer.operands(directions, count), held)
    assert distance(module, layer.inputs) <= SMALL["f32"]


@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16"])
@pytest.mark.parametrize("kind", CELLS)
def test_other_floats_are_computed_as_the_layer_does(
    kind: str, dtype: str, rng: np.random.Generator
) -> None:
    layer = Layer(kind, rng, True, dtype)
    held: dict[str, Attribute] = {"direction": "forward", "activations": FUNCTIONS[kind]}
    module = layer.module(layer.operands(1, 3), held)
    assert distance(module, layer.inputs) <= SMALL[dtype]


@pytest.mark.parametrize("name", ODD)
def test_every_activation_has_its_operator(name: str, rng: np.random.Generator) -> None:
    layer = Layer("nn.rnn", rng, True, "f32")
    held: dict[str, Attribute] = {"direction": "forward", "activations": name}
    module = layer.module(layer.operands(1, 2), held)
    assert distance(module, layer.inputs) <= SMALL["f32"]


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("nn.lstm", {"input_forget": 1}),
        ("nn.lstm", {"clip": 0.3}),
        ("nn.gru", {"linear_before_reset": 1}),
        ("nn.gru", {"clip": 0.3}),
        ("nn.rnn", {"clip": 0.3}),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_clips_and_the_layers_own_forms(
    kind: str, held: dict[str, Attribute], count: int, rng: np.random.Generator
) -> None:
    layer = Layer(kind, rng, True, "f32")
    given: dict[str, Attribute] = {"direction": "forward", "activations": FUNCTIONS[kind]}
    module = layer.module(layer.operands(1, count), given | held)
    assert distance(module, layer.inputs) <= SMALL["f32"]


def test_the_input_has_one_product_and_the_steps_share_a_matrix(
    rng: np.random.Generator,
) -> None:
    layer = Layer("nn.lstm", rng, True, "f32")
    held: dict[str, Attribute] = {"direction": "forward", "activations": FUNCTIONS["nn.lstm"]}
    made = UnrollRecurrence()(layer.module(layer.operands(1, 1), held))
    products = [node for node in made.graph.nodes if node.kind == "nn.matmul"]
    # one of all steps, then one a step; the first state is zero and has none
    assert [node.name for node in products] == [
        "cell.given",
        *(f"cell/step.{t}/product" for t in range(1, STEPS)),
    ]
    assert products[0].operands[0].shape == (STEPS * BATCH, WIDTH)
    assert len({node.operands[1].index for node in products[1:]}) == 1


def test_a_layer_beyond_the_limit_stays_and_says_why(rng: np.random.Generator) -> None:
    layer = Layer("nn.rnn", rng, True, "f32")
    held: dict[str, Attribute] = {"direction": "forward", "activations": "tanh"}
    module = layer.module(layer.operands(1, 0), held)
    pass_ = UnrollRecurrence(limit=100)
    assert pass_(module) is module
    # 5 steps of at most 32 operators
    (node,) = module.graph.nodes
    assert pass_.refusal(node) == "its 5 steps are 160 operators, more than 100"
    with pytest.raises(SpecError) as caught:
        UnrollRecurrence(limit=-1)
    assert str(caught.value) == "limit must be 0 operators or more, not -1"
