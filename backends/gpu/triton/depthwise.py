"""Convolutions of one filter per channel: no product of matrices, but a sum over the window.

A program instance has pixels of the result along its rows and channels along its columns; each
of the window's taps is a load of both, a product and a sum. Along k there is nothing that the
tensor cores could share.
"""

from __future__ import annotations

from tetrapla.backends.gpu.tiles import power_of_two
from tetrapla.backends.gpu.triton import convolution
from tetrapla.backends.gpu.triton.loading import across, load, times, total, zero_points
from tetrapla.backends.gpu.triton.text import Writer
from tetrapla.simulators.gpu.kernels import Conv

PIXELS, CHANNELS = 32, 64  # of a program instance at most, assumed: 16 sums of each thread


def extents(kernel: Conv) -> tuple[int, int]:
    """Pixels and channels of a program instance."""
    return PIXELS, min(CHANNELS, power_of_two(kernel.groups))


def grid(kernel: Conv) -> tuple[int, int, int]:
    """Program instances: blocks of pixels, of channels."""
    pixels, channels = extents(kernel)
    return -(-kernel.problem[1] // pixels), -(-kernel.groups // channels), 1


def depthwise(kernel: Conv, write: Writer) -> None:
    """Write everything up to the steps; `y` holds the sums."""
    pixels, channels = extents(kernel)
    _, m, _, _ = kernel.problem
    integer = kernel.operand == "i8"
    write(
        f"row = {write.program(0)} * {pixels} + tl.arange(0, {pixels})",
        f"column = {write.program(1)} * {channels} + tl.arange(0, {channels})",
        f"in_row = row[:, None] < {m}",
        f"in_column = column[None, :] < {kernel.groups}",
        "inside = in_row & in_column",
    )
    convolution.rows(kernel, write)
    kind = "tl.int32" if integer else "tl.float32"
    write(f"y = tl.zeros(({pixels}, {channels}), {kind})")
    write(f"for r in range({kernel.kernel[0]}):", f"    for s in range({kernel.kernel[1]}):")
    write.indent += 2
    _tap(kernel, write)
    za, zb = zero_points(kernel, write.dtypes)
    for name, zero in (("a", za), ("b", zb)):
        less = f" - {zero}" if zero else ""
        write(f"{name} = {name}.to({kind}){less}")
    write("y = y + a * b")
    write.indent -= 2


def _tap(kernel: Conv, write: Writer) -> None:
    """Load what one place of the window takes of every pixel and channel."""
    _, _, height, width = kernel.shape
    down, right = kernel.dilations
    _, of_channel, of_row, of_column = kernel.x_view
    image = "inside"
    if any(kernel.pads):
        write(
            f"h = top + {times('r', down) or '0'}",
            f"w = left + {times('s', right) or '0'}",
            f"seen = (h >= 0) & (h < {height}) & (w >= 0) & (w < {width})",
        )
        image = "seen[:, None] & inside"
    tap = total("corner[:, None]", times("r", down * of_row), times("s", right * of_column))
    patches = f"{tap} + {across(times('column', of_channel))}"
    # the padding holds the zero point
    load(kernel, write, "a", kernel.a, patches, image, kernel.a_zero_point)
    of_filter, _, of_row, of_column = kernel.w_view
    taps = total(times("r", of_row), times("s", of_column), across(times("column", of_filter)))
    load(kernel, write, "b", kernel.b, taps, "in_column", kernel.b_zero_point)
