"""Which element of a buffer a kernel reads: the arithmetic of its address expressions."""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.kernels import Conv, MatMul, Pool


def strided(index: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """Offsets of row-major positions `index` of `shape` under other strides."""
    offset = np.zeros_like(index)
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        offset += index % size * stride
        index = index // size
    return offset


def matmul_operands(
    kernel: MatMul, z: int, row: Array, column: Array, step: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array], Array]:
    """Offsets and masks of a[row, step] and b[step, column], and offsets of y[row, column]."""
    _, m, n, k = kernel.problem
    which = np.array([z])

    def placed(view: tuple[int, ...], first: Array, second: Array, offset: int = 0) -> Array:
        *lead, down, across = view
        start = strided(which, kernel.lead, tuple(lead))[0] + offset
        return np.asarray(start + first[:, None] * down + second * across)

    a = placed(kernel.a_view, row, step, kernel.a_offset)
    b = placed(kernel.b_view, step, column, kernel.b_offset)
    y = placed(kernel.y_view, row, column)
    a_inside = (row < m)[:, None] & (step < k)
    b_inside = (step < k)[:, None] & (column < n)
    return (a, a_inside), (b, b_inside), y


def conv_operands(
    kernel: Conv, group: int, row: Array, column: Array, step: Array
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array], Array]:
    """Offsets and masks of the patches, of the filters, and offsets of the output.

    The patches have two masks: inside the matrix, and inside the image (else padding).
    """
    _, m, n, k = kernel.problem
    _, channels, height, width = kernel.shape
    out_h, out_w = kernel.out
    _, kernel_w = kernel.kernel
    own = channels // kernel.groups
    top, left, _, _ = kernel.pads
    image, p, q = row // (out_h * out_w), row // out_w % out_h, row % out_w
    # channels are innermost: where they lie side by side, a step's loads are contiguous
    r, s, c = step // (kernel_w * own), step // own % kernel_w, step % own
    y = (p * kernel.strides[0] - top)[:, None] + r * kernel.dilations[0]
    x = (q * kernel.strides[1] - left)[:, None] + s * kernel.dilations[1]
    of_image, of_channel, of_row, of_column = kernel.x_view
    patches = image[:, None] * of_image + (group * own + c) * of_channel
    patches = patches + y * of_row + x * of_column
    in_matrix = (row < m)[:, None] & (step < k)
    in_image = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    of_filter, of_channel, of_row, of_column = kernel.w_view
    filters = (group * n + column) * of_filter
    filters = filters + (c * of_channel + r * of_row + s * of_column)[:, None]
    in_filters = (step < k)[:, None] & (column < n)
    of_image, of_filter, of_row, of_column = kernel.y_view
    output = (group * n + column) * of_filter
    output = output + (image * of_image + p * of_row + q * of_column)[:, None]
    return (patches, in_matrix, in_image), (filters, in_filters), output


def windows(kernel: Pool) -> tuple[Array, Array, Array, Array]:
    """Of every output, in the order of memory: image and plane beside it, row, column."""
    out_h, out_w = kernel.out
    index = np.arange(kernel.planes * out_h * out_w)
    lane, pixel = index % kernel.beside, index // kernel.beside
    return pixel // (out_h * out_w), lane, pixel // out_w % out_h, pixel % out_w


def window_operand(kernel: Pool, r: int, s: int) -> tuple[Array, Array]:
    """Offsets of element (r, s) of every window, in output order, and whether it is inside."""
    height, width = kernel.size
    plane, lane, p, q = windows(kernel)
    y = p * kernel.strides[0] - kernel.pads[0] + r * kernel.dilations[0]
    x = q * kernel.strides[1] - kernel.pads[1] + s * kernel.dilations[1]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return ((plane * height + y) * width + x) * kernel.beside + lane, inside


def window_padded(kernel: Pool, r: int, s: int) -> Array:
    """Whether element (r, s) of every window lies inside the padded image."""
    height, width = kernel.size
    _, _, p, q = windows(kernel)
    y = p * kernel.strides[0] - kernel.pads[0] + r
    x = q * kernel.strides[1] - kernel.pads[1] + s
    return (y < height + kernel.pads[2]) & (x < width + kernel.pads[3])
