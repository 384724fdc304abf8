"""A part of a window operator: the access descriptor of some output rows of another's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from tetrapla.simulators.systolic.tables import Descriptor


@dataclass(frozen=True)
class Grid:
    """Output rows that may be cut apart.

    They are the rows of pixels of all images, one after another; or, where there is one row of
    pixels in all, the pixels (so the rows of a matrix).

    Attributes:
        images: how often `height` rows follow one another.
        height: rows of one image.
        pixels: of one row.
        across: the rows are the pixels of the only row.
    """

    images: int
    height: int
    pixels: int
    across: bool

    @staticmethod
    def of(d: Descriptor, outputs: int) -> Grid:
        """The grid of a descriptor that makes so many pixels."""
        images = outputs // (d.out_h * d.out_w)
        if images * d.out_h == 1:
            return Grid(1, d.out_w, 1, across=True)
        return Grid(images, d.out_h, d.out_w, across=False)

    @property
    def rows(self) -> int:
        """Of all images."""
        return self.images * self.height

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First row and end of each strip of at most `most` rows, as even as they come.

        A strip lies within one image or holds whole images: one descriptor reads it.
        """
        if most >= self.height:
            ends = even(self.images, most // self.height)
            return [(a * self.height, b * self.height) for a, b in ends]
        parts = even(self.height, most)
        starts = range(0, self.rows, self.height)
        return [(start + a, start + b) for start in starts for a, b in parts]


def even(count: int, most: int) -> list[tuple[int, int]]:
    """Parts of at most `most` of `count`, as even as they come."""
    parts = -(-count // most)
    ends = [count * n // parts for n in range(parts + 1)]
    return list(pairwise(ends))


@dataclass(frozen=True)
class Part:
    """Some rows of a window's grid, and what of the operand they read.

    Attributes:
        skipped_bytes: of the operand before it.
        height, width: of the operand's part.
        out_h, out_w: rows and pixels of one image.
        pad_top, pad_left: padding before it.
        span_bytes: from the part's first byte to its last pixel.
    """

    skipped_bytes: int
    height: int
    width: int
    out_h: int
    out_w: int
    pad_top: int
    pad_left: int
    span_bytes: int

    @staticmethod
    def of(d: Descriptor, rows: Grid, first: int, end: int) -> Part:
        """The part for rows `first` up to `end`, which are a strip of the grid."""
        skipped, images = 0, 1
        height, width, out_h, out_w = d.height, d.width, d.out_h, d.out_w
        pad_top, pad_left = d.pad_top, d.pad_left
        if rows.across:
            reach = (d.kernel_w - 1) * d.dilation_x + 1
            x, width, pad_left = _taken(d.width, d.stride_x, d.pad_left, reach, first, end)
            skipped, out_w = x * d.pixel_stride, end - first
        elif end - first >= rows.height:
            skipped = first // rows.height * d.image_stride
            images = (end - first) // rows.height
        else:
            image, top = divmod(first, rows.height)
            out_h, reach = end - first, (d.kernel_h - 1) * d.dilation_y + 1
            y, height, pad_top = _taken(
                d.height, d.stride_y, d.pad_top, reach, top, top + out_h
            )
            skipped = image * d.image_stride + y * d.row_stride
        span = (images - 1) * d.image_stride
        span += (height - 1) * d.row_stride + (width - 1) * d.pixel_stride
        return Part(skipped, height, width, out_h, out_w, pad_top, pad_left, span)

    def descriptor(self, d: Descriptor, start: int) -> Descriptor:
        """The descriptor of the part, where the buffer begins with byte `start`."""
        return replace(
            d,
            base=d.base + self.skipped_bytes - start,
            height=self.height,
            width=self.width,
            out_h=self.out_h,
            out_w=self.out_w,
            pad_top=self.pad_top,
            pad_left=self.pad_left,
        )


def _taken(
    size: int, stride: int, pad: int, reach: int, first: int, end: int
) -> tuple[int, int, int]:
    """The operand's part of an axis that output places `first` up to `end` read.

    Returns:
        How much is left out before it; its size, one at least for a strip that lies in the
        padding alone; and the padding before it.
    """
    start = first * stride - pad
    low = min(max(start, 0), size - 1)
    high = min((end - 1) * stride - pad + reach, size)
    return low, max(high, low + 1) - low, low - start
