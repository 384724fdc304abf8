"""GPT-2, whole and as the step that writes one more word with what it remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tetrapla.frontend.builder import Layers, Tensor
from tetrapla.frontend.builder import functions as nn
from tetrapla.frontend.zoo.multihead import (
    embedded,
    feed_forward,
    join_heads,
    pre_norm_block,
    projected,
)
from tetrapla.frontend.zoo.network import Draft, Published, Sample, network
from tetrapla.frontend.zoo.tokens import tokens
from tetrapla.ir.graph import Array

_PAPER = (
    'A. Radford et al., "Language models are unsupervised multitask learners", 2019, table 2'
)
_REFERENCE = "transformers 5.23.0, GPT2LMHeadModel with its default configuration"
_LENGTH = 128  # tokens that are read, assumed; the model takes up to 1024
_PAST = 127  # tokens that the step remembers, so that it writes the last of _LENGTH
_SHORT_PAST = 31  # and those of the small one, assumed


@dataclass(frozen=True)
class Sizes:
    """The smallest of the four, as released (124M; the paper says 117M)."""

    vocabulary: int = 50257
    positions: int = 1024
    layers: int = 12
    features: int = 768
    heads: int = 12

    @property
    def width(self) -> int:
        """Of the layers between attentions."""
        return 4 * self.features


def gelu(x: Tensor) -> Tensor:
    """GPT-2's, by the hyperbolic tangent."""
    return x.gelu(approximate="tanh")


def gpt2(n: Layers, ids: Tensor, sizes: Sizes) -> Tensor:
    """The logits [B, L, vocabulary] of what follows each word of ids[B, L]."""
    x, table = _begin(n, ids, 0, sizes)
    for i in range(sizes.layers):
        with n.within(f"h.{i}"):
            x = pre_norm_block(n, x, sizes.heads, sizes.width, gelu, causal=True)
    return n.layer_norm(x) @ table.T


def gpt2_step(
    n: Layers, ids: Tensor, past: Sequence[tuple[Tensor, Tensor]], sizes: Sizes
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """`gpt2` on the words ids[B, L] behind those whose keys and values are remembered.

    Args:
        n: makes the weights, by the same names as in `gpt2`.
        ids: the next words.
        past: of every layer the keys and values, [B, heads, P, size] each.
        sizes: of the network.

    Returns:
        The logits [B, L, vocabulary], and of every layer the keys and values so far.
    """
    x, table = _begin(n, ids, past[0][0].shape[2], sizes)
    present: list[tuple[Tensor, Tensor]] = []
    for i, remembered in enumerate(past):
        with n.within(f"h.{i}"):
            x, held = _remembering_block(n, x, remembered, sizes)
            present.append(held)
    return n.layer_norm(x) @ table.T, present


def _begin(n: Layers, ids: Tensor, first: int, sizes: Sizes) -> tuple[Tensor, Tensor]:
    x, table = embedded(n, ids, sizes.vocabulary, sizes.features)
    shape = (sizes.positions, sizes.features)
    places = n.parameter(shape, "positions", fan_in=sizes.features, gain=1.0)
    return x + places[first : first + ids.shape[1]], table


def _remembering_block(
    n: Layers, x: Tensor, past: tuple[Tensor, Tensor], sizes: Sizes
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    size = sizes.features // sizes.heads
    with n.within("self"):
        y = n.layer_norm(x)
        q, k, v = (projected(n, y, sizes.heads, size, name) for name in ("q", "k", "v"))
        keys, values = nn.concat([past[0], k], 2), nn.concat([past[1], v], 2)
        y = nn.attention(q, keys, values, causal=True, causal_offset=past[0].shape[2])
        x = x + n.linear(join_heads(y), sizes.features, gain=1.0, name="out")
    with n.within("mlp"):
        y = feed_forward(n, n.layer_norm(x), sizes.width, gelu)
        return x + y, (keys, values)


@network(
    "gpt2",
    f"{_PAPER}; {_REFERENCE}; no source states MACs",
    parameters=Published(124_439_808, _REFERENCE),
    sample=tokens(Sizes.vocabulary, input_ids=_LENGTH),
)
def _small(n: Draft) -> None:
    n.output("logits", gpt2(n, n.input("input_ids", (_LENGTH,), "i64"), Sizes()))


TINY = Sizes(layers=2, features=128, heads=2)


def _remembered(past: int, sizes: Sizes) -> Sample:
    def sample(rng: np.random.Generator, batch: int) -> Mapping[str, Array]:
        drawn: dict[str, Array] = {"input_ids": rng.integers(0, sizes.vocabulary, (batch, 1))}
        shape = (batch, sizes.heads, past, sizes.features // sizes.heads)
        for i in range(sizes.layers):
            for part in ("key", "value"):
                drawn[f"past_{part}_{i}"] = rng.uniform(-1, 1, shape).astype(np.float32)
        return drawn

    return sample


@network(
    "gpt2-step",
    f"{_PAPER}; {_REFERENCE}, with past_key_values of {_PAST} tokens; no source states MACs",
    parameters=Published(124_439_808, _REFERENCE),
    sample=_remembered(_PAST, Sizes()),
)
def _small_step(n: Draft) -> None:
    _write_step(n, _PAST, Sizes())


@network(
    "gpt2-tiny-step",
    f"{_PAPER}: its shape, with the layers, features and heads of BERT-Tiny (I. Turc et al., "
    f"arXiv:1908.08962, table 1) and {_SHORT_PAST} tokens remembered; no source states counts",
    sample=_remembered(_SHORT_PAST, TINY),
)
def _tiny_step(n: Draft) -> None:
    _write_step(n, _SHORT_PAST, TINY)


def _write_step(n: Draft, remembered: int, sizes: Sizes) -> None:
    ids = n.input("input_ids", (1,), "i64")
    shape = (sizes.heads, remembered, sizes.features // sizes.heads)
    past = [
        (n.input(f"past_key_{i}", shape), n.input(f"past_value_{i}", shape))
        for i in range(sizes.layers)
    ]
    logits, present = gpt2_step(n, ids, past, sizes)
    n.output("logits", logits)
    for i, (keys, values) in enumerate(present):
        n.output(f"present_key_{i}", keys)
        n.output(f"present_value_{i}", values)
