"""What the tests of the GPU's compiler share. All of them carry the mark `gpu`.

They are the first three of four tiers, none of which needs a GPU: integer kernels bit-exact
and float kernels within their bound, both under Triton's interpreter, and machine code. How
many distinct kernels each tier checked is said at the end. Those marked `slow` run where `-m`
names a mark, as in `-m gpu`.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tetrapla.backends.gpu import check
from tetrapla.backends.gpu.bounds import verdict
from tetrapla.backends.gpu.cuda import emitted, emulated
from tetrapla.backends.gpu.cuda import source as cuda_source
from tetrapla.backends.gpu.cuda.run import by_nvrtc
from tetrapla.backends.gpu.triton import compiler, source
from tetrapla.backends.gpu.triton.compiler import Code
from tetrapla.backends.gpu.triton.functions import Function, functions
from tetrapla.backends.target_ import Lowered
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.report import CrossCheck
from tetrapla.simulators.spec_ import load_spec

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: the GPU's kernels, in three tiers; needs no GPU")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    own = [item for item in items if HERE in item.path.parents]
    for item in own:
        item.add_marker(pytest.mark.gpu)
    if not {"gpu", "slow"} & {*re.findall(r"\w+", config.option.markexpr)}:
        long = [item for item in own if "slow" in item.keywords]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


class Tiers:
    """The distinct kernels that were checked, by tier."""

    def __init__(self) -> None:
        self.kernels: dict[str, set[object]] = {"bit-exact": set(), "within their bound": set()}
        self.emitted: dict[int, weakref.ref[Program]] = {}
        self.judging: Program | None = None

    def runs(self, program: Program) -> None:
        """A program's emitted kernels are run."""
        self.emitted[id(program)] = weakref.ref(program)

    def judged(self, found: CrossCheck) -> None:
        """Count the kernels of the program at hand, if they ran as emitted and passed."""
        program, self.judging = self.judging, None
        if program is None or not found.passed:
            return
        ran = self.emitted.get(id(program))
        if ran is not None and ran() is program:
            tier = "bit-exact" if found.kind == "bit_exact" else "within their bound"
            self.kernels[tier] |= {each.content for each in functions(program)[0]}

    def compiled(self, function: Function, code: Code) -> None:
        """Count a kernel's machine code."""
        tier = f"compiled for {code.architecture}"
        self.kernels.setdefault(tier, set()).add(function.content)

    def of_cuda(self, tier: str, text: str | bytes) -> None:
        """Count the kernels of a kernels.cu."""
        written = text.decode() if isinstance(text, bytes) else text
        _, *own = written.split('extern "C" __global__ void')
        self.kernels.setdefault(f"of CUDA C {tier}", set()).update(own)

    def __str__(self) -> str:
        return ", ".join(f"{len(found)} {tier}" for tier, found in self.kernels.items())


TIERS = Tiers()


@pytest.fixture(scope="session", autouse=True)
def _kernels_are_counted() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Every verdict on emitted kernels counts, wherever in these tests it is asked for.

    Tests hold the functions that run and judge by their names, so what is watched is what
    those call: the sources that are run, and the start and the end of a verdict.
    """
    judge, describe = verdict.integer, compiler.described

    def sources(program: Program) -> dict[str, str | bytes]:
        TIERS.runs(program)
        return source.sources(program)

    def integer(lowered: Lowered[Program]) -> bool:
        TIERS.judging = lowered.program
        return judge(lowered)

    def cross_check(*figures: Any) -> CrossCheck:
        found = CrossCheck(*figures)
        TIERS.judged(found)
        return found

    def described(function: Function, architecture: str, place: Path) -> Code:
        code = describe(function, architecture, place)
        TIERS.compiled(function, code)
        return code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "sources", sources)
        patch.setattr(verdict, "integer", integer)
        patch.setattr(verdict, "CrossCheck", cross_check)
        patch.setattr(compiler, "described", described)
        yield


@pytest.fixture(scope="session", autouse=True)
def _kernels_of_cuda_are_counted() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """So are the texts in CUDA C that run on a CPU or that NVRTC takes."""

    def cuda_sources(program: Program) -> dict[str, str | bytes]:
        written = cuda_source.cuda_sources(program)
        TIERS.of_cuda("run on a CPU", written[cuda_source.KERNELS])
        return written

    def compiled_cuda(text: bytes, architecture: str) -> bytes:
        code = by_nvrtc(text, architecture)
        TIERS.of_cuda(f"compiled for {architecture}", text)
        return code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulated, "cuda_sources", cuda_sources)
        patch.setattr(emitted, "by_nvrtc", compiled_cuda)
        yield


@pytest.fixture(scope="session")
def h100() -> GpuSpec:
    return load_spec("h100", GpuSpec).spec


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if any(TIERS.kernels.values()):
        terminalreporter.write_line(f"gpu: kernels {TIERS}")
