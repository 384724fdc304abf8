"""Convolution and pooling windows: ONNX's padding rules as four explicit pads."""

from __future__ import annotations

from tetrapla.frontend.onnx.node import OnnxNode, Operand, Refusal
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Attribute

_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def convolution(node: OnnxNode, x: Operand, w: Operand) -> dict[str, Attribute]:
    """Attributes that nn.conv2d and qnn.conv2d share.

    Raises:
        Refusal: it is not two-dimensional.
        ModelError: an attribute is out of range.
    """
    if len(x.shape) != len(w.shape) or len(x.shape) < 3:
        raise ModelError(
            f"a convolution needs a value and weights of the same rank of 3 or more, "
            f"not shapes {list(x.shape)} and {list(w.shape)}"
        )
    if len(x.shape) != 4:
        raise Refusal("only in two dimensions (N, C, H, W)")
    kernel = w.shape[2:]
    if node.ints("kernel_shape", kernel) != kernel:
        given = list(node.ints("kernel_shape", kernel))
        raise ModelError(f"kernel_shape must be the weights' {list(kernel)}, not {given}")
    strides, dilations = _positive(node, "strides"), _positive(node, "dilations")
    return {
        "strides": strides,
        "pads": _pads(node, x.shape[2:], kernel, strides, dilations),
        "dilations": dilations,
        "groups": node.int("group", 1),
    }


def max_window(node: OnnxNode, x: Operand) -> dict[str, Attribute]:
    """Attributes of nn.max_pool2d; see `convolution` for what is raised."""
    kernel = _kernel(node, x)
    strides, dilations = _positive(node, "strides"), _positive(node, "dilations")
    _check_same(node, x.shape[2:], kernel, strides, dilations)
    pads = _pads(node, x.shape[2:], kernel, strides, dilations)
    more = _ceiling(node, x.shape[2:], kernel, strides, dilations, pads)
    return {
        "kernel": kernel,
        "strides": strides,
        "pads": (pads[0], pads[1], pads[2] + more[0], pads[3] + more[1]),
        "dilations": dilations,
    }


def average_window(node: OnnxNode, x: Operand) -> dict[str, Attribute]:
    """Attributes of nn.average_pool2d; see `convolution` for what is raised."""
    kernel, strides = _kernel(node, x), _positive(node, "strides")
    if _positive(node, "dilations") != (1, 1):
        raise Refusal("only without dilations")
    _check_same(node, x.shape[2:], kernel, strides, (1, 1))
    pads = _pads(node, x.shape[2:], kernel, strides, (1, 1))
    more = _ceiling(node, x.shape[2:], kernel, strides, (1, 1), pads)
    include = node.int("count_include_pad", 0)
    if any(more) and include and any(pads):
        raise Refusal("only without ceil_mode when the padding counts")
    return {
        "kernel": kernel,
        "strides": strides,
        "pads": (pads[0], pads[1], pads[2] + more[0], pads[3] + more[1]),
        # windows that ceil_mode lets stick out never count what lies outside
        "count_include_pad": 0 if any(more) else include,
    }


def _check_same(
    node: OnnxNode,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> None:
    """Refuse the pooling for which ONNX Runtime differs from ONNX's rule for SAME_*.

    It leaves the dilation out of the padding, and crops the end (a negative padding) where
    the windows do not reach it.
    """
    if not node.str("auto_pad", "NOTSET").startswith("SAME"):
        return
    if dilations != (1, 1):
        raise Refusal("only without dilations when auto_pad is SAME_UPPER or SAME_LOWER")
    for axis in (0, 1):
        windows = -(-size[axis] // strides[axis])
        if (windows - 1) * strides[axis] + kernel[axis] < size[axis]:
            raise Refusal(
                "only with windows up to the end when auto_pad is SAME_UPPER or SAME_LOWER"
            )


def _kernel(node: OnnxNode, x: Operand) -> tuple[int, ...]:
    if len(x.shape) < 3:
        raise ModelError(f"pooling needs a value of rank 3 or more, not {list(x.shape)}")
    if len(x.shape) != 4:
        raise Refusal("only in two dimensions (N, C, H, W)")
    kernel = node.ints("kernel_shape", (1, 1))
    if min(kernel) < 1:
        raise ModelError(f"kernel_shape must be positive, not {list(kernel)}")
    return kernel


def _positive(node: OnnxNode, key: str) -> tuple[int, ...]:
    values = node.ints(key, (1, 1))
    if min(values) < 1:
        raise ModelError(f"{key} must be positive, not {list(values)}")
    return values


def _pads(
    node: OnnxNode,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Top, left, bottom, right."""
    mode = node.str("auto_pad", "NOTSET")
    if mode not in _AUTO_PADS:
        raise ModelError(f"auto_pad must be one of {', '.join(_AUTO_PADS)}, not {mode[:20]!r}")
    pads = node.ints("pads", (0, 0, 0, 0))
    if mode == "NOTSET":
        return pads
    if any(pads):
        raise ModelError(f"pads must be absent when auto_pad is {mode}")
    if mode == "VALID":
        return (0, 0, 0, 0)
    first: list[int] = []
    last: list[int] = []
    for axis in (0, 1):
        # output = ceil(size / stride), so the padded input must hold that many windows
        windows = -(-size[axis] // strides[axis])
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        total = max((windows - 1) * strides[axis] + extent - size[axis], 0)
        small, large = total // 2, total - total // 2
        first.append(small if mode == "SAME_UPPER" else large)
        last.append(large if mode == "SAME_UPPER" else small)
    return (*first, *last)


def _ceiling(
    node: OnnxNode,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
) -> tuple[int, int]:
    """How much further ceil_mode reaches beyond the end of height and width."""
    # with VALID too, as ONNX's shape inference and ONNX Runtime do; SAME_* leaves no rest
    if not node.int("ceil_mode", 0) or node.str("auto_pad", "NOTSET").startswith("SAME"):
        return 0, 0
    more: list[int] = []
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        padded = size[axis] + pads[axis] + pads[axis + 2]
        windows = -(-(padded - extent) // strides[axis]) + 1
        # a window must start inside the input or its leading padding
        if (windows - 1) * strides[axis] >= size[axis] + pads[axis]:
            windows -= 1
        more.append(max((windows - 1) * strides[axis] + extent - padded, 0))
    return more[0], more[1]
