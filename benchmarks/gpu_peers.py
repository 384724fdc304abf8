"""PyTorch and TVM beside our kernels, for `bench_gpu_kernels.py`. No benchmark.

PyTorch's own operators are cuBLAS's and cuDNN's; `torch.compile` fuses around them. Either may
be missing, and then nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from gpu_cases import Case

from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module

DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32", "tf32": "float32"}


def torch_or_none() -> Any:
    """PyTorch, where it is installed."""
    return import_module("torch") if find_spec("torch") else None


def eager(
    torch: Any, case: Case, module: Module, inputs: Mapping[str, Array], device: str
) -> Callable[[], Any] | None:
    """A run of the case by PyTorch's operators, on buffers of its own; None without one."""
    if case.network:
        return _network(torch, case, inputs, device)
    if case.eager is None:
        return None
    torch.backends.cuda.matmul.allow_tf32 = case.quant == "tf32"
    if case.quant not in DTYPES:
        return _narrow(torch, case.quant, module, inputs, device)
    dtype = getattr(torch, DTYPES[case.quant])

    def placed(array: Array) -> Any:
        held = torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)
        image = case.kind == "convolution" and held.dim() == 4
        # cuDNN's quick kernels are of this layout
        return held.to(memory_format=torch.channels_last) if image else held

    x = [placed(inputs[name][0]) for name in module.inputs]
    w = [placed(module.weights[name]) for name in module.weights]
    same = case.eager
    return lambda: same(torch, x, w)


def _narrow(
    torch: Any, quant: str, module: Module, inputs: Mapping[str, Array], device: str
) -> Callable[[], Any] | None:
    """cuBLAS's product of int8 (in int32) or fp8 (in fp16); without the bias."""
    (x,) = inputs.values()
    w = next(array for array in module.weights.values() if array.ndim == 2)
    if quant == "int8":
        rng = np.random.default_rng(0)
        a, b = (rng.integers(-128, 128, shape, np.int8) for shape in (x.shape[1:], w.shape))
        left, right = (torch.from_numpy(each).to(device) for each in (a, b))
        return lambda: torch._int_mm(left, right)
    if quant != "fp8":
        return None
    one = torch.ones((), device=device)
    narrow = [torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in (x[0], w.T)]
    first, second = (each.to(torch.float8_e4m3fn) for each in narrow)
    wide = {"scale_a": one, "scale_b": one, "out_dtype": torch.float16}
    return lambda: torch._scaled_mm(first, second.t(), **wide)


def compiled(torch: Any, run: Callable[[], Any]) -> Callable[[], Any]:
    """The same under `torch.compile`, its kernels tuned and captured as a CUDA graph."""
    found: Callable[[], Any] = torch.compile(run, mode="max-autotune", fullgraph=True)
    return found


def _network(
    torch: Any, case: Case, inputs: Mapping[str, Array], device: str
) -> Callable[[], Any] | None:
    """A network of another package with weights of its own: they do not change the time."""
    package, _, name = case.network.partition(":")
    if not find_spec(package):
        return None
    if package == "torchvision":
        model = getattr(import_module("torchvision.models"), name)()
    else:
        held: Any = import_module("transformers")
        kind = getattr(held, name)
        model = kind(kind.config_class())
    dtype = getattr(torch, DTYPES[case.quant])
    model = model.eval().to(device=device, dtype=dtype)
    given = [torch.from_numpy(array).to(device) for array in inputs.values()]
    given = [x.to(dtype) if x.is_floating_point() else x.long() for x in given][:1]

    def run() -> Any:
        with torch.inference_mode():
            return model(*given)

    return run


def tvm_s(module: Module, architecture: str) -> float | None:
    """TVM's untuned code on the device, seconds of a run; None where it is not installed."""
    from tetrapla.frontend.onnx.export import export
    from tetrapla.ir.errors import TetraplaError
    from tetrapla.passes.pipeline_ import canonical
    from tetrapla.tvm.process import Child

    try:
        with Child("generator") as child:
            found: float = child.ask(
                "time", data=export(canonical(module)), arch=architecture, repeat=11
            )
            return found
    except TetraplaError:
        return None
