"""Lowering `nn` and `qnn` to upstream MLIR: linalg, tensor, arith, math and scf on tensors.

Before::

    %y = "nn.relu"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>

After::

    %v1 = linalg.generic {maps, parallel} ins(%arg0) outs(%v0) {
      ^bb0(%a0: f32, %o: f32): %s1 = arith.constant 0.0 : f32
      %s2 = arith.maximumf %a0, %s1 : f32  linalg.yield %s2 : f32
    }

Inputs come first among the arguments, then weights in the order of `weights`: no
number of a model stands in the text. `LOWERINGS`, `VIEWS` and `REGIONS` list what can be
said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.linalg import (
    arrange,
    attention,
    contract,
    elementwise,
    move,
    norm,
    pick,
    pool,
    quant,
    quant_scale,
    recurrent,
    reduce,
    region,
    rescale,
)
from tetrapla.ir.linalg.scalar import Held
from tetrapla.ir.linalg.text import Writer, tensor_of
from tetrapla.ir.op import Tensor
from tetrapla.ir.unfuse import unfused_graph

Lowering: TypeAlias = Callable[[Writer, Node, list[Held]], Held | tuple[Held, ...]]


class Function(NamedTuple):
    """A function's text, and what each of its last results, truths, reports when it holds."""

    text: str
    faults: tuple[str, ...]


class NodeFunctions:
    """One private function per distinct node: kind, types and attributes.

    What a model repeats is written, and compiled, once; several models share what they have in
    common. A function that is not inlined keeps the time of compilation linear in the nodes.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[object, ...], tuple[str, Function]] = {}

    @property
    def text(self) -> str:
        """All functions."""
        return "".join(function.text for _, function in self._functions.values())

    def of(self, node: Node) -> tuple[str, Function]:
        """The name and the function of a node."""
        types = [(v.shape, v.dtype) for v in (*node.operands, *node.results)]
        key = (node.kind, len(node.operands), *types, *sorted(node.attributes.items()))
        if key not in self._functions:
            name = f"{node.kind.replace('.', '_')}_{len(self._functions)}"
            self._functions[key] = name, _function_of(node, name)
        return self._functions[key]


def lowered(graph: Graph, functions: NodeFunctions, name: str = "main") -> Function:
    """A function that computes a graph's outputs, then its faults, through `functions`.

    Raises:
        UnsupportedError: an operator has no lowering, or a type of float nothing rounds to.
    """
    graph = unfused_graph(graph)
    for each in graph.nested():
        _check(each)
    given = [value for _, value in graph.inputs]
    named = weights(graph)
    taken = [
        Held(f"%arg{i}", tensor_of(value)) for i, value in enumerate([*given, *named.values()])
    ]
    scope = _Scope(Writer(), functions, dict(zip(named, taken[len(given) :], strict=True)))
    results = scope.run(graph, taken[: len(given)])
    return _finished(scope.writer, f"func.func @{name}", taken, results)


class _Scope(NamedTuple):
    """What a graph is written with, and the bodies inside of it."""

    writer: Writer
    functions: NodeFunctions
    weights: Mapping[str, Held]  # by symbol

    def run(self, graph: Graph, inputs: Sequence[Held]) -> list[Held]:
        """The outputs of a graph for its inputs, node by node."""
        constants = graph.constants.items()
        held = {i: self.weights[symbol] for i, symbol in constants if symbol in self.weights}
        held.update(zip((v.index for _, v in graph.inputs), inputs, strict=True))
        for node in graph.nodes:
            results = self._made(node, [held[v.index] for v in node.operands])
            held.update(zip((v.index for v in node.results), results, strict=True))
        return [held[v.index] for _, v in graph.outputs]

    def _made(self, node: Node, operands: list[Held]) -> Sequence[Held]:
        if node.kind in VIEWS:
            return [VIEWS[node.kind](self.writer, node, operands)]
        if node.kind in REGIONS:
            return REGIONS[node.kind](self.writer, node, operands, self.run)
        name, function = self.functions.of(node)
        truths = [Tensor((), "i1")] * len(function.faults)
        types = [*map(tensor_of, node.results), *truths]
        results = self.writer.call(name, operands, types)
        count = len(node.results)
        self.writer.faults += zip(results[count:], function.faults, strict=True)
        return results[:count]


def _function_of(node: Node, name: str) -> Function:
    writer = Writer()
    operands = [Held(f"%arg{i}", tensor_of(v)) for i, v in enumerate(node.operands)]
    made = LOWERINGS[node.kind](writer, node, operands)
    results = [made] if isinstance(made, Held) else list(made)
    return _finished(writer, f"func.func private @{name}", operands, results)


def _finished(
    writer: Writer, head: str, arguments: list[Held], results: list[Held]
) -> Function:
    """The whole function; none of its arguments may be written into."""
    results = [*results, *(fault for fault, _ in writer.faults)]
    taken = ", ".join(
        f"{each.name}: {each.spelled} {{bufferization.writable = false}}" for each in arguments
    )
    types = ", ".join(each.spelled for each in results)
    given = f"return {', '.join(each.name for each in results)} : {types}"
    body = "\n  ".join([*writer.lines, given])
    attributes = 'attributes {passthrough = ["noinline"]}'
    text = f"{head}({taken}) -> ({types}) {attributes} {{\n  {body}\n}}\n"
    return Function(text, tuple(message for _, message in writer.faults))


def weights(graph: Graph) -> dict[str, Value]:
    """The constants that are read, by symbol, in the order in which the function takes them.

    Those that bodies name come behind; a symbol is one array wherever it is named.
    """
    found: dict[str, Value] = {}
    for each in graph.nested():
        read = {v.index: v for node in each.nodes for v in node.operands}
        read.update({value.index: value for _, value in each.outputs})
        found.update({s: read[index] for index, s in each.constants.items() if index in read})
    return found


def _check(graph: Graph) -> None:
    values = (v for node in graph.nodes for v in (*node.operands, *node.results))
    for value in (*values, *(v for _, v in (*graph.inputs, *graph.outputs))):
        if not value.elements:
            raise UnsupportedError(
                f"values must have elements to be lowered to linalg, not {tensor_of(value)}; "
                "compute this model with the interpreter"
            )
    odd = sorted({node.kind for node in graph.nodes} - {*LOWERINGS, *VIEWS, *REGIONS})
    if odd:
        raise UnsupportedError(
            f"operators must have a lowering to linalg, not {', '.join(odd)}; "
            "compute this model with the interpreter"
        )


# what only looks at memory in another way stands in the caller: a function would copy
VIEWS: Mapping[str, Callable[[Writer, Node, list[Held]], Held]] = MappingProxyType(
    {"nn.reshape": move.lower_reshape}
)
# bodies stand in the caller, too: they name its weights
REGIONS: Mapping[str, Callable[[Writer, Node, list[Held], region.Run], list[Held]]] = (
    MappingProxyType(
        {
            "nn.if": region.lower_if,
            "nn.scan": region.lower_scan,
            "nn.while": region.lower_while,
        }
    )
)
LOWERINGS: Mapping[str, Lowering] = MappingProxyType(
    {
        **dict.fromkeys(elementwise.RULES, elementwise.lower_elementwise),
        **dict.fromkeys(reduce.FOLDS, reduce.lower_reduction),
        "nn.arg_max": reduce.lower_extreme_place("gt"),
        "nn.arg_min": reduce.lower_extreme_place("lt"),
        "nn.attention": attention.lower_attention,
        "nn.average_pool2d": pool.lower_average_pool,
        "nn.average_pool3d": pool.lower_average_pool,
        "nn.batch_norm": norm.lower_batch_norm,
        "nn.concat": move.lower_concat,
        "nn.conv2d": contract.lower_conv,
        "nn.conv3d": contract.lower_conv,
        "nn.conv_transpose2d": contract.lower_conv_transpose,
        "nn.conv_transpose3d": contract.lower_conv_transpose,
        "nn.cumulative_sum": reduce.lower_cumulative_sum,
        "nn.depth_to_space": arrange.lower_depth_to_space,
        "nn.gather": pick.lower_gather,
        "nn.gather_elements": pick.lower_gather_elements,
        "nn.gather_nd": pick.lower_gather_nd,
        "nn.global_average_pool": pool.lower_global_average_pool,
        "nn.global_max_pool": pool.lower_global_max_pool,
        "nn.group_norm": norm.lower_group_norm,
        "nn.gru": recurrent.lower_gru,
        "nn.hardmax": reduce.lower_hardmax,
        "nn.instance_norm": norm.lower_instance_norm,
        "nn.layer_norm": norm.lower_layer_norm,
        "nn.log_softmax": norm.lower_log_softmax,
        "nn.lp_pool2d": pool.lower_lp_pool,
        "nn.matmul": contract.lower_matmul,
        "nn.lrn": norm.lower_lrn,
        "nn.lstm": recurrent.lower_lstm,
        "nn.max_pool2d": pool.lower_max_pool,
        "nn.max_pool3d": pool.lower_max_pool,
        "nn.one_hot": arrange.lower_one_hot,
        "nn.pad": arrange.lower_pad,
        "nn.reduce_log_sum_exp": reduce.lower_log_sum_exp,
        "nn.resize": arrange.lower_resize,
        "nn.reverse_sequence": arrange.lower_reverse_sequence,
        "nn.rms_norm": norm.lower_rms_norm,
        "nn.rnn": recurrent.lower_rnn,
        "nn.rotary_embedding": arrange.lower_rotary_embedding,
        "nn.scatter_elements": pick.lower_scatter_elements,
        "nn.scatter_nd": pick.lower_scatter_nd,
        "nn.slice": move.lower_slice,
        "nn.softmax": norm.lower_softmax,
        "nn.space_to_depth": arrange.lower_space_to_depth,
        "nn.top_k": pick.lower_top_k,
        "nn.transpose": move.lower_transpose,
        "nn.trilu": arrange.lower_trilu,
        "qnn.add": quant.lower_add,
        "qnn.average_pool2d": quant.lower_average_pool2d,
        "qnn.concat": quant.lower_concat,
        "qnn.conv2d": quant.lower_conv2d,
        "qnn.conv_integer": quant.lower_conv_integer,
        "qnn.dequantize": quant_scale.lower_dequantize,
        "qnn.dequantize_blocks": quant_scale.lower_dequantize_blocks,
        "qnn.dynamic_quantize": quant_scale.lower_dynamic_quantize,
        "qnn.global_average_pool": quant.lower_global_average_pool,
        "qnn.lookup": quant.lower_lookup,
        "qnn.matmul": quant.lower_matmul,
        "qnn.matmul_integer": quant.lower_matmul_integer,
        "qnn.mul": quant.lower_mul,
        "qnn.mx_quantize": quant_scale.lower_mx_quantize,
        "qnn.nvfp4_dequantize": quant_scale.lower_nvfp4_dequantize,
        "qnn.nvfp4_quantize": quant_scale.lower_nvfp4_quantize,
        "qnn.quantize": quant_scale.lower_quantize,
        "qnn.quantize_blocks": quant_scale.lower_quantize_blocks,
        "qnn.requantize": quant_scale.lower_requantize,
        "qnn.rescale": rescale.lower_rescale,
        "qnn.softmax": quant.lower_softmax,
    }
)
