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
    from tetrapla.api import chip, compare, compile, simulate, sweep, sweep_closed_form
    from tetrapla.comparison import Comparison
    from tetrapla.frontend import zoo
    from tetrapla.frontend.builder import Builder, Layers
    from tetrapla.frontend.builder import functions as nn
    from tetrapla.frontend.torch_export.memory import from_torch
    from tetrapla.ir.gradient import (
        GradientOptions,
        Optimizer,
        gradients,
        training_step,
        vjp,
    )
    from tetrapla.ir.interpret import evaluate, evaluate_batches
    from tetrapla.ir.module import Module
    from tetrapla.models import load
    from tetrapla.precision import choose_precision
    from tetrapla.retraining import retrain
    from tetrapla.run import Executable
    from tetrapla.saving import save
    from tetrapla.simulators.report import Report
    from tetrapla.training import train

__version__ = "0.1.0"

__all__ = [
    "Builder",
    "Comparison",
    "Executable",
    "GradientOptions",
    "Layers",
    "Module",
    "Optimizer",
    "Report",
    "__version__",
    "chip",
    "choose_precision",
    "compare",
    "compile",
    "evaluate",
    "evaluate_batches",
    "from_torch",
    "gradients",
    "load",
    "nn",
    "retrain",
    "save",
    "simulate",
    "sweep",
    "sweep_closed_form",
    "train",
    "training_step",
    "vjp",
    "zoo",
]

_PLACES = {
    "Builder": "frontend.builder",
    "Comparison": "comparison",
    "Executable": "run",
    "GradientOptions": "ir.gradient",
    "Layers": "frontend.builder",
    "Module": "ir.module",
    "Optimizer": "ir.gradient",
    "Report": "simulators.report",
    "chip": "api",
    "choose_precision": "precision",
    "compare": "api",
    "compile": "api",
    "evaluate": "ir.interpret",
    "evaluate_batches": "ir.interpret",
    "from_torch": "frontend.torch_export.memory",
    "gradients": "ir.gradient",
    "load": "models",
    "retrain": "retraining",
    "save": "saving",
    "simulate": "api",
    "sweep": "api",
    "sweep_closed_form": "api",
    "train": "training",
    "training_step": "ir.gradient",
    "vjp": "ir.gradient",
}

_MODULES = {"nn": "frontend.builder.functions", "zoo": "frontend.zoo"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f"tetrapla.{_MODULES[name]}")
    elif name in _PLACES:
        value = getattr(import_module(f"tetrapla.{_PLACES[name]}"), name)
    else:
        raise AttributeError(f"module 'tetrapla' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES, *_MODULES})
