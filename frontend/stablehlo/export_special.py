"""Operators that StableHLO writes with a function or a body of their own."""

from __future__ import annotations

from math import inf

import numpy as np

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer, ints
from tetrapla.frontend.stablehlo.export_move import reshaped
from tetrapla.frontend.stablehlo.export_values import converted, number, same, wide_operands
from tetrapla.frontend.stablehlo.reduce import FIRST
from tetrapla.ir.graph import Node
from tetrapla.ir.op import Tensor

# erf(x) = x P(x^2) / Q(x^2) for x within -4..4 in float32, highest power first: XLA's numbers,
# as jax 0.10.2 writes the decomposition of chlo.erf
_P = (
    *(-2.72614237e-10, 2.77068146e-8, -2.10102394e-6, -5.69250624e-5),
    *(-7.34990637e-4, -2.954600e-3, -0.0160960332),
)
_Q = (-1.45660715e-5, -2.13374049e-4, -0.00168282702, -0.00737332925, -0.0142647391)
_DIRECTION = "comparison_direction = #stablehlo<comparison_direction {}>"


def erf(writer: Writer, x: Held) -> Held:
    """The error function by its name in CHLO, and what it is made of for who lacks it."""
    if x.dtype != "f32":
        raise Unwritten("only of f32")
    symbol = "erf_" + "x".join(map(str, x.shape))
    writer.function(symbol, _erf_function(symbol, x.type))
    attributes = {
        "name": '"chlo.erf"',
        "composite_attributes": "{}",
        "decomposition": f"@{symbol}",
        "version": "1 : i32",
    }
    return writer.op("stablehlo.composite", [x], x.type, attributes)


def _erf_function(symbol: str, type_: Tensor) -> str:
    lines: list[str] = []

    def line(name: str, *operands: str) -> str:
        lines.append(f"%v{len(lines)} = stablehlo.{name} {', '.join(operands)} : {type_}")
        return f"%v{len(lines) - 1}"

    def constant(value: float) -> str:
        lines.append(f"%v{len(lines)} = stablehlo.constant dense<{value:.9e}> : {type_}")
        return f"%v{len(lines) - 1}"

    def polynomial(x: str, numbers: tuple[float, ...]) -> str:
        total = constant(numbers[0])
        for each in numbers[1:]:
            total = line("add", line("multiply", total, x), constant(each))
        return total

    x = line("clamp", constant(-4), "%x", constant(4))
    square = line("multiply", x, x)
    above = line("multiply", x, polynomial(square, _P))
    quotient = line("divide", above, polynomial(square, _Q))
    y = line("clamp", constant(-1), quotient, constant(1))
    body = "\n".join([*lines, f"return {y} : {type_}"])
    return f"func.func private @{symbol}(%x: {type_}) -> {type_} {{\n{body}\n}}"


def _erf(node: Node, writer: Writer) -> Held:
    return erf(writer, *writer.operands(node))


def _gelu(node: Node, writer: Writer) -> Held:
    (x,) = wide_operands(node, writer)
    if node.str("approximate") == "tanh":
        cube = same(writer, "multiply", x, same(writer, "multiply", x, x))
        scaled = same(writer, "multiply", number(writer, 0.044715, x), cube)
        inner = same(writer, "add", x, scaled)
        root = number(writer, (2 / np.pi) ** 0.5, x)
        odd = same(writer, "tanh", same(writer, "multiply", root, inner))
    else:
        odd = erf(writer, same(writer, "multiply", number(writer, 0.5**0.5, x), x))
    half = same(writer, "multiply", number(writer, 0.5, x), x)
    y = same(writer, "multiply", half, same(writer, "add", number(writer, 1, x), odd))
    return converted(writer, y, node.result.dtype)


def _place(way: str) -> Write:
    """A reduction of numbers and their places together, as JAX writes it."""

    def write(node: Node, writer: Writer) -> Held:
        (x,) = writer.operands(node)
        axis, dtype = node.int("axis") % len(x.shape), node.result.dtype
        if x.dtype[0] != "f":
            raise Unwritten("only of floats")
        counted = {"iota_dimension": f"{axis} : i64"}
        places = writer.op("stablehlo.iota", [], Tensor(x.shape, dtype), counted)
        worst = number(writer, -inf if way == "max" else inf, x)
        zero = writer.splat(0, Tensor((), dtype))
        kept = tuple(size for i, size in enumerate(x.shape) if i != axis)
        _, place = writer.ops(
            "stablehlo.reduce",
            [x, places, worst, zero],
            [Tensor(kept, x.dtype), Tensor(kept, dtype)],
            {"dimensions": ints([axis])},
            _first(way, x.dtype, dtype),
        )
        return reshaped(writer, place, node.result.shape)

    return write


def _first(way: str, dtype: str, place: str) -> str:
    """The body that the reader knows, line by line; see `reduce.FIRST`."""
    one, at, truth = f"tensor<{dtype}>", f"tensor<{place}>", "tensor<i1>"
    types = {"0": one, "2": one, "1": at, "3": at}
    said = FIRST[0].format(over="GT" if way == "max" else "LT")
    lines = [f"^bb0(%a0: {one}, %a1: {at}, %a2: {one}, %a3: {at}):"]
    for made, words in enumerate(said.split("; ")):
        name, *operands = words.split()
        way_text = f" <{{{_DIRECTION.format(operands.pop(0))}}}>" if name == "compare" else ""
        given = [types.get(operand, truth) for operand in operands]
        names = ", ".join(f"%{'a' if o.isdigit() else ''}{o}" for o in operands)
        if name == "return":
            return "\n".join([*lines, f'"stablehlo.return"({names}) : ({one}, {at}) -> ()'])
        result = given[-1] if name == "select" else truth
        of = f": ({', '.join(given)}) -> {result}"
        lines.append(f'%v{made} = "stablehlo.{name}"({names}){way_text} {of}')
    raise AssertionError("a body ends with a return")


def _conv_transpose(node: Node, writer: Writer) -> Held:
    """A convolution of the input with gaps, by the mirrored filters."""
    x, w, *bias = writer.operands(node)
    channels, each, *kernel = w.shape
    groups, pads = node.int("groups"), node.ints("pads")
    dilations, more = node.ints("dilations"), node.ints("output_padding")
    split = (groups, channels // groups, each, *kernel)
    w = writer.op("stablehlo.reverse", [w], w.type, {"dimensions": ints((2, 3))})
    w = reshaped(writer, w, split)
    turned = Tensor((groups, each, channels // groups, *kernel), w.dtype)
    perm = {"permutation": ints((0, 2, 1, 3, 4))}
    w = writer.op("stablehlo.transpose", [w], turned, perm)
    w = reshaped(writer, w, (groups * each, channels // groups, *kernel))
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    padding = [[reach[i] - pads[i], reach[i] - pads[2 + i] + more[i]] for i in (0, 1)]
    attributes = {
        "lhs_dilation": ints(node.ints("strides")),
        "padding": f"dense<{padding}> : tensor<2x2xi64>",
        "rhs_dilation": ints(dilations),
        "dimension_numbers": "#stablehlo.conv<[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1]>",
        "feature_group_count": f"{groups} : i64",
        "batch_group_count": "1 : i64",
    }
    y = writer.op(
        "stablehlo.convolution", [x, w], Tensor(node.result.shape, x.dtype), attributes
    )
    for column in bias:
        y = same(writer, "add", y, reshaped(writer, column, (*column.shape, 1, 1)))
    return y


WRITERS: dict[str, Write] = {
    "nn.arg_max": _place("max"),
    "nn.arg_min": _place("min"),
    "nn.conv_transpose2d": _conv_transpose,
    "nn.erf": _erf,
    "nn.gelu": _gelu,
}
