"""One model, four machines, checked against one reference.

    module = tetrapla.load("model.onnx")
    report = tetrapla.compile(module, "tpu-v1", calibration).run(inputs)
    tetrapla.compare("model.onnx", ["tpu-v1", "h100", "loihi", "isaac"], data="digits")

Everything loads when it is first used: importing the package costs milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetrapla.api import compare, compile, evaluate, simulate, sweep
    from tetrapla.comparison import Comparison
    from tetrapla.frontend.builder import Builder
    from tetrapla.ir.module import Module
    from tetrapla.models import load
    from tetrapla.precision import choose_precision
    from tetrapla.run import Executable
    from tetrapla.saving import save
    from tetrapla.simulators.report import Report

__version__ = "0.1.0"

__all__ = [
    "Builder",
    "Comparison",
    "Executable",
    "Module",
    "Report",
    "__version__",
    "choose_precision",
    "compare",
    "compile",
    "evaluate",
    "load",
    "save",
    "simulate",
    "sweep",
]

_PLACES = {
    "Builder": "frontend.builder",
    "Comparison": "comparison",
    "Executable": "run",
    "Module": "ir.module",
    "Report": "simulators.report",
    "choose_precision": "precision",
    "compare": "api",
    "compile": "api",
    "evaluate": "api",
    "load": "models",
    "save": "saving",
    "simulate": "api",
    "sweep": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'tetrapla' has no attribute '{name}'")
    value = getattr(import_module(f"tetrapla.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
