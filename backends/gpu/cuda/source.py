"""The files of a plan in CUDA C, and what a launch of each kernel takes.

`kernels.cu` has the kernels; `emulate.cpp` calls each of them on a CPU through
`cuda_emulation.h`; `plan.json` says what is launched, on which memory; `weights.safetensors`
holds the constants as the device does; `run.py` runs all of it on a GPU or a CPU.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from tetrapla.backends.gpu.cuda.attention import attention
from tetrapla.backends.gpu.cuda.attention import blocks as attention_blocks
from tetrapla.backends.gpu.cuda.expression import blocks as expression_blocks
from tetrapla.backends.gpu.cuda.expression import expression
from tetrapla.backends.gpu.cuda.products import block, product
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
from tetrapla.backends.gpu.cuda.text import MEMORY, THREADS, Writer, comment, identifier
from tetrapla.ir.graph import DTYPES
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

HERE = Path(__file__).parent
_SAFETENSORS = {
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "f8E4M3FN": "F8_E4M3",
    "f8E5M2": "F8_E5M2",
    "i8": "I8",
    "ui8": "U8",
    "i16": "I16",
    "ui16": "U16",
    "i32": "I32",
    "ui32": "U32",
    "i64": "I64",
    "i1": "BOOL",
}


def cuda_sources(program: Program) -> dict[str, str | bytes]:
    """Every file by name; the same program gives the same bytes."""
    functions = [identifier(f"k{i}", kernel.name) for i, kernel in enumerate(program.kernels)]
    return {
        "kernels.cu": kernels(program, functions),
        "cuda_emulation.h": (HERE / "cuda_emulation.h").read_text("utf-8"),
        "emulate.cpp": _emulation(program, functions),
        "plan.json": _plan(program, functions),
        "weights.safetensors": safetensors(program),
        "run.py": (HERE / "run.py").read_text("utf-8"),
    }


def arguments(kernel: Kernel) -> tuple[str, ...]:
    """The buffers that a launch passes, in order: what it reads, then its output."""
    return (*kernel.reads, kernel.output)


def launch(kernel: Kernel) -> tuple[int, int]:
    """Blocks, and threads of each."""
    match kernel:
        case Product():
            tiles_m, tiles_n, count = kernel.grid
            return tiles_m * tiles_n * count, block(kernel).threads
        case Softmax():
            return Sharing(kernel.rows, kernel.length).blocks, THREADS
        case GlobalPool():
            return Sharing(kernel.planes, kernel.size).blocks, THREADS
        case Expression():
            return expression_blocks(kernel), THREADS
        case FusedAttention():
            return attention_blocks(kernel), THREADS
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
        case _:
            raise AssertionError(type(kernel).__name__)


def kernels(program: Program, functions: list[str]) -> str:
    """The text of kernels.cu."""
    head = (
        f"// Kernels of {comment(program.name)}, {program.format}: generated, one function per "
        "launch.\n// Buffers are contiguous; every extent is a constant.\n"
    )
    text = [head, (HERE / "device.h").read_text("utf-8")]
    text += [
        _kernel(program, kernel, function)
        for kernel, function in zip(program.kernels, functions, strict=True)
    ]
    return "\n".join(text)


def _kernel(program: Program, kernel: Kernel, function: str) -> str:
    memory = program.memory
    passed = arguments(kernel)
    pointers = {name: identifier(f"p{i}", name) for i, name in enumerate(passed)}
    write = Writer(pointers, memory)
    large = any(memory[name].elements >= 2**31 for name in passed)
    write(f"typedef {'i64' if large else 'int'} Index;")
    body(kernel, write)
    _, threads = launch(kernel)
    listed = ", ".join(_argument(program, kernel, name, pointers[name]) for name in passed)
    lines = [
        f"// {_summary(kernel)}",
        f'extern "C" __global__ void __launch_bounds__({threads})',
        f"{function}({listed})",
        "{",
        *write.lines,
        "}",
    ]
    return "\n".join(lines) + "\n"


def _argument(program: Program, kernel: Kernel, name: str, pointer: str) -> str:
    const = "" if name == kernel.output else "const "
    return f"{const}{MEMORY[program.memory[name].dtype]} *__restrict__ {pointer}"


def _summary(kernel: Kernel) -> str:
    steps = "".join(f", {type(step).__name__.lower()}" for step in kernel.steps)
    if not isinstance(kernel, Product):
        return comment(f"{kernel.op}{steps}.")
    count, m, n, k = kernel.problem
    return comment(f"{kernel.op}{steps}: {count} x [{m} x {k}] x [{k} x {n}].")


def _emulation(program: Program, functions: list[str]) -> str:
    """Entry points with the arguments of cuLaunchKernel, as far as the kernels use them."""
    text = [
        "// Every kernel on a CPU: `arguments` points at pointers, as cuLaunchKernel's does.",
        '#include "kernels.cu"',
    ]
    for kernel, function in zip(program.kernels, functions, strict=True):
        passed = arguments(kernel)
        values = ", ".join(
            f"*({'' if name == kernel.output else 'const '}"
            f"{MEMORY[program.memory[name].dtype]} **)arguments[{i}]"
            for i, name in enumerate(passed)
        )
        text += [
            "",
            f'extern "C" void emulate_{function}(unsigned blocks, unsigned threads, '
            "void **arguments)",
            "{",
            f"    emulation::launch(blocks, threads, [&] {{ {function}({values}); }});",
            "}",
        ]
    return "\n".join(text) + "\n"


def _plan(program: Program, functions: list[str]) -> str:
    launches = []
    for kernel, function in zip(program.kernels, functions, strict=True):
        count, threads = launch(kernel)
        launches.append(
            {
                "function": function,
                "kernel": kernel.name,
                "blocks": count,
                "threads": threads,
                "arguments": list(arguments(kernel)),
            }
        )
    content = {
        "name": program.name,
        "format": program.format,
        "inputs": [vars(port) | {"shape": list(port.shape)} for port in program.inputs],
        "outputs": [vars(port) | {"shape": list(port.shape)} for port in program.outputs],
        "buffers": {
            b.name: {"dtype": b.dtype, "elements": b.elements, "role": b.role}
            for b in program.buffers
        },
        "launches": launches,
    }
    return json.dumps(content, indent=1) + "\n"


def safetensors(program: Program) -> bytes:
    """The weights in their buffers' types, in the format of Hugging Face's safetensors.

    An 8-byte little-endian length, that many bytes of JSON (type, shape and place of each
    tensor by name), then the tensors.
    """
    header: dict[str, object] = {}
    parts: list[bytes] = []
    at = 0
    for buffer in sorted(program.buffers, key=lambda b: b.name):
        if buffer.role != "weight":
            continue
        with np.errstate(over="ignore"):  # an overflow is an infinity, as in the plan
            held = program.weights[buffer.name].astype(DTYPES[buffer.dtype])
        data = np.ascontiguousarray(held).tobytes()
        header[buffer.name] = {
            "dtype": _SAFETENSORS[buffer.dtype],
            "shape": list(buffer.shape),
            "data_offsets": [at, at + len(data)],
        }
        parts.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data is aligned
    return struct.pack("<Q", len(text)) + text + b"".join(parts)
