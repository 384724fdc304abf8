"""Rare convolutions as the common one: drawn forms of each, and counts of products."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from tests.passes.recognition import kinds
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import macs
from tetrapla.passes.decompose_convolutions import DecomposeConvolutions

DRAWN = 150
LEFT = {"nn.conv_transpose2d", "nn.conv_transpose3d", "nn.conv3d"}
AXES = {"nn.conv_transpose2d": 2, "nn.conv_transpose3d": 3, "nn.conv3d": 3, "nn.conv2d": 2}


def drawn(kind: str, rng: np.random.Generator) -> tuple[Module, dict[str, Array]] | None:
    """A random form of the operator, with its inputs; None where it is none."""

    def numbers(low: int, high: int, count: int) -> tuple[int, ...]:
        return tuple(int(each) for each in rng.integers(low, high, count))

    n = AXES[kind]
    groups, batch, *per = numbers(1, 4, 4)
    channels, filters = per[0] * groups, per[1] * groups
    kernel, size = numbers(1, 5, n), numbers(1, 7, n)
    held: dict[str, Attribute] = {"strides": numbers(1, 4, n), "dilations": numbers(1, 4, n)}
    held |= {"pads": numbers(0, 4, 2 * n), "groups": groups}
    shape = (filters, channels // groups, *kernel)
    if "transpose" in kind:
        held["output_padding"] = numbers(0, 4, n)
        shape = (channels, filters // groups, *kernel)
    if kind == "nn.conv2d":
        held["activation"] = str(rng.choice(["none", "relu", "gelu"]))
    build, inputs = ModuleBuilder("drawn"), dict[str, Array]()
    inputs["x"] = rng.standard_normal((batch, channels, *size)).astype(np.float32)
    weights = rng.standard_normal(shape).astype(np.float32)
    operands = [build.input("x", inputs["x"].shape)]
    if kind == "nn.conv2d":
        inputs["w"] = weights
        operands.append(build.input("w", shape))
    else:
        operands.append(build.weight("w", weights))
    if rng.integers(2):
        bias = rng.standard_normal(filters).astype(np.float32)
        operands.append(build.weight("b", bias))
    try:
        build.output("y", build.op(kind, operands, held, "layer"))
    except IRError:  # the kernel does not fit, or nothing is left
        return None
    return build.finish(), inputs


@pytest.mark.parametrize("kind", AXES)
def test_drawn_convolutions_keep_their_values(kind: str, rng: np.random.Generator) -> None:
    tried = 0
    while tried < DRAWN:
        found = drawn(kind, rng)
        if found is None:
            continue
        tried += 1
        module, inputs = found
        made = DecomposeConvolutions()(module)
        left = {node.kind for node in made.graph.nodes}
        assert not left & (LEFT if kind != "nn.conv2d" else {"nn.conv2d"})
        assert DecomposeConvolutions()(made) is made
        before, after = evaluate(module, inputs)["y"], evaluate(made, inputs)["y"]
        moved = np.abs(before - after).max() / np.abs(before).max(initial=1e-30)
        assert moved <= DecomposeConvolutions.max_rel_error


def transposed(kernel: int, stride: int, pad: int) -> Module:
    """[1, 8, 6, 6] to 4 filters."""
    build = ModuleBuilder("up")
    weights = build.weight("w", np.ones((8, 4, kernel, kernel), np.float32))
    held: dict[str, Attribute] = {"strides": (stride,) * 2, "pads": (pad,) * 4, "groups": 1}
    held |= {"dilations": (1, 1), "output_padding": (0, 0)}
    operands = [build.input("x", (1, 8, 6, 6)), weights]
    build.output("y", build.op("nn.conv_transpose2d", operands, held, "up"))
    return build.finish()


def test_a_stride_that_divides_the_kernel_makes_no_product_too_many() -> None:
    made = DecomposeConvolutions()(transposed(2, 2, 0))
    assert kinds(made) == ["conv2d", "reshape", "transpose", "reshape"]
    # 6 x 6 inputs of 8 channels, each with 2 x 2 taps of 4 filters
    assert macs(made.graph.nodes) == 6 * 6 * 8 * 2 * 2 * 4
    # DCGAN's: 4 x 4 taps at stride 2 and pad 1 have 7 x 7 places of 2 x 2 taps in 4 phases,
    # of which the outermost are cut on one side
    made = DecomposeConvolutions()(transposed(4, 2, 1))
    assert kinds(made) == ["conv2d", "reshape", "transpose", "reshape", "slice"]
    assert macs(made.graph.nodes) == 7 * 7 * (2 * 2 * 8) * (4 * 4)


def test_a_stride_of_one_needs_no_shuffle() -> None:
    assert kinds(DecomposeConvolutions()(transposed(3, 1, 1))) == ["conv2d"]


def test_a_convolution_of_three_axes_makes_the_products_that_it_made() -> None:
    build = ModuleBuilder("volume")
    weights = build.weight("w", np.ones((5, 2, 3, 3, 3), np.float32))
    held: dict[str, Attribute] = {"strides": (1, 1, 1), "pads": (0,) * 6, "groups": 1}
    operands = [build.input("x", (1, 2, 6, 7, 8)), weights]
    y = build.op("nn.conv3d", operands, held | {"dilations": (1, 1, 1)}, "volume")
    build.output("y", y)
    made = DecomposeConvolutions()(build.finish())
    # 4 x 5 x 6 places of 27 taps of 2 channels, 5 filters
    assert macs(made.graph.nodes) == prod((4, 5, 6)) * 27 * 2 * 5
    assert kinds(made).count("conv2d") == 1


def test_a_transposed_convolution_of_computed_filters_stays() -> None:
    build = ModuleBuilder("computed")
    held: dict[str, Attribute] = {"strides": (1, 1), "pads": (0,) * 4, "groups": 1}
    held |= {"dilations": (1, 1), "output_padding": (0, 0)}
    operands = [build.input("x", (1, 2, 3, 3)), build.input("w", (2, 2, 2, 2))]
    build.output("y", build.op("nn.conv_transpose2d", operands, held))
    module = build.finish()
    assert DecomposeConvolutions()(module) is module
