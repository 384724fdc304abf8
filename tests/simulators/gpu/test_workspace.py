"""Where scratch buffers lie: by hand, and by law on random plans."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.simulators.gpu.kernels import Kernel, Pointwise
from tetrapla.simulators.gpu.program import Buffer, Port, Program
from tetrapla.simulators.gpu.workspace import ALIGNMENT_BYTES, Need, need, workspace


def copy(x: str, y: str) -> Kernel:
    return Pointwise(y, "nn.relu", y, (), 1, 1, x, 1, 1024)


def chain(sizes: list[int], reads: list[int]) -> Program:
    """Kernel i reads buffer ``reads[i]`` and stores buffer i + 1; buffer 0 is the input."""
    last = len(sizes) - 1
    roles = ["input", *("scratch" for _ in sizes[1:-1]), "output"]
    buffers = tuple(Buffer(f"b{i}", "f32", (size,), roles[i]) for i, size in enumerate(sizes))
    kernels = tuple(copy(f"b{read}", f"b{i + 1}") for i, read in enumerate(reads))
    ports = (Port("x", "b0", (sizes[0],), "f32"),), (Port("y", f"b{last}", (1,), "f32"),)
    return Program("chain", "fp32", *ports, buffers, kernels)


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    # 400, 800, 1200 and 100 bytes, padded to 512, 1024, 1280 and 256: the second and the third
    # are alive together; the first lies where the third was not yet, the last where it was
    placed = workspace(chain([10, 100, 200, 300, 25, 10], [0, 1, 2, 3, 4]))
    assert placed.scratch_bytes == 512 + 1024 + 1280 + 256
    assert placed.size_bytes == 1280 + 1024
    assert placed.offsets_bytes == {"b1": 0, "b2": 1280, "b3": 0, "b4": 1280}


def test_a_buffer_that_is_read_late_keeps_its_place() -> None:
    # b1 is read by the last kernel, so b2 and b3 lie behind it
    placed = workspace(chain([10, 64, 64, 64, 10], [0, 1, 2, 1]))
    assert placed.offsets_bytes == {"b1": 0, "b2": 256, "b3": 512}


def test_what_a_plan_needs_is_the_sum_of_its_parts() -> None:
    program = chain([10, 64, 64, 10], [0, 1, 2])
    assert need(program) == Need(0, 2 * 256, 512)
    assert need(program).total == 1024
    empty = Program("none", "fp32", program.inputs, (), program.buffers[:1], ())
    assert (need(empty).workspace, workspace(empty).offsets_bytes) == (0, {})


@pytest.mark.parametrize("seed", range(8))
def test_buffers_that_are_alive_together_do_not_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 40
    sizes = [int(size) for size in rng.integers(1, 2000, count)]
    reads = [int(rng.integers(max(0, i - 6), i + 1)) for i in range(count - 1)]
    program = chain(sizes, reads)
    placed = workspace(program)
    alive = {
        f"b{i}": (i - 1, max([i - 1, *(k for k, r in enumerate(reads) if r == i)]))
        for i in range(1, count - 1)
    }
    ends = {}
    for name, start in placed.offsets_bytes.items():
        assert start % ALIGNMENT_BYTES == 0
        ends[name] = start + program.memory[name].traffic_bytes
        assert ends[name] <= placed.size_bytes
    for a, (first, last) in alive.items():
        for b, (other, end) in alive.items():
            if a < b and first <= end and other <= last:
                apart = ends[a] <= placed.offsets_bytes[b] or ends[b] <= placed.offsets_bytes[a]
                assert apart, (a, b)
    assert placed.size_bytes < placed.scratch_bytes
