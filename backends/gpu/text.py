"""What a kernel's texts in Triton and in CUDA C have in common: its names and its addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from tetrapla.simulators.gpu.kernels import Kernel, Product
from tetrapla.simulators.gpu.steps import Step

# fields of a kernel that are words, never buffers
_WORDS = ("name", "op", "output", "function", "operand")


def roles(holder: Kernel | Step) -> dict[str, str]:
    """By buffer, what it is to a kernel or step: the first field that holds its name."""
    found: dict[str, str] = {}
    for each in fields(holder):
        value = getattr(holder, each.name)
        if each.name not in _WORDS and isinstance(value, str):
            found.setdefault(value, each.name)
    return found


def kind(step: Step) -> str:
    """A step's name in a text."""
    return type(step).__name__.lower()


def stem(kernel: Kernel) -> str:
    """A function's name by what it computes: ``conv2d_bias_relu_1x36x5x9``."""
    parts = [kernel.op.rpartition(".")[2], *map(kind, kernel.steps)]
    if isinstance(kernel, Product):
        parts.append("x".join(map(str, kernel.problem)))
    return "_".join(parts)


def summary(kernel: Kernel, times: str) -> str:
    """A line that says what a kernel computes; `times` stands between a product's operands."""
    op = re.sub(r"[^A-Za-z0-9_.]+", "_", kernel.op)  # of a program that was read, any text
    text = ", ".join([op, *map(kind, kernel.steps)])
    if not isinstance(kernel, Product):
        return f"{text}."
    count, m, n, k = kernel.problem
    return f"{text}: {count} x [{m} x {k}] {times} [{k} x {n}]."


def affine(name: str, factor: int, shift: int = 0) -> str:
    """``name * factor + shift`` without what does nothing."""
    text = name if factor == 1 else f"{name} * {factor}"
    return text if shift == 0 else f"{text} {'-' if shift < 0 else '+'} {abs(shift)}"


def joined(shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Sizes and strides with axes of one left out, and those that lie as one made one."""
    found: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if found and found[-1][1] == size * stride:
            found[-1] = (found[-1][0] * size, stride)
        else:
            found.append((size, stride))
    return found
