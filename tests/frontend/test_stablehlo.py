"""StableHLO's operations: the import computes what its own reference interpreter does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.frontend.foreign.operation import dense
from tetrapla.frontend.foreign.writer import dense_text
from tetrapla.frontend.stablehlo.export import export
from tetrapla.frontend.stablehlo.operators import OPERATORS, load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.mlir import stablehlo_results
from tetrapla.ir.module import Module
from tetrapla.ir.op import Tensor


def body_of(name: str, dtype: str = "f32") -> str:
    one = f"tensor<{dtype}>"
    return (
        f"({{\n^bb0(%a: {one}, %b: {one}):\n%c = stablehlo.{name} %a, %b : {one}\n"
        f"stablehlo.return %c : {one}\n}})"
    )


def unary(name: str) -> str:
    return (
        f"(%x: tensor<3x4xf32>) -> tensor<3x4xf32>\n%y = stablehlo.{name} %x : tensor<3x4xf32>"
    )


def window(name: str, start: str, more: str, out: str) -> str:
    return (
        f"(%x: tensor<2x6x5x3xf32>) -> tensor<{out}xf32>\n"
        f"%i = stablehlo.constant dense<{start}> : tensor<f32>\n"
        f'%y = "stablehlo.reduce_window"(%x, %i) <{{{more}}}> {body_of(name)} : '
        f"(tensor<2x6x5x3xf32>, tensor<f32>) -> tensor<{out}xf32>"
    )


CONV = "batch_group_count = 1 : i64, feature_group_count"
CASES: dict[str, str] = {
    **{
        name: unary(name)
        for name in ("abs", "ceil", "cosine", "exponential", "exponential_minus_one", "floor")
    },
    **{
        name: unary(name)
        for name in ("logistic", "negate", "round_nearest_even", "sign", "sine", "tanh")
    },
    "rsqrt and log of magnitudes": "(%x: tensor<3x4xf32>) -> tensor<3x4xf32>\n"
    "%a = stablehlo.abs %x : tensor<3x4xf32>\n%b = stablehlo.rsqrt %a : tensor<3x4xf32>\n"
    "%c = stablehlo.log %a : tensor<3x4xf32>\n%d = stablehlo.sqrt %a : tensor<3x4xf32>\n"
    "%e = stablehlo.add %b, %c : tensor<3x4xf32>\n%y = stablehlo.add %d, %e : tensor<3x4xf32>",
    "softplus": "(%x: tensor<3x4xf32>) -> tensor<3x4xf32>\n"
    "%a = stablehlo.exponential %x : tensor<3x4xf32>\n"
    "%y = stablehlo.log_plus_one %a : tensor<3x4xf32>",
    "dot with batch": "(%x: tensor<3x2x4xf32>, %w: tensor<5x4x2xf32>) -> tensor<2x3x5xf32>\n"
    "%y = stablehlo.dot_general %x, %w, batching_dims = [1] x [2], contracting_dims = "
    "[2] x [1] : (tensor<3x2x4xf32>, tensor<5x4x2xf32>) -> tensor<2x3x5xf32>",
    "dot over two axes": "(%x: tensor<3x2x4xf32>, %w: tensor<4x5x2xf32>) -> tensor<3x5xf32>\n"
    "%y = stablehlo.dot_general %x, %w, contracting_dims = [2, 1] x [0, 2] : "
    "(tensor<3x2x4xf32>, tensor<4x5x2xf32>) -> tensor<3x5xf32>",
    "dot of vectors": "(%x: tensor<4xf32>, %w: tensor<4xf32>) -> tensor<f32>\n"
    "%y = stablehlo.dot_general %x, %w, contracting_dims = [0] x [0] : "
    "(tensor<4xf32>, tensor<4xf32>) -> tensor<f32>",
    "dot of bytes": "(%x: tensor<3x4xi8>, %w: tensor<4x5xi8>) -> tensor<3x5xi32>\n"
    "%y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : "
    "(tensor<3x4xi8>, tensor<4x5xi8>) -> tensor<3x5xi32>",
    "convolution in NHWC": "(%x: tensor<2x6x5x4xf32>, %w: tensor<3x2x2x6xf32>) -> "
    "tensor<2x3x4x6xf32>\n%y = stablehlo.convolution(%x, %w) dim_numbers = "
    "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {stride = [2, 1], "
    f"pad = [[1, 0], [0, 1]], rhs_dilate = [1, 2]}} {{{CONV} = 2 : i64}} : "
    "(tensor<2x6x5x4xf32>, tensor<3x2x2x6xf32>) -> tensor<2x3x4x6xf32>",
    "convolution of a row": "(%x: tensor<2x4x9xf32>, %w: tensor<6x4x3xf32>) -> "
    "tensor<2x6x4xf32>\n%y = stablehlo.convolution(%x, %w) dim_numbers = "
    "[b, f, 0]x[o, i, 0]->[b, f, 0], window = {stride = [2]} "
    f"{{{CONV} = 1 : i64}} : (tensor<2x4x9xf32>, tensor<6x4x3xf32>) -> tensor<2x6x4xf32>",
    "transposed convolution": "(%x: tensor<1x4x3x3xf32>, %w: tensor<6x2x3x2xf32>) -> "
    "tensor<1x6x7x6xf32>\n%y = stablehlo.convolution(%x, %w) dim_numbers = "
    "[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1], window = {pad = [[1, 3], [1, 1]], "
    f"lhs_dilate = [2, 2]}} {{{CONV} = 2 : i64}} : "
    "(tensor<1x4x3x3xf32>, tensor<6x2x3x2xf32>) -> tensor<1x6x7x6xf32>",
    "sum from another start": "(%x: tensor<3x4xf32>) -> tensor<4xf32>\n"
    "%i = stablehlo.constant dense<2.5> : tensor<f32>\n"
    "%y = stablehlo.reduce(%x init: %i) applies stablehlo.add across dimensions = [0] : "
    "(tensor<3x4xf32>, tensor<f32>) -> tensor<4xf32>",
    "maximum of integers": "(%x: tensor<3x4xi32>) -> tensor<3xi32>\n"
    "%i = stablehlo.constant dense<-2147483648> : tensor<i32>\n"
    "%y = stablehlo.reduce(%x init: %i) applies stablehlo.maximum across dimensions = [1] : "
    "(tensor<3x4xi32>, tensor<i32>) -> tensor<3xi32>",
    "all of a comparison": "(%x: tensor<3x4xf32>) -> tensor<3xi1>\n"
    "%i = stablehlo.constant dense<true> : tensor<i1>\n"
    "%n = stablehlo.constant dense<-1.0> : tensor<3x4xf32>\n"
    "%c = stablehlo.compare NE, %x, %n : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xi1>\n"
    "%g = stablehlo.compare GT, %x, %n : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xi1>\n"
    "%d = stablehlo.and %c, %g : tensor<3x4xi1>\n"
    "%y = stablehlo.reduce(%d init: %i) applies stablehlo.and across dimensions = [1] : "
    "(tensor<3x4xi1>, tensor<i1>) -> tensor<3xi1>",
    "largest of windows": window(
        "maximum",
        "0xFF800000",
        "window_dimensions = array<i64: 1, 3, 2, 1>, window_strides = array<i64: 1, 2, 1, 1>, "
        "padding = dense<[[0, 0], [1, 1], [0, 1], [0, 0]]> : tensor<4x2xi64>",
        "2x3x5x3",
    ),
    "sum of windows": window(
        "add",
        "0.0",
        "window_dimensions = array<i64: 1, 2, 2, 1>, window_dilations = array<i64: 1, 2, 1, 1>",
        "2x4x4x3",
    ),
    "window along the last axes": window(
        "maximum", "0xFF800000", "window_dimensions = array<i64: 1, 1, 2, 2>", "2x6x4x2"
    ),
    "broadcast to the middle": "(%x: tensor<3xf32>) -> tensor<2x3x4xf32>\n"
    "%y = stablehlo.broadcast_in_dim %x, dims = [1] : (tensor<3xf32>) -> tensor<2x3x4xf32>",
    "broadcast with axes exchanged": "(%x: tensor<3x1xf32>) -> tensor<2x4x3xf32>\n"
    "%y = stablehlo.broadcast_in_dim %x, dims = [2, 1] : (tensor<3x1xf32>) -> "
    "tensor<2x4x3xf32>",
    "twice broadcast": "(%x: tensor<4xf32>) -> tensor<2x3x4xf32>\n"
    "%a = stablehlo.broadcast_in_dim %x, dims = [1] : (tensor<4xf32>) -> tensor<3x4xf32>\n"
    "%b = stablehlo.exponential %a : tensor<3x4xf32>\n"
    "%y = stablehlo.broadcast_in_dim %b, dims = [1, 2] : (tensor<3x4xf32>) -> "
    "tensor<2x3x4xf32>",
    "slice, reverse and join": "(%x: tensor<3x4xf32>) -> tensor<3x4xf32>\n"
    "%a = stablehlo.slice %x [0:3, 0:4:2] : (tensor<3x4xf32>) -> tensor<3x2xf32>\n"
    "%b = stablehlo.reverse %a, dims = [0, 1] : tensor<3x2xf32>\n"
    "%y = stablehlo.concatenate %a, %b, dim = 1 : (tensor<3x2xf32>, tensor<3x2xf32>) -> "
    "tensor<3x4xf32>",
    "padded and cut": "(%x: tensor<3x4xf32>) -> tensor<4x4xf32>\n"
    "%i = stablehlo.constant dense<7.0> : tensor<f32>\n"
    "%y = stablehlo.pad %x, %i, low = [2, -1], high = [-1, 1], interior = [0, 0] : "
    "(tensor<3x4xf32>, tensor<f32>) -> tensor<4x4xf32>",
    "rows by number, those outside moved": "(%x: tensor<3x4xf32>) -> tensor<5x4xf32>\n"
    "%i = stablehlo.constant dense<[[0], [2], [7], [-3], [1]]> : tensor<5x1xi32>\n"
    '%y = "stablehlo.gather"(%x, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],'
    " collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = "
    "array<i64: 1, 4>}> : (tensor<3x4xf32>, tensor<5x1xi32>) -> tensor<5x4xf32>",
    "columns by number": "(%x: tensor<3x4xf32>) -> tensor<2x3xf32>\n"
    "%i = stablehlo.constant dense<[3, 1]> : tensor<2xi64>\n"
    '%y = "stablehlo.gather"(%x, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],'
    " collapsed_slice_dims = [1], start_index_map = [1], index_vector_dim = 1>, slice_sizes = "
    "array<i64: 3, 1>}> : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<2x3xf32>",
    "single numbers by two": "(%x: tensor<3x4xf32>) -> tensor<2xf32>\n"
    "%i = stablehlo.constant dense<[[2, 9], [-1, 1]]> : tensor<2x2xi64>\n"
    '%y = "stablehlo.gather"(%x, %i) <{dimension_numbers = #stablehlo.gather<'
    "collapsed_slice_dims = [0, 1], start_index_map = [0, 1], index_vector_dim = 1>, "
    "slice_sizes = array<i64: 1, 1>}> : (tensor<3x4xf32>, tensor<2x2xi64>) -> tensor<2xf32>",
    "slice from a constant place": "(%x: tensor<3x4xf32>) -> tensor<2x3xf32>\n"
    "%i = stablehlo.constant dense<5> : tensor<i32>\n"
    "%y = stablehlo.dynamic_slice %x, %i, %i, sizes = [2, 3] : "
    "(tensor<3x4xf32>, tensor<i32>, tensor<i32>) -> tensor<2x3xf32>",
    "between bounds": "(%x: tensor<3x4xf32>) -> tensor<3x4xf32>\n"
    "%l = stablehlo.constant dense<-0.5> : tensor<f32>\n"
    "%h = stablehlo.constant dense<0.5> : tensor<f32>\n"
    "%y = stablehlo.clamp %l, %x, %h : (tensor<f32>, tensor<3x4xf32>, tensor<f32>) -> "
    "tensor<3x4xf32>",
    "integers": "(%x: tensor<3x4xi32>, %w: tensor<3x4xi32>) -> tensor<3x4xi32>\n"
    "%a = stablehlo.remainder %x, %w : tensor<3x4xi32>\n"
    "%b = stablehlo.divide %x, %w : tensor<3x4xi32>\n"
    "%c = stablehlo.xor %a, %b : tensor<3x4xi32>\n"
    "%i = stablehlo.iota dim = 1 : tensor<3x4xi32>\n"
    "%y = stablehlo.subtract %c, %i : tensor<3x4xi32>",
    "converted to integers": "(%x: tensor<3x4xf32>) -> tensor<3x4xi32>\n"
    "%y = stablehlo.convert %x : (tensor<3x4xf32>) -> tensor<3x4xi32>",
}


def function(case: str) -> str:
    """A function from its signature, a line, and its body, which ends with %y."""
    signature, _, lines = case.partition("\n")
    result = signature.rpartition("-> ")[2]
    return f"func.func @main{signature} {{\n{lines}\nreturn %y : {result}\n}}"


def drawn(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, value in module.inputs.items():
        array = 3 * rng.standard_normal(value.shape)
        array = np.where(np.abs(array) < 1, 1, array) if value.dtype == "i32" else array
        found[name] = array.astype(DTYPES[value.dtype])
    return found


def reference(text: str, inputs: dict[str, Array], result: Tensor) -> Array:
    given = [
        dense_text(array, Tensor(array.shape, str(dtype)))
        for array, dtype in zip(inputs.values(), dtypes(inputs), strict=True)
    ]
    (found,) = stablehlo_results(text, given)
    return dense(found, result)


def dtypes(inputs: dict[str, Array]) -> list[str]:
    return [next(n for n, d in DTYPES.items() if d == a.dtype) for a in inputs.values()]


@pytest.mark.parametrize("name", CASES)
def test_an_operation_computes_what_the_reference_does(
    name: str,
    rng: np.random.Generator,
    near: Callable[[Module, dict[str, Array], Array, Array], None],
) -> None:
    text = function(CASES[name])
    module = load(text, "m")
    inputs = drawn(module, rng)
    ((_, value),) = module.graph.outputs
    expected = reference(text, inputs, Tensor(value.shape, value.dtype))
    (found,) = evaluate(module, inputs).values()
    near(module, inputs, found, expected)


def test_normalising_by_statistics_is_on_any_axis_but_the_first() -> None:
    # the reference interpreter has no batch_norm_inference
    text = """func.func @main(%x: tensor<2x3x4xf32>, %w: tensor<4xf32>) -> tensor<2x3x4xf32> {
      %v = stablehlo.multiply %w, %w : tensor<4xf32>
      %y = "stablehlo.batch_norm_inference"(%x, %w, %w, %w, %v) <{epsilon = 0.0 : f32,
        feature_index = 2 : i64}> : (tensor<2x3x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>
      return %y : tensor<2x3x4xf32>
    }"""
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    w = np.array([1, 2, 4, 8], np.float32)  # (x - w) / w * w + w = x, exactly
    (found,) = evaluate(load(text, "m"), {"in0": x, "in1": w}).values()
    assert np.array_equal(found, x)
    with pytest.raises(UnsupportedError) as caught:
        load(text.replace("2x3x4", "4x3x2").replace("index = 2", "index = 0"), "m")
    assert str(caught.value) == (
        "1 operation cannot be imported: stablehlo.batch_norm_inference (only with a batch "
        "before the features) x1 at line 3; replace them before exporting the model"
    )


def test_a_sum_of_windows_over_their_sizes_is_an_average_pool() -> None:
    padding = "padding = dense<[[0, 0], [1, 1], [0, 1], [0, 0]]> : tensor<4x2xi64>"
    sizes = (
        "window_dimensions = array<i64: 1, 3, 2, 1>, window_strides = array<i64: 1, 2, 1, 1>"
    )
    head = window("add", "0.0", f"{sizes}, {padding}", "2x3x5x3").replace("%y =", "%s =")
    mean = "%y = stablehlo.divide %s, %c : tensor<2x3x5x3xf32>"
    ones = "\n".join(
        [
            "%o = stablehlo.constant dense<1.0> : tensor<2x6x5x3xf32>",
            head.split("\n", 2)[2].replace("%x", "%o").replace("%s =", "%c ="),
        ]
    )
    counted = load(function(f"{head}\n{ones}\n{mean}"), "m").graph.nodes
    whole = "%c = stablehlo.constant dense<6.0> : tensor<2x3x5x3xf32>"
    included = load(function(f"{head}\n{whole}\n{mean}"), "m").graph.nodes
    other = load(function(f"{head}\n{whole.replace('6.0', '5.0')}\n{mean}"), "m").graph.nodes
    kind = "nn.average_pool2d"
    assert [n.int("count_include_pad") for n in counted if n.kind == kind] == [0]
    assert [n.int("count_include_pad") for n in included if n.kind == kind] == [1]
    assert [n.kind for n in other if n.kind in (kind, "nn.conv2d")] == ["nn.conv2d"]


def test_argmax_prefers_nan_and_the_first_of_equals() -> None:
    # as numpy: NaN is the largest, of equals the first
    text = """func.func @main(%x: tensor<3x4xf32>) -> tensor<3xi32> {
      %c = stablehlo.constant dense<0> : tensor<i32>
      %n = stablehlo.constant dense<0xFF800000> : tensor<f32>
      %0 = stablehlo.iota dim = 1 : tensor<3x4xi32>
      %1:2 = stablehlo.reduce(%x init: %n), (%0 init: %c) across dimensions = [1] :
        (tensor<3x4xf32>, tensor<3x4xi32>, tensor<f32>, tensor<i32>) ->
        (tensor<3xf32>, tensor<3xi32>)
        reducer(%a: tensor<f32>, %b: tensor<f32>) (%i: tensor<i32>, %j: tensor<i32>) {
          %2 = stablehlo.compare GT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %3 = stablehlo.compare NE, %a, %a : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %4 = stablehlo.or %2, %3 : tensor<i1>
          %5 = stablehlo.compare EQ, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %6 = stablehlo.compare LT, %i, %j : (tensor<i32>, tensor<i32>) -> tensor<i1>
          %7 = stablehlo.and %5, %6 : tensor<i1>
          %8 = stablehlo.or %4, %7 : tensor<i1>
          %9 = stablehlo.select %4, %a, %b : tensor<i1>, tensor<f32>
          %10 = stablehlo.select %8, %i, %j : tensor<i1>, tensor<i32>
          stablehlo.return %9, %10 : tensor<f32>, tensor<i32>
        }
      return %1#1 : tensor<3xi32>
    }"""
    x = np.array([[1, 3, 3, 2], [0, np.nan, 5, np.nan], [-1, -1, -2, -1]], np.float32)
    (found,) = evaluate(load(text, "m"), {"in0": x}).values()
    assert found.tolist() == [1, 1, 0]
    assert np.array_equal(found, reference(text, {"in0": x}, Tensor((3,), "i32")))
    with pytest.raises(UnsupportedError) as caught:
        load(text.replace("LT, %i, %j", "GT, %i, %j"), "m")
    assert str(caught.value) == (
        "1 operation cannot be imported: stablehlo.reduce (of two values only as argmax or "
        "argmin over one axis) x1 at line 5; replace them before exporting the model"
    )


def test_a_composite_is_what_it_is_called_or_what_it_is_made_of() -> None:
    text = """func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {{
      %y = stablehlo.composite "{name}" %x {{decomposition = @inner}} : (tensor<2xf32>) ->
        tensor<2xf32>
      return %y : tensor<2xf32>
    }}
    func.func private @inner(%x: tensor<2xf32>) -> tensor<2xf32> {{
      %y = stablehlo.tanh %x : tensor<2xf32>
      return %y : tensor<2xf32>
    }}"""
    for name, kind in (("chlo.erf", "nn.erf"), ("my.own", "nn.tanh")):
        module = load(text.format(name=name), "m")
        assert [node.kind for node in module.graph.nodes] == [kind]
    generic = function(
        "(%x: tensor<2xf32>) -> tensor<2xf32>\n%y = chlo.erf %x : tensor<2xf32> -> "
        "tensor<2xf32>"
    )
    assert [node.kind for node in load(generic, "m").graph.nodes] == ["nn.erf"]


def test_the_error_function_is_written_with_what_it_is_made_of() -> None:
    build = ModuleBuilder("m")
    build.output("y", build.op("nn.erf", [build.input("x", (401,))]))
    text = export(build.finish())
    x = np.linspace(-5, 5, 401, dtype=np.float32)
    named, inlined = load(text, "m"), load(text.replace('"chlo.erf"', '"my.erf"'), "m")
    assert [node.kind for node in named.graph.nodes] == ["nn.erf"]
    assert "nn.erf" not in [node.kind for node in inlined.graph.nodes]
    (exact,) = evaluate(named, {"in0": x}).values()
    (made,) = evaluate(inlined, {"in0": x}).values()
    # two polynomials of 7 and 5 terms, each step a product and a sum, then a product and a
    # quotient: 2 (7 + 5) + 2 roundings of a value up to 1, and as much for XLA's fit in float32
    assert np.all(np.abs(made - exact) <= 2 * 26 * 2.0**-24)


@pytest.mark.parametrize(
    ("dtype", "words", "numbers"),
    [
        ("bf16", "[1.5, 0x7F80, -2.0]", [1.5, np.inf, -2.0]),
        ("f8E4M3FN", "[1.5, 0.0, -2.0]", [1.5, 0.0, -2.0]),
        ("f16", '"0x003E000000C0"', [1.5, 0.0, -2.0]),
        ("i4", "[1, -8, 7]", [1, -8, 7]),
        ("i1", "[true, false, true]", [1, 0, 1]),
        ("ui8", "255", [255] * 3),
    ],
)
def test_constants_of_every_type_are_read(dtype: str, words: str, numbers: list[float]) -> None:
    text = f"func.func @main() -> tensor<3x{dtype}> {{\n" + (
        f"%y = stablehlo.constant dense<{words}> : tensor<3x{dtype}>\n"
        f"return %y : tensor<3x{dtype}>\n}}"
    )
    (found,) = load(text, "m").weights.values()
    assert found.dtype == DTYPES[dtype]
    assert found.astype(np.float64).tolist() == numbers


REFUSED: dict[str, tuple[str, str]] = {
    "an input with gaps and a window that moves on": (
        CASES["transposed convolution"]
        .replace("window = {", "window = {stride = [2, 1], ")
        .replace("7x6xf32>", "4x6xf32>"),
        "stablehlo.convolution (only with an input that is dilated or a window that moves on, "
        "not both)",
    ),
    "a product of windows": (
        CASES["sum of windows"].replace("stablehlo.add", "stablehlo.multiply"),
        "stablehlo.reduce_window (only as a maximum or a sum from a start that changes "
        "nothing)",
    ),
    "a body of another kind": (
        CASES["sum of windows"].replace("stablehlo.add %a, %b", "stablehlo.add %a, %a"),
        "stablehlo.reduce_window (only with a body that combines its two arguments)",
    ),
    "gaps between values": (
        CASES["padded and cut"]
        .replace("interior = [0, 0]", "interior = [1, 0]")
        .replace("4x4xf32>", "6x4xf32>"),
        "stablehlo.pad (only around the values, not between them)",
    ),
    "other numbers than the key in the comparison": (
        "(%x: tensor<3x4xf32>) -> tensor<3x4xf32>\n"
        '%y = "stablehlo.sort"(%x) <{dimension = 1 : i64}> ({\n'
        "^bb0(%a: tensor<f32>, %b: tensor<f32>):\n"
        "%c = stablehlo.compare LT, %a, %a : (tensor<f32>, tensor<f32>) -> tensor<i1>\n"
        "stablehlo.return %c : tensor<i1>\n}) : (tensor<3x4xf32>) -> tensor<3x4xf32>",
        "stablehlo.sort (only by one comparison, LT or GT, of the first operand)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_use_without_a_form_is_refused_with_its_reason(name: str) -> None:
    case, title = REFUSED[name]
    with pytest.raises(UnsupportedError) as caught:
        load(function(case), "m")
    line = function(case).partition(title.partition(" ")[0])[0].count("\n") + 1
    assert str(caught.value) == (
        f"1 operation cannot be imported: {title} x1 at line {line}; "
        "replace them before exporting the model"
    )


def test_every_operation_of_the_table_is_one_of_the_dialect() -> None:
    assert {name.partition(".")[0] for name in OPERATORS} == {"stablehlo", "chlo", "arith"}
