"""Every pass: values kept within its bound, operand untouched, idempotent, verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, RegistryError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.pass_ import Pass, find, passes, run
from tetrapla.passes.pipeline_ import canonical
from tetrapla.passes.rebuild_ import Rebuild

EXAMPLES = Path(__file__).parents[2] / "examples"
Inputs = dict[str, Array]
STEPS = (
    "conv",
    "grouped_conv",
    "channel_bias",
    "batch_norm",
    "relu",
    "residual",
    "self_add",
    "max_pool",
    "average_pool",
    "transpose",
    "constant",
    "repeat",
    "dead",
    "output",
)


def broken(pass_: Pass, module: Module, inputs: Inputs) -> list[str]:
    """What a pass does that none may: the generic check, so that it can be tested."""
    text, weights = module.text(), {k: v.copy() for k, v in module.weights.items()}
    sample = {name: array[0] for name, array in inputs.items()}
    reference = evaluate(module, sample)
    faults = []
    changed = pass_(module)
    if module.text() != text or not _equal(module.weights, weights):
        faults.append("writes into its operand")
    try:
        changed.verify()
    except IRError as error:
        faults.append(f"makes an invalid module: {error}")
    if set(changed.weights) != set(changed.graph.constants.values()):
        faults.append("keeps weights that nothing names")
    if (changed.inputs.keys(), changed.outputs.keys()) != (
        module.inputs.keys(),
        module.outputs.keys(),
    ):
        return [*faults, "changes the interface"]
    for name, found in evaluate(changed, sample).items():
        error_ = _rel_error(reference[name], found)
        if not error_ <= pass_.max_rel_error:
            faults.append(f"moves output '{name}' by {error_:.1e}")
    again = pass_(changed) if pass_.idempotent else changed
    if again.text() != changed.text() or not _equal(again.weights, changed.weights):
        faults.append("changes its own result")
    return faults


def _equal(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
    return a.keys() == b.keys() and all(
        x.dtype == b[k].dtype and np.array_equal(x, b[k], equal_nan=x.dtype.kind == "f")
        for k, x in a.items()
    )


def _rel_error(reference: Array, found: Array) -> float:
    if reference.shape != found.shape or reference.dtype != found.dtype:
        return float("nan")
    if np.array_equal(reference, found):
        return 0.0
    moved = np.abs(reference.astype(np.float64) - found).max()
    return float(moved / np.abs(reference).max(initial=1e-30))


def random_module(steps: Sequence[str], seed: int) -> Module:
    """A small network: the steps on [1, 4, 6, 6] tensors, then a two-layer head."""
    draw = np.random.default_rng(seed)
    build = ModuleBuilder("random")

    def normal(symbol: str, *shape: int) -> Value:
        return build.weight(symbol, draw.standard_normal(shape).astype(np.float32))

    x = build.input("x", (1, 4, 6, 6))
    values = [x]
    for step in steps:
        x = _step(build, step, x, values, normal, draw)
        values.append(x)
    c, h, w = x.shape[1:]
    x = build.op("nn.reshape", [x], {"shape": (1, c * h * w)}, name="flatten")
    transposed = build.op("nn.transpose", [normal("w1", 5, c * h * w)], {"perm": (1, 0)})
    x = build.op("nn.matmul", [x, transposed], {"activation": "none"}, name="hidden")
    x = build.op("nn.add", [x, normal("b1", 5)])
    x = build.op("nn.relu", [x])
    operands = [x, normal("w2", 5, 3), normal("b2", 3)]
    x = build.op("nn.matmul", operands, {"activation": "none"}, name="logits")
    build.output("y", build.op("nn.softmax", [x], {"axis": -1}))
    build.output("logits", x)
    return build.finish()


def _step(
    build: ModuleBuilder,
    step: str,
    x: Value,
    values: list[Value],
    normal: Callable[..., Value],
    draw: np.random.Generator,
) -> Value:
    same: dict[str, Attribute] = {"strides": (1, 1), "pads": (1, 1, 1, 1)}
    match step:
        case "conv" | "grouped_conv":
            groups = 2 if step == "grouped_conv" else 1
            w = normal("w", 4, 4 // groups, 3, 3)
            biases = [normal("b", 4)] if draw.integers(2) else []
            more: dict[str, Attribute] = {"dilations": (1, 1), "groups": groups}
            more["activation"] = "none"
            return build.op("nn.conv2d", [x, w, *biases], {**same, **more}, name=step)
        case "channel_bias":
            shape = [(4, 1, 1), (1, 4, 1, 1), (1, 1, 1), ()][draw.integers(4)]
            return build.op("nn.add", [x, normal("c", *shape)][:: draw.choice([1, -1])])
        case "batch_norm":
            positive = draw.uniform(0.5, 2, 4).astype(np.float32)
            parameters = [normal("s", 4), normal("t", 4), normal("m", 4)]
            operands = [x, *parameters, build.weight("v", positive)]
            return build.op("nn.batch_norm", operands, {"epsilon": 1e-5})
        case "relu":
            return build.op("nn.relu", [x])
        case "residual":
            return build.op("nn.add", [x, values[draw.integers(len(values))]])
        case "self_add":
            return build.op("nn.add", [x, x])
        case "max_pool" | "average_pool":
            same["kernel"] = (3, 3)
            key = "dilations" if step == "max_pool" else "count_include_pad"
            same[key] = (1, 1) if step == "max_pool" else 0
            return build.op(f"nn.{step}2d", [x], same)
        case "transpose":
            return build.op("nn.transpose", [x], {"perm": (0, 1, 3, 2)})
        case "constant":
            made = build.op("nn.relu", [normal("k", 4, 6, 6)])
            scalar = build.op("nn.add", [normal("l"), normal("l")])
            made = build.op("nn.add", [made, build.op("nn.relu", [scalar])])
            return build.op("nn.add", [made, x])
        case "repeat":
            twice = [build.op("nn.relu", [x]) for _ in range(2)]
            return build.op("nn.add", twice)
        case "dead":
            build.op("nn.softmax", [x], {"axis": 1})
            return x
        case _:
            build.output(f"at_{len(values)}", x)
            return x


def sampled(module: Module, seed: int, count: int = 2) -> Inputs:
    draw = np.random.default_rng(seed)
    return {
        name: draw.standard_normal((count, *value.shape)).astype(np.float32)
        for name, value in module.inputs.items()
    }


@pytest.mark.parametrize("name", sorted(passes()))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps=st.lists(st.sampled_from(STEPS), max_size=8), seed=st.integers(0, 2**16))
def test_a_pass_keeps_what_it_promises(name: str, steps: list[str], seed: int) -> None:
    module = random_module(steps, seed)
    inputs = sampled(module, seed)
    assert broken(find(name).example(module, inputs), module, inputs) == []
    fused = canonical(module)
    assert broken(find(name).example(fused, inputs), fused, inputs) == []


def example_module(kind: str, constant: bool) -> Module:
    """An operator's own example; its operands after the first are inputs or constants."""
    types, attributes = OPS[kind].example or ((), {})
    build = ModuleBuilder(kind)
    draw = np.random.default_rng(0)
    operands = [
        build.weight(f"w{i}", positive(draw, type_.shape, type_.dtype))
        if constant and i
        else build.input(f"in{i}", type_.shape, type_.dtype)
        for i, type_ in enumerate(types)
    ]
    build.output("y", build.op(kind, operands, attributes))
    return build.finish()


def positive(draw: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    # small positive numbers are legal for every operand (a scale, a variance, a spike count)
    return draw.integers(1, 9, shape).astype(DTYPES[dtype])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("kind", sorted(kind for kind, op in OPS.items() if op.example))
def test_every_pass_keeps_what_it_promises_on_every_operator(kind: str, constant: bool) -> None:
    module = example_module(kind, constant)
    draw = np.random.default_rng(1)
    inputs = {
        name: positive(draw, (2, *value.shape), value.dtype)
        for name, value in module.inputs.items()
    }
    for name in passes():
        assert broken(find(name).example(module, inputs), module, inputs) == [], name


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.onnx")), ids=lambda path: path.stem)
def test_every_pass_keeps_what_it_promises_on_every_example_model(path: Path) -> None:
    model = load(path)
    inputs = sampled(model, 0)
    fused = canonical(model)
    for name in passes():
        for module in (model, fused):
            assert broken(find(name).example(module, inputs), module, inputs) == [], name


@pytest.mark.parametrize("name", sorted(passes()))
def test_a_pass_keeps_what_it_promises_on_every_step_at_once(name: str) -> None:
    module = random_module(STEPS, 1)
    inputs = sampled(module, 1)
    assert broken(find(name).example(module, inputs), module, inputs) == []


def test_the_canonical_pipeline_changes_its_own_result_in_nothing() -> None:
    once = canonical(random_module(STEPS, 2))
    twice = canonical(once)
    assert twice.text() == once.text()
    assert _equal(twice.weights, once.weights)


@dataclass(frozen=True)
class DropRelu(Pass):
    """Planted fault: changes values and admits nothing."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        for node in new.graph.nodes:
            if node.kind == "nn.relu":
                new.set(node.result, new.of(node.operands[0]))
            else:
                new.copy(node)
        return new.finish()


@dataclass(frozen=True)
class AddRelu(Pass):
    """Planted fault: keeps every value and grows on every run."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        for node in new.graph.nodes:
            new.copy(node)
            if node.kind == "nn.relu":
                new.set(node.result, new.builder.op("nn.relu", [new.of(node.result)]))
        return new.finish()


@dataclass(frozen=True)
class AddReluOpenly(AddRelu):
    """The same, admitted."""

    idempotent: ClassVar[bool] = False


@dataclass(frozen=True)
class WriteWeight(Pass):
    """Planted fault: writes into the arrays it was given."""

    def __call__(self, module: Module) -> Module:
        for array in module.weights.values():
            array[...] = 0
        return module


@dataclass(frozen=True)
class RenameOutput(Pass):
    """Planted fault: another interface."""

    def __call__(self, module: Module) -> Module:
        build = ModuleBuilder(module.name)
        build.output("z", build.op("nn.relu", [build.input("x", (1, 3))]))
        return build.finish()


def _relu() -> Module:
    build = ModuleBuilder("relu")
    x = build.op("nn.relu", [build.input("x", (1, 3))])
    build.output("y", build.op("nn.add", [x, build.weight("one", np.ones(3, np.float32))]))
    return build.finish()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        # max(-1, 0) + 1 = 1 becomes -1 + 1 = 0; the largest output is 3
        (DropRelu(), ["moves output 'y' by 3.3e-01"]),
        (AddRelu(), ["changes its own result"]),
        (AddReluOpenly(), []),
        (WriteWeight(), ["writes into its operand", "moves output 'y' by 3.3e-01"]),
        (RenameOutput(), ["changes the interface"]),
    ],
)
def test_a_planted_fault_is_caught(fault: Pass, expected: list[str]) -> None:
    inputs = {"x": np.array([[[-1, 0, 2]]], np.float32)}
    assert broken(fault, _relu(), inputs) == expected


@pytest.mark.parametrize("name", sorted(set(passes()) - {"quantize"}))
def test_a_pass_with_nothing_to_do_gives_back_its_operand(name: str) -> None:
    build = ModuleBuilder("softmax")
    build.output("y", build.op("nn.softmax", [build.input("x", (1, 3))], {"axis": -1}))
    module = build.finish()
    assert find(name)()(module) is module


def test_run_names_the_pass_that_makes_an_invalid_module() -> None:
    with pytest.raises(IRError) as caught:
        run(_relu(), [RenameOutput()])
    assert str(caught.value) == (
        "test-every-pass: the model's outputs must stay [('y', (1, 3), 'f32')], "
        "not [('z', (1, 3), 'f32')]"
    )


def test_run_leaves_the_module_it_was_given() -> None:
    module = _relu()
    text = module.text()
    run(module, [find(name)() for name in passes() if name != "quantize"])
    assert module.text() == text


def test_passes_are_named_by_their_files() -> None:
    assert list(passes()) == [
        "eliminate-common",
        "eliminate-dead-code",
        "fold-batch-norm",
        "fold-constants",
        "fuse-epilogue",
        "quantize",
    ]
    assert all(find(name).__module__.endswith(name.replace("-", "_")) for name in passes())


def test_an_unknown_pass_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RegistryError) as caught:
        find("fuse-epilog")
    assert str(caught.value) == (
        "no pass 'fuse-epilog'; did you mean 'fuse-epilogue'?; there are: eliminate-common, "
        "eliminate-dead-code, fold-batch-norm, fold-constants, fuse-epilogue, quantize"
    )
