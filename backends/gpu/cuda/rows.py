"""Kernels with a thread per element, or several threads that share a row."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from tetrapla.backends.gpu.cuda.steps import Element, integers, stepped
from tetrapla.backends.gpu.cuda.text import (
    REGISTERS,
    THREADS,
    Writer,
    number,
    offset,
    quotient,
    whole,
)
from tetrapla.backends.gpu.text import affine
from tetrapla.backends.gpu.tiles import power_of_two
from tetrapla.ir.quant.arithmetic import sum_terms
from tetrapla.simulators.gpu.kernels import (
    Binary,
    Gather,
    GlobalPool,
    Kernel,
    Pointwise,
    Pool,
    Softmax,
)
from tetrapla.simulators.gpu.steps import RANGES


@dataclass(frozen=True)
class Sharing:
    """Rows of a block and the threads of each; one thread has several lanes of a long row."""

    rows: int
    length: int

    @property
    def threads(self) -> int:
        """Of one row: a power of two."""
        return min(THREADS, power_of_two(self.length))

    @property
    def blocks(self) -> int:
        """Of the launch."""
        return -(-self.rows * self.threads // THREADS)

    def begin(self, write: Writer) -> None:
        """Declare the row, whether there is one, and the thread's first lane."""
        each = THREADS // self.threads
        row = "blockIdx.x"
        if each > 1:
            row = f"blockIdx.x * {each} + threadIdx.x / {self.threads}"
        write(f"const int row = {row}, first = threadIdx.x % {self.threads};")
        # an idle thread has no lanes, but waits with the others
        held = self.length if each == 1 else f"row < {self.rows} ? {self.length} : 0"
        write(f"const int lanes = {held};")

    def loop(self) -> str:
        """The head of the loop over a thread's lanes."""
        return f"for (int lane = first; lane < lanes; lane += {self.threads}) {{"

    def across(self, join: str, value: str, scratch: str) -> str:
        """The text that joins a number of every thread of a row."""
        return f"across<{join}, {self.threads}>({value}, {scratch})"


def elements(kernel: Kernel) -> int:
    """Threads that a kernel needs: one for each element of its output."""
    match kernel:
        case Pool():
            return kernel.planes * prod(kernel.out)
        case Pointwise():
            return kernel.elements
        case Binary() | Gather():
            return prod(kernel.shape)
        case _:
            raise AssertionError(type(kernel).__name__)


def pool(kernel: Pool, write: Writer) -> None:
    """Write a pool: a loop over the window."""
    (height, width), (out_h, out_w) = kernel.size, kernel.out
    top, left, bottom, right = kernel.pads
    largest = kernel.function == "max"
    register = REGISTERS[write.dtype(kernel.x)] if largest else "float"
    _index(write, elements(kernel))
    beside = kernel.beside
    least = whole(-(2**31)) if register == "int" else "-infinity()"
    if largest:
        write(f"{register} best = {least};")
    else:
        write("float sum = 0.0f;", "int count = 0;")
    write(
        f"for (int r = 0; r < {kernel.kernel[0]}; r++) {{",
        f"for (int s = 0; s < {kernel.kernel[1]}; s++) {{",
        f"const int p = {quotient('index', out_w * beside, out_h)};",
        f"const int q = {quotient('index', beside, out_w)};",
        f"const int h = {affine('p', kernel.strides[0], -top)} + "
        f"{affine('r', kernel.dilations[0])};",
        f"const int w = {affine('q', kernel.strides[1], -left)} + "
        f"{affine('s', kernel.dilations[1])};",
    )
    if kernel.count_include_pad and not largest:
        write(f"count += h < {height + bottom} && w < {width + right};")
    write(f"if (h < 0 || h >= {height} || w < 0 || w >= {width}) continue;")
    plane = quotient("index", out_h * out_w * beside)
    place = f"(({plane}) * {height} + h) * {width} + w"
    if beside > 1:
        place = f"({place}) * {beside} + index % {beside}"
    _joined(kernel, write, write.load(kernel.x, place))
    write("}", "}")
    y = "best" if largest else "div(sum, (float)count)"
    if kernel.function == "quant_average":
        # the zero point enters before the rounding
        y = f"add(div({y}, {number(kernel.scales[1])}), {number(kernel.zero_points[1])})"
        y, register = integers(y, 0, *RANGES[write.dtype(kernel.x)]), "int"
    _finish(kernel, write, y, register)


def _joined(kernel: Pool, write: Writer, x: str) -> None:
    """Take an element of the window in."""
    if kernel.function == "max":
        write(f"best = maximum(best, {x});")
        return
    if kernel.function == "quant_average":
        x = f"mul((float)({x} - {kernel.zero_points[0]}), {number(kernel.scales[0])})"
    write(f"sum = add(sum, {x});")
    if not kernel.count_include_pad:
        write("count++;")


def pointwise(kernel: Pointwise, write: Writer) -> None:
    """Write the steps alone."""
    _index(write, kernel.elements)
    register = REGISTERS[write.dtype(kernel.x)]
    _finish(kernel, write, write.load(kernel.x, "index"), register)


def gather(kernel: Gather, write: Writer) -> None:
    """Write a copy in another order."""
    _index(write, elements(kernel))
    place = offset("index", kernel.shape, kernel.strides)
    _finish(kernel, write, write.load(kernel.x, place), REGISTERS[write.dtype(kernel.x)])


def binary(kernel: Binary, write: Writer) -> None:
    """Write a sum or product of two tensors."""
    _index(write, elements(kernel))
    a = write.load(kernel.a, offset("index", kernel.shape, kernel.a_strides))
    b = write.load(kernel.b, offset("index", kernel.shape, kernel.b_strides))
    register = REGISTERS[write.dtype(kernel.a)]
    if kernel.function == "quant_add":
        terms = sum_terms(kernel.scales, kernel.zero_points)
        ra, rb, c = (number(float(term)) for term in terms)
        y = f"__fmaf_rn((float){a}, {ra}, __fmaf_rn((float){b}, {rb}, {c}))"
        y, register = integers(y, 0, *RANGES[write.dtype(kernel.a)]), "int"
    else:
        y = f"{kernel.function}({a}, {b})"
    _finish(kernel, write, y, register)


def global_pool(kernel: GlobalPool, write: Writer) -> None:
    """Write the mean of each plane."""
    sharing = Sharing(kernel.planes, kernel.size)
    quantised = kernel.function == "quant_average"
    register = "int" if quantised else "float"
    write(f"__shared__ {register} scratch[{THREADS}];")
    sharing.begin(write)
    write(f"{register} own = 0;", sharing.loop())
    place, beside = f"(Index)row * {kernel.size} + lane", kernel.beside
    if beside > 1:
        plane = f"(Index)(row / {beside}) * {kernel.size}"
        place = f"({plane} + lane) * {beside} + row % {beside}"
    x = write.load(kernel.x, place)
    write(f"own = add(own, {x}{_less(kernel.zero_points[0]) if quantised else ''});", "}")
    write(f"const {register} sum = {sharing.across('Sum', 'own', 'scratch')};")
    write(f"if (first != 0 || row >= {kernel.planes}) return;", "const Index index = row;")
    if not quantised:
        _finish(kernel, write, f"div(sum, {number(kernel.size)})", "float")
        return
    x_scale, y_scale = (np.float32(scale) for scale in kernel.scales)
    scale = number(float(x_scale / (y_scale * np.float32(kernel.size))))
    low_high = RANGES[write.dtype(kernel.x)]
    y = integers(f"mul((float)sum, {scale})", kernel.zero_points[1], *low_high)
    _finish(kernel, write, y, "int")


def _less(zero_point: int) -> str:
    return f" - {zero_point}" if zero_point >= 0 else f" + {-zero_point}"


def softmax(kernel: Softmax, write: Writer) -> None:
    """Write a softmax: the largest, the sum of powers, the quotients."""
    sharing = Sharing(kernel.rows, kernel.length)
    write(f"__shared__ float scratch[{THREADS}];")
    sharing.begin(write)
    start, step = f"(Index)row * {kernel.length}", "lane"
    if kernel.stride != 1:
        plane = kernel.length * kernel.stride
        start = f"(Index)(row / {kernel.stride}) * {plane} + row % {kernel.stride}"
        step = f"(Index)lane * {kernel.stride}"
    write(f"const Index start = {start};")
    x = write.load(kernel.x, f"start + {step}")
    write("float own = -infinity();", sharing.loop(), f"own = maximum(own, {x});", "}")
    write(f"const float top = {sharing.across('Largest', 'own', 'scratch')};")
    power = f"expf(sub({x}, top))"
    write("own = 0.0f;", sharing.loop(), f"own = add(own, {power});", "}")
    write(f"const float sum = {sharing.across('Sum', 'own', 'scratch')};", sharing.loop())
    write(f"const Index index = start + {step};")
    _finish(kernel, write, f"div({power}, sum)", "float")
    write("}")


def _index(write: Writer, count: int) -> None:
    write(f"const Index index = (Index)blockIdx.x * {THREADS} + threadIdx.x;")
    write(f"if (index >= {count}) return;")


def _finish(kernel: Kernel, write: Writer, y: str, register: str) -> None:
    """The steps and the store of a kernel whose output position is `index`."""
    write(f"const {register} y0 = {y};")
    at = Element(quotient("index", kernel.inner, kernel.channels), "index")
    write.store(kernel.output, "index", stepped(kernel.steps, write, at, "y0", register))
