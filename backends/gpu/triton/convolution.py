"""Convolutions as products: where the patches, the filters and the result lie.

Rows of the product are pixels of the result, its columns filters, and its steps run over the
window's rows, its columns and, innermost, the channels.
"""

from __future__ import annotations

from tetrapla.backends.gpu.text import affine
from tetrapla.backends.gpu.triton.loading import across, down, load, masks, times, total
from tetrapla.backends.gpu.triton.text import Writer, quotient
from tetrapla.simulators.gpu.kernels import Conv


def rows(kernel: Conv, write: Writer) -> None:
    """What depends on the row alone: its pixel, and where its window begins."""
    out_h, out_w = kernel.out
    top, left, _, _ = kernel.pads
    of_image, of_channel, of_row, of_column = kernel.x_view
    grouped = kernel.groups > 1 and not kernel.is_depthwise
    if grouped:
        write(f"group = {write.program(2)}")
    write(
        f"image = {quotient('row', out_h * out_w)}",
        f"p = {quotient('row', out_w, out_h)}",
        f"q = row % {out_w}",
        f"top = {affine('p', kernel.strides[0], -top)}",
        f"left = {affine('q', kernel.strides[1], -left)}",
    )
    own = kernel.shape[1] // kernel.groups * of_channel
    start = total(
        times("group", own) if grouped else "",
        times("image", of_image),
        times("top", of_row),
        times("left", of_column),
    )
    write(f"corner = {start}")


def loads(kernel: Conv, write: Writer) -> None:
    """The operands of one step of the loop."""
    _, channels, height, width = kernel.shape
    own, (kernel_h, kernel_w) = channels // kernel.groups, kernel.kernel
    if (kernel_h, kernel_w) != (1, 1):
        write(
            f"r = {quotient('step', kernel_w * own)}", f"s = {quotient('step', own, kernel_w)}"
        )
    if own > 1:
        write("c = step" if (kernel_h, kernel_w) == (1, 1) else f"c = step % {own}")
    _, of_channel, of_row, of_column = kernel.x_view
    tap = _window(kernel, (of_channel, of_row, of_column), kernel.dilations)
    in_a, in_b = masks(kernel)
    if any(kernel.pads):
        r, s = ("r", "s") if (kernel_h, kernel_w) != (1, 1) else ("", "")
        write(
            f"h = {total('top[:, None]', r and across(times(r, kernel.dilations[0])))}",
            f"w = {total('left[:, None]', s and across(times(s, kernel.dilations[1])))}",
        )
        image = f"(h >= 0) & (h < {height}) & (w >= 0) & (w < {width})"
        in_a = f"{in_a} & {image}" if in_a else image
    if in_a:
        write(f"in_a = {in_a}")
    if in_b:
        write(f"in_b = {in_b}")
    # the padding holds the zero point
    patches = f"corner[:, None] + {across(tap)}"
    load(kernel, write, "a", kernel.a, patches, in_a and "in_a", kernel.a_zero_point)
    load(kernel, write, "b", kernel.b, _filters(kernel), in_b and "in_b", 0)


def _window(
    kernel: Conv, strides: tuple[int, int, int], factors: tuple[int, int] = (1, 1)
) -> str:
    """The address of a channel, a row and a column of the window."""
    of_channel, of_row, of_column = strides
    c = times("c", of_channel) if kernel.shape[1] > kernel.groups else ""
    if kernel.kernel == (1, 1):
        return c or "step * 0"
    by_row, by_column = of_row * factors[0], of_column * factors[1]
    return total(times("r", by_row), times("s", by_column), c)


def _filters(kernel: Conv) -> str:
    of_filter, of_channel, of_row, of_column = kernel.w_view
    own, (kernel_h, kernel_w) = kernel.shape[1] // kernel.groups, kernel.kernel
    _, _, n, _ = kernel.problem
    along = kernel_w == 1 or of_column == own * of_channel
    whole = along and (kernel_h == 1 or of_row == kernel_w * own * of_channel)
    step = times("step", of_channel)
    if not whole:
        step = _window(kernel, (of_channel, of_row, of_column))
    return f"{down(step)} + {across(times(number(kernel, n), of_filter))}"


def number(kernel: Conv, n: int) -> str:
    """A column's number among all groups' filters."""
    plain = kernel.groups == 1 or kernel.is_depthwise
    return "column" if plain else f"group * {n} + column"


def place(kernel: Conv) -> str:
    """The address of each result."""
    of_image, of_filter, of_row, of_column = kernel.y_view
    out_h, out_w = kernel.out
    _, _, n, _ = kernel.problem
    pixels, images = out_h * out_w, kernel.shape[0]
    filters = across(times(number(kernel, n), of_filter))
    if of_row == out_w * of_column and of_image == pixels * of_column:
        return f"{down(times('row', of_column))} + {filters}"
    pixel = total(times("p", of_row), times("q", of_column))
    if of_row == out_w * of_column:
        pixel = times(f"row % {pixels}", of_column) if images > 1 else times("row", of_column)
    image = times("image", of_image) if images > 1 else ""
    return f"{down(total(image, pixel))} + {filters}"
