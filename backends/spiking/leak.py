"""Float neurons as what Loihi's neuron has: how much a timestep loses, and what it adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tetrapla.backends.spiking.terms import RefusedError
from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.interpret import intermediates
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, fields_of

_SAMPLES = 8  # of the calibration data, to see voltages
_WORTH_SAYING = 5e-5  # what 0.01 % rounds from
NEURONS = ("spike.if", "spike.lif", "spike.cuba_lif")


@dataclass(frozen=True)
class Leak:
    """A neuron's rule, its voltage counted from where it is reset to.

    Attributes:
        current_decay: share of the current that a timestep loses; None without one.
        voltage_decay: share of the voltage.
        gain: what a current of 1 adds to the voltage at once.
        drive: what every timestep adds.
        threshold, start: voltages.
    """

    current_decay: Array | None
    voltage_decay: Array
    gain: Array
    drive: Array
    threshold: Array
    start: Array

    @property
    def silent(self) -> bool:
        """Whether it never fires: a leaky integrator, whose voltage is read."""
        return bool(np.isposinf(self.threshold).all())

    def said(self, name: str, decays: Sequence[Array], threshold: Array) -> list[str]:
        """What of it the chip's integers change."""
        lost = [*([] if self.current_decay is None else [self.current_decay])]
        found = [(lost[0], decays[0] + 1, "current")] if lost else []
        found.append((self.voltage_decay, decays[1], "voltage"))
        said: list[str] = []
        for real, held, what in found:
            wrong = np.abs(held / 4096 - real) / np.where(real > 0, real, 1)
            if wrong.max() >= _WORTH_SAYING:
                said.append(
                    f"layer {name}: decay of the {what} is {float(np.max(held)) / 4096:.5g} a "
                    f"timestep, off by at most {wrong.max():.2%}"
                )
        if self.silent:
            return said
        wrong = np.abs(threshold - self.threshold) / self.threshold
        if wrong.max() >= _WORTH_SAYING:
            said.append(f"layer {name}: thresholds are off by at most {wrong.max():.2%}")
        return said


def leak(node: Node, weight: Callable[[Value], Array]) -> Leak:
    """The rule of a node.

    Args:
        node: of one of `NEURONS`.
        weight: the array of an operand.

    Raises:
        RefusedError: the chip's neuron does not do that.
    """
    words = node.attributes
    if (
        words["reset"] == "subtract"
        or words["reset_time"] != "same"
        or words["spikes"] != "one"
    ):
        raise RefusedError(
            f"the chip resets to 0 in the same timestep, not {words['reset']} "
            f"{words['reset_time']}; load it with discretisation euler"
        )
    each = _parameters(node, weight)
    floor = each.get("v_reset", np.zeros(1))
    threshold = each["v_threshold"] - floor
    if not (threshold > 0).all():
        raise RefusedError("a threshold must be above where its neuron is reset to")
    method = str(words.get("method", ""))
    rest = each.get("v_leak", np.zeros(1)) - floor
    if node.kind == "spike.if":
        none = np.zeros(1)
        return Leak(None, none, each["r"], none, threshold, -floor)
    if node.kind == "spike.lif":
        lost, gain = _shares(each["tau"], method)
        return Leak(None, lost, gain * each["r"], lost * rest, threshold, -floor)
    lost_i, gain_i = _shares(each["tau_syn"], method)
    lost, gain = _shares(each["tau_mem"], method)
    through = gain_i * each["w_in"] * gain * each["r"]
    return Leak(lost_i, lost, through, lost * rest, threshold, -floor)


def voltages(module: Module, calibration: Mapping[str, Array]) -> dict[str, float]:
    """The largest voltage of each neuron outside of loops, by name, over a few samples."""
    kinds = {node.name for node in module.graph.nodes if node.kind in NEURONS}
    count = min((len(array) for array in calibration.values()), default=0)
    found: dict[str, float] = {}
    for i in range(min(count, _SAMPLES)):
        sample = {name: array[i] for name, array in calibration.items()}
        for name, array in intermediates(module, sample).items():
            node, _, place = name.rpartition(":")
            if place == "1" and node in kinds:
                largest = float(np.abs(array).max(initial=0.0))
                found[node] = max(found.get(node, 0.0), largest)
    return found


def _parameters(node: Node, weight: Callable[[Value], Array]) -> dict[str, Array]:
    """By name, f64."""
    fields = [f.name for f in fields_of(OPS[node.kind]) if type(f).__name__ == "OperandDef"]
    return {
        name: np.asarray(weight(v), np.float64)
        for name, v in zip(fields[2:], node.operands[2:], strict=False)
    }


def _shares(tau: Array, method: str) -> tuple[Array, Array]:
    """What a timestep loses of a state, and what it takes of its drive."""
    whole = -np.expm1(-1 / tau)
    if method == "euler":
        return np.minimum(1 / tau, 1), 1 / tau
    return whole, (whole if method == "zoh" else 1 / tau)
