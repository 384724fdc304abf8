"""Neurons that integrate their input, with and without leak, in floats.

Time counts in timesteps: a time constant is tau / dt, and a gain is what a current adds in one
timestep. Method euler is the explicit step of the equation, zoh its solution for a current
that is constant in the timestep, exponential the solution of the decay with Euler's input.
"""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.op import Tensor
from tetrapla.ir.spike.dialect import Spike
from tetrapla.ir.spike.membrane import Membrane, fire

FIRING = {"reset": "to_zero", "reset_time": "same", "compare": "gt", "spikes": "one"}
_FRAME, _START, _EACH = Tensor((4, 2, 3), "f32"), Tensor((), "f32"), Tensor((3,), "f32")


def approach(v: Array, rest: Array, drive: Array, tau: Array, method: str) -> Array:
    """``tau dv/dt = rest - v + drive`` over one timestep."""
    match method:
        case "euler":
            return np.asarray(v + (rest - v + drive) / tau)
        case "zoh":
            goal = rest + drive
            return np.asarray(goal + (v - goal) * np.exp(-1 / tau))
        case _:
            return np.asarray(rest + (v - rest) * np.exp(-1 / tau) + drive / tau)


class IntegrateFire(Membrane, dialect=Spike, name="if", traits=[Pure]):
    """Integrate and fire without leak: ``v = v + r current[t]``, then `fire`.

    Words and constraints are spike.lif's.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    r: Operand[RankedTensorType]
    v_threshold: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    reset: StringAttr
    reset_time: StringAttr
    compare: StringAttr
    spikes: StringAttr
    v_reset: Operand[RankedTensorType] | None = None

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        r: Array,
        v_threshold: Array,
        v_reset: Array | None = None,
        **firing: str,
    ) -> Array:
        new = state[0] + r * current
        return fire(state[0], new, v_threshold, v_reset, **firing)

    example = (_FRAME, _START, _EACH, _EACH), {**FIRING, "reset": "subtract"}


class Lif(Membrane, dialect=Spike, name="lif", traits=[Pure]):
    """Leaky integrate and fire: ``tau dv/dt = v_leak - v + r current``, tau in timesteps.

    With ``a = 1 / tau``, ``b = exp(-1 / tau)``, in every timestep by method::

        euler        v = v + a (v_leak - v + r current[t])
        zoh          v = g + b (v - g),  g = v_leak + r current[t]
        exponential  v = v_leak + b (v - v_leak) + a r current[t]

    Then it fires where ``v > v_threshold`` (compare gt) or ``>=`` (ge), once or, with spikes
    many, floor(v / v_threshold) times, and v becomes 0 (reset to_zero), v_reset (to_value) or
    v - v_threshold for each spike (subtract). That is in the same timestep, or (reset_time
    next) behind the next one's update. Reset_time held is subtract in the same timestep, but a
    neuron that was left above its threshold fires again only above twice the threshold:
    snnTorch 1.0 does that.

    Results: the spikes, v behind every timestep, and the last state [states, ...], which
    another evaluation may start from. An infinite threshold never fires: a leaky integrator.

    Words: method euler, zoh, exponential; reset to_zero, to_value, subtract; reset_time same,
    next, held; compare gt, ge; spikes one, many.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    tau: Operand[RankedTensorType]
    r: Operand[RankedTensorType]
    v_leak: Operand[RankedTensorType]
    v_threshold: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    method: StringAttr
    reset: StringAttr
    reset_time: StringAttr
    compare: StringAttr
    spikes: StringAttr
    v_reset: Operand[RankedTensorType] | None = None

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        tau: Array,
        r: Array,
        v_leak: Array,
        v_threshold: Array,
        v_reset: Array | None = None,
        method: str,
        **firing: str,
    ) -> Array:
        new = approach(state[0], v_leak, r * current, tau, method)
        return fire(state[0], new, v_threshold, v_reset, **firing)

    example = (_FRAME, _START, _EACH, _EACH, _EACH, _EACH), {"method": "euler", **FIRING}


class CubaLif(Membrane, dialect=Spike, name="cuba_lif", traits=[Pure]):
    """LIF behind a synapse with a decay of its own; states v and i.

    ``tau_syn di/dt = -i + w_in current`` and then, with the new i,
    ``tau_mem dv/dt = v_leak - v + r i``, each over one timestep by the method.
    Words, results and constraints are spike.lif's.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    tau_syn: Operand[RankedTensorType]
    tau_mem: Operand[RankedTensorType]
    r: Operand[RankedTensorType]
    v_leak: Operand[RankedTensorType]
    w_in: Operand[RankedTensorType]
    v_threshold: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    method: StringAttr
    reset: StringAttr
    reset_time: StringAttr
    compare: StringAttr
    spikes: StringAttr
    v_reset: Operand[RankedTensorType] | None = None

    states = 2

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        tau_syn: Array,
        tau_mem: Array,
        r: Array,
        v_leak: Array,
        w_in: Array,
        v_threshold: Array,
        v_reset: Array | None = None,
        method: str,
        **firing: str,
    ) -> Array:
        v, i = state
        i[...] = approach(i, np.zeros_like(i), w_in * current, tau_syn, method)
        new = approach(v, v_leak, r * i, tau_mem, method)
        return fire(v, new, v_threshold, v_reset, **firing)

    example = (
        (_FRAME, Tensor((2, 1, 1), "f32"), _EACH, _EACH, _EACH, _EACH, _EACH, _EACH),
        {"method": "zoh", **FIRING, "reset_time": "next"},
    )


class AdaptiveLif(Membrane, dialect=Spike, name="adaptive_lif", traits=[Pure]):
    """LIF whose threshold rises with every spike and decays; states v and h.

    The threshold is ``v_threshold + h``; ``tau_adapt dh/dt = -h`` over one timestep by the
    method, and then every spike adds ``beta`` to h (Bellec et al., "Long short-term memory and
    learning-to-learn in networks of spiking neurons", 2018). Reset subtract takes off the
    threshold that was met. Words, results and constraints are spike.lif's.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    tau: Operand[RankedTensorType]
    r: Operand[RankedTensorType]
    v_leak: Operand[RankedTensorType]
    v_threshold: Operand[RankedTensorType]
    tau_adapt: Operand[RankedTensorType]
    beta: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    method: StringAttr
    reset: StringAttr
    reset_time: StringAttr
    compare: StringAttr
    spikes: StringAttr
    v_reset: Operand[RankedTensorType] | None = None

    states = 2

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        tau: Array,
        r: Array,
        v_leak: Array,
        v_threshold: Array,
        tau_adapt: Array,
        beta: Array,
        v_reset: Array | None = None,
        method: str,
        **firing: str,
    ) -> Array:
        v, h = state
        none = np.zeros_like(h)
        h[...] = approach(h, none, none, tau_adapt, method)
        new = approach(v, v_leak, r * current, tau, method)
        fired = fire(v, new, v_threshold + h, v_reset, **firing)
        h += fired * beta
        return fired

    example = (
        (_FRAME, Tensor((2, 1, 1), "f32"), _EACH, _EACH, _EACH, _EACH, _EACH, _EACH),
        {"method": "exponential", **FIRING, "compare": "ge"},
    )
