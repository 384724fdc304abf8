"""Loops and branches: their meaning, their text, and what their constraints refuse."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array, Graph, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import flops, macs
from tetrapla.passes.rebuild_ import Rebuild


def body(
    build: ModuleBuilder,
    types: list[tuple[tuple[int, ...], str]],
    make: Callable[[ModuleBuilder, list[Value]], list[Value]],
) -> Graph:
    inner = build.body()
    inputs = [inner.input(f"a{i}", shape, dtype) for i, (shape, dtype) in enumerate(types)]
    for i, value in enumerate(make(inner, inputs)):
        inner.output(f"r{i}", value)
    return inner.graph()


def recurrent() -> Module:
    """h' = (h + x_t) W, stacked over five rounds, W named inside the body."""
    build = ModuleBuilder("recurrent")
    x, h = build.input("x", (5, 1, 3)), build.input("h", (1, 3))

    def step(inner: ModuleBuilder, given: list[Value]) -> list[Value]:
        w = inner.weight("w", np.diag([0.5, 2.0, -1.0]).astype(np.float32))
        total = inner.op("nn.add", given)
        y = inner.op("nn.matmul", [total, w], {"activation": "none"})
        return [y, y]

    loop = body(build, [((1, 3), "f32"), ((1, 3), "f32")], step)
    attributes = {"carried": 1, "scanned": 1, "trips": 5}
    last, all_ = build.ops("nn.scan", [h, x], attributes, "loop", [loop])
    build.output("last", last)
    build.output("all", all_)
    return build.finish()


def doubled_until(most: int) -> Module:
    """Double x while it is under a limit that comes from outside."""
    build = ModuleBuilder("doubled")
    x, limit = build.input("x", ()), build.input("limit", ())
    types: list[tuple[tuple[int, ...], str]] = [((), "f32"), ((), "f32")]
    condition = body(build, types, lambda inner, v: [inner.op("nn.less", v)])
    step = body(build, types, lambda inner, v: [inner.op("nn.add", [v[0], v[0]])])
    attributes = {"carried": 1, "most": most}
    (y,) = build.ops("nn.while", [x, limit], attributes, "loop", [condition, step])
    build.output("y", y)
    return build.finish()


def test_a_scan_carries_states_and_stacks_results() -> None:
    module = recurrent()
    x = np.arange(15, dtype=np.float32).reshape(5, 1, 3)
    found = evaluate(module, {"x": x, "h": np.ones((1, 3), np.float32)})
    h, rows = np.ones((1, 3), np.float32), list[Array]()
    for t in range(5):
        h = (h + x[t]) * np.array([0.5, 2.0, -1.0], np.float32)
        rows.append(h)
    assert np.array_equal(found["last"], h)
    assert np.array_equal(found["all"], np.stack(rows))


@pytest.mark.parametrize(("most", "wanted"), [(0, 3.0), (2, 12.0), (5, 96.0), (50, 192.0)])
def test_a_while_stops_at_its_condition_or_its_bound(most: int, wanted: float) -> None:
    given = {"x": np.array(3, np.float32), "limit": np.array(100, np.float32)}
    assert float(evaluate(doubled_until(most), given)["y"]) == wanted


@pytest.mark.parametrize("truth", [True, False])
def test_an_if_takes_one_body(truth: bool) -> None:
    build = ModuleBuilder("branch")
    c, x = build.input("c", (), "i1"), build.input("x", (2,))
    then = body(build, [((2,), "f32")], lambda inner, v: [inner.op("nn.neg", v), v[0]])
    otherwise = body(build, [((2,), "f32")], lambda inner, v: [v[0], inner.op("nn.abs", v)])
    first, second = build.ops("nn.if", [c, x], {}, "if", [then, otherwise])
    build.output("first", first)
    build.output("second", second)
    given = np.array([-1.5, 2.0], np.float32)
    found = evaluate(build.finish(), {"c": np.array(truth), "x": given})
    assert np.array_equal(found["first"], -given if truth else given)
    assert np.array_equal(found["second"], given if truth else np.abs(given))


@pytest.mark.parametrize("make", [recurrent, lambda: doubled_until(7)])
def test_text_pickle_and_copies_keep_bodies(make: Callable[[], Module]) -> None:
    module = make()
    assert Module.parse(module.text(), module.weights).text() == module.text()
    assert pickle.loads(pickle.dumps(module)).text() == module.text()
    copy = Rebuild(module)
    for node in copy.graph.nodes:
        copy.copy(node)
    assert copy.finish() is module
    assert [len(node.bodies) for node in module.graph.nodes] in ([1], [2])


def test_a_loop_counts_its_body_once_per_round() -> None:
    (node,) = recurrent().graph.nodes
    assert macs([node]) == 5 * 9
    assert flops([node]) == 5 * (3 + 2 * 9 + 3)
    assert macs(doubled_until(9).graph.nodes) is None
    assert node.traffic_bytes == 4 * (3 + 15 + 3 + 15)


def test_a_new_weight_does_not_take_a_symbol_of_a_body() -> None:
    copy = Rebuild(recurrent())
    for node in copy.graph.nodes:
        copy.copy(node)
    other = copy.builder.weight("w", np.ones((1, 3), np.float32))
    last = dict(copy.graph.outputs)["last"]
    copy.set(last, copy.builder.op("nn.add", [copy.of(last), other]))
    made = copy.finish()
    assert set(made.weights) == {"w", "w_2"}
    assert made.weights["w"].shape == (3, 3)


def loop(
    operands: int,
    attributes: dict[str, int],
    given: list[tuple[tuple[int, ...], str]],
    outputs: int = 1,
) -> None:
    build = ModuleBuilder("bad")
    values = [build.input(f"x{i}", (4, 2)) for i in range(operands)]
    step = body(build, given, lambda inner, v: v[:1] * outputs)
    build.ops("nn.scan", values, attributes, "loop", [step])


STATE: list[tuple[tuple[int, ...], str]] = [((4, 2), "f32")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (1, {"carried": 1, "scanned": 1, "trips": 4}, STATE),
            "loop: nn.scan C1: carried and scanned must count operands of 1, not 1 and 1",
        ),
        (
            (1, {"carried": 0, "scanned": 1, "trips": 5}, [((2,), "f32")]),
            "loop: nn.scan C2: trips must lie in 1..2147483648 and be the first size of every "
            "sequence, not 5 for tensor<4x2xf32>",
        ),
        (
            (1, {"carried": 0, "scanned": 1, "trips": 4}, STATE),
            "loop: nn.scan C3: the body must take tensor<2xf32>, not tensor<4x2xf32>",
        ),
        (
            (2, {"carried": 2, "scanned": 0, "trips": 4}, [*STATE, *STATE]),
            "loop: nn.scan C4: the body must give tensor<4x2xf32>, tensor<4x2xf32>, "
            "not tensor<4x2xf32>",
        ),
        (
            (1, {"carried": 0, "scanned": 0, "trips": 4}, STATE, 33),
            "loop: nn.scan C5: a body must give 1 to 32 values, not 33",
        ),
    ],
)
def test_a_scan_names_the_constraint_that_fails(
    arguments: tuple[int, dict[str, int], list[tuple[tuple[int, ...], str]]], message: str
) -> None:
    with pytest.raises(IRError) as caught:
        loop(*arguments)
    assert str(caught.value) == message


def test_while_and_if_name_the_constraint_that_fails() -> None:
    build = ModuleBuilder("bad")
    x, many = build.input("x", (2,)), build.input("many", (2,), "i1")
    same = body(build, [((2,), "f32")], lambda _, v: v)
    less = body(build, [((2,), "f32")], lambda inner, v: [inner.op("nn.less", [v[0], v[0]])])

    def refused(kind: str, operands: list[Value], attributes: dict[str, int], b: Graph) -> str:
        bodies = [b, same] if kind != "nn.scan" else [same, same]
        with pytest.raises(IRError) as caught:
            build.ops(kind, operands, attributes, "loop", bodies)
        return str(caught.value)

    assert refused("nn.while", [x], {"carried": 0, "most": 1}, less) == (
        "loop: nn.while C1: carried must count operands of 1, not 0"
    )
    assert refused("nn.while", [x], {"carried": 1, "most": -1}, less) == (
        "loop: nn.while C2: most must lie in 0..2147483648, not -1"
    )
    assert refused("nn.while", [x], {"carried": 1, "most": 1}, less) == (
        "loop: nn.while C4: the body must give tensor<i1>, not tensor<2xi1>"
    )
    assert refused("nn.if", [many, x], {}, same) == (
        "loop: nn.if C1: the first operand must be tensor<i1>, not tensor<2xi1>"
    )
    assert refused("nn.scan", [x], {"carried": 1, "scanned": 0, "trips": 1}, same) == (
        "loop: nn.scan takes 1 bodies, not 2"
    )


def test_a_body_that_reads_from_outside_is_refused() -> None:
    text = doubled_until(3).text()
    used = text.replace('"nn.add"(%arg2, %arg2)', '"nn.add"(%arg2, %arg0)')
    assert used != text
    with pytest.raises(IRError) as caught:
        Module.parse(used, {})
    assert "using value defined outside the region" in str(caught.value)


def test_a_wrong_result_type_in_text_is_refused() -> None:
    pair, wrong = "(tensor<1x3xf32>, tensor<5x1x3xf32>)", "(tensor<1x3xf32>, tensor<4x1x3xf32>)"
    text = recurrent().text().replace(f"-> {pair}", f"-> {wrong}")
    text = text.replace(f": {pair} -> ()", f": {wrong} -> ()")
    with pytest.raises(IRError) as caught:
        Module.parse(text, {})
    assert str(caught.value) == (
        "4:12: nn.scan C0: the result must be tensor<1x3xf32>, tensor<5x1x3xf32>, "
        "not tensor<1x3xf32>, tensor<4x1x3xf32>"
    )
