"""Running a pipeline: verification, the hook, timing, and data from a context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import context
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.eliminate_common import EliminateCommon
from tetrapla.passes.fuse_epilogue import FuseEpilogue
from tetrapla.passes.pass_ import Pass, run, steps
from tetrapla.passes.pipeline_ import CANONICAL, canonical, int8
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.text_ import parse


@dataclass(frozen=True)
class LoseAxis(Pass):
    """Planted fault: a softmax loses its attribute after the last verification."""

    in_place: bool = False

    def __call__(self, module: Module) -> Module:
        changed = module if self.in_place else module.clone()
        with context():
            block = changed.mlir.body.operations[0].operation.regions[0].blocks[0]
            for op in block.operations:
                if op.operation.name == "nn.softmax":
                    del op.operation.attributes["axis"]
        return changed


# a module that was read from text knows its lines, one that was built its layers
@pytest.mark.parametrize(("in_place", "place"), [(False, "23:11"), (True, "softmax")])
def test_a_module_that_no_longer_verifies_names_the_pass_and_the_place(
    network: Module, in_place: bool, place: str
) -> None:
    with pytest.raises(IRError) as caught:
        run(network, [FuseEpilogue(), LoseAxis(in_place), EliminateCommon()])
    assert str(caught.value) == (
        f"test-run: {place}: nn.softmax must have the attributes ['axis']; "
        "missing: ['axis'], unknown: []"
    )


def test_what_runs_before_the_broken_pass_is_seen(network: Module) -> None:
    seen: list[str] = []
    with pytest.raises(IRError):
        run(network, [FuseEpilogue(), LoseAxis()], after=lambda p, _: seen.append(p.name))
    assert seen == ["fuse-epilogue"]


def test_the_hook_sees_every_pass_and_its_result(network: Module) -> None:
    seen: list[tuple[str, int]] = []
    result = run(
        network,
        CANONICAL,
        after=lambda pass_, module: seen.append((pass_.name, len(module.graph.nodes))),
    )
    # the normalisation joins its convolution, and then the ReLU behind it
    assert seen == [
        ("fold-constants", 12),
        ("eliminate-dead-code", 12),
        ("canonicalize", 12),
        ("eliminate-common", 12),
        ("fuse-epilogue", 12),
        ("fold-batch-norm", 11),
        ("fuse-epilogue", 10),
    ]
    assert len(result.graph.nodes) == seen[-1][1]


def test_steps_are_timed_by_the_caller_s_clock(network: Module) -> None:
    ticks = count(10)
    found = list(steps(network, CANONICAL, clock_s=lambda: float(next(ticks))))
    assert [step.pass_ for step in found] == list(CANONICAL)
    assert [step.time_s for step in found] == [1.0] * len(CANONICAL)
    # two readings a pass
    assert next(ticks) == 10 + 2 * len(CANONICAL)
    assert found[-1].module.text() == canonical(network).text()


def test_a_pass_is_bound_on_the_module_that_it_meets(
    network: Module, images: Callable[[int], dict[str, Array]]
) -> None:
    data = images(2)
    *_, last = steps(network, (*CANONICAL, Quantize()), Context(data))
    assert last.pass_ == Quantize(ranges(canonical(network), data))


def test_a_pipeline_s_text_quantises_like_the_function(
    network: Module, images: Callable[[int], dict[str, Array]]
) -> None:
    data = images(2)
    text = (
        "fold-constants,eliminate-dead-code,canonicalize,eliminate-common,fuse-epilogue,"
        "fold-batch-norm,fuse-epilogue,quantize{method=percentile},clean"
    )
    ours, theirs = run(network, parse(text), Context(data)), int8(network, data, "percentile")
    assert ours.text() == theirs.text()
    assert all(np.array_equal(a, theirs.weights[k]) for k, a in ours.weights.items())


def test_the_fused_pipeline_puts_together_what_exporters_take_apart() -> None:
    build = ModuleBuilder("pieces")
    x = build.input("x", (2, 8))
    x = build.op("nn.mul", [x, build.op("nn.sigmoid", [x])])
    w = build.weight("w", np.eye(8, dtype=np.float32))
    x = build.op("nn.matmul", [x, w], {"activation": "none"})
    x = build.op(
        "nn.relu", [build.op("nn.add", [x, build.weight("b", np.ones(8, np.float32))])]
    )
    build.output("y", x)
    found = run(build.finish(), parse("fused"))
    assert [(node.kind, len(node.operands)) for node in found.graph.nodes] == [
        ("nn.silu", 1),
        ("nn.matmul", 3),
    ]
    assert found.graph.nodes[1].str("activation") == "relu"


def test_ranges_that_are_given_are_not_sought_in_data(
    network: Module, images: Callable[[int], dict[str, Array]]
) -> None:
    fused = canonical(network)
    found = ranges(fused, images(2))
    given = run(fused, parse("quantize{bits=8}"), Context(ranges=found))
    assert given.text() == Quantize(found)(fused).text()


def test_a_pass_without_its_data_is_refused(network: Module) -> None:
    with pytest.raises(ModelError) as caught:
        run(network, parse("quantize"))
    assert str(caught.value) == (
        "quantize: model 'network' must have calibration data to be quantised, not none; "
        "give samples of its inputs"
    )


def test_an_unbound_pass_is_refused(network: Module) -> None:
    with pytest.raises(ModelError) as caught:
        Quantize()(network)
    assert str(caught.value) == (
        "model 'network' must have calibrated ranges to be quantised, not none; "
        "run the pass in a context"
    )


def test_the_empty_pipeline_changes_nothing() -> None:
    build = ModuleBuilder("relu")
    build.output("y", build.op("nn.relu", [build.input("x", (1, 3))]))
    module = build.finish()
    assert run(module, ()).text() == module.text()
