"""TVM as a code generator: ONNX in, a library or CUDA text out; in the child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrapla.tvm.told import Code

Array = NDArray[Any]
# what TVM asks to know of a CUDA device that is not there; CUDA's limits since sm_30 (CUDA C
# programming guide, table of technical specifications)
CUDA = {
    "max_threads_per_block": 1024,
    "max_shared_memory_per_block": 49152,
    "thread_warp_size": 32,
}


class Generator:
    """What a child holds between two requests."""

    def __init__(self) -> None:
        self._tvm: Any = import_module("tvm")
        self._relax: Any = import_module("tvm.relax")
        self._machine: Any = None

    def compile_for_cpu(self, data: bytes, library: str | None) -> Code:
        """Compile for this machine, ready for `run`.

        Args:
            data: an ONNX model of static shapes.
            library: where the shared library is written; None for none.
        """
        module = self._imported(data)
        compiled = self._tvm.compile(module, target="llvm")
        if library is not None:
            compiled.export_library(library)
        self._machine = self._relax.VirtualMachine(compiled, self._tvm.cpu())
        return Code(str(module), str(compiled.mod.imports[0].inspect_source("ll")))

    def compile_for_cuda(self, data: bytes, arch: str) -> Code:
        """CUDA text for an architecture; no device is needed."""
        module = self._imported(data)
        target = self._tvm.target.Target({"kind": "cuda", "arch": arch, **CUDA})
        compiled = self._tvm.compile(module, target=target)
        found = [*compiled.mod.imports]
        while found:
            each = found.pop()
            if str(each.kind) == "cuda":
                return Code(str(module), str(each.inspect_source()))
            found += [*each.imports]
        raise ValueError("nothing in the model became a CUDA kernel")

    def time(self, data: bytes, arch: str, repeat: int) -> float:
        """Seconds of a run on this machine, the median; by TVM's own clock.

        Args:
            data: an ONNX model of static shapes.
            arch: of the CUDA device, or ``cpu``.
            repeat: how many runs.
        """
        module = self._imported(data)
        device = self._tvm.cpu() if arch == "cpu" else self._tvm.cuda()
        target: object = "llvm" if arch == "cpu" else {"kind": "cuda", "arch": arch, **CUDA}
        compiled = self._tvm.compile(module, target=self._tvm.target.Target(target))
        machine = self._relax.VirtualMachine(compiled, device)
        types = [(each.ty.shape.values, str(each.ty.dtype)) for each in module["main"].params]
        given = [
            self._tvm.runtime.tensor(np.zeros([int(n.value) for n in shape], dtype), device)
            for shape, dtype in types
        ]
        clock = machine.time_evaluator("main", device, number=1, repeat=repeat)
        return float(clock(*given).median)

    def run(self, rows: Sequence[Sequence[Array]]) -> list[tuple[Array, ...]]:
        """The outputs of every invocation on this machine."""
        return [self._run(row) for row in rows]

    def _run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        given = [self._tvm.runtime.tensor(np.ascontiguousarray(each)) for each in inputs]
        result = self._machine["main"](*given)
        several = [result] if hasattr(result, "numpy") else list(result)
        return tuple(each.numpy() for each in several)

    def _imported(self, data: bytes) -> Any:
        from tetrapla.frontend.relax.onnx_file import relax_module

        dims: Mapping[str, int] = {}
        return relax_module(data, dims, 1).module
