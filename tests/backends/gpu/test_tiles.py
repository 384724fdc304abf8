"""Tiles by the time model, within what a chip has room for; and tiles out of a tuning file."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.backends.gpu.helpers import interpreted
from tetrapla.backends.gpu.lower import lower, plan
from tetrapla.backends.gpu.tiles import chosen, covering, fitting, stage_bytes
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.gpu.tuning import Tuning, keys, read_tuning, tuned, written
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.formats import FORMAT_OF_OPERAND
from tetrapla.simulators.gpu.kernels import MatMul, Product, Tile
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import values
from tetrapla.simulators.spec_ import chips, family_of, load_spec

CHIPS = [name for name in chips() if family_of(name) == "gpu"]
SHAPES = [
    (1, 4096, 4096, 4096),
    (1, 1, 4096, 4096),
    (12, 128, 128, 64),
    (1, 197, 768, 3072),
    (1, 50_000, 64, 576),
    (3, 5, 7, 9),
]


def spec_of(chip: str) -> GpuSpec:
    return load_spec(chip, GpuSpec).spec


def gemm(problem: tuple[int, int, int, int], operand: str) -> MatMul:
    count, m, n, k = problem
    return MatMul(
        name="gemm",
        op="nn.matmul",
        output="y",
        steps=(),
        channels=n,
        inner=1,
        a="a",
        b="b",
        operand=operand,
        a_zero_point=0,
        b_zero_point=0,
        tile=covering(m, n, k, operand),
        lead=(count,),
        a_strides=(),
        b_strides=(),
        m=m,
        n=n,
        k=k,
    )


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("problem", SHAPES)
def test_a_tile_fits_its_chip(chip: str, problem: tuple[int, int, int, int]) -> None:
    spec = spec_of(chip)
    for operand, number_format in FORMAT_OF_OPERAND.items():
        if number_format not in spec.formats:
            continue
        kernel = gemm(problem, operand)
        tile = chosen(kernel, spec)
        threads = 32 * tile.warps
        assert tile in fitting(kernel, spec)
        # operands of all stages in shared memory; accumulators leave registers for the rest
        assert tile.stages * stage_bytes(tile, operand) <= spec.block.shared_memory_bytes
        assert tile.m * tile.n // threads <= (spec.block.thread_registers + 1) // 2
        assert threads <= spec.block.threads
        # half of a tile would not cover what is there
        assert all(size >= extent // 2 or size <= 16 for size, extent in _covers(tile, problem))


def _covers(tile: Tile, problem: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """A tile's sizes beside the extents that end inside of it."""
    pairs = zip((tile.m, tile.n, tile.k), problem[1:], strict=True)
    return [(size, extent) for size, extent in pairs if size > extent]


def test_a_large_product_has_large_tiles_and_a_small_one_few() -> None:
    h100 = spec_of("h100")
    # 128 x 256 halves of 4096 x 4096: 512 tiles on 132 multiprocessors
    assert chosen(gemm((1, 4096, 4096, 4096), "f16"), h100) == Tile(128, 256, 64, 8, 4)
    # a row: as many tiles of 16 rows as give every second multiprocessor one
    assert chosen(gemm((1, 1, 4096, 4096), "f16"), h100) == Tile(16, 64, 64, 4, 4)
    # launch-bound: one tile
    small = chosen(gemm((1, 36, 5, 9), "f16"), h100)
    assert (small.m, small.n, small.k) == (64, 16, 16)


def test_the_k_of_a_tile_is_the_same_on_every_chip() -> None:
    for problem in SHAPES:
        for operand in ("f16", "f32"):
            depths = {
                chosen(gemm(problem, operand), spec_of(chip)).k
                for chip in CHIPS
                if FORMAT_OF_OPERAND[operand] in spec_of(chip).formats
            }
            assert depths == {covering(*problem[1:], operand).k}


def network(rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    build = ModuleBuilder("network")
    x = build.input("x", (33, 150))
    w = build.weight("w", rng.normal(size=(150, 90)).astype(np.float32))
    y = build.op("nn.matmul", [x, w], {"activation": "relu"}, "fc1")
    v = build.weight("v", rng.normal(size=(90, 70)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [y, v], {"activation": "none"}, "fc2"))
    return build.finish(), {"x": rng.normal(size=(2, 33, 150)).astype(np.float32)}


def cut(program: Program, tile: Tile) -> Program:
    made = (replace(k, tile=tile) if isinstance(k, Product) else k for k in program.kernels)
    return replace(program, kernels=tuple(made))


def test_integers_are_the_same_under_every_tile(rng: np.random.Generator) -> None:
    module, inputs = network(rng)
    program = lower(module, spec_of("h100"), inputs, Options(quant="int8")).program
    (wanted,) = values(program, inputs).values()
    for tile in (Tile(16, 16, 32), Tile(32, 16, 128), Tile(128, 64, 64)):
        assert np.array_equal(values(cut(program, tile), inputs)["y"], wanted)


def test_another_depth_is_another_sum_of_floats(rng: np.random.Generator) -> None:
    module, inputs = network(rng)
    program = lower(module, spec_of("h100"), None, Options(quant="fp32")).program
    found = [values(cut(program, Tile(16, 16, k)), inputs)["y"] for k in (16, 32)]
    assert not np.array_equal(found[0], found[1])


def tuning_of(program: Program, spec: GpuSpec, tile: Tile) -> Tuning:
    tiles = {key: tile for _, key in keys(program, spec)}
    return Tuning("mine.json", "NVIDIA H100", "2026-11-21", tiles)


def test_a_tuning_file_is_taken_and_named(rng: np.random.Generator, tmp_path: Path) -> None:
    module, inputs = network(rng)
    spec, path = spec_of("h100"), tmp_path / "mine.json"
    plain = lower(module, spec, None, Options(quant="fp16")).program
    tile = Tile(32, 32, 32, 4, 2)
    path.write_text(written(tuning_of(plain, spec, tile)), "utf-8")
    lowered = lower(module, spec, None, Options(quant="fp16", tuning=str(path)))
    assert [k.tile for k in lowered.program.kernels if isinstance(k, Product)] == [tile, tile]
    assert lowered.warnings == (
        f"tiles of 2 of 2 products are those of {path}, found on NVIDIA H100, 2026-11-21: sums "
        "of floats may differ from the plan without it",
    )
    # of another chip, format or code nothing is taken
    others = [
        lower(module, spec_of("a100"), None, Options(quant="fp16", tuning=str(path))),
        lower(module, spec, inputs, Options(quant="int8", tuning=str(path))),
        _with_other_code(path, module, spec),
    ]
    for other in others:
        assert other.warnings[0].startswith("tiles of 0 of 2 products are those of ")
    assert not lower(module, spec, None, Options(quant="fp16")).warnings


def _with_other_code(path: Path, module: Module, spec: GpuSpec) -> Lowered[Program]:
    """With a file whose entries were measured on other text."""
    data = json.loads(path.read_text("utf-8"))
    for entry in data["entries"]:
        entry["kernel"] = "0" * 64
    path.write_text(json.dumps(data), "utf-8")
    return lower(module, spec, None, Options(quant="fp16", tuning=str(path)))


def test_a_tuning_file_reads_back(rng: np.random.Generator, tmp_path: Path) -> None:
    module, _ = network(rng)
    spec, path = spec_of("h100"), tmp_path / "mine.json"
    program = lower(module, spec, None, Options(quant="fp16")).program
    given = tuning_of(program, spec, Tile(64, 32, 16, 4, 3))
    path.write_text(written(given), "utf-8")
    assert read_tuning(path) == replace(given, path=str(path))


@pytest.mark.parametrize(
    ("tile", "said"),
    [
        (
            Tile(48, 64, 64),
            "must have m of 16, 32, 64, 128, 256, not 48; tune it again",
        ),
        (Tile(64, 64, 128), "must have k of 16, 32, 64, not 128; tune it again"),
        (
            Tile(256, 256, 64, 8, 6),
            "must fit the 232448 bytes of shared memory of h100, not take 393216; tune it "
            "again",
        ),
    ],
)
def test_a_tile_without_room_is_refused(
    tile: Tile, said: str, rng: np.random.Generator
) -> None:
    module, _ = network(rng)
    spec = spec_of("h100")
    program = lower(module, spec, None, Options(quant="fp16")).program
    with pytest.raises(ModelError) as refused:
        tuned(program, spec, tuning_of(program, spec, tile))
    assert str(refused.value) == f"mine.json: a tile of fp16 {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "tuning file '{path}' must exist; give another path"),
        (
            "{",
            "'{path}' must be a tuning file (tetrapla.tuning/1), not something else; write it "
            "again",
        ),
        (
            "[]",
            "'{path}' must be a tuning file (tetrapla.tuning/1), not of another schema; write "
            "it again",
        ),
        (
            '{"schema": "tetrapla.tuning/1", "device": "x", "entries": []}',
            "'{path}' must be a tuning file (tetrapla.tuning/1) with device, date and entries, "
            "not without 'date'; write it again",
        ),
    ],
)
def test_what_is_no_tuning_file_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(ModelError) as refused:
        read_tuning(path)
    assert str(refused.value) == said.format(path=path)


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed: the emitted kernels run under its interpreter",
)
def test_a_grid_that_is_walked_in_blocks_stores_every_tile_once(
    rng: np.random.Generator,
) -> None:
    build = ModuleBuilder("grid")
    x, w = build.input("x", (150, 20)), build.input("w", (20, 170))
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}, "fc"))
    inputs = {
        "x": rng.normal(size=(1, 150, 20)).astype(np.float32),
        "w": rng.normal(size=(1, 20, 170)).astype(np.float32),
    }
    program = cut(plan(build.finish(), "fp32"), Tile(16, 16, 16))
    (grid,) = (kernel.grid for kernel in program.kernels if isinstance(kernel, Product))
    assert grid == (10, 11, 1)
    (function,), _ = functions(program)
    assert "high = tl.minimum(10 - first, 8)" in function.text
    held = interpreted(program, inputs)
    assert np.allclose(held.outputs["y"], inputs["x"] @ inputs["w"], atol=1e-5)
