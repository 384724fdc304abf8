"""The emitted kernels in a process of their own: names, time, and a wrong kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.backends.gpu.helpers import needs_triton
from tetrapla.backends.gpu import check
from tetrapla.backends.gpu.arrays import save
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.report import InternalError


def named_as_an_argument(rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """An input, a weight and an output with names that np.savez takes for its own."""
    build = ModuleBuilder("names")
    x = build.input("allow_pickle", (1, 4))
    w = build.weight("file", rng.normal(size=(4, 3)).astype(np.float32))
    build.output("file", build.op("nn.matmul", [x, w], {"activation": "none"}, "fc"))
    return build.finish(), {"allow_pickle": rng.normal(size=(2, 1, 4)).astype(np.float32)}


def test_an_archive_takes_every_name(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = {"file": rng.normal(size=(2, 3)), "a/b": np.arange(3), "allow_pickle": np.ones(1)}
    save(tmp_path / "all.npz", arrays)
    with np.load(tmp_path / "all.npz", allow_pickle=False) as found:
        assert sorted(found.files) == sorted(arrays)
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_kernels_that_take_too_long_are_named(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = named_as_an_argument(rng)

    def late(command: list[str], *, timeout: float, **options: object) -> None:
        assert options["check"] is False
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(check, "find_spec", str)
    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(InternalError) as refused:
        check.run_interpreted(plan(module, "fp16"), inputs)
    assert str(refused.value) == (
        "emitted kernels must run under Triton's interpreter in 600 s, not longer; "
        "use a smaller model"
    )


@needs_triton
def test_emitted_kernels_take_every_name(rng: np.random.Generator) -> None:
    module, inputs = named_as_an_argument(rng)
    lowered = Lowered(module, plan(module, "fp16"))
    verdict, _ = check.second_check(lowered, inputs, evaluate_many(module, inputs))
    assert verdict is not None
    assert verdict.passed, verdict


@needs_triton
def test_a_wrong_emitted_kernel_is_caught(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ModuleBuilder("soft")
    x = build.input("x", (2, 7))
    build.output("y", build.op("nn.softmax", [x], {"axis": 1}, "softmax"))
    module, inputs = build.finish(), {"x": rng.normal(size=(2, 2, 7)).astype(np.float32)}
    lowered = Lowered(module, plan(module, "fp16"))
    written = sources(lowered.program)
    text = str(written["kernels.py"])
    wrong = {**written, "kernels.py": text.replace("tl.exp(", "tl.exp2(")}
    assert wrong != written

    def miswritten(program: Program) -> dict[str, str | bytes]:
        assert program == lowered.program
        return wrong

    monkeypatch.setattr(check, "sources", miswritten)
    verdict, _ = check.second_check(lowered, inputs, evaluate_many(module, inputs))
    assert verdict is not None
    assert not verdict.passed
