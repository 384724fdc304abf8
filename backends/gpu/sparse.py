"""Weights with zeros in two of each four places, packed where a product waits for them.

The tensor cores' own sparse instruction (`mma.sp`) cannot be reached from Triton, so nothing is
multiplied faster; but a product of few rows takes as long as its weights take from the memory,
and packed they are 9/16 of their size in 16 bits, 5/8 in 8. The kernel unpacks a tile as it
loads it: values and their order of summation stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.kernels import Kernel, MatMul
from tetrapla.simulators.gpu.program import Buffer, Program
from tetrapla.simulators.gpu.sparse import GROUP, KEPT, PACKED, fits, packed

# rows of a product that waits for its weights, assumed: an H100 does some 300 operations in the
# time of a byte, 16 rows of a 16-bit weight 16
MOST_ROWS = 16


def compressed(program: Program) -> Program:
    """The program with its packed weights; what has no such weights as it is."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    weights = dict(program.weights)
    kernels = [_compressed(kernel, buffers, weights) for kernel in program.kernels]
    if all(new is old for new, old in zip(kernels, program.kernels, strict=True)):
        return program
    return _used(program, kernels, buffers, weights)


def _compressed(
    kernel: Kernel, buffers: dict[str, Buffer], weights: dict[str, Array]
) -> Kernel:
    if not isinstance(kernel, MatMul) or kernel.lead or kernel.m > MOST_ROWS:
        return kernel
    held, b = buffers[kernel.b], _matrix(kernel, weights)
    if b is None or kernel.b_zero_point or held.dtype == "ui8" or not fits(b):
        return kernel
    kept, places = f"{kernel.b}.kept", f"{kernel.b}.places"
    if not {kept, places} & set(buffers):
        weights[kept], weights[places] = packed(b)
        buffers[kept] = Buffer(kept, held.dtype, (kernel.n, kernel.k * KEPT // GROUP), "weight")
        buffers[places] = Buffer(places, "ui8", (kernel.n, kernel.k // PACKED), "weight")
    return replace(kernel, b=kept, b_strides=(), places=places)


def _matrix(kernel: MatMul, weights: dict[str, Array]) -> Array | None:
    """The second operand [k, n] where it is all of a constant buffer."""
    array = weights.get(kernel.b)
    if array is None or array.size != kernel.k * kernel.n or kernel.b_offset:
        return None
    if kernel.b_view == (kernel.n, 1):
        return array.reshape(kernel.k, kernel.n)
    return array.reshape(kernel.n, kernel.k).T if kernel.b_view == (1, kernel.k) else None


def _used(
    program: Program,
    kernels: list[Kernel],
    buffers: dict[str, Buffer],
    weights: dict[str, Array],
) -> Program:
    """The program with new kernels, and those constants alone that one reads or gives out."""
    read = {name for kernel in kernels for name in kernel.reads}
    read |= {port.buffer for port in (*program.inputs, *program.outputs)}
    kept = tuple(b for b in buffers.values() if b.role != "weight" or b.name in read)
    names = {buffer.name for buffer in kept}
    held = {name: array for name, array in weights.items() if name in names}
    return replace(program, buffers=kept, kernels=tuple(kernels), weights=held)
