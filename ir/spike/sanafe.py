"""The neuron of SANA-FE's Loihi architecture, for its own networks."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import Operand, Pure, RankedTensorType, Result
from tetrapla.ir.op import Tensor
from tetrapla.ir.spike.dialect import Spike
from tetrapla.ir.spike.membrane import Membrane

_STEPS = 64  # of a voltage, per unit


class Sanafe(Membrane, dialect=Spike, name="sanafe", traits=[Pure]):
    """SANA-FE 2.2.9's `loihi` soma, in float64.

    ``v = trunc(64 v leak) / 64 + bias + current[t]``; it fires where ``v > v_threshold``, and v
    becomes 0. Equal to the tool's spikes on its stored runs, which start from 0.

    Results and constraints are spike.lif's, with a state and parameters of f64.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    leak: Operand[RankedTensorType]
    bias: Operand[RankedTensorType]
    v_threshold: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]

    types = ("f32", "f64", "f64")

    @staticmethod
    def step(
        state: Array, current: Array, *, leak: Array, bias: Array, v_threshold: Array
    ) -> Array:
        (v,) = state
        new = np.trunc(v * leak * _STEPS) / _STEPS + bias + current
        fired: Array = new > v_threshold
        v[...] = np.where(fired, 0, new)
        return fired

    example = (
        (
            Tensor((4, 2, 3), "f32"),
            Tensor((), "f64"),
            *(Tensor((3,), "f64") for _ in range(3)),
        ),
        {},
    )
