"""What an element costs a lane of the vector unit, operator by operator.

No vector unit of a shipped chip publishes such a table; every number here is **assumed**, by
these rules, so that it can be argued with and changed in one place:

* simple arithmetic, comparisons, selections, conversions, moves: 1 cycle;
* a table lookup, gather or scatter: 2 (the index, then the element; no bank conflicts);
* a quotient, root or remainder: 4 (Newton's steps on a reciprocal estimate);
* a transcendental function: 8 (range reduction and a polynomial of degree 5 or 6);
* a compound: the sum of its passes over the data, named beside it;
* a sort: the compare stages of a bitonic network over all its elements.

An operator that is not here has no routine. What multiplies matrices is left out on purpose:
that is the array's work. A star marks those whose elements count as `vector.function`.
"""

from __future__ import annotations

from collections.abc import Mapping

_SIMPLE = 1
_INDEXED = 2
_QUOTIENT = 4
_FUNCTION = 8

_SIMPLE_KINDS = (
    "abs add and bitwise_and bitwise_not bitwise_or bitwise_xor bit_cast cast cast_unsaturated "
    "ceil clip concat cumulative_sum depth_to_space equal expand floor greater "
    "greater_or_equal hard_sigmoid hardmax is_inf is_nan leaky_relu less less_or_equal maximum "
    "minimum mul neg not one_hot or pad prelu relu reshape reverse_sequence round shift_left "
    "shift_right sign slice space_to_depth sub thresholded_relu transpose trilu where xor "
    "arg_max arg_min global_average_pool global_max_pool max_pool2d max_pool3d average_pool2d "
    "average_pool3d reduce_l1 reduce_max reduce_mean reduce_min reduce_prod reduce_sum "
    "reduce_sum_square"
).split()
_INDEXED_KINDS = "gather gather_elements gather_nd scatter_elements scatter_nd".split()
_QUOTIENT_KINDS = "div idiv mod reciprocal sqrt softsign reduce_l2".split()
_FUNCTION_KINDS = (
    "acos acosh asin asinh atan atanh celu cos cosh elu erf exp log selu sigmoid sin sinh "
    "softplus tan tanh"
).split()

_COMPOUND: Mapping[str, int] = {
    "nn.batch_norm": 2,  # times and plus, once folded to a scale and a shift by channel
    "nn.gelu": _FUNCTION + 3,  # erf or tanh, and three products
    "nn.group_norm": 6,  # sum; difference, square, sum; scale, shift
    "nn.hard_swish": 2,
    "nn.instance_norm": 6,
    "nn.layer_norm": 6,
    "nn.log_softmax": _FUNCTION + 4,  # maximum, difference, exp, sum, difference
    "nn.lp_pool2d": 2 * _FUNCTION + 1,  # a power, a sum, a root
    "nn.lrn": 2 * _FUNCTION + 3,  # squares, their sums, a power (log and exp), a product
    "nn.mish": 2 * _FUNCTION + 1,
    "nn.pow": 2 * _FUNCTION + 1,  # log, product, exp
    "nn.reduce_log_sum_exp": _FUNCTION + 3,
    "nn.resize": 8,  # four neighbours, each weighed and added
    "nn.grid_sample": 12,  # the point's place, then as resize
    "nn.roi_align": 8,  # each sample as resize
    "nn.rms_norm": 4,  # square, sum; scale, weight
    "nn.rotary_embedding": 3,  # two products and a sum
    "nn.silu": _FUNCTION + 1,
    "nn.softmax": _FUNCTION + 4,  # maximum, difference, exp, sum, product
    "qnn.add": 3,  # two scaled, added and rounded
    "qnn.average_pool2d": 2,  # scaled and added
    "qnn.concat": 2,  # scaled and rounded
    "qnn.dequantize": 1,
    "qnn.dequantize_blocks": 1,
    "qnn.dynamic_quantize": 5,  # the extremes, a quotient, rounding
    "qnn.global_average_pool": 1,
    "qnn.lookup": _INDEXED,
    "qnn.mul": 2,
    "qnn.mx_quantize": 4,
    "qnn.nvfp4_dequantize": 2,
    "qnn.nvfp4_quantize": 5,
    "qnn.quantize": 2,  # a product and rounding
    "qnn.quantize_blocks": 4,
    "qnn.requantize": 2,
    "qnn.rescale": 3,  # product, shift, rounding
    "qnn.softmax": _INDEXED + _QUOTIENT + 3,  # maximum, difference, table, sum, quotient
}

SORTS = ("nn.top_k",)

LANE_CYCLES: Mapping[str, int] = {
    **{f"nn.{kind}": _SIMPLE for kind in _SIMPLE_KINDS},
    **{f"nn.{kind}": _INDEXED for kind in _INDEXED_KINDS},
    **{f"nn.{kind}": _QUOTIENT for kind in _QUOTIENT_KINDS},
    **{f"nn.{kind}": _FUNCTION for kind in _FUNCTION_KINDS},
    **_COMPOUND,
    **{kind: _SIMPLE for kind in SORTS},
}
"""Cycles of one element in one lane, by the IR's operator; of a sort, for each stage."""

FUNCTIONS: frozenset[str] = frozenset(
    {
        *(f"nn.{kind}" for kind in _FUNCTION_KINDS),
        "nn.gelu",
        "nn.log_softmax",
        "nn.lp_pool2d",
        "nn.lrn",
        "nn.mish",
        "nn.pow",
        "nn.reduce_log_sum_exp",
        "nn.silu",
        "nn.softmax",
    }
)
"""Those that compute a transcendental function of each element (``vector.function``)."""


def step_cycles(kind: str, elements: int, lanes: int) -> int:
    """How long `elements` of an operator take.

    Raises:
        KeyError: there is no routine for the operator.
    """
    per_element = LANE_CYCLES[kind]
    if kind in SORTS:
        stages = max(1, (elements - 1).bit_length())
        per_element *= stages * (stages + 1) // 2
    return -(-elements // lanes) * per_element
