"""What tests of the GPU's compiler share: modules in the making, and plans that are run."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from tetrapla.backends.gpu import check
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.cuda.run import FLAGS
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Tensor
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.values import Held, executed

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None,
    reason="triton is not installed: it compiles the kernels and interprets them",
)
FAST = tuple("-O1" if flag == "-O2" else flag for flag in FLAGS)  # to compile CUDA C for a CPU
# an operator, the types of its operands, its attributes
Case = tuple[str, tuple[Tensor, ...], dict[str, Attribute]]
PLAIN: dict[str, Attribute] = {"activation": "none"}
WINDOW: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (1, 1, 1, 1),
    "dilations": (1, 1),
    "groups": 1,
    **PLAIN,
}


def f32(*shape: int) -> Tensor:
    return Tensor(shape, "f32")


def example(kind: str) -> Case:
    """An operator's own."""
    made = OPS[kind].example
    assert made is not None, kind
    return kind, *made


class Net:
    """A module in the making, with weights and inputs drawn as it goes."""

    def __init__(self, seed: int = 0) -> None:
        self.build = ModuleBuilder("net")
        self.rng = np.random.default_rng(seed)
        self.inputs: dict[str, Array] = {}

    def input(self, name: str, *shape: int) -> Value:
        self.inputs[name] = self.rng.normal(size=(3, *shape)).astype(np.float32)
        return self.build.input(name, shape)

    def weight(self, name: str, *shape: int) -> Value:
        array = self.rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) > 1 else 1)
        return self.build.weight(name, array.astype(np.float32))

    def op(self, kind: str, *operands: Value, **attributes: Attribute) -> Value:
        return self.build.op(kind, list(operands), attributes)

    def linear(self, x: Value, name: str, k: int, n: int) -> Value:
        operands = [x, self.weight(f"{name}.w", k, n), self.weight(f"{name}.b", n)]
        return self.build.op("nn.matmul", operands, PLAIN, name)

    def conv(self, x: Value, name: str, filters: int) -> Value:
        w = self.weight(f"{name}.w", filters, x.shape[1], 3, 3)
        operands = [x, w, self.weight(f"{name}.b", filters)]
        return self.build.op("nn.conv2d", operands, WINDOW, name)

    def finish(self, **outputs: Value) -> Module:
        for name, value in outputs.items():
            self.build.output(name, value)
        return self.build.finish()


def kinds(program: Program) -> list[str]:
    """Kernels and their steps, in order."""
    return [
        " ".join([type(k).__name__, *(type(step).__name__ for step in k.steps)])
        for k in program.kernels
    ]


def checked(module: Module, inputs: dict[str, Array], number_format: str) -> Program:
    """The plan, which agrees with the reference and survives JSON."""
    program = plan(module, number_format)
    assert Program.from_dict(json.loads(json.dumps(program.to_dict()))) == program
    reference = evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, executed(program, inputs), reference)
    assert verdict.passed, verdict
    return program


def interpreted(program: Program, inputs: dict[str, Array]) -> Held:
    """What the emitted kernels store; without Triton the test ends here, skipped."""
    pytest.importorskip("triton", reason="the emitted kernels run under Triton's interpreter")
    held = check.run_interpreted(program, inputs)
    assert held is not None
    return held


def check_emitted(module: Module, program: Program, inputs: dict[str, Array]) -> None:
    """The kernels' text computes what the module means, within the plan's bound."""
    held = interpreted(program, inputs)
    verdict = judged(Lowered(module, program), inputs, held, evaluate_many(module, inputs))
    assert verdict.passed, verdict


def miswrite(monkeypatch: pytest.MonkeyPatch, program: Program, right: str, wrong: str) -> None:
    """The emitted kernels have `wrong` in place of `right`."""
    written = sources(program)
    text = written["kernels.py"]
    assert isinstance(text, str)
    assert right in text

    def miswritten(asked: Program) -> dict[str, str | bytes]:
        assert asked == program
        return {**written, "kernels.py": text.replace(right, wrong)}

    monkeypatch.setattr(check, "sources", miswritten)
