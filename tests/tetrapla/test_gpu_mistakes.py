"""What a GPU cannot do, as a user is told: the thing, the rule, the value and a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tetrapla.backends.gpu import machine_code
from tetrapla.ir.build import ModuleBuilder

Refused = Callable[..., None]  # the fixture's, see conftest


@pytest.fixture
def odd(tmp_path: Path) -> str:
    build = ModuleBuilder("odd")
    x, y = (build.input(name, (2, 3, 3)) for name in "xy")
    build.output("a", build.op("nn.determinant", [x], {}))
    build.output("b", build.op("nn.determinant", [y], {}))
    build.output("c", build.op("nn.bit_cast", [x], {"dtype": "i32"}))
    path = tmp_path / "odd.mlir"
    path.write_text(build.finish().text(), "utf-8")
    return str(path)


@pytest.mark.parametrize("command", [("compile", "-o", "out"), ("simulate",)])
def test_all_operators_without_a_kernel_are_listed_and_the_host_is_named(
    refused: Refused, odd: str, command: tuple[str, ...]
) -> None:
    name, *others = command
    refused(
        "h100 has no kernel for nn.bit_cast (1), nn.determinant (2); compute the whole model "
        "on the host with `tetrapla run`, or replace what is listed",
        *(name, odd, "--target", "h100", *others),
    )


def test_a_format_that_the_chip_lacks_names_those_that_it_has(
    refused: Refused, mlp: str
) -> None:
    refused(
        "a100 must be given a format that it multiplies, fp32, tf32, fp16, bf16, int8, not "
        "fp8; choose another --quant or chip",
        *("compile", mlp, "--target", "a100", "--quant", "fp8", "-o", "out"),
    )


def test_a_plan_that_is_too_large_says_what_takes_how_much(refused: Refused) -> None:
    # 784 * 300 + 300 * 100 + 100 * 10 weights of float16 and 410 biases of float32, each
    # buffer a multiple of 256 bytes
    refused(
        "h100: zoo:mlp must fit 100000 bytes of device memory, not take 537856 (534784 of "
        "weights, 2048 of inputs and outputs, 1024 of workspace); use a smaller batch",
        *("simulate", "zoo:mlp", "--target", "h100", "--set", "dram.capacity=100kB"),
    )


def test_machine_code_without_the_extra_names_it(
    refused: Refused, mlp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> None:
        del name

    monkeypatch.setattr(machine_code, "find_spec", nothing)
    refused(
        "--arch needs triton, which is not installed; pip install 'tetrapla[gpu]'",
        *("compile", mlp, "--target", "h100", "--arch", "sm_90", "-o", "out"),
    )


def test_a_loop_that_cannot_be_written_out_says_why(refused: Refused) -> None:
    refused(
        "h100 has no kernel for nn.while, since its condition is not constant (1); compute the "
        "whole model on the host with `tetrapla run`, or replace what is listed",
        *("simulate", "zoo:hopfield", "--target", "h100"),
    )
