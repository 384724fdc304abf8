"""What `compile --emit cuda-c` writes: the plan's CUDA C, and what NVRTC makes of it."""

from __future__ import annotations

from collections.abc import Iterable

from tetrapla.backends.gpu.arrays import RefusedError
from tetrapla.backends.gpu.cuda.run import by_nvrtc, nvrtc_library
from tetrapla.backends.gpu.cuda.source import KERNELS, WEIGHTS, cuda_sources
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.report import InternalError

FOLDER = "cuda"
# machine code of three generations, and PTX that every later driver translates
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "compute_80")
OLDEST = 75  # that NVRTC 13 compiles for


def emitted(lowered: Lowered[Program], spec: GpuSpec) -> dict[str, str | bytes]:
    """Every file by its path; machine code where NVRTC is installed.

    Raises:
        UnsupportedError: the chip does not run CUDA.
        InternalError: NVRTC refuses the text.
    """
    if spec.architecture.startswith("gfx"):
        raise UnsupportedError(
            f"--emit cuda-c must have an NVIDIA GPU for a target, not {spec.name}; "
            "give --target h100, say"
        )
    files = cuda_sources(lowered.program)
    del files[WEIGHTS]  # they lie beside the folder
    text = files[KERNELS]
    assert isinstance(text, str)
    if nvrtc_library() is not None:
        files.update(machine_code(text, _wanted(spec)))
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


def machine_code(text: str, wanted: Iterable[str] = ARCHITECTURES) -> dict[str, bytes]:
    """kernels.cu compiled for architectures, by file name.

    Raises:
        InternalError: NVRTC refuses the text; with its line.
    """
    try:
        return {_file(name): by_nvrtc(text.encode(), name) for name in wanted}
    except RefusedError as refused:
        raise InternalError(str(refused)) from None


def _wanted(spec: GpuSpec) -> Iterable[str]:
    """The usual architectures and the chip's own, where NVRTC knows it."""
    number = int(spec.architecture.removeprefix("sm_") or 0)
    own = (spec.architecture,) if number >= OLDEST else ()
    return dict.fromkeys((*ARCHITECTURES, *own))


def _file(architecture: str) -> str:
    return f"kernels.{architecture}.{'cubin' if architecture.startswith('sm_') else 'ptx'}"
