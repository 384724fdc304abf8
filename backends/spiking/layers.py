"""Currents and neurons in integers: the operators that a layer's real numbers become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tetrapla.backends.spiking.leak import Leak
from tetrapla.backends.spiking.quantise import (
    Scaling,
    biases,
    neuron_scaling,
    readout_scaling,
    weights,
)
from tetrapla.backends.spiking.terms import Current, Input, RefusedError, Spikes, Term
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.spike.loihi import STATE_LIMIT
from tetrapla.simulators.spiking.spec import SpikingSpec

MOST_SPIKES = 127  # of an input in a timestep: a train is i8


# Lava's rule; voltages take all 24 bits
_RULE: Mapping[str, Attribute] = {
    "policy": "loihi.lava",
    "exponent": 0,
    "refractory": 1,
    "lowest": 1 - STATE_LIMIT,
    "highest": STATE_LIMIT - 1,
}


class Layers:
    """Writes layers into a builder: a module's, or that of the body of a loop in `outer`.

    Attributes:
        b: the builder.
        losses: a sentence for each thing that is not as it was.
        sequences: of a body, the outside currents that the loop gets slices of.
        voltages: the largest that calibration saw, by neuron.
    """

    def __init__(
        self, builder: ModuleBuilder, spec: SpikingSpec, outer: Layers | None = None
    ) -> None:
        self.b, self.spec, self.outer = builder, spec, outer
        self.losses: list[str] = [] if outer is None else outer.losses
        self.sequences: list[Value] = []
        self.voltages: Mapping[str, float] = {}

    def fed(self, x: Input, held: Array | None) -> Spikes:
        """An input's numbers as spikes; `held` are some that it takes."""
        if x.value.dtype == "i8":
            return Spikes(x.value)
        unit = 1.0
        if held is not None and (np.rint(held) != held).any():
            unit = float(np.abs(held).max()) / MOST_SPIKES
            self.losses.append(
                f"input {x.name} holds real numbers: the host sends up to {MOST_SPIKES} spikes "
                f"of either sign for each in a timestep, of {unit:.3g} each"
            )
        elif held is None:
            self.losses.append(
                f"input {x.name} is taken as whole spikes: without data nothing is known of it"
            )
        scale = self.b.weight(f"{x.name}.scale", np.array([unit], np.float32))
        held_words: dict[str, Attribute] = {"zero_point": 0, "axis": 0, "dtype": "i8"}
        made = self.b.op("qnn.quantize", [x.value, scale], held_words, f"{x.name}.spikes")
        return Spikes(made, unit)

    def scaling(self, node: Node, rule: Leak, terms: tuple[Term, ...]) -> Scaling:
        """The unit of a layer: by its thresholds, or by the voltages that calibration saw."""
        peaks = [float(np.abs(t.real).max(initial=0.0)) for t in terms]
        if not rule.silent:
            return neuron_scaling(peaks, float(rule.threshold.max()), self.spec.core)
        if self.outer is not None:
            raise RefusedError("it never fires, and voltages in a loop are not read out")
        largest = self.voltages.get(node.name, max(peaks))
        return readout_scaling(peaks, largest, 1, self.spec.core)

    def neuron(
        self,
        node: Node,
        current: Value,
        start: Value | None,
        rule: Leak,
        scaling: Scaling,
        steady: Array,
    ) -> tuple[Value, Value, Value, Array]:
        """Loihi's neuron: spikes, voltages, its last state, and the one that it starts from.

        Args:
            node: the float neuron.
            current: i32.
            start: the state of the timestep before, in a loop; else None.
            rule: what it does, in real numbers.
            scaling: the layer's unit.
            steady: what every timestep adds to the voltage.
        """
        mantissa = 2**self.spec.core.threshold_bits - 1
        level = np.minimum(np.rint(rule.threshold / scaling.unit), mantissa)
        theta = np.maximum(level, 0).astype(np.int32)
        bias, clipped = biases(np.asarray(steady), scaling.unit / 64, self.spec.core)
        if clipped:
            self.losses.append(f"layer {node.name}: biases are clipped to what cores hold")
        decays = [_decay(rule.current_decay, 1, 4095), _decay(rule.voltage_decay, 0, 0)]
        self.losses += rule.said(node.name, decays, theta * scaling.unit)
        first = np.zeros((3, *node.results[0].shape[1:]), np.int64)
        first[0] = np.rint(rule.start * 64 / scaling.unit)
        names = ("current_decay", "voltage_decay", "threshold", "bias")
        named = dict(zip(names, (*decays, theta, bias), strict=True))
        held = [self.b.weight(f"{node.name}.{k}", np.atleast_1d(a)) for k, a in named.items()]
        before = self.b.weight(f"{node.name}.start", first) if start is None else start
        # what never fires does not get above the highest threshold
        words = {**_RULE, "highest": mantissa << 6} if rule.silent else _RULE
        s, v, final = self.b.ops("spike.loihi", [current, before, *held], words, node.name)
        return s, v, final, first

    def real(self, x: Value, unit: float) -> Value:
        """Whole numbers times a unit, f32, which the host makes."""
        made = self.b.op("nn.cast", [x], {"dtype": "f32"})
        if unit == 1:
            return made
        return self.b.op("nn.mul", [made, self.b.weight("unit", np.array([unit], np.float32))])

    def total(self, current: Current, scaling: Scaling, node: Node) -> Value:
        """The current of a layer in integers, in this builder."""
        inner = [t for t in current.terms if not t.outside]
        if current.bias is not None and current.late and len(inner) == len(current.terms):
            return self._late(current, scaling, node)
        total: Value | None = None
        for term in inner:
            part = self._term(term, scaling)
            total = part if total is None else self.b.op("spike.add", [total, part])
        outside = replace(
            current, terms=tuple(replace(t, outside=False) for t in current.terms if t.outside)
        )
        if outside.terms:
            assert self.outer is not None, "only a body has something outside"
            whole = self.outer.total(outside, scaling, node)
            self.sequences.append(whole)
            part = self.b.input(f"{node.name}.arriving", whole.shape[1:], "i32")
            part = self.b.op("nn.reshape", [part], {"shape": (1, *part.shape)})
            return part if total is None else self.b.op("spike.add", [part, total])
        assert total is not None, "a current has terms"
        if current.bias is not None:
            level, clipped = biases(current.bias, scaling.unit, self.spec.core)
            if clipped:
                self.losses.append(f"layer {node.name}: biases are clipped to what cores hold")
            frame = np.broadcast_to(level, total.shape[2:])[None]
            constant = self.b.weight(f"{node.name}.constant", np.ascontiguousarray(frame))
            total = self.b.op("spike.add", [total, constant])
        for shape in current.shapes:
            total = self.b.op("nn.reshape", [total], {"shape": (*total.shape[:2], *shape)})
        return total

    def _late(self, current: Current, scaling: Scaling, node: Node) -> Value:
        """A current whose constant begins late, with the synapses that are as late."""
        by = np.array([current.late], np.int32)
        same = [t for t in current.terms if t.lag is not None and np.array_equal(t.lag, by)]
        others = tuple(t for t in current.terms if not any(t is each for each in same))
        early = tuple(replace(t, lag=None) for t in same)
        whole = self.total(replace(current, terms=early, late=0), scaling, node)
        steps = self.b.weight(f"{current.name}.late", by)
        whole = self.b.op("spike.delay", [whole, steps])
        if not others:
            return whole
        rest = replace(current, terms=others, bias=None, late=0)
        return self.b.op("spike.add", [whole, self.total(rest, scaling, node)])

    def _term(self, term: Term, scaling: Scaling) -> Value:
        mantissa, exponent = weights(term.real, scaling.unit, self.spec.core)
        real = term.real / scaling.unit / 2**exponent
        wrong = float(np.abs(mantissa - real).max(initial=0.0))
        most = float(np.abs(real).max(initial=0.0)) or 1.0
        self.losses.append(
            f"weights of {term.name}: 8 bits, off by at most {wrong / most:.2%} of the largest"
        )
        x = term.spikes.value
        sparse = term.kind == "spike.sparse"
        if sparse and len(x.shape) != 3:
            x = self.b.op(
                "nn.reshape", [x], {"shape": (*x.shape[:2], int(np.prod(x.shape[2:])))}
            )
        arrays = (*term.operands[:2], mantissa) if sparse else (mantissa,)
        if term.lag is not None and sparse:
            lag = np.broadcast_to(term.lag, mantissa.shape).astype(np.int32)
            arrays = (*arrays, lag)
        elif term.lag is not None and term.lag.any():
            late = self.b.weight(f"{term.name}.late", term.lag.reshape(1))
            x = self.b.op("spike.delay", [x, late])
        held = [self.b.weight(f"{term.name}.{i}", a) for i, a in enumerate(arrays)]
        return self.b.op(
            term.kind, [x, *held], {**term.attributes, "exponent": exponent}, term.name
        )


def _decay(lost: Array | None, low: int, missing: int) -> Array:
    """What a timestep takes of 4096; the chip takes one more of a current."""
    if lost is None:
        return np.array([missing], np.int32)
    held: Array = np.clip(np.rint(4096 * np.asarray(lost)) - low, 0, 4095).astype(np.int32)
    return held
