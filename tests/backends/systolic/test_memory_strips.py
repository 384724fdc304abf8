"""Stages that run in strips although their operands lie otherwise, or make one pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, check, chip
from tetrapla.ir.graph import Value
from tetrapla.simulators.systolic.program import Program

SCALES = {"a_scale": 0.5, "b_scale": 0.5, "y_scale": 0.5}
ZEROS = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 5}


def joined(net: Net, a: Value, b: Value, axis: int, name: str, **own: Any) -> Value:
    """A concatenation; of equal scales it moves bytes and changes none."""
    return net.builder.op(
        "qnn.concat", [a, b], {**SCALES, **ZEROS, **own, "axis": axis}, name=name
    )


def run(net: Net, y: Value, buffer_bytes: int) -> Program:
    """Compile for a small unified buffer, and hold against the reference."""
    settings = f"memories.unified_buffer={buffer_bytes} B"
    _, program = check(net.finish(y), chip(8, 8, 64, 4, settings), net.inputs(2))
    assert program.unified_buffer_bytes <= buffer_bytes
    return program


def averaged(net: Net, x: Value, name: str) -> Value:
    numbers = {"x_scale": 0.5, "x_zero_point": -7, "y_scale": 0.04, "y_zero_point": 3}
    return net.builder.op("qnn.global_average_pool", [x], numbers, name=name)


def test_an_average_over_an_image_that_does_not_fit_is_one_of_sums_of_rows() -> None:
    net = Net(np.random.default_rng(0), (1, 4, 16, 8))  # 512 bytes
    program = run(net, averaged(net, net.x, "mean"), 320)
    # 4 bytes for each of 4 channels and 16 rows are kept: 256; a row of x is 32
    assert [layer.name for layer in program.layers[1:-1]] == ["mean.rows", "mean"]
    net = Net(np.random.default_rng(0), (1, 4, 16, 8))
    program = run(net, averaged(net, net.x, "mean"), 528)
    assert [layer.name for layer in program.layers[1:-1]] == ["mean"]  # one instruction


@pytest.mark.parametrize("seed", range(12))
def test_averages_are_exact_in_any_room(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = (int(size) for size in rng.integers([1, 1, 2, 1], [4, 9, 14, 14]))
    net = Net(rng, (n, c, h, w), ("i8", "ui8")[seed % 2])
    own = net.builder.op
    numbers = {"x_scale": 0.013, "x_zero_point": 9, "y_scale": 0.01, "y_zero_point": 11}
    y = own("qnn.global_average_pool", [net.x], numbers, name="mean")
    sums, row, mean = 4 * c * h, w * c, c  # of one image
    least = sums + max(row, mean) + 48  # places begin at multiples of 16
    run(net, y, least + int(rng.integers(300)))


def test_a_shuffle_of_channels_goes_row_by_row() -> None:
    # 2 x 4 channels change places: no stride says where one comes from
    net = Net(np.random.default_rng(1), (1, 8, 12, 4))
    op = net.builder.op
    y = op("nn.reshape", [net.x], {"shape": (1, 2, 4, 12, 4)}, name="parts")
    y = op("nn.transpose", [y], {"perm": (0, 2, 1, 3, 4)}, name="turned")
    y = op("nn.reshape", [y], {"shape": (1, 8, 12, 4)}, name="whole")
    left, right = (
        op(
            "nn.slice",
            [y],
            {"starts": (0, at, 0, 0), "sizes": (1, 4, 12, 4), "steps": (1, 1, 1, 1)},
            name=f"half{at}",
        )
        for at in (0, 4)
    )
    y = net.conv(joined(net, right, left, 1, "both"), 8, (1, 1), "conv")
    run(net, y, 160)  # of x there are 384 bytes, and a row is 32


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_a_concatenation_along_any_axis_goes_in_strips(axis: int) -> None:
    net = Net(np.random.default_rng(axis), (1 if axis else 3, 6, 8, 15))  # 720 bytes an image
    side = net.conv(net.x, 6, (1, 1), "side")
    y = net.conv(joined(net, net.x, side, axis, "both"), 4, (1, 1), "conv")
    run(net, y, 400)


def test_what_is_broadcast_along_the_rows_is_sliced() -> None:
    net = Net(np.random.default_rng(2), (32, 24))
    column = net.weights((32, 1), "column")
    held = {"a_scale": 0.1, "b_scale": 0.02, "y_scale": 0.3, **ZEROS}
    y = net.builder.op("qnn.mul", [net.x, column], held, name="scaled")
    run(net, net.product(y, 8, "fc"), 256)  # of x there are 768 bytes


@pytest.mark.parametrize("seed", range(10))
def test_reshaped_rows_are_written_where_they_are_joined(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, width, count = (int(n) for n in rng.integers([1, 1, 2], [4, 20, 6]))
    net = Net(rng, (rows, width))
    op, whole, x = net.builder.op, None, net.x
    for step in range(count):
        x = net.product(x, width, f"step{step}")
        row = op("nn.reshape", [x], {"shape": (1, rows, width)}, name=f"row{step}")
        whole = row if whole is None else joined(net, whole, row, 0, f"rows{step}")
    assert whole is not None
    y = net.product(whole, 3, "out")
    program = run(net, y, 100_000)
    assert not [layer.name for layer in program.layers if layer.op == "copy"]


def test_a_product_of_one_row_needs_that_row_alone() -> None:
    net = Net(np.random.default_rng(3), (1, 40, 16))
    x = net.product(net.x, 16, "every")  # 640 bytes
    held = {"starts": (0, 7, 0), "sizes": (1, 1, 16), "steps": (1, 1, 1)}
    first = net.builder.op("nn.slice", [x], held, name="first")
    first = net.builder.op("nn.reshape", [first], {"shape": (1, 16)}, name="flat")
    run(net, net.product(first, 5, "head"), 128)


def halves(net: Net, x: Value, axis: int) -> list[Value]:
    """Two parts of one buffer."""
    size, found = x.shape[axis] // 2, []
    for start in (0, size):
        starts, sizes = [0] * len(x.shape), list(x.shape)
        starts[axis], sizes[axis] = start, size
        cut = {"starts": tuple(starts), "sizes": tuple(sizes), "steps": (1,) * len(sizes)}
        found.append(net.builder.op("nn.slice", [x], cut, name=f"half{start}"))
    return found


@pytest.mark.parametrize("axis", [0, 1])
def test_two_parts_of_one_buffer_are_both_read(axis: int) -> None:
    net = Net(np.random.default_rng(axis), (32, 32))
    held = {"a_scale": 0.1, "b_scale": 0.02, "y_scale": 0.3, **ZEROS}
    y = net.builder.op("qnn.mul", halves(net, net.x, axis), held, name="gated")
    program = run(net, y, 1024 + 256)  # x and the result together are 1536 bytes
    assert len([i for i in program.instructions if i.op == "VX"]) > 1
