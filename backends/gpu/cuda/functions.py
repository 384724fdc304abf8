"""The functions of a plan: one per distinct kernel, however often it is launched.

A kernel's text names its arguments by what they are to it (``p_a``, ``p_bias``), never by the
plan's buffers, so that kernels of one shape have one text and no name of a model is code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from tetrapla.backends.gpu.cuda.attention import attention
from tetrapla.backends.gpu.cuda.attention import blocks as attention_blocks
from tetrapla.backends.gpu.cuda.expression import blocks as expression_blocks
from tetrapla.backends.gpu.cuda.expression import expression
from tetrapla.backends.gpu.cuda.products import block, grid, product
from tetrapla.backends.gpu.cuda.recurrent import blocks as recurrent_blocks
from tetrapla.backends.gpu.cuda.recurrent import recurrent
from tetrapla.backends.gpu.cuda.rows import (
    Sharing,
    binary,
    elements,
    gather,
    global_pool,
    pointwise,
    pool,
    softmax,
)
from tetrapla.backends.gpu.cuda.text import MEMORY, THREADS, Writer
from tetrapla.backends.gpu.text import roles, stem, summary
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import (
    Binary,
    Conv,
    Expression,
    Gather,
    GlobalPool,
    Kernel,
    MatMul,
    Pointwise,
    Pool,
    Product,
    Softmax,
)
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.recurrent import Recurrent
from tetrapla.simulators.gpu.steps import Step


@dataclass(frozen=True)
class Function:
    """A kernel's text.

    Attributes:
        name: of the function.
        text: its definition, for ``kernels.cu``.
        blocks: of a launch.
        threads: of a block.
        types: of what its arguments point at, in order, as C has them.
    """

    name: str
    text: str
    blocks: int
    threads: int
    types: tuple[str, ...]


def functions(program: Program) -> tuple[tuple[Function, ...], tuple[Function, ...]]:
    """The distinct functions in the order of their first launch, and by kernel its own."""
    found: dict[object, Function] = {}
    names: dict[str, int] = {}
    launched: list[Function] = []
    for kernel in program.kernels:
        blocks, threads = launch(kernel)
        written = _written(program, kernel)
        key = (written, blocks, threads)
        if key not in found:
            name = _stem(kernel)
            names[name] = names.get(name, 0) + 1
            if names[name] > 1:
                name = f"{name}_v{names[name]}"
            parameters, body_ = written
            text = (
                f"// {summary(kernel, 'x')}\n"
                f'extern "C" __global__ void __launch_bounds__({threads})\n'
                f"{name}({', '.join(parameters)})\n{{\n{body_}\n}}\n"
            )
            types = tuple(parameter.rpartition(" *")[0] for parameter in parameters)
            found[key] = Function(name, text, blocks, threads, types)
        launched.append(found[key])
    return tuple(found.values()), tuple(launched)


def arguments(kernel: Kernel) -> tuple[str, ...]:
    """The buffers that a launch passes, in order: what it reads, then its output.

    What else a kernel stores is scratch that these keep in shared memory.
    """
    return (*kernel.reads, kernel.output)


def launch(kernel: Kernel) -> tuple[int, int]:
    """Blocks, and threads of each."""
    match kernel:
        case Product():
            return prod(grid(kernel)), block(kernel).threads
        case Softmax():
            return Sharing(kernel.rows, kernel.length).blocks, THREADS
        case GlobalPool():
            return Sharing(kernel.planes, kernel.size).blocks, THREADS
        case Expression():
            return expression_blocks(kernel), THREADS
        case FusedAttention():
            return attention_blocks(kernel), THREADS
        case Recurrent():
            return recurrent_blocks(kernel), THREADS
        case _:
            return -(-elements(kernel) // THREADS), THREADS


def body(kernel: Kernel, write: Writer) -> None:
    """Write a kernel's lines."""
    match kernel:
        case MatMul() | Conv():
            product(kernel, write)
        case Pool():
            pool(kernel, write)
        case GlobalPool():
            global_pool(kernel, write)
        case Softmax():
            softmax(kernel, write)
        case Pointwise():
            pointwise(kernel, write)
        case Binary():
            binary(kernel, write)
        case Gather():
            gather(kernel, write)
        case Expression():
            expression(kernel, write)
        case FusedAttention():
            attention(kernel, write)
        case Recurrent():
            recurrent(kernel, write)
        case _:
            raise AssertionError(type(kernel).__name__)


def _written(program: Program, kernel: Kernel) -> tuple[tuple[str, ...], str]:
    """A kernel's parameters and its lines."""
    memory, named = program.memory, _roles(kernel)
    passed = arguments(kernel)
    pointers: dict[str, str] = {}
    for name in passed:
        role, count = f"p_{named[name]}", 1
        while (f"{role}{count}" if count > 1 else role) in pointers.values():
            count += 1
        pointers[name] = f"{role}{count}" if count > 1 else role
    write = Writer(pointers, memory)
    large = any(memory[name].elements >= 2**31 for name in passed)
    write(f"typedef {'i64' if large else 'int'} Index;")
    body(kernel, write)
    parameters = tuple(
        f"{'' if name == kernel.output else 'const '}{MEMORY[memory[name].dtype]} "
        f"*__restrict__ {pointers[name]}"
        for name in passed
    )
    return parameters, "\n".join(write.lines)


def _roles(kernel: Kernel) -> dict[str, str]:
    """By buffer, what it is to the kernel or to its first step that reads it."""
    found: dict[str, str] = {}
    holders: tuple[Kernel | Step, ...] = (kernel, *kernel.steps)
    for holder in holders:
        found = {**roles(holder), **found}
    return {**{name: found.get(name, "x") for name in kernel.reads}, kernel.output: "y"}


def _stem(kernel: Kernel) -> str:
    """A name of C: ``k_conv2d_bias_relu_1x36x5x9``."""
    return re.sub(r"[^A-Za-z0-9]+", "_", f"k_{stem(kernel)}")
