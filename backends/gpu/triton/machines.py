"""The machines that run kernels: Triton's interpreter with NumPy alone, and a GPU with torch.

Each keeps buffers as bytes of which a type is a view, so that buffers can share memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tetrapla.backends.gpu.arrays import Array, RefusedError

Launch = Callable[[], None]

# how NumPy holds the types that it has not: their bits
BITS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


class HostTensor:
    """A NumPy array with the methods that Triton's interpreter asks of a torch tensor."""

    device = type("Device", (), {"type": "cpu"})()

    def __init__(self, array: Array, dtype: str) -> None:
        self.array, self.dtype = array, dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def stride(self, axis: int | None = None) -> Any:
        steps = [step // self.array.itemsize for step in self.array.strides]
        return steps if axis is None else steps[axis]

    def element_size(self) -> int:
        return self.array.itemsize

    def numel(self) -> int:
        return self.array.size

    def is_contiguous(self) -> bool:
        return True

    def size(self) -> int:
        return self.array.nbytes

    def storage_offset(self) -> int:
        return 0

    # the interpreter copies to the host and back; here everything is one storage
    def cpu(self) -> HostTensor:
        return self

    def untyped_storage(self) -> HostTensor:
        return self

    def copy_(self, other: HostTensor) -> None:
        pass

    def new_empty(self, *shape: int, **options: object) -> HostTensor:
        return HostTensor(self.array[:0], self.dtype)

    def set_(self, storage: HostTensor, offset: int, size: int, stride: object) -> None:
        self.array = storage.array


class Host:
    """Triton's interpreter: buffers are NumPy arrays."""

    name = "Triton's interpreter on the CPU"

    def __init__(self) -> None:
        os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are defined

    def place(self, data: Array, dtype: str) -> HostTensor:
        """Bytes as a buffer of a type; the buffer lies in them."""
        return HostTensor(data.view(BITS.get(dtype, dtype)), dtype)

    def empty(self, size_bytes: int) -> Array:
        """Memory that begins at a multiple of 256 bytes."""
        held = np.zeros(size_bytes + 256, np.uint8)
        start = -held.ctypes.data % 256
        return held[start : start + size_bytes]

    def load(self, data: Array) -> Array:
        """Bytes of weights in the machine's memory."""
        held = self.empty(data.nbytes)
        held[:] = data
        return held

    def write(self, buffer: HostTensor, array: Array) -> None:
        """Round an array into a buffer."""
        flat = np.ascontiguousarray(array).reshape(-1)
        with np.errstate(all="ignore"):  # what is too large is infinite, as on a GPU
            buffer.array[:] = to_bits(flat, buffer.dtype) if buffer.dtype in BITS else flat

    def read(self, buffer: HostTensor) -> Array:
        """A copy of what a buffer holds; what NumPy has no type for as float32."""
        if buffer.dtype in BITS:
            return from_bits(buffer.array, buffer.dtype)
        return buffer.array.copy()

    def prepared(self, launch: Launch) -> Launch:
        """What runs all the kernels once."""

        def run() -> None:
            with np.errstate(all="ignore"):
                launch()

        return run


class Gpu:
    """A GPU through torch: buffers are its tensors."""

    def __init__(self, torch: Any, graph: bool) -> None:
        self.torch, self.graph = torch, graph
        how = "as a CUDA graph" if graph else "kernel by kernel"
        self.name = f"{torch.cuda.get_device_name()}, {how}"

    def place(self, data: Any, dtype: str) -> Any:
        """Bytes as a buffer of a type; the buffer lies in them."""
        return data.view(getattr(self.torch, dtype))

    def empty(self, size_bytes: int) -> Any:
        """Device memory; torch aligns it to 512 bytes."""
        return self.torch.zeros(size_bytes, dtype=self.torch.uint8, device="cuda")

    def load(self, data: Array) -> Any:
        """Bytes of weights in the machine's memory."""
        return self.torch.from_numpy(data.copy()).cuda()

    def write(self, buffer: Any, array: Array) -> None:
        """Round an array into a buffer."""
        flat = self.torch.from_numpy(np.ascontiguousarray(array).reshape(-1))
        buffer.copy_(flat.to(buffer.dtype))

    def read(self, buffer: Any) -> Array:
        """A copy of what a buffer holds; what NumPy has no type for as float32."""
        if str(buffer.dtype).removeprefix("torch.") in BITS:
            buffer = buffer.float()
        found: Array = buffer.cpu().numpy().copy()
        return found

    def prepared(self, launch: Launch) -> Launch:
        """What runs all the kernels once: with --no-graph they are launched each time."""
        if not self.graph:
            return launch
        cuda = self.torch.cuda
        beside = cuda.Stream()
        beside.wait_stream(cuda.current_stream())
        with cuda.stream(beside):
            launch()  # compiles every kernel, which a capture must not
        cuda.current_stream().wait_stream(beside)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            launch()
        replay: Launch = graph.replay
        return replay


def to_bits(array: Array, dtype: str) -> Array:
    """Floats as bfloat16's bits, rounded half to even."""
    if dtype != "bfloat16":
        raise RefusedError(f"an input must not be kept as {dtype} by this launcher; give a GPU")
    bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bits(bits: Array, dtype: str) -> Array:
    """The float32 values of bfloat16's or float8's bits."""
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    if dtype == "float8_e5m2":  # float16 without eight bits of its mantissa
        return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    whole = bits.astype(np.int32)
    power, mantissa = (whole >> 3) & 15, whole & 7
    size = np.where(power > 0, mantissa + 8, mantissa * 2) * 2.0 ** (power - 10)
    size = np.where(whole & 127 == 127, np.nan, size)
    return np.where(whole & 128, -size, size).astype(np.float32)
