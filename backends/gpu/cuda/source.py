"""The files of a plan in CUDA C, and what a launch of each kernel takes.

`kernels.cu` has the kernels; `emulate.cpp` calls each of them on a CPU through
`cuda_emulation.h`; `plan.json` says what is launched, on which memory; `weights.safetensors`
holds the constants as the device does; `run.py` runs all of it on a GPU or a CPU, on what
`arrays.py` reads.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tetrapla.backends.gpu.cuda.functions import Function, arguments, functions
from tetrapla.backends.gpu.standalone import standalone
from tetrapla.backends.gpu.triton.weights import safetensors, tensor
from tetrapla.simulators.gpu.program import Port, Program

KERNELS, WEIGHTS = "kernels.cu", "weights.safetensors"
_HERE = Path(__file__).parent


def cuda_sources(program: Program) -> dict[str, str | bytes]:
    """Every file by name; the same program gives the same bytes."""
    found, launched = functions(program)
    weights = safetensors(program)
    return {
        KERNELS: _kernels(program, found),
        "cuda_emulation.h": (_HERE / "cuda_emulation.h").read_text("utf-8"),
        "emulate.cpp": _emulation(found),
        "plan.json": _plan(program, launched, hashlib.sha256(weights).hexdigest()),
        WEIGHTS: weights,
        **standalone(_HERE / "run.py"),
    }


def _kernels(program: Program, found: Sequence[Function]) -> str:
    name = re.sub(r"[^A-Za-z0-9_ .:+-]", "_", program.name)
    head = (
        f"// Kernels of {name}, {program.format}: generated, one function per distinct one.\n"
        "// Buffers are contiguous; every extent is a constant.\n"
    )
    prelude = (_HERE / "device.h").read_text("utf-8")
    return "\n".join([head, prelude, *(function.text for function in found)])


def _emulation(found: Sequence[Function]) -> str:
    """Entry points with the arguments of cuLaunchKernel, as far as the kernels use them."""
    text = [
        "// Every kernel on a CPU: `arguments` points at pointers, as cuLaunchKernel's does.",
        f'#include "{KERNELS}"',
    ]
    for function in found:
        values = ", ".join(f"*({t} **)arguments[{i}]" for i, t in enumerate(function.types))
        text += [
            "",
            f'extern "C" void emulate_{function.name}(unsigned blocks, unsigned threads, '
            "void **arguments)",
            "{",
            f"    emulation::launch(blocks, threads, [&] {{ {function.name}({values}); }});",
            "}",
        ]
    return "\n".join(text) + "\n"


def _plan(program: Program, launched: Sequence[Function], weights_sha256: str) -> str:
    content = {
        "name": program.name,
        "format": program.format,
        "weights_sha256": weights_sha256,
        "inputs": [_port(port) for port in program.inputs],
        "outputs": [_port(port) for port in program.outputs],
        "buffers": {
            b.name: {"dtype": b.dtype, "elements": b.elements}
            | ({"tensor": tensor(b)} if b.role == "weight" else {})
            for b in program.buffers
        },
        "launches": [
            {
                "kernel": kernel.name,
                "function": function.name,
                "blocks": function.blocks,
                "threads": function.threads,
                "arguments": list(arguments(kernel)),
            }
            for kernel, function in zip(program.kernels, launched, strict=True)
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "buffer": port.buffer,
        "shape": list(port.shape),
        "dtype": port.dtype,
    }
