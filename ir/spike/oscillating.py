"""Neurons whose state turns: resonate and fire, and Izhikevich's."""

from types import MappingProxyType

import numpy as np

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.op import Tensor
from tetrapla.ir.spike.dialect import Spike
from tetrapla.ir.spike.membrane import WORDS, Membrane, fire

_FRAME, _EACH = Tensor((4, 2, 3), "f32"), Tensor((3,), "f32")
_START = Tensor((2, 1, 1), "f32")
MOST_SUBSTEPS = 1000  # of a timestep, assumed: 1 us where a timestep is 1 ms


class Resonate(Membrane, dialect=Spike, name="resonate", traits=[Pure]):
    """Resonate and fire: ``z = v i + x`` turns by omega and shrinks by 1 / tau per timestep.

    ``dz/dt = (-1 / tau + i omega) z + current`` (E. Izhikevich, "Resonate-and-fire neurons",
    Neural Networks 14, 2001), the current arriving at the real part x; states v and x.
    By method::

        euler        z = z + (-1 / tau + i omega) z + current[t]
        exponential  z = exp(-1 / tau + i omega) z + current[t]

    It fires where v, the imaginary part, meets v_threshold; then reset none leaves z, to_zero
    makes it 0, and to_value makes it v_reset i, which is the paper's.
    Words: method euler, exponential; reset none, to_zero, to_value; compare gt, ge.
    Results and constraints are spike.lif's.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    tau: Operand[RankedTensorType]
    omega: Operand[RankedTensorType]
    v_threshold: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    method: StringAttr
    reset: StringAttr
    compare: StringAttr
    v_reset: Operand[RankedTensorType] | None = None

    states = 2
    words = MappingProxyType(
        {
            **WORDS,
            "method": ("euler", "exponential"),
            "reset": ("none", "to_zero", "to_value"),
        }
    )

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        tau: Array,
        omega: Array,
        v_threshold: Array,
        v_reset: Array | None = None,
        method: str,
        reset: str,
        compare: str,
    ) -> Array:
        v, x = state
        if method == "euler":
            kept, turned = 1 - 1 / tau, omega
        else:
            shrunk = np.exp(-1 / tau)
            kept, turned = shrunk * np.cos(omega), shrunk * np.sin(omega)
        new = kept * v + turned * x
        x[...] = kept * x - turned * v + current
        if reset == "none":
            v[...] = new
            return np.asarray(v > v_threshold if compare == "gt" else v >= v_threshold)
        rule = {"reset_time": "same", "compare": compare, "spikes": "one"}
        fired = fire(v, new, v_threshold, v_reset, reset=reset, **rule)
        x[fired] = 0
        return fired

    example = (
        (_FRAME, _START, _EACH, _EACH, _EACH),
        {"method": "exponential", "reset": "to_zero", "compare": "gt"},
    )


class Izhikevich(Membrane, dialect=Spike, name="izhikevich", traits=[Pure]):
    """Izhikevich's neuron ("Simple model of spiking neurons", IEEE TNN 14, 2003); states v, u.

    Voltages are in mV and a timestep takes `dt` ms, in `substeps` explicit steps of v and then
    one of u::

        dv/dt = 0.04 v^2 + 5 v + 140 - u + current[t]
        du/dt = a (b v - u)

    It fires where ``v >= 30``; then v = c and u = u + d. The paper's own program takes two
    substeps for a timestep of 1 ms, and resets at the start of the next one, which shows the
    same spikes one timestep later.

    Constraints:
        C1 to C3: spike.lif's.
        C4: substeps lie in 1..1000.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    a: Operand[RankedTensorType]
    b: Operand[RankedTensorType]
    c: Operand[RankedTensorType]
    d: Operand[RankedTensorType]
    dt: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    substeps: IntegerAttr

    states = 2

    @classmethod
    def infer(
        cls, current: Tensor, start: Tensor, *given: Tensor, **attributes: int | str
    ) -> tuple[Tensor, Tensor, Tensor]:
        substeps = attributes["substeps"]
        if not isinstance(substeps, int) or not 1 <= substeps <= MOST_SUBSTEPS:
            raise IRError(
                f"spike.izhikevich C4: substeps must lie in 1..{MOST_SUBSTEPS}, not {substeps}"
            )
        return super().infer(current, start, *given, **attributes)

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        a: Array,
        b: Array,
        c: Array,
        d: Array,
        dt: Array,
        substeps: int,
    ) -> Array:
        v, u = state
        for _ in range(substeps):
            v += dt / substeps * (0.04 * v * v + 5 * v + 140 - u + current)
        u += dt * a * (b * v - u)
        fired: Array = v >= 30
        v[...] = np.where(fired, c, v)
        u += fired * d
        return fired

    example = (_FRAME, _START, *(_EACH,) * 4, Tensor((), "f32")), {"substeps": 2}
