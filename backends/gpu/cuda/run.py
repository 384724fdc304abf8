"""Run compiled kernels on a GPU or on a CPU: python run.py --input x.npz -o y.npz.

Needs NumPy and this folder alone. The input file holds one array per input, of its shape or
with a leading axis of invocations (of samples, where every input and output has a leading axis
of one); outputs lie likewise. On a GPU the driver loads the kernels compiled beside this file,
or NVRTC compiles kernels.cu; without one, g++ compiles the same text through cuda_emulation.h,
which is for small shapes.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tetrapla.backends.gpu.arrays import Array, Given, RefusedError, check_outputs, save

FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-U_FORTIFY_SOURCE")
# by a buffer's type: what NumPy holds its bits as
TYPES = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "uint16",
    "f8E4M3FN": "uint8",
    "f8E5M2": "uint8",
    "i8": "int8",
    "ui8": "uint8",
    "i16": "int16",
    "ui16": "uint16",
    "i32": "int32",
    "ui32": "uint32",
    "i64": "int64",
    "i1": "bool",
}


# floats that NumPy lacks, whose inputs are given in float32
LACKED = ("bf16", "f8E4M3FN", "f8E5M2")


class Device(Protocol):
    """Memory and launches; an address is what a kernel takes for a buffer."""

    def allocate(self, array: Array) -> int:
        """Memory with an array's content."""
        ...

    def write(self, address: int, array: Array) -> None:
        """Copy an array there."""
        ...

    def read(self, address: int, array: Array) -> None:
        """Fill an array from there."""
        ...

    def launch(
        self, function: str, blocks: int, threads: int, arguments: Sequence[int]
    ) -> None:
        """Run a kernel on the addresses."""
        ...


class Cpu:
    """The emulation: a library that g++ makes, on this process's own memory."""

    def __init__(self, folder: Path, flags: Sequence[str] = FLAGS) -> None:
        compiler = shutil.which("g++")
        if compiler is None:
            raise RefusedError(
                "run.py must have g++ on the path to run on a CPU, not nothing; install it, "
                "or use --device cuda on a machine with a GPU"
            )
        self._held: list[Array] = []
        with tempfile.TemporaryDirectory() as name:
            library = Path(name) / "kernels.so"
            command = [compiler, *flags, "-o", str(library), str(folder / "emulate.cpp")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines() or ["no message"]
                first = next((line for line in lines if "error" in line), lines[0])
                raise RefusedError(
                    f"g++ must take the emitted kernels, not refuse them: {first}"
                )
            self.emulated = ctypes.CDLL(str(library))

    def allocate(self, array: Array) -> int:
        self._held.append(np.array(array))
        return self._held[-1].ctypes.data

    def write(self, address: int, array: Array) -> None:
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def read(self, address: int, array: Array) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def launch(
        self, function: str, blocks: int, threads: int, arguments: Sequence[int]
    ) -> None:
        self.emulated[f"emulate_{function}"](
            ctypes.c_uint(blocks), ctypes.c_uint(threads), passed(arguments)
        )


class Cuda:
    """The first GPU, through the driver's own interface (libcuda)."""

    def __init__(self, folder: Path, library: str = "libcuda.so.1") -> None:
        try:
            self._cuda = ctypes.CDLL(library)
        except OSError:
            raise RefusedError(
                f"run.py must have a GPU's driver ({library}) for --device cuda, not none; "
                "use --device cpu"
            ) from None
        self._call("cuInit", 0)
        device, major, minor = (ctypes.c_int() for _ in range(3))
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
        self._call("cuDeviceGetAttribute", ctypes.byref(major), 75, device)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), 76, device)
        context, self._module = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        image = compiled(folder, major.value, minor.value)
        self._call("cuModuleLoadData", ctypes.byref(self._module), image)
        self._functions: dict[str, ctypes.c_void_p] = {}

    def allocate(self, array: Array) -> int:
        address = ctypes.c_uint64()
        size = ctypes.c_size_t(max(1, array.nbytes))
        self._call("cuMemAlloc_v2", ctypes.byref(address), size)
        self.write(address.value, array)
        return address.value

    def write(self, address: int, array: Array) -> None:
        pointer, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), pointer, size)

    def read(self, address: int, array: Array) -> None:
        pointer, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._call("cuMemcpyDtoH_v2", pointer, ctypes.c_uint64(address), size)

    def launch(
        self, function: str, blocks: int, threads: int, arguments: Sequence[int]
    ) -> None:
        if function not in self._functions:
            found, name = ctypes.c_void_p(), function.encode()
            self._call("cuModuleGetFunction", ctypes.byref(found), self._module, name)
            self._functions[function] = found
        shape = [ctypes.c_uint(n) for n in (blocks, 1, 1, threads, 1, 1, 0)]
        kernel = self._functions[function]
        self._call("cuLaunchKernel", kernel, *shape, None, passed(arguments), None)

    def _call(self, name: str, *arguments: object) -> None:
        status: int = self._cuda[name](*arguments)
        if status != 0:
            text = ctypes.c_char_p()
            self._cuda["cuGetErrorString"](status, ctypes.byref(text))
            said = (text.value or b"no message").decode()
            raise RefusedError(f"{name} must succeed on the GPU, not return {status}: {said}")


def passed(addresses: Sequence[int]) -> ctypes.Array[ctypes.c_uint64]:
    """Pointers to the arguments, and behind them the arguments, which are pointers too."""
    count = len(addresses)
    held = (ctypes.c_uint64 * (2 * count))()
    start = ctypes.addressof(held) + 8 * count
    held[:] = [*(start + 8 * i for i in range(count)), *addresses]
    return held


def compiled(folder: Path, major: int, minor: int) -> bytes:
    """Code for a compute capability: made ahead of time, or by NVRTC now.

    A cubin runs on its own architecture, PTX on every later one.
    """
    ready = folder / f"kernels.sm_{major}{minor}.cubin"
    if ready.is_file():
        return ready.read_bytes()
    # PTX ends in a zero byte, as the driver wants it
    portable = {int(p.stem.split("_")[-1]): p for p in folder.glob("kernels.compute_*.ptx")}
    fitting = [number for number in portable if number <= 10 * major + minor]
    if fitting:
        return portable[max(fitting)].read_bytes()
    return by_nvrtc((folder / "kernels.cu").read_bytes(), f"compute_{major}{minor}")


def by_nvrtc(text: bytes, architecture: str) -> bytes:
    """Machine code for sm_<n>, or PTX for compute_<n>.

    By the NVRTC of the CUDA toolkit or of the nvidia-cuda-nvrtc wheel; no GPU is needed.

    Raises:
        RefusedError: there is none, or it refuses the text; with the log's file and line.
    """
    library = nvrtc_library()
    if library is None:
        raise RefusedError(
            f"NVRTC must be there to compile for {architecture}, not missing; "
            "pip install nvidia-cuda-nvrtc"
        )
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None)
    options = [f"--gpu-architecture={architecture}".encode(), b"--fmad=false"]
    given = (ctypes.c_char_p * len(options))(*options)
    status: int = library.nvrtcCompileProgram(program, len(options), given)
    code = "CUBIN" if architecture.startswith("sm_") else "PTX"
    kind, size = "ProgramLog" if status else code, ctypes.c_size_t()
    library[f"nvrtcGet{kind}Size"](program, ctypes.byref(size))
    made = ctypes.create_string_buffer(max(1, size.value))
    library[f"nvrtcGet{kind}"](program, made)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    if status:
        said = made.value.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise RefusedError(
            f"NVRTC must take the kernels for {architecture}, not refuse them: {said[0]}"
        )
    return made.raw[: size.value]


def nvrtc_library() -> ctypes.CDLL | None:
    """NVRTC where the loader or the wheel has it."""
    found = [Path(place) / "nvidia" for place in sys.path]
    wheel = [p for folder in found for p in sorted(folder.glob("*/lib/libnvrtc.so.*"))]
    for name in ("libnvrtc.so", *(f"libnvrtc.so.{n}" for n in (13, 12)), *map(str, wheel)):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def weights(path: Path, sha256: str) -> dict[str, Array]:
    """Every tensor of a .safetensors file, as bytes.

    Raises:
        RefusedError: it cannot be read, or is another than that of the digest.
    """
    try:
        held = path.read_bytes()
    except OSError as error:
        raise RefusedError(f"{path} must be readable: {error}") from None
    if hashlib.sha256(held).hexdigest() != sha256:
        raise RefusedError(
            f"{path} must hold the weights that plan.json beside run.py was written with, not "
            "others; compile again with --emit cuda-c"
        )
    (size,) = struct.unpack("<Q", held[:8])
    found: dict[str, Array] = {}
    for name, entry in json.loads(held[8 : 8 + size]).items():
        start, end = entry["data_offsets"]
        found[name] = np.frombuffer(held, np.uint8, end - start, 8 + size + start)
    return found


def stored(array: Array, dtype: str) -> Array:
    """Numbers as a buffer of a type holds them."""
    if dtype != "bf16":
        with np.errstate(all="ignore"):
            return np.ascontiguousarray(array).astype(TYPES[dtype])
    bits = np.ascontiguousarray(array).astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16  # to nearest, ties to even
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def widened(array: Array, dtype: str) -> Array:
    """Bits of a buffer as numbers that NumPy has."""
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "bf16" else array


class Plan:
    """A compiled folder on a device."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.plan: dict[str, Any] = json.loads((folder / "plan.json").read_text("utf-8"))
        self.device = device
        self.address: dict[str, int] = {}
        # they lie beside the folder of a compiled model, or in it
        places = [place / "weights.safetensors" for place in (folder, folder.parent)]
        place = next((p for p in places if p.is_file()), places[0])
        constants = weights(place, self.plan["weights_sha256"])
        for name, buffer in self.plan["buffers"].items():
            if "tensor" in buffer:
                content = constants[buffer["tensor"]]
            else:
                content = np.zeros(buffer["elements"], TYPES[buffer["dtype"]])
            self.address[name] = device.allocate(content)

    def memory(self, name: str) -> Array:
        """The bits that a buffer holds, flat, as `TYPES` has them."""
        buffer = self.plan["buffers"][name]
        found = np.empty(buffer["elements"], TYPES[buffer["dtype"]])
        self.device.read(self.address[name], found)
        return found

    def invoke(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One run of the model; a type that NumPy lacks comes as its bits."""
        for port in self.plan["inputs"]:
            dtype = self.plan["buffers"][port["buffer"]]["dtype"]
            array = stored(inputs[port["name"]].reshape(-1), dtype)
            self.device.write(self.address[port["buffer"]], array)
        for each in self.plan["launches"]:
            addresses = [self.address[name] for name in each["arguments"]]
            self.device.launch(each["function"], each["blocks"], each["threads"], addresses)
        found: dict[str, Array] = {}
        for port in self.plan["outputs"]:
            made = self.memory(port["buffer"])
            held = self.plan["buffers"][port["buffer"]]["dtype"]
            if held != port["dtype"]:
                made = widened(made, held).astype(TYPES[port["dtype"]])
            found[port["name"]] = made.reshape(port["shape"])
        return found

    def run(
        self, rows: Mapping[str, Array], after: Callable[[], None] = lambda: None
    ) -> dict[str, Array]:
        """Outputs of inputs (invocations, *shape) likewise; `after` is called behind each."""
        results: dict[str, list[Array]] = {port["name"]: [] for port in self.plan["outputs"]}
        for i in range(len(next(iter(rows.values())))):
            made = self.invoke({name: array[i] for name, array in rows.items()})
            for name, array in made.items():
                results[name].append(array)
            after()
        return {name: np.stack(found) for name, found in results.items()}


def device_for(name: str, folder: Path) -> Device:
    """The device of a name; auto takes the GPU where there is a driver."""
    if name == "cpu":
        return Cpu(folder)
    if name == "cuda":
        return Cuda(folder)
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Cpu(folder)
    return Cuda(folder)


def ports(folder: Path) -> dict[str, Any]:
    """The folder's inputs and outputs, in types that NumPy has."""
    plan = json.loads((folder / "plan.json").read_text("utf-8"))
    for port in plan["inputs"]:
        port["dtype"] = "float32" if port["dtype"] in LACKED else TYPES[port["dtype"]]
    return {"inputs": plan["inputs"], "outputs": plan["outputs"]}


def main(arguments: Sequence[str] | None = None, folder: Path | None = None) -> int:
    """Read, run, write; 2 where the user has something to mend."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", required=True, type=Path)
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    where = folder or Path(__file__).resolve().parent
    try:
        check_outputs([options.output], options.input)
        given = Given(ports(where), options.input)
        plan = Plan(where, device_for(options.device, where))
        save(options.output, given.written(plan.run(given.rows)))
    except RefusedError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
