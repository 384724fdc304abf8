"""Recurrent layers as one kernel: by hand, in every form, as emitted, and what is unrolled."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.backends.gpu.helpers import interpreted, miswrite
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.lower import lower, plan
from tetrapla.backends.gpu.recurrent import MOST_RECURRENT, LastStates
from tetrapla.backends.gpu.triton.compiler import CACHE_VARIABLE, compiled
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.recurrent import FUNCTIONS, GATES, Recurrent
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed, values
from tetrapla.simulators.spec_ import load_spec

H100 = load_spec("h100", GpuSpec).spec
USUAL = {"nn.rnn": "tanh", "nn.gru": "sigmoid,tanh", "nn.lstm": "sigmoid,tanh,tanh"}


@dataclass(frozen=True)
class Layer:
    """A layer of random weights; `given` of its operands beside x, w and r."""

    kind: str
    direction: str = "forward"
    given: str = "b"  # of b, h (first states) and p (peepholes, and with them all others)
    flag: int = 0
    clip: float = 0.0
    steps: int = 4
    batch: int = 3
    inputs: int = 5
    hidden: int = 6
    activations: str = ""
    lengths: int = 0  # of all sequences; 0: the steps

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    @property
    def attributes(self) -> dict[str, Attribute]:
        usual = ",".join([USUAL[self.kind]] * self.directions)
        found: dict[str, Attribute] = {
            "direction": self.direction,
            "activations": self.activations or usual,
            "clip": self.clip,
        }
        flags = {"nn.lstm": "input_forget", "nn.gru": "linear_before_reset"}
        return found | ({flags[self.kind]: self.flag} if self.kind in flags else {})

    def add(
        self, build: ModuleBuilder, rng: np.random.Generator, number: str = "", last: str = "h"
    ) -> None:
        """Add it, with y and, as `last` says, the last h and c as outputs."""
        d, n, rows = self.directions, self.hidden, GATES[self.kind] * self.hidden
        x = build.input(f"x{number}", (self.steps, self.batch, self.inputs))
        shapes: dict[str, tuple[int, ...]] = {"w": (d, rows, self.inputs), "r": (d, rows, n)}
        if self.given:
            shapes["b"] = (d, 2 * rows)
        if set(self.given) & {"h", "p"}:
            shapes["h0"] = (d, self.batch, n)
            shapes |= {"c0": (d, self.batch, n)} if self.kind == "nn.lstm" else {}
        operands = [x]
        for name, shape in shapes.items():
            array = rng.normal(size=shape) / np.sqrt(shape[-1])
            operands.append(build.weight(f"{name}{number}", array.astype(np.float32)))
        if "p" in self.given:
            lengths = np.full(self.batch, self.lengths or self.steps)
            operands.append(build.weight(f"lengths{number}", lengths))
            peep = rng.normal(size=(d, 3 * n)).astype(np.float32)
            operands.append(build.weight(f"p{number}", peep))
        made = build.ops(self.kind, operands, self.attributes, f"layer{number}")
        build.output(f"y{number}", made[0])
        for name, value in zip("hc", made[1:], strict=False):
            if name in last:
                build.output(f"{name}{number}", build.op("nn.tanh", [value], {}, f"{name}t"))

    def module(self, rng: np.random.Generator, last: str = "h") -> Module:
        build = ModuleBuilder("layer")
        self.add(build, rng, last=last)
        return build.finish()

    def drawn(self, rng: np.random.Generator) -> Array:
        return rng.normal(size=(2, self.steps, self.batch, self.inputs)).astype(np.float32)


def lowered_of(module: Module, number_format: str = "fp32") -> Lowered[Program]:
    return lower(module, H100, None, Options(quant=number_format))


def kinds(program: Program) -> list[str]:
    return [type(kernel).__name__ for kernel in program.kernels]


def test_two_steps_by_hand() -> None:
    build = ModuleBuilder("hand")
    x = build.input("x", (2, 1, 1))
    w = build.weight("w", np.full((1, 1, 1), 2, np.float32))
    r = build.weight("r", np.full((1, 1, 1), -3, np.float32))
    b = build.weight("b", np.array([[1, 4]], np.float32))
    attributes: dict[str, Attribute] = {
        "direction": "reverse",
        "activations": "relu",
        "clip": 0.0,
    }
    y, _ = build.ops("nn.rnn", [x, w, r, b], attributes, "layer")
    build.output("y", y)
    program = plan(build.finish(), "fp32")
    assert kinds(program) == ["MatMul", "Recurrent"]
    found = values(program, {"x": np.array([9, -2], np.float32).reshape(1, 2, 1, 1)})["y"]
    # from the end: 2 * -2 + 5 = 1, then 2 * 9 - 3 * 1 + 5 = 20
    assert found.reshape(-1).tolist() == [20, 1]


def test_a_gate_that_is_shut_keeps_the_cell_by_hand() -> None:
    """Gates by their biases alone: i = 1/2, f = 1/2, c = tanh 0 = 0, and o = 1/2."""
    build = ModuleBuilder("hand")
    x = build.input("x", (3, 1, 1))
    zeros = [build.weight(n, np.zeros((1, 4, 1), np.float32)) for n in "wr"]
    b = build.weight("b", np.zeros((1, 8), np.float32))
    first = [build.weight(n, np.full((1, 1, 1), 8, np.float32)) for n in ("h0", "c0")]
    attributes: dict[str, Attribute] = {
        "direction": "forward",
        "activations": "sigmoid,relu,relu",
        "clip": 0.0,
        "input_forget": 0,
    }
    y = build.ops("nn.lstm", [x, *zeros, b, *first], attributes, "layer")[0]
    build.output("y", y)
    found = values(plan(build.finish(), "fp32"), {"x": np.ones((1, 3, 1, 1), np.float32)})
    # the cell is halved in every step: 4, 2, 1, and half of it is shown
    assert found["y"].reshape(-1).tolist() == [2, 1, 0.5]


FORMS = [
    Layer("nn.rnn", given=""),
    Layer("nn.rnn", "bidirectional", "bh", clip=0.7, activations="tanh,relu"),
    Layer("nn.lstm", hidden=37, batch=18),
    Layer("nn.lstm", "reverse", "bhp", clip=0.5),
    Layer("nn.lstm", "bidirectional", "bhp", flag=1),
    Layer("nn.gru", "reverse", "bh"),
    Layer("nn.gru", "bidirectional", "bh", flag=1, hidden=35),
    Layer("nn.gru", given="", flag=1),
]


@pytest.mark.parametrize("number_format", ["fp16", "fp32", "bf16", "tf32"])
def test_every_form_is_within_its_bound_and_so_is_what_is_emitted(
    number_format: str, rng: np.random.Generator
) -> None:
    build, inputs = ModuleBuilder("forms"), dict[str, Array]()
    for number, layer in enumerate(FORMS):
        layer.add(build, rng, str(number))
        inputs[f"x{number}"] = layer.drawn(rng)
    lowered = lowered_of(build.finish(), number_format)
    assert kinds(lowered.program).count("Recurrent") == len(FORMS)
    reference = evaluate_many(lowered.module, inputs)
    verdict = judged(lowered, inputs, executed(lowered.program, inputs), reference)
    assert verdict.passed, verdict
    held = interpreted(lowered.program, inputs)
    verdict = judged(lowered, inputs, held, reference)
    assert verdict.passed, verdict
    assert verdict.bound is not None
    assert verdict.bound < 0.02


@settings(max_examples=30)
@given(st.data())
def test_any_layer_and_tile_is_within_the_bound(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(GATES)))
    some = "sigmoid", "tanh", "relu"
    way = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    layer = Layer(
        kind,
        way,
        data.draw(st.sampled_from(["", "b", "bh", *(["bhp"] if kind == "nn.lstm" else [])])),
        data.draw(st.integers(0, 1)),
        data.draw(st.sampled_from([0.0, 0.4])),
    )
    steps, batch, width, hidden = (data.draw(st.integers(1, most)) for most in (6, 4, 4, 9))
    layer = replace(layer, steps=steps, batch=batch, inputs=width, hidden=hidden)
    names = [
        data.draw(st.sampled_from(some)) for _ in range(FUNCTIONS[kind] * layer.directions)
    ]
    layer = replace(layer, activations=",".join(names))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    lowered = lowered_of(layer.module(rng), data.draw(st.sampled_from(["fp16", "fp32"])))
    kernels = tuple(
        replace(kernel, tile_k=data.draw(st.integers(1, 9)))
        if isinstance(kernel, Recurrent)
        else kernel
        for kernel in lowered.program.kernels
    )
    program = replace(lowered.program, kernels=kernels)
    inputs = {"x": layer.drawn(rng)}
    reference = evaluate_many(lowered.module, inputs)
    # ReLU gates that multiply states can outgrow 16 bits: an infinity, which the check tells
    assume(all(np.abs(array).max() < np.finfo(np.float16).max for array in reference.values()))
    found = judged(lowered, inputs, executed(program, inputs), reference)
    assert found.mismatches == 0, found


def test_gates_in_the_wrong_order_are_caught(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer("nn.lstm")
    lowered = lowered_of(layer.module(rng, last=""), "fp16")
    miswrite(monkeypatch, lowered.program, "cell = f * cell + i * c", "cell = i * cell + f * c")
    inputs = {"x": layer.drawn(rng)}
    held = interpreted(lowered.program, inputs)
    assert not judged(lowered, inputs, held, evaluate_many(lowered.module, inputs)).passed


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_the_last_state_is_read_out_of_all(direction: str, rng: np.random.Generator) -> None:
    layer = Layer("nn.gru", direction)
    module = layer.module(rng)
    made = LastStates()(module)
    (node,) = (node for node in made.graph.nodes if node.kind == "nn.gru")
    assert not made.graph.uses().get(node.results[1].index)
    inputs = {"x": layer.drawn(rng)}
    first, second = (evaluate_many(each, inputs) for each in (module, made))
    assert all(np.array_equal(first[name], second[name]) for name in ("y", "h"))


UNFIT = {
    "its activations are not sigmoid, tanh and relu alone": (
        Layer("nn.rnn", activations="softsign"),
        "",
    ),
    f"its matrix has more than {MOST_RECURRENT} elements": (
        Layer("nn.rnn", hidden=725, steps=1, batch=1),
        "",
    ),
    "its sequences may end early": (Layer("nn.lstm", given="bhp", lengths=2), ""),
    "its last cell is read": (Layer("nn.lstm"), "c"),
}


@pytest.mark.parametrize("why", UNFIT)
def test_what_the_kernel_does_not_take_is_unrolled(why: str, rng: np.random.Generator) -> None:
    layer, last = UNFIT[why]
    module = layer.module(rng, last)
    # as it stands it is refused, with the reason
    with pytest.raises(UnsupportedError) as refused:
        plan(module, "fp32")
    assert f"gpu has no kernel for {layer.kind}, since {why} (1); " in str(refused.value)
    lowered = lowered_of(module)
    assert "Recurrent" not in kinds(lowered.program)
    inputs = {"x": layer.drawn(rng)}
    reference = evaluate_many(lowered.module, inputs)
    verdict = judged(lowered, inputs, executed(lowered.program, inputs), reference)
    assert verdict.passed, verdict


def test_integers_keep_the_unrolled_layer(rng: np.random.Generator) -> None:
    layer = Layer("nn.lstm")
    inputs = {"x": layer.drawn(rng)}
    lowered = lower(layer.module(rng), H100, inputs, Options(quant="int8"))
    assert lowered.program.format == "int8"
    assert "Recurrent" not in kinds(lowered.program)


def test_it_survives_json_and_has_a_text(rng: np.random.Generator) -> None:
    lowered = lowered_of(Layer("nn.lstm").module(rng, last=""), "fp16")
    program = lowered.program
    assert Program.from_dict(json.loads(json.dumps(program.to_dict()))) == program
    assert program.text().splitlines()[-1] == "  layer: layer = Recurrent(layer.given, r, b)"
    text = functions(program)[0][-1].text
    assert "given_ptr, r_ptr, b_ptr, y_ptr, scratch_ptr" in text
    assert text.count("tl.debug_barrier()") == 1


@pytest.mark.slow
def test_layers_compile_ahead_of_time(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("gpu")))
    some = (Layer("nn.lstm", hidden=140), Layer("nn.gru", hidden=100), FORMS[1])
    plans = [lowered_of(layer.module(rng, last=""), "fp16").program for layer in some]
    made = [functions(program)[0][-1] for program in plans]
    for layer, code in zip(some, compiled(made, [H100.architecture]), strict=True):
        said = layer.kind, code.registers, code.shared_bytes, code.spill_bytes
        assert code.instructions.get("mma.sync", 0) > 0, said
        assert code.spill_bytes == 0, said
        assert code.shared_bytes <= H100.block.shared_memory_bytes, said
    # what stands between two steps is in the machine code
    lstm = made[0]
    without = replace(lstm, text=lstm.text.replace("tl.debug_barrier()", "pass"))
    codes = compiled([lstm, without], [H100.architecture])
    counts = [code.text.count("bar.sync") for code in codes]
    assert counts[0] > counts[1], counts
