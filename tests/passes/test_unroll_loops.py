"""Loops and branches written out: every bit of what they compute, and reasons to stay."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.recognition import kinds
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.unroll_loops import UnrollLoops


def same(module: Module, inputs: dict[str, Array]) -> Module:
    """The module without its loops, which computes the same bits."""
    made = UnrollLoops()(module)
    assert not any(node.bodies for node in made.graph.nodes)
    assert UnrollLoops()(made) is made
    before, after = evaluate(module, inputs), evaluate(made, inputs)
    assert {k: v.tobytes() for k, v in before.items()} == {
        k: v.tobytes() for k, v in after.items()
    }
    return made


def decay(trips: int = 4) -> Module:
    """``s = s / 2 + x[i] * gain[i]`` with the constants of a round and a captured offset."""
    build = ModuleBuilder("decay")
    x, start, offset = (
        build.input(n, s) for n, s in (("x", (trips, 3)), ("s", (3,)), ("o", ()))
    )
    gain = build.weight("gain", np.arange(1, trips + 1, dtype=np.float32))
    body = build.body()
    state, row, factor = (body.input(n, s) for n, s in (("s", (3,)), ("x", (3,)), ("g", ())))
    captured = body.input("o", ())
    half = body.op(
        "nn.mul", [state, body.weight("half", np.array(0.5, np.float32))], {}, "half"
    )
    scaled = body.op("nn.mul", [row, body.op("nn.sqrt", [factor], {}, "root")], {}, "scaled")
    total = body.op("nn.add", [half, body.op("nn.add", [scaled, captured])], {}, "total")
    body.output("s", total)
    body.output("y", total)
    counts = {"carried": 1, "scanned": 2, "trips": trips}
    last, rows = build.ops("nn.scan", [start, x, gain, offset], counts, "loop", [body.graph()])
    build.output("last", last)
    build.output("rows", rows)
    return build.finish()


def test_a_scan_is_its_rounds_with_their_slices_and_its_stack(rng: np.random.Generator) -> None:
    inputs = {n: rng.standard_normal(v.shape, np.float32) for n, v in decay().inputs.items()}
    made = same(decay(), inputs)
    names = {node.name for node in made.graph.nodes}
    assert {f"loop/step.{t}/total" for t in range(4)} <= names
    # the root of a number that is known is computed, and a constant of the round
    assert "sqrt" not in kinds(made)
    assert sorted(s for s in made.weights if "root" in s) == [
        f"loop/step.{t}/root" for t in range(4)
    ]


def counted(bound: int, most: int, *, known: bool = True) -> Module:
    """Doubles x until a counter from 0 reaches a bound."""
    build = ModuleBuilder("counted")
    x = build.input("x", (2,))
    first = (
        build.weight("first", np.array(0, np.int32))
        if known
        else build.input("first", (), "i32")
    )
    condition, body = build.body(), build.body()
    at, _ = condition.input("at", (), "i32"), condition.input("x", (2,))
    limit = condition.weight("bound", np.array(bound, np.int32))
    condition.output("go", condition.op("nn.less", [at, limit]))
    at, inner = body.input("at", (), "i32"), body.input("x", (2,))
    body.output("at", body.op("nn.add", [at, body.weight("one", np.array(1, np.int32))]))
    body.output("x", body.op("nn.add", [inner, inner], {}, "double"))
    counts = {"carried": 2, "most": most}
    bodies = [condition.graph(), body.graph()]
    at, made = build.ops("nn.while", [first, x], counts, "loop", bodies)
    build.output("at", at)
    build.output("y", made)
    return build.finish()


@pytest.mark.parametrize(("bound", "most", "rounds"), [(3, 10, 3), (9, 4, 4), (0, 5, 0)])
def test_a_counted_loop_runs_until_its_counter_or_its_limit_ends_it(
    bound: int, most: int, rounds: int
) -> None:
    made = same(counted(bound, most), {"x": np.array([1, -3], np.float32)})
    # the counter needs no machine
    assert kinds(made) == ["add"] * rounds


def test_loops_inside_loops_are_written_out_from_the_inside(rng: np.random.Generator) -> None:
    inner = decay(2).graph
    build = ModuleBuilder("nested")
    build.reserve(s for graph in inner.nested() for s in graph.constants.values())
    body = build.body()
    values: list[Value] = []
    for name, shape in {"s": (3,), "x": (2, 3), "o": ()}.items():
        values.append(body.input(name, shape))
    gain = body.weight("gains", np.arange(1, 3, dtype=np.float32))
    (scan,) = inner.nodes
    state, rows = body.ops(
        "nn.scan",
        [values[0], values[1], gain, values[2]],
        scan.attributes,
        "inner",
        scan.bodies,
    )
    body.output("s", state)
    body.output("rows", rows)
    shapes: dict[str, tuple[int, ...]] = {"s": (3,), "x": (3, 2, 3), "o": ()}
    given = [build.input(name, shape) for name, shape in shapes.items()]
    counts = {"carried": 1, "scanned": 1, "trips": 3}
    last, rows = build.ops("nn.scan", given, counts, "outer", [body.graph()])
    build.output("last", last)
    build.output("rows", rows)
    module = build.finish()
    inputs = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    made = same(module, inputs)
    assert any(n.name == "outer/step.2/inner/step.1/total" for n in made.graph.nodes)


@pytest.mark.parametrize("truth", [True, False])
def test_a_branch_with_a_constant_truth_is_the_one_body(truth: bool) -> None:
    build = ModuleBuilder("branch")
    x, decided = build.input("x", (2,)), build.weight("truth", np.array(truth))
    bodies = [build.body() for _ in range(2)]
    for body, kind in zip(bodies, ("nn.abs", "nn.neg"), strict=True):
        body.output("y", body.op(kind, [body.input("x", (2,))], {}, "made"))
    graphs = [body.graph() for body in bodies]
    build.output("y", build.ops("nn.if", [decided, x], {}, "if", graphs)[0])
    made = same(build.finish(), {"x": np.array([1, -2], np.float32)})
    place, kind = ("then", "nn.abs") if truth else ("otherwise", "nn.neg")
    assert [(n.name, n.kind) for n in made.graph.nodes] == [(f"if/{place}.0/made", kind)]


def test_what_data_decide_stays_and_says_why() -> None:
    module = counted(3, 10, known=False)
    assert UnrollLoops()(module) is module
    assert UnrollLoops().refusals(module) == {"loop": "its condition is not constant"}
    build = ModuleBuilder("branch")
    body = build.body()
    body.output("y", body.op("nn.neg", [body.input("x", (2,))]))
    given = [build.input("truth", (), "i1"), build.input("x", (2,))]
    graphs = [body.graph(), body.graph()]
    build.output("y", build.ops("nn.if", given, {}, "if", graphs)[0])
    branch = build.finish()
    assert UnrollLoops()(branch) is branch
    assert UnrollLoops().refusals(branch) == {"if": "its truth is not constant"}


def test_a_loop_beyond_the_limit_stays_and_says_why() -> None:
    module = decay()
    # 4 rounds of 5 operators and 4 arguments
    reason = "its 4 rounds are 36 operators, more than 35"
    assert UnrollLoops(limit=35)(module) is module
    assert UnrollLoops(limit=35).refusals(module) == {"loop": reason}
    assert UnrollLoops(limit=36)(module) is not module
    assert UnrollLoops(limit=10).refusals(counted(9, 9)) == {
        # the counter, the sum and two arguments: 4 a round
        "loop": "its 3 rounds are 12 operators, more than 10"
    }
    with pytest.raises(SpecError) as caught:
        UnrollLoops(limit=-1)
    assert str(caught.value) == "limit must be 0 operators or more, not -1"


def test_a_module_without_weights_is_written_out_as_well() -> None:
    build = ModuleBuilder("shapes")
    x, start = build.input("x", (3, 2)), build.input("s", (2,))
    body = build.body()
    state, row = body.input("s", (2,)), body.input("x", (2,))
    gain = body.shape_of_weight("gain", (2,), "f32")
    body.output("s", body.op("nn.add", [state, body.op("nn.mul", [row, gain])]))
    counts = {"carried": 1, "scanned": 1, "trips": 3}
    build.output("y", build.ops("nn.scan", [start, x], counts, "loop", [body.graph()])[0])
    made = UnrollLoops()(build.finish())
    assert made.shape_only
    assert kinds(made).count("mul") == 3
