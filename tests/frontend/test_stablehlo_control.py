"""StableHLO's loops, branches, computed places and orders, against its own interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tetrapla.frontend import mlir_text
from tetrapla.frontend.foreign.operation import dense
from tetrapla.frontend.foreign.writer import dense_text
from tetrapla.frontend.stablehlo.operators import load
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.mlir import stablehlo_results
from tetrapla.ir.module import Module
from tetrapla.ir.op import Tensor

HERE = Path(__file__).resolve().parent / "stablehlo"
INT, ROW = "tensor<i32>", "tensor<3xf32>"


def both(text: str, *inputs: Array) -> tuple[Module, list[Array], list[Array]]:
    """The module, what it computes, and what the reference computes."""
    module = load(text, "m")
    given = [
        dense_text(array, Tensor(array.shape, value.dtype))
        for array, value in zip(inputs, module.inputs.values(), strict=True)
    ]
    found = [*evaluate(module, dict(zip(module.inputs, inputs, strict=True))).values()]
    types = [Tensor(value.shape, value.dtype) for _, value in module.graph.outputs]
    expected = stablehlo_results(text, given)
    return module, found, [dense(e, t) for e, t in zip(expected, types, strict=True)]


def kinds(module: Module) -> list[str]:
    return [node.kind for node in module.graph.nodes if node.bodies]


def counted(start: int, end: int, way: str, change: str, by: int) -> str:
    """A loop that doubles a row and gives its counter, which it changes by a constant."""
    return f"""func.func @main(%x: {ROW}) -> ({INT}, {ROW}) {{
      %s = stablehlo.constant dense<{start}> : {INT}
      %e = stablehlo.constant dense<{end}> : {INT}
      %c = stablehlo.constant dense<{by}> : {INT}
      %r:3 = stablehlo.while(%i = %s, %n = %e, %v = %x) : {INT}, {INT}, {ROW}
      cond {{
        %t = stablehlo.compare {way} : ({INT}, {INT}) -> tensor<i1>
        stablehlo.return %t : tensor<i1>
      }} do {{
        %j = stablehlo.{change} : {INT}
        %w = stablehlo.add %v, %v : {ROW}
        stablehlo.return %j, %n, %w : {INT}, {INT}, {ROW}
      }}
      return %r#0, %r#2 : {INT}, {ROW}
    }}"""


COUNTED: dict[str, tuple[str, int | None]] = {
    "up": (counted(0, 5, "LT, %i, %n", "add %i, %c", 1), 5),
    "up in steps past the end": (counted(-1, 6, "LT, %i, %e", "add %c, %i", 3), 3),
    "up to the end itself": (counted(0, 6, "LE, %i, %n", "add %i, %c", 2), 4),
    "down": (counted(5, 0, "GT, %i, %n", "subtract %i, %c", 2), 3),
    "down by adding, asked from the other side": (
        counted(5, 1, "LE, %n, %i", "add %i, %c", -1),
        5,
    ),
    "never": (counted(5, 5, "LT, %i, %n", "add %i, %c", 1), 0),
    "by products": (counted(1, 9, "LT, %i, %n", "multiply %i, %c", 2), None),
    "until a number is hit": (counted(0, 4, "NE, %i, %n", "add %i, %c", 2), None),
    "to a count that overflows": (
        # 2^31 - 3 + 2^31 - 1 wraps to -4, which ends it
        counted(2**31 - 3, 2**31 - 4, "GE, %i, %n", "add %i, %c", 2**31 - 1),
        None,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_loop_that_counts_is_a_scan_and_any_other_a_while(name: str) -> None:
    text, trips = COUNTED[name]
    x = np.array([1, -2, 0.5], np.float32)
    module, found, expected = both(text, x)
    assert [a.tolist() for a in found] == [a.tolist() for a in expected]
    assert kinds(module) == {None: ["nn.while"], 0: []}.get(trips, ["nn.scan"])
    loops = [node for node in module.graph.nodes if node.bodies]
    for loop in loops:
        key, count = ("most", 2**31) if trips is None else ("trips", trips)
        assert loop.int(key) == count
        assert loop.int("carried") == 2  # the end does not change


def branches(count: int) -> str:
    lines = [
        f"%y{i} = stablehlo.{name} %x{other} : {ROW}\nstablehlo.return %y{i} : {ROW}"
        for i, (name, other) in enumerate(
            [("negate", ""), ("add", ", %z"), ("multiply", ", %z"), ("abs", "")][:count]
        )
    ]
    bodies = "}, {\n".join(lines)
    return (
        f"func.func @main(%n: {INT}, %x: {ROW}) -> {ROW} {{\n"
        f"%z = stablehlo.add %x, %x : {ROW}\n"
        f'%r = "stablehlo.case"(%n) ({{\n{bodies}\n}}) : ({INT}) -> {ROW}\n'
        f"return %r : {ROW}\n}}"
    )


@pytest.mark.parametrize("place", [-1, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_number_chooses_a_branch_and_one_outside_the_last(count: int, place: int) -> None:
    x = np.array([1, -2, 0.5], np.float32)
    module, found, expected = both(branches(count), np.array(place, np.int32), x)
    assert found[0].tolist() == expected[0].tolist()
    assert kinds(module) == ["nn.if"] * (count - 1)
    known = branches(count).replace(
        "%z =", f"%k = stablehlo.constant dense<{place}> : {INT}\n%z ="
    )
    inlined = load(known.replace('"(%n)', '"(%k)'), "m")
    assert kinds(inlined) == []
    inputs = {"in0": np.array(0, np.int32), "in1": x}
    assert evaluate(inlined, inputs)["out0"].tolist() == expected[0].tolist()


PLACES = [(-3, 0), (0, 1), (1, 2), (2, -1), (9, 9)]


@pytest.mark.parametrize("known", [False, True], ids=["computed", "constant"])
@pytest.mark.parametrize("starts", PLACES)
def test_a_slice_taken_and_put_stays_inside(starts: tuple[int, int], known: bool) -> None:
    text = f"""func.func @main(
          %x: tensor<3x4x2xf32>, %p: {INT}, %q: {INT}, %u: tensor<2x3x2xf32>)
        -> (tensor<2x3x2xf32>, tensor<3x4x2xf32>, tensor<3x4x2xf32>) {{
      %i = stablehlo.constant dense<{starts[0]}> : {INT}
      %j = stablehlo.constant dense<{starts[1]}> : {INT}
      %y = stablehlo.dynamic_slice %x, %p, %q, %q, sizes = [2, 3, 2] :
        (tensor<3x4x2xf32>, {INT}, {INT}, {INT}) -> tensor<2x3x2xf32>
      %z = stablehlo.dynamic_update_slice %x, %u, %p, %q, %q :
        (tensor<3x4x2xf32>, tensor<2x3x2xf32>, {INT}, {INT}, {INT}) -> tensor<3x4x2xf32>
      %w = stablehlo.dynamic_update_slice %x, %x, %p, %q, %q :
        (tensor<3x4x2xf32>, tensor<3x4x2xf32>, {INT}, {INT}, {INT}) -> tensor<3x4x2xf32>
      return %y, %z, %w : tensor<2x3x2xf32>, tensor<3x4x2xf32>, tensor<3x4x2xf32>
    }}"""
    if known:
        head, _, tail = text.partition("%y =")
        text = f"{head}%y ={tail.replace('%p,', '%i,').replace('%q,', '%j,')}"
    x = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    first, second = (np.array(start, np.int32) for start in starts)
    module, found, expected = both(text, x, first, second, -x[:2, :3])
    assert [a.tolist() for a in found] == [a.tolist() for a in expected]
    assert ("nn.gather" in [node.kind for node in module.graph.nodes]) is not known


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("way", ["LT, %a, %b", "GT, %a, %b", "LT, %b, %a", "GT, %b, %a"])
def test_lines_are_sorted_and_others_follow_their_order(way: str, axis: int) -> None:
    types = "tensor<3x4xf32>, tensor<3x4xi32>"
    text = f"""func.func @main(%x: tensor<3x4xf32>, %p: tensor<3x4xi32>) -> ({types}) {{
      %r:2 = "stablehlo.sort"(%x, %p) <{{dimension = {axis} : i64, is_stable = true}}> ({{
        ^bb0(%a: tensor<f32>, %b: tensor<f32>, %c: {INT}, %d: {INT}):
        %t = stablehlo.compare {way} : (tensor<f32>, tensor<f32>) -> tensor<i1>
        stablehlo.return %t : tensor<i1>
      }}) : ({types}) -> ({types})
      return %r#0, %r#1 : {types}
    }}"""
    x = np.array([[1, 3, 1, -2], [1, 3, 0.5, 1], [7, -8, 1, 1]], np.float32)  # with equals
    _, found, expected = both(text, x, np.arange(12, dtype=np.int32).reshape(3, 4))
    assert [a.tolist() for a in found] == [a.tolist() for a in expected]


def test_the_logarithm_of_one_and_more_keeps_small_numbers_and_the_ends() -> None:
    text = (
        "func.func @main(%x: tensor<9xf32>) -> tensor<9xf32> {\n"
        "%y = stablehlo.log_plus_one %x : tensor<9xf32>\nreturn %y : tensor<9xf32>\n}"
    )
    x = np.array([0, 1e-38, -1e-9, 3e-8, 1e-3, -0.9999, 5e30, -1, np.inf], np.float32)
    (found,) = evaluate(load(text, "m"), {"in0": x}).values()
    # five operations of at most one ulp each but the logarithm's, and the theorem's own ulp
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.log1p(x.astype(np.float64))
        close = np.abs(found - expected) <= 8 * 2.0**-24 * np.abs(expected)
    assert np.all(close | (found == expected))
    assert np.isnan(evaluate(load(text, "m"), {"in0": np.full_like(x, -2)})["out0"]).all()


@pytest.mark.parametrize("where", ["while", "case"])
def test_what_is_refused_in_a_body_is_named_alone(where: str) -> None:
    text = {"while": counted(0, 5, "LT, %i, %n", "add %i, %c", 1), "case": branches(3)}[where]
    line = {
        "while": f"stablehlo.add %v, %v : {ROW}",
        "case": f"stablehlo.negate %x : {ROW}",
    }[where]
    assert line in text
    refused = f"stablehlo.reduce_precision %x, format = e5m10 : {ROW}"
    changed = text.replace(line, refused)
    with pytest.raises(UnsupportedError) as caught:
        load(changed, "m")
    number = changed.partition(refused)[0].count("\n") + 1
    assert str(caught.value) == (
        f"1 operation cannot be imported: stablehlo.reduce_precision x1 at line {number}; "
        "replace them before exporting the model"
    )


@pytest.mark.parametrize("name", ["jax_lstm", "jax_gru"])
def test_a_recurrent_layer_of_jax_is_one_scan(name: str) -> None:
    (loop,) = [n for n in mlir_text.load(HERE / f"{name}.mlir").graph.nodes if n.bodies]
    assert loop.kind == "nn.scan"
    assert loop.int("trips") == 5


def test_an_input_of_a_loop_that_is_a_constant_is_a_weight_of_its_body() -> None:
    module = mlir_text.load(HERE / "jax_lstm.mlir")
    (loop,) = [node for node in module.graph.nodes if node.bodies]
    inside = {array.shape for array in loop.bodies[0].weights.values()}
    assert {(3, 16), (4, 16)} <= inside
    assert all(DTYPES[v.dtype] == np.float32 for v in module.inputs.values())
