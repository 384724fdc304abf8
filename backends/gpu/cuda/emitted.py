"""What `compile --emit cuda-c` writes: the plan's CUDA C, and what NVRTC makes of it."""

from __future__ import annotations

from tetrapla.backends.gpu.cuda.run import RefusedError, by_nvrtc, nvrtc_library
from tetrapla.backends.gpu.cuda.source import KERNELS, WEIGHTS, cuda_sources
from tetrapla.backends.target_ import Lowered
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.report import InternalError

FOLDER = "cuda"
# machine code of three generations, and PTX that every later driver translates
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "compute_80")


def emitted(lowered: Lowered[Program], spec: GpuSpec) -> dict[str, str | bytes]:
    """Every file by its path; machine code where NVRTC is installed.

    Raises:
        InternalError: NVRTC refuses the text.
    """
    del spec
    files = cuda_sources(lowered.program)
    del files[WEIGHTS]  # they lie beside the folder
    text = files[KERNELS]
    assert isinstance(text, str)
    if nvrtc_library() is not None:
        files.update(machine_code(text))
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


def machine_code(text: str) -> dict[str, bytes]:
    """kernels.cu compiled for every one of `ARCHITECTURES`, by file name."""
    try:
        return {
            f"kernels.{name}.{'cubin' if name.startswith('sm_') else 'ptx'}": by_nvrtc(
                text.encode(), name
            )
            for name in ARCHITECTURES
        }
    except RefusedError as refused:
        raise InternalError(str(refused)) from None
