"""A broken constraint of an `nn` operator says which, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.op import Tensor

BROKEN: list[tuple[str, tuple[Tensor, ...], dict[str, Any], str]] = [
    (
        "nn.exp",
        (Tensor((2,), "i8"),),
        {},
        "nn.exp C1: elements must be floats, not tensor<2xi8>",
    ),
    (
        "nn.clip",
        (Tensor((2,), "f32"),),
        {"low": 2.0, "high": 1.0},
        "nn.clip C2: low must not be above high, not 2.0 and 1.0",
    ),
    (
        "nn.sub",
        (Tensor((2,), "f32"), Tensor((3,), "f32")),
        {},
        "nn.sub C1: shapes must broadcast, not tensor<2xf32> and tensor<3xf32>",
    ),
    (
        "nn.less",
        (Tensor((2,), "f32"), Tensor((2,), "i8")),
        {},
        "nn.less C2: element types must be equal, not tensor<2xf32> and tensor<2xi8>",
    ),
    (
        "nn.where",
        (Tensor((2,), "i8"), Tensor((2,), "f32"), Tensor((2,), "f32")),
        {},
        "nn.where C3: elements must be i1, not tensor<2xi8>",
    ),
    (
        "nn.reduce_mean",
        (Tensor((2, 0), "f32"),),
        {"axes": (1,), "keepdims": 1},
        "nn.reduce_mean C4: reduced axes must not be empty, not (1,) of tensor<2x0xf32>",
    ),
    (
        "nn.reduce_sum",
        (Tensor((2, 3), "f32"),),
        {"axes": (1, -1), "keepdims": 1},
        "nn.reduce_sum C1: axes of tensor<2x3xf32> must differ, not (1, -1)",
    ),
    (
        "nn.layer_norm",
        (Tensor((2, 3), "f32"), Tensor((2,), "f32")),
        {"axis": -1, "epsilon": 1e-5},
        "nn.layer_norm C2: parameters need shape (3,), not tensor<2xf32>",
    ),
    ("nn.concat", (), {"axis": 0}, "nn.concat takes 2 to 2 operands, not 0"),
    (
        "nn.concat",
        (Tensor((2, 3), "f32"), Tensor((3, 3), "f32")),
        {"axis": 1},
        "nn.concat C3: shapes must be equal but for axis 1, "
        "not tensor<2x3xf32> and tensor<3x3xf32>",
    ),
    (
        "nn.slice",
        (Tensor((4,), "f32"),),
        {"starts": (2,), "sizes": (2,), "steps": (2,)},
        "nn.slice C3: axis 0 of tensor<4xf32> must hold 2 and 4, not only 0..3",
    ),
    (
        "nn.cast",
        (Tensor((4,), "f32"),),
        {"dtype": "i7"},
        f"nn.cast C1: dtype must be one of {', '.join(DTYPES)}, not 'i7'",
    ),
    (
        "nn.gelu",
        (Tensor((2,), "f32"),),
        {"approximate": "fast"},
        "nn.gelu C2: approximate must be none or tanh, not 'fast'",
    ),
]


@pytest.mark.parametrize(("kind", "types", "attributes", "message"), BROKEN)
def test_a_broken_constraint_says_which(
    kind: str, types: tuple[Tensor, ...], attributes: dict[str, Any], message: str
) -> None:
    build = ModuleBuilder("m")
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    with pytest.raises(IRError) as caught:
        build.op(kind, values, attributes, name="layer1")
    assert str(caught.value) == f"layer1: {message}"
