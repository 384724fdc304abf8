"""The files of a compiled plan: Triton kernels, their launcher, manifest and weights.

`kernels.py` has one function per distinct kernel with its extents written out; `run.py`,
`machines.py` and `arrays.py` launch them as `manifest.json` says, which is the same on a GPU
and under Triton's interpreter; `weights.safetensors` has every weight in its type on the
device.
"""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Any

from tetrapla.backends.gpu.standalone import beside, standalone
from tetrapla.backends.gpu.triton.functions import (
    HEAD,
    Function,
    arguments,
    functions,
    helpers,
)
from tetrapla.backends.gpu.triton.kernels import grid
from tetrapla.backends.gpu.triton.weights import safetensors, tensor
from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.gpu.kernels import Kernel
from tetrapla.simulators.gpu.program import Buffer, Port, Program
from tetrapla.simulators.gpu.workspace import ALIGNMENT_BYTES, need, workspace

SCHEMA = "tetrapla.gpu.package/1"
KERNELS, MACHINES = "kernels.py", "machines.py"
MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
_ABOUT = '''"""Kernels of {name}, {format}: generated, one function per distinct kernel.

Buffers are contiguous; every extent is a constant. Compile with enable_fp_fusion=False: the
integer kernels are exact only where a product is rounded before it is added.
"""

'''


def sources(program: Program) -> dict[str, str | bytes]:
    """The content of every file; the same program gives the same bytes."""
    found, launched = functions(program)
    texts = [function.text for function in found]
    about = _ABOUT.format(name=_quoted(program.name), format=program.format)
    return {
        KERNELS: "".join([about, HEAD, helpers(texts), *texts]),
        **scripts(),
        MANIFEST: json.dumps(_manifest(program, found, launched), indent=1) + "\n",
        WEIGHTS: safetensors(program),
    }


def scripts() -> dict[str, str]:
    """The launcher as it runs without this package."""
    folder = Path(__file__).parent
    machines = beside((folder / "machines.py").read_text("utf-8"))
    return {**standalone(folder / "launcher.py"), MACHINES: machines}


def _manifest(
    program: Program, found: tuple[Function, ...], launched: tuple[str, ...]
) -> dict[str, Any]:
    placed, needed = workspace(program), need(program)
    return {
        "schema": SCHEMA,
        "name": program.name,
        "format": program.format,
        "inputs": [_port(port) for port in program.inputs],
        "outputs": [_port(port) for port in program.outputs],
        "memory": {
            "weight_bytes": needed.weights,
            "input_and_output_bytes": needed.inputs_and_outputs,
            "workspace_bytes": needed.workspace,
            "peak_bytes": needed.total,
        },
        "workspace": {
            "size_bytes": placed.size_bytes,
            "scratch_bytes": placed.scratch_bytes,
            "alignment_bytes": ALIGNMENT_BYTES,
        },
        "weights": {"file": WEIGHTS},
        "buffers": {
            buffer.name: _buffer(buffer, placed.offsets_bytes.get(buffer.name))
            for buffer in program.buffers
            if buffer.role != "scratch" or buffer.name in placed.offsets_bytes
        },
        "functions": {function.name: _function(function) for function in found},
        "launches": [
            _launch(kernel, name)
            for kernel, name in zip(program.kernels, launched, strict=True)
        ],
        "code": None,
        "code_is_missing": "it was not asked for",
    }


def _launch(kernel: Kernel, function: str) -> dict[str, Any]:
    return {
        "kernel": kernel.name,
        "op": kernel.op,
        "function": function,
        "grid": list(grid(kernel)),
        "arguments": list(arguments(kernel)),
        "stores": list(kernel.writes),
    }


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "buffer": port.buffer,
        "shape": list(port.shape),
        "dtype": _numpy(port.dtype),
    }


def _buffer(buffer: Buffer, offset_bytes: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "role": buffer.role,
        "dtype": _numpy(buffer.dtype),
        "shape": list(buffer.shape),
        "size_bytes": prod(buffer.shape) * DTYPES[buffer.dtype].itemsize,
    }
    if buffer.role == "weight":
        found["tensor"] = tensor(buffer)
    if offset_bytes is not None:
        found["offset_bytes"] = offset_bytes
    return found


def _function(function: Function) -> dict[str, Any]:
    return {
        "types": [_numpy(dtype) for dtype in function.dtypes],
        "options": {
            "num_warps": function.warps,
            "num_stages": function.stages,
            "enable_fp_fusion": False,
        },
    }


def _numpy(dtype: str) -> str:
    return str(DTYPES[dtype])


def _quoted(name: str) -> str:
    """A model's name that cannot end a docstring."""
    return re.sub(r"[^\w .:+-]", "_", name)
