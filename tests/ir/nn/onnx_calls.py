"""One ONNX node as one operator, where one maps to one: for tests, not a way in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper

from tetrapla.ir.graph import DTYPES, Array

Attributes: TypeAlias = dict[str, Any]
Call: TypeAlias = tuple[str, list[Array], Attributes]
NAMES = {held: name for name, held in DTYPES.items()}

# operators whose attributes have ONNX's names, with what ONNX takes where one is missing
PLAIN: dict[str, tuple[str, Attributes]] = {
    "Acos": ("nn.acos", {}),
    "Acosh": ("nn.acosh", {}),
    "And": ("nn.and", {}),
    "ArgMax": ("nn.arg_max", {"axis": 0, "keepdims": 1}),
    "ArgMin": ("nn.arg_min", {"axis": 0, "keepdims": 1}),
    "Asin": ("nn.asin", {}),
    "Asinh": ("nn.asinh", {}),
    "Atan": ("nn.atan", {}),
    "Atanh": ("nn.atanh", {}),
    "BitwiseAnd": ("nn.bitwise_and", {}),
    "BitwiseNot": ("nn.bitwise_not", {}),
    "BitwiseOr": ("nn.bitwise_or", {}),
    "BitwiseXor": ("nn.bitwise_xor", {}),
    "Celu": ("nn.celu", {"alpha": 1.0}),
    "Cosh": ("nn.cosh", {}),
    "DepthToSpace": ("nn.depth_to_space", {"mode": "DCR"}),
    "Elu": ("nn.elu", {"alpha": 1.0}),
    "GatherElements": ("nn.gather_elements", {"axis": 0}),
    "GatherND": ("nn.gather_nd", {"batch_dims": 0}),
    "Gelu": ("nn.gelu", {"approximate": "none"}),
    "GlobalMaxPool": ("nn.global_max_pool", {}),
    "HardSigmoid": ("nn.hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Hardmax": ("nn.hardmax", {"axis": -1}),
    "InstanceNormalization": ("nn.instance_norm", {"epsilon": 1e-5}),
    "IsInf": ("nn.is_inf", {"detect_negative": 1, "detect_positive": 1}),
    "IsNaN": ("nn.is_nan", {}),
    "LRN": ("nn.lrn", {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}),
    "LeakyRelu": ("nn.leaky_relu", {"alpha": 0.01}),
    "LogSoftmax": ("nn.log_softmax", {"axis": -1}),
    "Mish": ("nn.mish", {}),
    "Mod": ("nn.mod", {"fmod": 0}),
    "Or": ("nn.or", {}),
    "PRelu": ("nn.prelu", {}),
    "ScatterElements": ("nn.scatter_elements", {"axis": 0, "reduction": "none"}),
    "ScatterND": ("nn.scatter_nd", {"reduction": "none"}),
    "Selu": (
        "nn.selu",
        {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    ),
    "Sinh": ("nn.sinh", {}),
    "Softmax": ("nn.softmax", {"axis": -1}),
    "Softsign": ("nn.softsign", {}),
    "SpaceToDepth": ("nn.space_to_depth", {"mode": "DCR"}),
    "Tan": ("nn.tan", {}),
    "ThresholdedRelu": ("nn.thresholded_relu", {"alpha": 1.0}),
    "Xor": ("nn.xor", {}),
}
REDUCTIONS = {
    "ReduceL1": "nn.reduce_l1",
    "ReduceL2": "nn.reduce_l2",
    "ReduceLogSumExp": "nn.reduce_log_sum_exp",
    "ReduceMax": "nn.reduce_max",
    "ReduceMean": "nn.reduce_mean",
    "ReduceMin": "nn.reduce_min",
    "ReduceProd": "nn.reduce_prod",
    "ReduceSum": "nn.reduce_sum",
    "ReduceSumSquare": "nn.reduce_sum_square",
}
# with the usual activations of a direction and the number of gates
GATES = {
    "RNN": ("nn.rnn", "tanh", 1),
    "GRU": ("nn.gru", "sigmoid,tanh", 3),
    "LSTM": ("nn.lstm", "sigmoid,tanh,tanh", 4),
}


def _plain(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    kind, usual = PLAIN[node.op_type]
    if own.pop("select_last_index", 0):
        return None
    return kind, inputs, usual | own


def _reduction(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    x = inputs[0]
    axes = tuple(int(axis) for axis in (inputs[1] if len(inputs) > 1 else own.get("axes", ())))
    if not axes and not own.get("noop_with_empty_axes", 0):
        axes = tuple(range(x.ndim))
    return REDUCTIONS[node.op_type], [x], {"axes": axes, "keepdims": own.get("keepdims", 1)}


def _attention(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    known = {"is_causal", "scale"}
    if set(own) - known or len(inputs) > 4 or len(node.output) > 1 or inputs[0].ndim != 4:
        return None
    return (
        "nn.attention",
        [operand for operand in inputs if operand is not None],
        {
            "scale": float(own.get("scale", inputs[0].shape[-1] ** -0.5)),
            "causal": own.get("is_causal", 0),
            "causal_offset": 0,
            "masked_rows": "zero",
            "block": 0,
        },
    )


def _conv_transpose(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    n = inputs[0].ndim - 2
    if n not in (2, 3) or "output_shape" in own or "auto_pad" in own:
        return None
    return (
        f"nn.conv_transpose{n}d",
        inputs,
        {
            "strides": own.get("strides", (1,) * n),
            "pads": own.get("pads", (0,) * 2 * n),
            "dilations": own.get("dilations", (1,) * n),
            "output_padding": own.get("output_padding", (0,) * n),
            "groups": own.get("group", 1),
        },
    )


def _pad(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    x, given, *rest = inputs
    fill = float(rest[0]) if rest and rest[0] is not None else 0.0
    axes = rest[1].tolist() if len(rest) > 1 else list(range(x.ndim))
    pads = [0] * (2 * x.ndim)
    for i, axis in enumerate(axes):
        pads[axis % x.ndim] = int(given[i])
        pads[x.ndim + axis % x.ndim] = int(given[len(axes) + i])
    own = {"mode": own.get("mode", "constant"), "pads": tuple(pads), "value": fill}
    return "nn.pad", [x], own


def _top_k(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    usual = {"axis": -1, "largest": 1, "k": int(inputs[1][0])}
    if not own.pop("sorted", 1):
        return None
    return "nn.top_k", [inputs[0]], usual | own


def _one_hot(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    indices, depth, values = inputs
    own = {"axis": own.get("axis", -1), "depth": int(np.ravel(depth)[0])}
    return "nn.one_hot", [indices.astype(np.int64), values], own


def _trilu(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    k = int(inputs[1]) if len(inputs) > 1 else 0
    return "nn.trilu", [inputs[0]], {"k": k, "upper": own.get("upper", 1)}


def _shift(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    return f"nn.shift_{own['direction'].lower()}", inputs, {}


def _reverse(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    return "nn.reverse_sequence", inputs, {"batch_axis": 1, "time_axis": 0} | own


def _rotary(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    x, cos, sin, *places = inputs
    if x.ndim != 4:
        return None
    if places:
        cos, sin = cos[places[0]], sin[places[0]]
    operands = [x, cos[:, None], sin[:, None]]
    return "nn.rotary_embedding", operands, {"interleaved": own.get("interleaved", 0)}


def _cast(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    target = helper.tensor_dtype_to_np_dtype(own["to"])
    if target not in NAMES:
        return None
    kind = "nn.cast" if own.get("saturate", 1) else "nn.cast_unsaturated"
    return kind, inputs, {"dtype": NAMES[target]}


def _divide(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    return "nn.div" if inputs[0].dtype.kind == "f" else "nn.idiv", inputs, own


def _lp_pool(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    if len(own["kernel_shape"]) != 2 or {"auto_pad", "ceil_mode"} & set(own):
        return None
    return (
        "nn.lp_pool2d",
        inputs,
        {
            "kernel": own["kernel_shape"],
            "strides": own.get("strides", (1, 1)),
            "pads": own.get("pads", (0,) * 4),
            "dilations": own.get("dilations", (1, 1)),
            "p": own.get("p", 2),
        },
    )


def _average_pool(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    """Any rank as three axes, ceil_mode as an overhang; padding by name is left out."""
    (x,), n = inputs, len(own["kernel_shape"])
    if own.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    more = (1,) * (3 - n)
    kernel = (*more, *own["kernel_shape"])
    strides = (*more, *own.get("strides", (1,) * n))
    dilations = (*more, *own.get("dilations", (1,) * n))
    pads = own.get("pads", (0,) * 2 * n)
    around: list[list[int]] = [[0] * (3 - n) + [*half] for half in (pads[:n], pads[n:])]
    x = x.reshape(*x.shape[:2], *more, *x.shape[2:])
    overhang = [0, 0, 0]
    if own.get("ceil_mode", 0):
        for i in range(3):
            extent = (kernel[i] - 1) * dilations[i] + 1
            rest = (x.shape[2 + i] + around[0][i] + around[1][i] - extent) % strides[i]
            overhang[i] = strides[i] - rest if rest else 0
            # a window that would start in the padding behind the end is left out
            last = x.shape[2 + i] + around[0][i] + around[1][i] + overhang[i] - extent
            if last >= x.shape[2 + i] + around[0][i]:
                overhang[i] = 0
    attributes = {
        "kernel": kernel,
        "strides": strides,
        "pads": (*around[0], *around[1]),
        "dilations": dilations,
        "overhang": tuple(overhang),
        "count_include_pad": own.get("count_include_pad", 0),
    }
    return "nn.average_pool3d", [x], attributes


def _resize(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    slots: list[Any] = [*inputs, None, None, None]
    x, roi, scales, sizes = slots[:4]
    axes = [axis % x.ndim for axis in own.get("axes", range(x.ndim))]
    if own.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    new, factors = list(x.shape), [1.0] * x.ndim
    for i, axis in enumerate(axes):
        if sizes is not None and sizes.size:
            new[axis] = int(sizes[i])
        else:
            factors[axis] = float(scales[i])
            new[axis] = int(np.floor(x.shape[axis] * factors[axis]))
    coordinate = own.get("coordinate_transformation_mode", "half_pixel")
    region = [0.0] * x.ndim + [1.0] * x.ndim
    if coordinate == "tf_crop_and_resize":
        for i, axis in enumerate(axes):
            region[axis], region[x.ndim + axis] = float(roi[i]), float(roi[len(axes) + i])
    by_size = sizes is not None and sizes.size
    return (
        "nn.resize",
        [x],
        {
            "sizes": tuple(new),
            "scales": "" if by_size else ",".join(map(str, factors)),
            "roi": ",".join(map(str, region)) if coordinate == "tf_crop_and_resize" else "",
            "mode": own.get("mode", "nearest"),
            "coordinate_transformation_mode": coordinate,
            "nearest_mode": own.get("nearest_mode", "round_prefer_floor"),
            "cubic_coeff_a": own.get("cubic_coeff_a", -0.75),
            "exclude_outside": own.get("exclude_outside", 0),
            "antialias": own.get("antialias", 0),
            "extrapolation_value": own.get("extrapolation_value", 0.0),
        },
    )


def _grid(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    usual: Attributes = {"mode": "linear", "padding_mode": "zeros", "align_corners": 0} | own
    old = {"bilinear": "linear", "bicubic": "cubic"}
    return "nn.grid_sample", inputs, usual | {"mode": old.get(usual["mode"], usual["mode"])}


def _regions(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    usual = {
        "output_height": 1,
        "output_width": 1,
        "sampling_ratio": 0,
        "spatial_scale": 1.0,
        "mode": "avg",
        "coordinate_transformation_mode": "half_pixel",
    }
    return "nn.roi_align", inputs, usual | own


def _recurrent(node: onnx.NodeProto, inputs: list[Any], own: Attributes) -> Call | None:
    kind, usual, gates = GATES[node.op_type]
    if own.pop("layout", 0) or "activations" in own:
        return None
    hidden, direction = own.pop("hidden_size"), own.pop("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    slots: list[Any] = [*inputs, *(None,) * 8]
    x, w, r, b, lengths, h0, c0, p = slots[:8]
    state = np.zeros((count, x.shape[1], hidden), x.dtype)
    # in our order, with what stands for an absent one
    more: list[tuple[Any, Array]] = [(b, np.zeros((count, 2 * gates * hidden), x.dtype))]
    more += [(h0, state), (c0, state)] if kind == "nn.lstm" else [(h0, state)]
    more += [(lengths, np.full(x.shape[1], x.shape[0], np.int32)), (p, state)]
    while more and more[-1][0] is None:
        more.pop()
    filled = [other if operand is None else operand for operand, other in more]
    flags = {"nn.lstm": "input_forget", "nn.gru": "linear_before_reset"}
    form: Attributes = {flags[kind]: own.pop(flags[kind], 0)} if kind in flags else {}
    form["clip"] = own.pop("clip", 0.0)
    assert not own
    form |= {"direction": direction, "activations": ",".join([usual] * count)}
    return kind, [x, w, r, *filled], form


MAPPED: dict[str, Callable[[onnx.NodeProto, list[Any], Attributes], Call | None]] = {
    **dict.fromkeys(PLAIN, _plain),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(GATES, _recurrent),
    "Attention": _attention,
    "AveragePool": _average_pool,
    "BitShift": _shift,
    "Cast": _cast,
    "ConvTranspose": _conv_transpose,
    "Div": _divide,
    "GridSample": _grid,
    "LpPool": _lp_pool,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Resize": _resize,
    "ReverseSequence": _reverse,
    "RotaryEmbedding": _rotary,
    "TopK": _top_k,
    "RoiAlign": _regions,
    "Trilu": _trilu,
}
