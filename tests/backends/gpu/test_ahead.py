"""Machine code without a GPU or a driver, and what its assembler says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.backends.gpu.helpers import needs_triton
from tetrapla.backends.gpu import TARGET, machine_code
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.machine_code import ARCHITECTURES, ahead, judge
from tetrapla.backends.gpu.triton import compiler
from tetrapla.backends.gpu.triton.compiler import Code, compiled
from tetrapla.backends.gpu.triton.functions import Function, functions
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import Block, GpuSpec
from tetrapla.simulators.report import InternalError
from tetrapla.simulators.spec_ import chips, load_spec


def several() -> Module:
    """A row with a sum, a chain of moves and functions, indices, truths and a scatter."""
    build = ModuleBuilder("several")
    x, ids = build.input("x", (7, 130)), build.input("ids", (5, 1), "i64")
    h = build.op("nn.gelu", [x], {"approximate": "tanh"}, "gelu")
    h = build.op("nn.transpose", [h], {"perm": (1, 0)}, "turn")
    build.output("a", build.op("nn.softmax", [h], {"axis": 0}, "softmax"))
    flat = build.op("nn.reshape", [ids], {"shape": (5,)}, "flat")
    rows = build.op("nn.gather", [x, flat], {"axis": 0}, "gather")
    build.output("b", build.op("nn.scatter_nd", [x, ids, rows], {"reduction": "add"}, "put"))
    truth = build.op("nn.greater", [x, build.op("nn.erf", [x], {}, "erf")], {}, "above")
    build.output("c", truth)
    build.output("d", build.op("nn.arg_max", [x], {"axis": 1, "keepdims": 0}, "best"))
    build.output("e", build.op("nn.round", [x], {}, "round"))
    build.output("f", build.op("nn.reduce_prod", [x], {"axes": (1,), "keepdims": 0}, "prod"))
    return build.finish()


def a_product() -> Lowered[Program]:
    build = ModuleBuilder("one")
    x = build.input("x", (64, 64))
    build.output("y", build.op("nn.matmul", [x, x], {"activation": "none"}, "fc"))
    module = build.finish()
    return Lowered(module, plan(module, "fp16"))


@needs_triton
def test_generated_kernels_compile_ahead_of_time(h100: GpuSpec) -> None:
    found, _ = functions(plan(several(), "fp16"))
    codes = compiled(found, ["sm_90"])
    assert [code.function for code in codes] == [function.name for function in found]
    for code, function in zip(codes, found, strict=True):
        judge(code, function, h100.block)
        assert code.text.startswith("//")
        assert code.binary[:4] == b"\x7fELF"
        assert code.registers > 0
        assert code.spill_bytes == 0, code.function


@needs_triton
def test_each_architecture_has_its_own_tensor_cores() -> None:
    found, _ = functions(a_product().program)
    names = ["sm_80", "sm_90", "sm_100", "gfx942"]
    words = ["mma.sync", "wgmma", "tcgen05", "mfma"]
    codes = compiled(found, names)
    assert [code.architecture for code in codes] == names
    for code, word in zip(codes, words, strict=True):
        assert code.instructions[word] > 0
        assert not {*words} - {word} & {*code.instructions}
        assert "fma.rn.f32" not in code.instructions


@needs_triton
def test_what_was_compiled_is_not_compiled_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(compiler.CACHE_VARIABLE, str(tmp_path))
    found, _ = functions(a_product().program)
    first = compiled(found, ["sm_80"])
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 1
    monkeypatch.setattr(compiler, "_make", None)  # a call would fail
    assert compiled(found, ["sm_80"]) == first
    monkeypatch.undo()
    monkeypatch.setenv(compiler.CACHE_VARIABLE, str(tmp_path / "other"))
    assert compiled(found, ["sm_80"]) == first  # the same bytes, made anew


@needs_triton
def test_the_manifest_tells_what_was_made(h100: GpuSpec) -> None:
    lowered = a_product()
    files = sources(lowered.program)
    made = ahead(lowered, h100, files, None)
    manifest = json.loads(made.files["manifest.json"])
    (name,) = manifest["functions"]
    code = manifest["functions"][name]["code"]["sm_90"]
    assert manifest["code"]["architectures"] == ["sm_90"]
    assert "code_is_missing" not in manifest
    assert {code["text"], code["binary"], "manifest.json"} == {*made.files}
    assert (code["text"], code["binary"]) == tuple(
        f"code/sm_90/{name}.{kind}" for kind in ("ptx", "cubin")
    )
    assert code["instructions"]["wgmma"] > 0
    (row,) = made.rows
    assert row[:4] == (name, "1", "sm_90", "4")
    assert row[4:7] == (
        str(code["registers"]),
        f"{code['shared_bytes']} B",
        f"{code['spill_bytes']} B",
    )


def test_every_architecture_is_a_shipped_chip_s() -> None:
    specs = {name: load_spec(path, GpuSpec).spec for name, path in gpus()}
    known = {spec.architecture for spec in specs.values()}
    assert known - {"sm_20", "sm_60"} == {*ARCHITECTURES}
    for architecture, chip in machine_code.CHIPS.items():
        assert specs[chip].architecture == architecture


def gpus() -> list[tuple[str, Path]]:
    return [(n, p) for n, p in chips().items() if "family: gpu" in p.read_text("utf-8")]


def code(**changes: object) -> Code:
    held = Code("f", "sm_90", "", b"", 32, 0, 0, {})
    return replace(held, **changes)  # type: ignore[arg-type]


FUNCTION = Function("f", "y = a * b", ("f32",), 8, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"shared_bytes": 300_000},
            "kernel f for sm_90 must take at most 232448 bytes of shared memory, not 300000; "
            "use smaller tiles",
        ),
        (
            {"registers": 300},
            "kernel f for sm_90 must take at most 65536 registers, not 300 in each of 256 "
            "threads; use smaller tiles",
        ),
    ],
)
def test_a_kernel_over_the_limits_is_named(
    h100: GpuSpec, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(UnsupportedError) as refused:
        judge(code(**changes), FUNCTION, h100.block)
    assert str(refused.value) == message


def test_a_fused_rounding_is_a_defect(h100: GpuSpec) -> None:
    fused = code(instructions={"fma.rn.f32": 2})
    with pytest.raises(InternalError) as refused:
        judge(fused, FUNCTION, h100.block)
    assert str(refused.value) == (
        "kernel f for sm_90 must round every product before it is added, not hold 2 fma.rn.f32"
    )
    judge(fused, replace(FUNCTION, text="y = tl.exp(x)"), h100.block)
    judge(code(), FUNCTION, Block())


@needs_triton
def test_a_function_that_does_not_compile_is_named() -> None:
    wrong = Function(
        "f", "\n\n@triton.jit\ndef f(x_ptr):\n    nothing(x_ptr)\n", ("f32",), 4, 3
    )
    with pytest.raises(InternalError) as refused:
        compiled([wrong], ["sm_80"])
    said = "kernel f must compile for sm_80, but Triton says CompilationError: "
    assert str(refused.value).startswith(said)
    assert str(refused.value).endswith("NameError('nothing is not defined')")


def test_without_triton_sources_are_made_and_the_manifest_says_why(
    h100: GpuSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered = a_product()

    def nothing(name: str) -> None:
        del name

    monkeypatch.setattr(machine_code, "find_spec", nothing)
    files = sources(lowered.program)
    made = ahead(lowered, h100, files, None)
    assert made.notes == (
        "no machine code was made, only sources: triton is not installed; "
        "pip install 'tetrapla[gpu]'",
    )
    manifest = json.loads(made.files["manifest.json"])
    assert (manifest["code"], manifest["code_is_missing"]) == (
        None,
        "triton is not installed",
    )
    with pytest.raises(UnsupportedError) as refused:
        ahead(lowered, h100, files, ["sm_90"])
    assert str(refused.value) == (
        "--arch needs triton, which is not installed; pip install 'tetrapla[gpu]'"
    )


def test_an_old_chip_has_sources_alone(h100: GpuSpec) -> None:
    lowered = a_product()
    files = sources(lowered.program)
    for chip, architecture in (("p100", "sm_60"), ("gtx-580", "sm_20")):
        spec = load_spec(chip, GpuSpec).spec
        made = ahead(lowered, spec, files, None)
        assert made.notes == (
            "no machine code was made, only sources: "
            f"{architecture} is none that Triton compiles for",
        )
        assert {*made.files} == {"manifest.json"}
    unnamed = h100.model_copy(update={"architecture": ""})
    assert ahead(lowered, unnamed, files, None).notes == (
        "no machine code was made, only sources: the chip's YAML names no architecture",
    )


@needs_triton
def test_an_assembler_that_dies_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "assembler.py"
    script.write_text("raise SystemExit('out of luck')", "utf-8")
    monkeypatch.setattr(compiler, "_SCRIPT", script)
    found, _ = functions(a_product().program)
    with pytest.raises(InternalError) as refused:
        compiled(found, ["sm_80"])
    assert str(refused.value) == (
        f"kernel {found[0].name} must compile for sm_80, but Triton says out of luck"
    )


@needs_triton
def test_floats_of_eight_bits_need_an_architecture_that_has_them(h100: GpuSpec) -> None:
    program = a_product().program
    held = tuple(replace(buffer, dtype="f8E4M3FN") for buffer in program.buffers)
    lowered = replace(a_product(), program=replace(program, buffers=held))
    with pytest.raises(UnsupportedError) as refused:
        ahead(lowered, h100, {}, ["sm_80", "sm_90", "sm_75"])
    assert str(refused.value) == (
        "an fp8 plan must be for an architecture that has such floats, sm_89, sm_90, sm_100, "
        "gfx942, not sm_80 and sm_75; choose another --arch or --quant"
    )


def integers() -> Lowered[Program]:
    build = ModuleBuilder("integers")
    x = build.input("x", (5, 64), "i8")
    w = build.weight("w", np.ones((64, 7), np.int8))
    _, attributes = OPS["qnn.matmul"].example or ((), {})
    build.output("y", build.op("qnn.matmul", [x, w], attributes, "fc"))
    module = build.finish()
    return Lowered(module, plan(module, "int8"))


@needs_triton
@pytest.mark.parametrize("architecture", ["sm_70", "sm_75"])
def test_triton_has_no_integer_products_without_tensor_cores(architecture: str) -> None:
    found, _ = functions(integers().program)
    with pytest.raises(InternalError) as refused:
        compiled(found, [architecture])
    assert str(refused.value) == (
        f"kernel {found[0].name} must compile for {architecture}, but Triton says "
        "RuntimeError: PassManager::run failed"
    )
    assert compiled(found, ["sm_80"])[0].instructions["mma.sync"] > 0


def test_a_chip_whose_integers_triton_cannot_multiply_has_sources_alone() -> None:
    lowered = integers()
    made = ahead(lowered, load_spec("t4", GpuSpec).spec, sources(lowered.program), None)
    assert made.notes == (
        "no machine code was made, only sources: Triton has no int8 products for sm_75; "
        "--emit cuda-c writes kernels that need no Triton",
    )
    assert {*made.files} == {"manifest.json"}
    manifest = json.loads(made.files["manifest.json"])
    assert (manifest["code"], manifest["code_is_missing"]) == (
        None,
        "Triton has no int8 products for sm_75",
    )


@needs_triton
def test_an_architecture_whose_integers_triton_cannot_multiply_is_refused(
    h100: GpuSpec,
) -> None:
    with pytest.raises(UnsupportedError) as refused:
        ahead(integers(), h100, {}, ["sm_75", "sm_90", "sm_70"])
    assert str(refused.value) == (
        "a plan of int8 products must be for an architecture that Triton has them for, sm_80, "
        "sm_86, sm_89, sm_90, sm_100, gfx942, not sm_75 and sm_70; choose another --arch or "
        "--quant"
    )


@needs_triton
def test_a_plan_too_large_for_another_architecture_names_a_way_that_exists(
    h100: GpuSpec,
) -> None:
    build = ModuleBuilder("large")
    x, w = build.input("x", (1024, 2048)), build.input("w", (2048, 1024))
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}, "fc"))
    module, bf16 = build.finish(), Options(quant="bf16")
    lowered = TARGET.lower(module, h100, None, bf16)
    with pytest.raises(UnsupportedError) as refused:
        ahead(lowered, h100, sources(lowered.program), ["sm_90", "gfx942"])
    name = "matmul_1x1024x1024x2048"
    assert str(refused.value) == (
        f"kernel {name} for gfx942 must take at most 65536 bytes of shared memory, not 73728; "
        "plan within it by --set block.shared_memory=65536B"
    )
    block = h100.block.model_copy(update={"shared_memory_bytes": 65_536})
    small = h100.model_copy(update={"block": block})
    lowered = TARGET.lower(module, small, None, bf16)
    made = ahead(lowered, small, sources(lowered.program), ["sm_90", "gfx942"])
    assert [row[2] for row in made.rows] == ["sm_90", "gfx942"]


@needs_triton
def test_a_cache_that_is_a_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv(compiler.CACHE_VARIABLE, str(tmp_path / "file"))
    found, _ = functions(a_product().program)
    with pytest.raises(UnsupportedError) as refused:
        compiled(found, ["sm_80"])
    assert str(refused.value) == (
        f"the cache of machine code must be a folder that can be written, not "
        f"'{tmp_path / 'file'}'; set TETRAPLA_GPU_CACHE to another"
    )
