"""Loops and branches by hand: what they compute, report, keep apart and free."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.jit import BUFFERS, jit, jit_all
from tetrapla.ir.linalg.lower import NodeFunctions, lowered
from tetrapla.ir.mlir import passed
from tetrapla.ir.module import Module

Make = Callable[[ModuleBuilder, list[Value]], list[Value]]
JudgeNode = Callable[[Node, Sequence[Array], Sequence[Array]], list[str]]


def body(build: ModuleBuilder, like: Sequence[Value], make: Make) -> Graph:
    """A body whose arguments have the types of these values."""
    inner = build.body()
    inputs = [inner.input(f"a{i}", v.shape, v.dtype) for i, v in enumerate(like)]
    for i, value in enumerate(make(inner, inputs)):
        inner.output(f"r{i}", value)
    return inner.graph()


def row(x: Value) -> Value:
    """A value of the type of a sequence's slice."""
    return Value(0, x.shape[1:], x.dtype)


def same(module: Module, *inputs: dict[str, Array]) -> None:
    """The compiled form equals the interpreter's bit for bit."""
    call = jit(module)
    for given in inputs:
        expected, found = evaluate(module, given), call(given)
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array), name


def cell() -> Module:
    """``h' = tanh(x_t W + h U + b)`` over seven steps; every value of a step is stacked."""
    rng = np.random.default_rng(5)
    build = ModuleBuilder("cell")
    x, h = build.input("x", (7, 2, 3)), build.input("h", (2, 4))

    def step(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        w, u, b = (
            inner.weight(name, rng.standard_normal(shape).astype(np.float32))
            for name, shape in (("w", (3, 4)), ("u", (4, 4)), ("b", (4,)))
        )
        plain = {"activation": "none"}
        beside = inner.op("nn.matmul", [given[0], u, b], plain)
        total = inner.op("nn.add", [inner.op("nn.matmul", [given[1], w], plain), beside])
        y = inner.op("nn.tanh", [total])
        return [y, *(node.result for node in inner.graph().nodes)]

    attributes = {"carried": 1, "scanned": 1, "trips": 7}
    loop = body(build, [h, row(x)], step)
    for i, value in enumerate(build.ops("nn.scan", [h, x], attributes, "loop", [loop])):
        build.output(f"y{i}", value)
    return build.finish()


def test_a_recurrent_cell_agrees_node_by_node_and_round_by_round(
    judge_node: JudgeNode, rng: np.random.Generator
) -> None:
    # each node of each round is judged by what the interpreter makes of the compiled operands,
    # so no bound has to pass from round to round
    module = cell()
    x, h = (rng.standard_normal(s).astype(np.float32) for s in ((7, 2, 3), (2, 4)))
    first, found = h, jit(module)({"x": x, "h": h})
    (loop,) = module.graph.nodes
    (step,) = loop.bodies
    for t in range(7):
        given = dict(zip((v.index for _, v in step.inputs), (h, x[t]), strict=True))
        values = given | dict(step.weights)
        for i, node in enumerate(step.nodes):
            got = found[f"y{1 + i}"][t]
            assert judge_node(node, [values[v.index] for v in node.operands], [got]) == []
            values[node.result.index] = got
        h = values[step.outputs[0][1].index]
    assert np.array_equal(found["y0"], h)
    # the loop without the stacks computes the same bits
    short = replace(step, outputs=step.outputs[:2])
    node = replace(loop, bodies=(short,), results=loop.results[:2])
    graph = replace(module.graph, nodes=(node,), outputs=module.graph.outputs[:2])
    plain = jit(Module.from_graph(graph, "short"))({"x": x, "h": first})
    assert all(np.array_equal(plain[name], found[name]) for name in ("y0", "y1"))


def doubled(most: int) -> Module:
    """Double x while its sum is under a limit that comes from outside."""
    build = ModuleBuilder("doubled")
    x, limit = build.input("x", (3,)), build.input("limit", ())

    def asked(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        total = inner.op("nn.reduce_sum", given[:1], {"axes": (0,), "keepdims": 0})
        return [inner.op("nn.less", [total, given[1]])]

    def step(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        return [inner.op("nn.add", [given[0], given[0]])]

    bodies = [body(build, [x, limit], make) for make in (asked, step)]
    attributes = {"carried": 1, "most": most}
    build.output("y", build.ops("nn.while", [x, limit], attributes, "loop", bodies)[0])
    build.output("same", x)
    return build.finish()


@pytest.mark.parametrize(("most", "factor"), [(0, 1), (2, 4), (5, 32), (2**31, 128)])
def test_a_while_stops_where_the_data_say_or_at_its_bound(most: int, factor: int) -> None:
    x = np.array([0.25, 0.5, 0.25], np.float32)  # sums of powers of two: exact
    module = doubled(most)
    same(module, {"x": x, "limit": np.array(100, np.float32)})
    found = jit(module)({"x": x, "limit": np.array(100, np.float32)})
    assert np.array_equal(found["y"], factor * x)
    assert np.array_equal(found["same"], x)


def branch() -> Module:
    """One body multiplies by its weight, or by that of every round of a scan; both keep x."""
    build = ModuleBuilder("branch")
    c, x = build.input("c", (), "i1"), build.input("x", (4, 2))

    def scale(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        w = inner.weight("w", np.array([2, 3], np.float32))
        return [inner.op("nn.mul", [given[0], w]), given[0]]

    def loop(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        first = inner.weight("w", np.array([1, -1], np.float32))

        def step(inmost: ModuleBuilder, held: list[Value]) -> list[Value]:
            w = inmost.weight("w", np.array([0.5, 4], np.float32))
            y = inmost.op("nn.mul", [inmost.op("nn.add", held), w])
            return [y, y]

        attributes = {"carried": 1, "scanned": 1, "trips": 4}
        scan = body(inner, [first, row(given[0])], step)
        _, all_ = inner.ops("nn.scan", [first, given[0]], attributes, "scan", [scan])
        return [all_, given[0]]

    bodies = [body(build, [x], make) for make in (scale, loop)]
    made = build.ops("nn.if", [c, x], {}, "if", bodies)
    for i, value in enumerate(made):
        build.output(f"y{i}", value)
    build.output("sum", build.op("nn.add", list(made)))
    return build.finish()


def test_an_if_takes_either_body_with_weights_and_a_loop_of_its_own() -> None:
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert set(branch().weights) == {"w", "w_2", "w_3"}
    same(branch(), *({"c": np.array(truth), "x": x} for truth in (True, False)))
    before = x.copy()
    found = jit(branch())({"c": np.array(True), "x": x})
    assert np.array_equal(found["y0"], x * np.array([2, 3], np.float32))
    assert np.array_equal(x, before)


def test_states_may_change_places_and_stay() -> None:
    # Fibonacci's numbers: (a, b, c) <- (b, a + b, c); the first states are read again later
    build = ModuleBuilder("fibonacci")
    states = [build.input(name, (), "i64") for name in "abc"]

    def step(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        a, b, c = given
        return [b, inner.op("nn.add", [a, b]), c, a, c]

    attributes = {"carried": 3, "scanned": 0, "trips": 12}
    scan = body(build, states, step)
    made = build.ops("nn.scan", states, attributes, "scan", [scan])
    for i, value in enumerate([*made, *states]):
        build.output(f"y{i}", value)
    module = build.finish()
    given = {name: np.array(i, np.int64) for name, i in zip("abc", (0, 1, 7), strict=True)}
    same(module, given)
    found = jit(module)(given)
    assert found["y3"].tolist() == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]
    assert [int(found[f"y{i}"]) for i in (0, 1, 2)] == [144, 233, 7]


def picked(kind: str) -> Module:
    """The element of a row at a place, in the body of a loop or branch."""
    build = ModuleBuilder("picked")
    c, x, i = build.input("c", (), "i1"), build.input("x", (4,)), build.input("i", (), "i64")

    def pick(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        x, i = given[-2:]
        return [inner.op("nn.gather", [x, i], {"axis": 0})]

    def keep(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        del inner
        return given[:1]

    def under(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        return [inner.op("nn.less", [given[0], pick(inner, given)[0]])]

    def truth(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        return [inner.weight("yes", np.array(True))]

    def zero(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        del given
        return [inner.weight("zero", np.array(0, np.float32))]

    first = build.weight("first", np.array(-9, np.float32))
    state = [first, x, i]
    match kind:
        case "if":
            bodies = [body(build, [x, i], make) for make in (pick, zero)]
            (y,) = build.ops("nn.if", [c, x, i], {}, "if", bodies)
        case "scan":
            form = {"carried": 1, "scanned": 0, "trips": 3}
            (y,) = build.ops("nn.scan", state, form, "scan", [body(build, state, pick)])
        case _:
            makes = (under, keep) if kind == "condition" else (truth, pick)
            bodies = [body(build, state, make) for make in makes]
            (y,) = build.ops("nn.while", state, {"carried": 1, "most": 2**31}, "w", bodies)
    build.output("y", y)
    return build.finish()


@pytest.mark.parametrize("kind", ["if", "scan", "condition", "step"])
def test_a_place_outside_is_reported_from_within_a_body(kind: str) -> None:
    call = jit(picked(kind))
    given = {"c": np.array(True), "x": np.arange(-40, 0, 10).astype(np.float32)}
    with pytest.raises(ModelError) as caught:
        call(given | {"i": np.array(4)})
    assert str(caught.value) == "nn.gather indices must lie in -4..3, not outside"
    if kind == "if":  # what does not run reports nothing
        assert call(given | {"c": np.array(False), "i": np.array(4)})["y"] == 0
    if kind != "step":  # whose condition always holds
        found = call(given | {"i": np.array(-2)})
        assert found["y"] == (-9 if kind == "condition" else -20)


def test_what_a_body_allocates_is_freed_where_it_stands() -> None:
    shared = NodeFunctions()
    texts = [lowered(m.graph, shared, m.name) for m in (cell(), doubled(9), branch())]
    text = "".join([*(each.text for each in texts), shared.text])
    buffers = passed(text, f"builtin.module({BUFFERS})")
    depth, alive = 0, dict[str, int]()
    for line in buffers.splitlines():
        depth += line.count("{") - line.count("}")
        if found := re.search(r"(%\S+) = memref\.alloc\(", line):
            assert found[1] not in alive
            alive[found[1]] = depth
        elif found := re.search(r"memref\.dealloc (%\S+)", line):
            assert alive.pop(found[1]) == depth
        elif "func.func" in line:
            assert not alive
    assert not alive
    assert buffers.count("memref.alloc(") > 10


def test_models_with_bodies_share_functions_and_keep_their_weights() -> None:
    modules = [branch(), branch()]
    given = {"c": np.array(False), "x": np.ones((4, 2), np.float32)}
    weights = {name: array + 1 for name, array in modules[1].weights.items()}
    modules[1] = Module.parse(modules[1].text(), weights)
    for module, call in zip(modules, jit_all(modules), strict=True):
        expected, found = evaluate(module, given), call(given)
        assert all(np.array_equal(found[name], array) for name, array in expected.items())
    shared = NodeFunctions()
    for module in modules:
        lowered(module.graph, shared)
    assert shared.text.count("func.func private") == 4  # a product and a sum, of two types
