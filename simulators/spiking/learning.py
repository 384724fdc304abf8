"""Learning on the chip: one layer of neurons whose synapses change while spikes pass.

Sources reach every neuron through plastic synapses; neurons are Loihi's (policy LAVA) with two
additions, both integer and assumed:

* of the neurons above their thresholds one fires, the farthest above, or of equals the first;
  the others keep their voltages and lose `inhibition` in the next timestep;
* the threshold of a neuron rises with each of its spikes and falls slowly, so that every
  neuron gets its share (P. Diehl and M. Cook, "Unsupervised learning of digit recognition
  using spike-timing-dependent plasticity", 2015). Loihi has no such threshold: a
  processor on the chip would write it.

Weights change at the end of each epoch by a rule of `tetrapla.ir.spike.plasticity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.spike import loihi, plasticity
from tetrapla.simulators.random_ import Key, words

ADAPTED_BITS = 8  # of a threshold's rise, below a mantissa's last bit
_PURPOSE = 0x53544450  # "STDP": of the draws that round traces and weights
_HIGHEST = 2**17 - 1  # of a threshold's mantissa
_IMPULSES = 127  # values of a draw that rounds an impulse


@dataclass(frozen=True)
class Layer:
    """Parameters of a learning layer; its neurons have no refractory period.

    Attributes:
        rule: what the weights follow.
        neuron: its threshold is the lowest that there is.
        exponent: of the weights, -8 to 7.
        inhibition: charge that a spike takes from each other neuron, in units of a weight
            of exponent 0.
        rise: what a spike adds to its neuron's threshold mantissa.
        fall: of the rise, in 4096ths an epoch while it learns; rounded toward zero at
            1 / 256 of a mantissa's bit.

    Raises:
        ModelError: a number that has no bits, or no meaning.
    """

    rule: plasticity.Rule
    neuron: loihi.Neuron
    exponent: int
    inhibition: int
    rise: int
    fall: int

    def __post_init__(self) -> None:
        for name, least, most in (
            ("exponent", -8, 7),
            ("inhibition", 0, _HIGHEST),
            ("rise", 0, _HIGHEST),
            ("fall", 0, 4096),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ModelError(
                    f"{name} of a learning layer must be {least} to {most}, not {value}; scale "
                    "weights and threshold together"
                )

    @cached_property
    def quiet(self) -> loihi.Neuron:
        """The neuron with a threshold that its voltage cannot meet: who fires comes later."""
        return replace(self.neuron, threshold=_HIGHEST, highest=_HIGHEST << loihi.FRACTION_BITS)


@dataclass
class Counts:
    """What a layer did while it learned; `lessons` prices it.

    Attributes:
        arrived, fired: spikes of its sources and its own, by timestep.
        synaptic_events: of the sources' spikes.
        epochs: ended ones, in each of which the rule saw every synapse.
        weights_changed: that were others behind an epoch.
    """

    arrived: list[int] = field(default_factory=list[int])
    fired: list[int] = field(default_factory=list[int])
    synaptic_events: int = 0
    epochs: int = 0
    weights_changed: int = 0

    @property
    def timesteps(self) -> int:
        """How many it learned for."""
        return len(self.arrived)

    @property
    def spikes_in(self) -> int:
        """Of its sources."""
        return sum(self.arrived)

    @property
    def spikes_out(self) -> int:
        """Its own."""
        return sum(self.fired)


@dataclass(frozen=True)
class Learner:
    """A layer while it learns; `learn` writes its state.

    Attributes:
        layer: the parameters.
        synapses: weights [n, i] and traces.
        raised: of each threshold, i64 [n], 256 to a mantissa's bit.
        key: of the draws; the same key gives the same weights.
    """

    layer: Layer
    synapses: plasticity.State
    raised: Array
    key: Key
    counts: Counts = field(default_factory=Counts)

    @staticmethod
    def fresh(layer: Layer, weights: Array, key: Key) -> Learner:
        """Before the first spike.

        Args:
            layer: the parameters.
            weights: integers [n, i] of 8 bits.
            key: of all draws.

        Raises:
            ModelError: weights that are no matrix of the rule's sign and bits.
        """
        if weights.ndim != 2 or weights.dtype.kind not in "iu":
            raise ModelError(
                "weights of a learning layer must be integers [neurons, sources], not "
                f"{weights.dtype} of shape {list(weights.shape)}"
            )
        held = loihi.mantissas(loihi.LAVA, weights, 8, layer.rule.sign)
        wrong = weights[held != weights]
        if wrong.size:
            raise ModelError(
                f"weights of a learning layer must fit 8 bits of sign '{layer.rule.sign}', not "
                f"{wrong[0]}; clip them first"
            )
        none = np.zeros(len(weights), np.int64)
        return Learner(layer, plasticity.State.rest(layer.rule, weights), none, key)

    def learn(self, train: Array) -> Array:
        """Spikes [T, n] that spikes [T, i] cause, while the weights learn from both.

        Membranes and traces start at rest; T must fill epochs, or the rest of the last one
        is not learned from.

        Raises:
            ModelError: T is no multiple of the epoch, or the sources are others.
        """
        rule, held = self.layer.rule, self.synapses
        self._check(train, 2)
        if len(train) % rule.epoch:
            raise ModelError(
                f"a train must have a multiple of the epoch's {rule.epoch} timesteps to be "
                f"learned from, not {len(train)}; append silent ones"
            )
        for trace in held.traces.values():
            trace[...] = 0
        state = loihi.State.zeros(1, len(held.w))
        fired = np.zeros((1, len(held.w)), np.bool_)
        out = np.zeros((len(train), len(held.w)), np.bool_)
        drawn = self._draws(len(train))
        for t, (now, (draws, weight_draw)) in enumerate(zip(train, drawn, strict=True)):
            fired = self._step(state, now[None], fired)
            out[t] = fired[0]
            step = t % rule.epoch + 1
            plasticity.note(rule, held, (now, out[t]), step, draws)
            falls = self.layer.fall if step == 1 else 0
            self.raised[...] = loihi.kept(self.raised, falls)
            self.raised[out[t]] += self.layer.rise << ADAPTED_BITS
            self._count(now, out[t])
            if step == rule.epoch:
                self._end(draws, weight_draw)
        return out

    def respond(self, trains: Array) -> Array:
        """Spikes [T, B, n] that trains [T, B, i] cause; nothing is learned.

        Raises:
            ModelError: the sources are others.
        """
        self._check(trains, 3)
        state = loihi.State.zeros(trains.shape[1], len(self.synapses.w))
        fired = np.zeros(state.v.shape, np.bool_)
        out = np.zeros((len(trains), *fired.shape), np.bool_)
        for t, now in enumerate(trains):
            out[t] = fired = self._step(state, now, fired)
        return out

    @property
    def threshold(self) -> Array:
        """The mantissas [n] as they are now."""
        raised: Array = self.layer.neuron.threshold + (self.raised >> ADAPTED_BITS)
        return np.minimum(raised, _HIGHEST)

    def _step(self, state: loihi.State, now: Array, fired: Array) -> Array:
        """One timestep of [B, n] neurons, `fired` in the one before."""
        # float64 adds integers of these sizes exactly and is many times as fast
        sums = (now.astype(np.float64) @ self.synapses.w.T.astype(np.float64)).astype(np.int64)
        charged = loihi.charge(loihi.LAVA, sums, self.layer.exponent)
        others = fired.sum(axis=1, keepdims=True) - fired
        charged -= others * self.layer.inhibition << loihi.FRACTION_BITS
        loihi.step(loihi.LAVA, self.layer.quiet, state, charged)
        above = state.v - (self.threshold << loihi.FRACTION_BITS)
        winner = above.argmax(axis=1)
        rows = np.arange(len(above))
        won: Array = np.zeros(above.shape, np.bool_)
        won[rows, winner] = above[rows, winner] > 0
        state.v[won] = 0
        return won

    def _draws(self, timesteps: int) -> Iterator[tuple[dict[str, plasticity.Draw], float]]:
        """Of each timestep: one for each trace, in alphabetical order, and one of weights."""
        names = sorted(self.layer.rule.traces)
        key = self.key.at(purpose=_PURPOSE)
        each = 2 * len(names) + 1
        start = self.counts.timesteps * each
        drawn = words(key, timesteps * each, start).reshape(timesteps, each)
        parts = (drawn + 0.5) * 2.0**-32
        for row, part in zip(
            (drawn % np.uint32(_IMPULSES)).tolist(), parts.tolist(), strict=True
        ):
            yield (
                {
                    name: plasticity.Draw(part[2 * i], row[2 * i + 1])
                    for i, name in enumerate(names)
                },
                part[-1],
            )

    def _end(self, draws: dict[str, plasticity.Draw], drawn: float) -> None:
        """Of an epoch."""
        self.counts.epochs += 1
        before = self.synapses.w.copy()
        plasticity.learn(self.layer.rule, self.synapses, self.counts.epochs, draws, drawn)
        self.counts.weights_changed += int(np.count_nonzero(before != self.synapses.w))

    def _count(self, now: Array, fired: Array) -> None:
        arrived = int(np.count_nonzero(now))
        self.counts.arrived.append(arrived)
        self.counts.fired.append(int(np.count_nonzero(fired)))
        self.counts.synaptic_events += arrived * len(fired)

    def _check(self, train: Array, rank: int) -> None:
        sources = self.synapses.w.shape[1]
        if train.ndim != rank or train.shape[-1] != sources or train.dtype != np.bool_:
            form = "[T, sources]" if rank == 2 else "[T, B, sources]"
            raise ModelError(
                f"a train must be bool {form} with {sources} sources, not {train.dtype} of "
                f"shape {list(train.shape)}"
            )
