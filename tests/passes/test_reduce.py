"""The reducer reaches the minimal module for planted faults, within its calls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, TetraplaError
from tetrapla.ir.graph import Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.pass_ import Pass, run
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.rebuild_ import Rebuild
from tetrapla.passes.reduce_ import Fails, fails_like, reduce

PLAIN: dict[str, Attribute] = {"activation": "none"}


def chain(length: int) -> Module:
    """Products, sums, a transpose and a softmax, `length` times; every third sum an output."""
    build = ModuleBuilder("chain")
    x = build.input("x", (4, 4))
    w = build.weight("w", np.eye(4, dtype=np.float32))
    for i in range(length):
        before = x
        x = build.op("nn.matmul", [x, w], PLAIN, name=f"product{i}")
        x = build.op("nn.relu", [x], name=f"relu{i}")
        x = build.op("nn.add", [x, before], name=f"sum{i}")
        if i % 3 == 0:
            build.output(f"at{i}", x)
        x = build.op("nn.transpose", [x], {"perm": (1, 0)}, name=f"turned{i}")
        x = build.op("nn.softmax", [x], {"axis": -1}, name=f"softmax{i}")
    build.output("y", x)
    return build.finish()


def names(module: Module) -> list[str]:
    return [node.name for node in module.graph.nodes]


def has(name: str) -> Fails:
    return lambda module: name in names(module)


def test_one_bad_node_is_all_that_stays() -> None:
    found = reduce(chain(20), has("softmax7"))
    graph = found.module.graph
    assert names(found.module) == ["softmax7"]
    assert [name for name, _ in graph.inputs] == ["turned7"]
    assert [name for name, _ in graph.outputs] == ["softmax7"]
    assert not graph.constants
    assert not found.module.weights
    assert found.minimal
    # 100 nodes: 7 halvings, at most two calls each, and as many for the outputs
    assert found.calls <= 40


@pytest.mark.parametrize("name", ["product0", "relu3", "sum2", "turned5", "softmax5"])
def test_any_node_can_be_the_bad_one(name: str) -> None:
    found = reduce(chain(6), has(name))
    assert names(found.module) == [name]
    assert found.minimal


def test_two_bad_nodes_far_apart_stay_and_what_lies_between_goes() -> None:
    found = reduce(chain(12), lambda m: has("relu2")(m) and has("turned9")(m))
    assert names(found.module) == ["relu2", "turned9"]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sets(st.sampled_from(names(chain(5))), min_size=1, max_size=4))
def test_exactly_the_bad_nodes_stay(bad: set[str]) -> None:
    found = reduce(chain(5), lambda module: bad <= set(names(module)))
    assert set(names(found.module)) == bad
    assert found.minimal


def test_a_path_is_shortened_to_its_ends() -> None:
    """The fault needs a product whose value reaches a softmax, whatever lies between."""

    def fails(module: Module) -> bool:
        reached: set[int] = set()
        for node in module.graph.nodes:
            if node.kind == "nn.matmul" or any(v.index in reached for v in node.operands):
                if node.kind == "nn.softmax":
                    return True
                reached.add(node.result.index)
        return False

    found = reduce(chain(4), fails)
    assert [node.kind for node in found.module.graph.nodes] == ["nn.matmul", "nn.softmax"]
    product, softmax = found.module.graph.nodes
    assert softmax.operands == product.results
    assert len(found.module.outputs) == 1


def test_an_output_that_matters_stays() -> None:
    found = reduce(chain(6), lambda module: "at3" in module.outputs)
    assert list(found.module.outputs) == ["at3"]
    # the sum is not even needed: an output may be an operand
    assert names(found.module) == []


def test_a_dead_node_stays_dead_if_that_is_the_fault() -> None:
    build = ModuleBuilder("dead")
    x = build.input("x", (2, 3))
    for _ in range(3):
        x = build.op("nn.relu", [x])
    build.op("nn.softmax", [x], {"axis": 1}, name="dead")
    build.output("y", x)

    def fails(module: Module) -> bool:
        read = module.graph.uses().keys() | {v.index for v in module.outputs.values()}
        return any(node.result.index not in read for node in module.graph.nodes)

    found = reduce(build.finish(), fails)
    assert len(found.module.graph.nodes) == 1
    assert found.minimal


class DropSum(Pass):
    """Planted fault: a product followed by a sum loses the sum."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        made = {node.result.index: node for node in new.graph.nodes}
        for node in new.graph.nodes:
            first = made.get(node.operands[0].index)
            if node.kind == "nn.add" and first is not None and first.kind == "nn.relu":
                new.set(node.result, new.of(node.operands[0]))
            else:
                new.copy(node)
        return new.finish()


def test_a_pass_that_changes_values_is_shown_on_the_two_nodes_that_it_confuses() -> None:
    def fails(module: Module) -> bool:
        inputs = {
            name: np.ones(value.shape, np.float32) for name, value in module.inputs.items()
        }
        before, after = (evaluate(m, inputs) for m in (module, run(module, [DropSum()])))
        return any(not np.array_equal(before[name], after[name]) for name in before)

    found = reduce(chain(8), fails)
    assert [node.kind for node in found.module.graph.nodes] == ["nn.relu", "nn.add"]
    assert found.minimal


class RefuseTurnedSum(Pass):
    """Planted fault: a pass that refuses a transpose after a sum."""

    def __call__(self, module: Module) -> Module:
        made = {node.result.index: node for node in module.graph.nodes}
        for node in module.graph.nodes:
            first = made.get(node.operands[0].index)
            if node.kind == "nn.transpose" and first is not None and first.kind == "nn.add":
                raise ModelError("a turned sum")
        return module


def test_a_refusal_is_reduced_by_its_message() -> None:
    def fails(module: Module) -> bool:
        try:
            run(module, [RefuseTurnedSum()])
        except TetraplaError as error:
            return "a turned sum" in str(error)
        return False

    found = reduce(chain(8), fails)
    assert [node.kind for node in found.module.graph.nodes] == ["nn.add", "nn.transpose"]


def test_the_same_question_has_the_same_answer() -> None:
    first, second = (reduce(chain(6), has("relu3")) for _ in range(2))
    assert first.module.text() == second.module.text()
    assert first.calls == second.calls


def test_a_model_without_its_weights_is_reduced_too() -> None:
    build = ModuleBuilder("shapes")
    x = build.input("x", (1, 3))
    for i in range(4):
        w = build.shape_of_weight(f"w{i}", (3, 3), "f32")
        x = build.op("nn.matmul", [x, w], PLAIN, name=f"product{i}")
    build.output("y", x)
    found = reduce(build.finish(), has("product2"))
    assert names(found.module) == ["product2"]
    assert list(found.module.graph.constants.values()) == ["w2"]
    assert found.module.shape_only


def test_the_calls_are_bounded() -> None:
    asked: list[int] = []

    def fails(module: Module) -> bool:
        asked.append(len(module.graph.nodes))
        return {"relu2", "turned4"} <= set(names(module))

    found = reduce(chain(6), fails, max_calls=12)
    assert found.calls == len(asked) == 12
    assert not found.minimal
    assert fails(found.module)
    assert len(found.module.graph.nodes) < 30


def test_the_module_stays_as_it_was() -> None:
    module = chain(3)
    before = module.text()
    reduce(module, has("relu1"))
    assert module.text() == before


def test_a_module_that_does_not_fail_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        reduce(chain(1), has("nothing"))
    assert str(caught.value) == (
        "model 'chain' must fail to be reduced, and does not; "
        "reduce it with the check that failed"
    )


@dataclass(frozen=True)
class FailOn(Pass):
    """Planted defect: a crash at every layer of a kind, and at nothing else."""

    kind: str = "nn.softmax"

    def __call__(self, module: Module) -> Module:
        for node in module.graph.nodes:
            if node.kind == self.kind:
                # the number of the value is another one in every module
                raise KeyError(node.results[0].index)
            if node.kind == "nn.transpose":
                raise ModelError("another fault")
        return module


def test_a_pass_that_crashes_is_reduced_to_what_it_crashes_on() -> None:
    build = ModuleBuilder("crash")
    x = build.input("x", (4, 4))
    for i in range(6):
        x = build.op("nn.relu", [x], name=f"relu{i}")
    x = build.op("nn.softmax", [x], {"axis": -1}, name="bad")
    build.output("y", build.op("nn.transpose", [x], {"perm": (1, 0)}))
    module = build.finish()
    with pytest.raises(KeyError) as caught:
        run(module, [FailOn()])
    found = reduce(module, fails_like(FailOn(), caught.value))
    assert names(found.module) == ["bad"]
    assert found.minimal


def test_another_fault_is_not_taken_for_the_one_sought() -> None:
    fails = fails_like(FailOn(), KeyError(3))
    assert fails(chain(1)) is False  # the transpose comes before the softmax
    assert fails_like(FailOn(), ModelError("test-reduce: another fault"))(chain(1))


def test_a_quantisation_that_fails_is_reduced_with_its_ranges() -> None:
    """What was a layer's result is an input then, and its range is known all the same."""
    build = ModuleBuilder("infinite")
    x = build.input("x", (2, 4))
    for i in range(3):
        array = np.full((4, 4), np.inf if i == 1 else 1, np.float32)
        x = build.op("nn.matmul", [x, build.weight(f"w{i}", array)], PLAIN, name=f"p{i}")
    build.output("y", x)
    module = build.finish()
    found = Ranges({"x": (-1.0, 1.0)}, {f"p{i}": (-1.0, 1.0) for i in range(3)})
    with pytest.raises(ModelError) as caught:
        run(module, [Quantize(found)])
    assert str(caught.value) == (
        "quantize: weight @w1 must be finite to be quantised, not inf; train or export it again"
    )
    reduced = reduce(module, fails_like(Quantize(found), caught.value))
    assert names(reduced.module) == ["p1"]


def looped() -> Module:
    """A loop between layers, whose body has two steps."""
    build = ModuleBuilder("loop")
    body = build.body()
    state, row = body.input("h", (3,)), body.input("x", (3,))
    soft = body.op("nn.softmax", [row], {"axis": -1}, name="soft")
    step = body.op("nn.add", [state, soft], name="step")
    body.output("next", step)
    body.output("kept", step)
    operands = [build.op("nn.relu", [build.input("h", (3,))]), build.input("x", (4, 3))]
    trips: dict[str, Attribute] = {"carried": 1, "scanned": 1, "trips": 4}
    last, rows = build.ops("nn.scan", operands, trips, "scan", [body.graph()])
    build.output("y", build.op("nn.neg", [last], name="last"))
    build.output("z", build.op("nn.neg", [rows], name="rows"))
    return build.finish()


def test_layers_of_several_results_and_bodies_are_cut_out_whole() -> None:
    found = reduce(looped(), has("scan"))
    (node,) = found.module.graph.nodes
    assert (node.name, [inside.name for inside in node.bodies[0].nodes]) == (
        "scan",
        ["soft", "step"],
    )
    assert list(found.module.inputs) == ["x", "relu"]
    alone = reduce(looped(), has("rows"))
    assert names(alone.module) == ["rows"]
    assert list(alone.module.inputs) == ["scan"]


def test_a_fault_in_a_body_is_reduced_outside_of_it() -> None:
    def fails(module: Module) -> bool:
        return any(node.name == "soft" for g in module.graph.nested() for node in g.nodes)

    found = reduce(looped(), fails)
    assert names(found.module) == ["soft"]
    assert found.minimal
