"""Loihi's on-chip learning in integers: sums of products of traces, once an epoch.

A rule is ``dw = sum of gate S 2^e (factor) (factor) ...``. Traces x1, x2 count what a source
has sent, y1, y2, y3 what a neuron has sent: each spike adds an impulse and time takes
``exp(-1 / tau)`` of it. A gate says when a product counts: x0 where the source spiked in the
epoch, with the traces of that timestep; y0 where the neuron did; u3 in every 8th epoch.

Traces decay and impulses add with a random rounding, and so does the weight; the caller draws
the numbers, one for all synapses. Bit for bit as lava-nc 0.10.0, LearningDense with fixed-point
rules, given its draws.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.spike.loihi import Sign

TRACE_LIMIT: Final = 127  # 7 bits
_WIDTHS: Final = {"w": 9, "x1": 7, "x2": 7, "y1": 7, "y2": 7, "y3": 7}
_SCALE_BITS, _SUM_BITS, _FRACTION_BITS = 4, 15, 7
_WORD = re.compile(r"\s*(?:(2\^-?\d+)|(\d+)|([a-z]\d?)|([+*-]))")
_WEIGHTS: Final = {"mixed": (-256, 255), "exc": (0, 255), "inh": (-255, 0)}


class Draw(NamedTuple):
    """Random numbers of one trace: in [0, 1), and of 0..126, below 256 times a fraction."""

    decay: float
    impulse: int


@dataclass(frozen=True)
class Trace:
    """How much a spike adds, and in how many timesteps 1 / e is left."""

    impulse: float
    tau: float

    def __post_init__(self) -> None:
        if not (0 <= self.impulse <= TRACE_LIMIT and self.tau > 0):
            raise ModelError(
                f"a trace must have an impulse of 0 to {TRACE_LIMIT} and a positive tau, not "
                f"{self.impulse:g} and {self.tau:g}; scale the rule instead"
            )


@dataclass(frozen=True)
class Product:
    """``gate scale 2^exponent`` times the factors: x0, y0 or uK; weights w and traces."""

    gate: str
    factors: tuple[str, ...]
    scale: int
    exponent: int


@dataclass(frozen=True)
class Rule:
    """What an epoch of `epoch` timesteps does to weights of one sign."""

    products: tuple[Product, ...]
    traces: Mapping[str, Trace]
    epoch: int
    sign: Sign

    def __post_init__(self) -> None:
        used = {factor for product in self.products for factor in product.factors} - {"w"}
        lacking = sorted(used - set(self.traces))
        if lacking or self.epoch < 1:
            raise ModelError(
                "a learning rule must have a trace for each of its factors and an epoch of 1 "
                f"or more timesteps, not lack {', '.join(lacking) or 'none'} with {self.epoch}"
            )


@dataclass(frozen=True)
class State:
    """Of synapses [n, i]: weights, and traces [i] of x and [n] of y; i64.

    `note` and `learn` write it. `sent` and `fired` are the timestep, from 1, of the last spike
    in the epoch; 0: none.
    """

    w: Array
    traces: Mapping[str, Array]
    sent: Array
    fired: Array

    @staticmethod
    def rest(rule: Rule, weights: Array) -> State:
        """Before the first spike; `weights` as `loihi.mantissas` gives them."""
        n, i = weights.shape
        traces = {name: np.zeros(i if _pre(name) else n, np.int64) for name in rule.traces}
        none = np.zeros(i, np.int64), np.zeros(n, np.int64)
        return State(weights.astype(np.int64), traces, *none)


def products(text: str) -> tuple[Product, ...]:
    """A rule as ``2^-2 * y0 * x1 - 2^-3 * x0 * y1``.

    Raises:
        ModelError: a word is none of the rule's, or a product has not exactly one gate.
    """
    terms: list[list[str]] = [[]]
    at = 0
    while at < len(text.rstrip()):
        found = _WORD.match(text, at)
        if found is None:
            raise ModelError(f"a learning rule must be a sum of products, not {text[at:]!r}")
        word, at = found.group().strip(), found.end()
        if word in "+-" and terms[-1]:
            terms.append([])
        if word != "*":
            terms[-1].append(word)
    return tuple(_product(term) for term in terms)


def note(
    rule: Rule, state: State, spikes: tuple[Array, Array], step: int, draws: Mapping[str, Draw]
) -> None:
    """A timestep's spikes, of the sources [i] and of the neurons [n], as truths.

    Args:
        rule: of these synapses.
        state: written.
        spikes: of the sources and of the neurons.
        step: within the epoch, from 1.
        draws: for the y traces; a source that spikes again rounds its impulse up.
    """
    for last, now, pre in ((state.sent, spikes[0], True), (state.fired, spikes[1], False)):
        again = now & (last > 0)
        for name, trace in rule.traces.items():
            if _pre(name) == pre:
                drawn = 0 if pre else draws[name].impulse
                values = state.traces[name]
                values[again] = _struck(values[again], trace, drawn)
        last[now] = step


def learn(
    rule: Rule, state: State, epochs: int, draws: Mapping[str, Draw], weight_draw: float
) -> None:
    """The end of an epoch: traces are brought up to date and weights learn.

    Args:
        rule: of these synapses.
        state: written.
        epochs: how many have ended, this one included.
        draws: for every trace.
        weight_draw: in [0, 1).
    """
    history = {
        name: _history(rule.epoch, trace, state, name, draws[name])
        for name, trace in rule.traces.items()
    }
    total = state.w << _FRACTION_BITS
    for product in rule.products:
        change = _change(product, state, history, epochs)
        total = _limited(total + change)
    if rule.sign == "exc":
        total = np.maximum(total, 0)
    elif rule.sign == "inh":
        total = np.minimum(total, 0)
    whole, fraction = total >> _FRACTION_BITS, total % (1 << _FRACTION_BITS)
    up = weight_draw < fraction / (1 << _FRACTION_BITS)
    state.w[...] = np.clip(whole + up, *_WEIGHTS[rule.sign])
    for name, values in state.traces.items():
        values[...] = history[name][-1]
    state.sent[...] = 0
    state.fired[...] = 0


def _product(words: list[str]) -> Product:
    scale, exponent, gates, factors = 1, 0, list[str](), list[str]()
    for word in words:
        if word in "+-":
            scale = -scale if word == "-" else scale
        elif word.startswith("2^"):
            exponent += int(word[2:])
        elif word.isdigit():
            scale *= int(word)
        elif word in _WIDTHS:
            factors.append(word)
        elif word in ("x0", "y0") or re.fullmatch(r"u\d", word):
            gates.append(word)
        else:
            raise ModelError(
                f"a learning rule must be made of x0, y0, u0 to u9, {', '.join(_WIDTHS)}, "
                f"numbers and powers of two, not {word!r}"
            )
    if len(gates) != 1:
        raise ModelError(
            f"each product of a learning rule must have one of x0, y0, u0 to u9, not "
            f"{len(gates)} in {' '.join(words)!r}"
        )
    if not -8 <= scale <= 7 or not -7 <= exponent <= 8:
        raise ModelError(
            f"a product must have a scale of -8 to 7 and an exponent of -7 to 8, not {scale} "
            f"and {exponent} in {' '.join(words)!r}; move powers of two between them"
        )
    return Product(gates[0], tuple(factors), scale, exponent)


def _history(epoch: int, trace: Trace, state: State, name: str, draw: Draw) -> Array:
    """A trace before the epoch and behind each of its timesteps, [epoch + 1, ...]."""
    last = state.sent if _pre(name) else state.fired
    rows = [state.traces[name]]
    for step in range(1, epoch + 1):
        left = rows[-1] * np.exp(-1 / trace.tau)
        whole = np.floor(left)
        value = (whole + (draw.decay < left - whole)).astype(np.int64)
        rows.append(np.where(last == step, _struck(value, trace, draw.impulse), value))
    return np.array(rows)


def _struck(values: Array, trace: Trace, drawn: int) -> Array:
    """With an impulse; its fraction is added as often as a draw is below it."""
    whole = int(np.floor(trace.impulse))
    up = drawn < round(256 * (trace.impulse - whole))
    struck: Array = np.clip(values + whole + up, 0, TRACE_LIMIT)
    return struck


def _change(product: Product, state: State, history: Mapping[str, Array], epochs: int) -> Array:
    """What a product adds to the weights, 128 to one, [n, i]."""
    n, i = state.w.shape
    if product.gate[0] == "u":  # the traces as the epoch leaves them
        times = np.full((n, i), -1)
        open_ = np.full((n, i), epochs % (1 << int(product.gate[1])) == 0)
    else:
        times = np.broadcast_to(
            state.sent if product.gate == "x0" else state.fired[:, None], (n, i)
        )
        open_ = times > 0
    value, width = open_.astype(np.int64), 1
    for factor in product.factors:
        bits = _WIDTHS[factor]
        width += bits
        if factor == "w":
            held = state.w
        elif _pre(factor):
            held = history[factor][times, np.arange(i)]
        else:
            held = history[factor][times, np.arange(n)[:, None]]
        value = value * np.clip(held, -(1 << bits), (1 << bits) - 1)
    value = value * product.scale >> max(0, width + _SCALE_BITS - _SUM_BITS)
    moved: Array = value << product.exponent + _FRACTION_BITS
    return _limited(moved)


def _limited(total: Array) -> Array:
    """Into 16 bits, as the tool does it: one more below than they hold."""
    return np.clip(total, -(1 << _SUM_BITS) - 1, (1 << _SUM_BITS) - 1)


def _pre(name: str) -> bool:
    return name[0] == "x"
