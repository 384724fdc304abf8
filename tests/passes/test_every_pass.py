"""Every pass: values kept within its bound, operand untouched, idempotent, verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.random_graphs import (
    CONVOLUTIONAL,
    FAMILIES,
    convolutional,
    in_a_branch,
    sampled,
)
from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, RegistryError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.pass_ import Pass, find, passes, run
from tetrapla.passes.pipeline_ import canonical
from tetrapla.passes.rebuild_ import Rebuild

EXAMPLES = Path(__file__).parents[2] / "examples"
PASSES = Path(__file__).parents[2] / "passes"
Inputs = dict[str, Array]
GRAPHS = 25  # for each of more than 20 passes
CHOOSING = frozenset(name for name, pass_ in passes().items() if np.isinf(pass_.max_rel_error))
# no patterns of a user, no crossbars, and no integer weights
GIVEN_NOTHING = frozenset({"apply-pdl", "fold-lossless-crossbars", "widen-weights"})


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
    named = {s for graph in changed.graph.nested() for s in graph.constants.values()}
    if set(changed.weights) != named:
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
    if np.array_equal(reference, found, equal_nan=reference.dtype.kind == "f"):
        return 0.0
    moved = np.abs(reference.astype(np.float64) - found).max()
    return float(moved / np.abs(reference).max(initial=1e-30))


@st.composite
def drafts(draw: st.DrawFn) -> tuple[Module, int]:
    """A random network and its seed; every other one with constants folded and layers fused."""
    build, steps = FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))]
    seed = draw(st.integers(0, 2**16))
    module = build(draw(st.lists(st.sampled_from(steps), max_size=10)), seed)
    return (canonical(module) if draw(st.booleans()) else module), seed


@pytest.mark.parametrize("name", sorted(passes()))
@settings(max_examples=GRAPHS, deadline=None, derandomize=True, database=None)
@given(drafts())
def test_a_pass_keeps_what_it_promises(name: str, draft: tuple[Module, int]) -> None:
    module, seed = draft
    inputs = sampled(module, seed)
    assert broken(find(name).example(module, inputs), module, inputs) == []


@cache
def graph(seed: int) -> Module:
    """One of a fixed row of random networks."""
    draw = np.random.default_rng(seed)
    build, steps = FAMILIES[sorted(FAMILIES)[seed % len(FAMILIES)]]
    return build([steps[i] for i in draw.integers(0, len(steps), 8)], seed)


@pytest.mark.parametrize("name", sorted(set(passes()) - GIVEN_NOTHING))
def test_a_pass_finds_something_to_rewrite_in_the_random_graphs(name: str) -> None:
    pass_ = find(name)
    modules = (graph(seed) for seed in range(400))
    assert any(pass_.example(m, sampled(m, 0))(m) is not m for m in modules)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("name", sorted(passes()))
def test_a_pass_keeps_what_it_promises_on_every_step_at_once(name: str, family: str) -> None:
    build, steps = FAMILIES[family]
    module = build(steps, 1)
    inputs = sampled(module, 1)
    assert broken(find(name).example(module, inputs), module, inputs) == []


EXACT = sorted(
    name
    for name, pass_ in passes().items()
    if pass_.max_rel_error == 0 and name not in GIVEN_NOTHING
)


def odd_numbers(module: Module, seed: int) -> Inputs:
    """Inputs of which half are zeros of either sign, and every third set is not finite."""
    draw = np.random.default_rng(seed)
    found: Inputs = {}
    for name, array in sampled(module, seed, 1).items():
        which = draw.random(array.shape)
        made = np.where(which < 0.25, 0.0, np.where(which < 0.5, -0.0, array))
        if seed % 3 == 0:
            made = np.where(which > 0.95, draw.choice([np.nan, np.inf, -np.inf]), made)
        found[name] = made.astype(array.dtype)[0]
    return found


def bits(array: Array) -> bytes:
    """What an array holds, all NaN taken to be one."""
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.nan, array)
    return array.tobytes()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", EXACT)
def test_an_exact_pass_keeps_signs_of_zeros_and_what_is_not_finite(
    name: str, seed: int
) -> None:
    module = graph(seed)
    changed = find(name).example(module, sampled(module, seed))(module)
    inputs = odd_numbers(module, seed)
    before, after = evaluate(module, inputs), evaluate(changed, inputs)
    assert {k: bits(v) for k, v in before.items()} == {k: bits(v) for k, v in after.items()}


# passes that choose values by calibration see no body, whose values no calibration records
REACHING = (
    *("canonicalize", "choose", "decompose", "eliminate", "fold", "fuse", "recognize", "slice"),
    *("tile", "unroll"),
)


@pytest.mark.parametrize("name", [name for name in passes() if name.startswith(REACHING)])
def test_a_pass_reaches_into_the_bodies_of_branches(name: str) -> None:
    for family, (build, steps) in FAMILIES.items():
        module = build(steps, 2)
        inputs = sampled(in_a_branch(module), 2)
        pass_ = find(name).example(module, inputs)
        wrapped = in_a_branch(module)
        assert broken(pass_, wrapped, inputs) == [], family
        assert (pass_(wrapped) is wrapped) == (pass_(module) is module), family


def example_module(kind: str, constant: bool) -> Module:
    """An operator's own example; its operands after the first are inputs or constants."""
    types, attributes = OPS[kind].example or ((), {})
    build = ModuleBuilder(kind)
    draw = np.random.default_rng(0)
    operands = [
        build.weight(f"w{i}", positive(draw, kind, type_.shape, type_.dtype))
        if constant and i
        else build.input(f"in{i}", type_.shape, type_.dtype)
        for i, type_ in enumerate(types)
    ]
    for i, value in enumerate(build.ops(kind, operands, attributes)):
        build.output(f"y{i}", value)
    return build.finish()


def positive(draw: np.random.Generator, kind: str, shape: tuple[int, ...], dtype: str) -> Array:
    # small positive numbers are legal for every operand (a scale, a variance, an arc's cosine);
    # only a hyperbolic cosine is never below one
    whole = draw.integers(1, 9, shape)
    fraction = dtype[0] == "f" and kind != "nn.acosh"
    return (whole / 16 if fraction else whole).astype(DTYPES[dtype])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("kind", sorted(kind for kind, op in OPS.items() if op.example))
def test_every_pass_keeps_what_it_promises_on_every_operator(kind: str, constant: bool) -> None:
    module = example_module(kind, constant)
    draw = np.random.default_rng(1)
    inputs = {
        name: positive(draw, kind, (2, *value.shape), value.dtype)
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


def test_the_canonical_pipeline_changes_its_own_result_in_nothing() -> None:
    once = canonical(convolutional(tuple(CONVOLUTIONAL), 2))
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


@pytest.mark.parametrize("name", sorted(set(passes()) - CHOOSING))
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
    run(module, [find(name)() for name in passes() if name not in CHOOSING])
    assert module.text() == text


def test_passes_are_named_by_their_files() -> None:
    stems = {path.stem for path in PASSES.glob("*.py")}
    named = {stem.replace("_", "-") for stem in stems if not stem.endswith("_")}
    assert set(passes()) == named
    assert all(find(name).__module__.endswith(name.replace("-", "_")) for name in passes())


def test_an_unknown_pass_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RegistryError) as caught:
        find("fuse-epilog")
    there = ", ".join(passes())
    assert str(caught.value) == (
        f"no pass 'fuse-epilog'; did you mean 'fuse-epilogue'?; there are: {there}"
    )
