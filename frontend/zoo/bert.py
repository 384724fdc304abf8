"""BERT: a transformer's encoder that sees both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tetrapla.frontend.builder import Layers, Tensor
from tetrapla.frontend.builder import functions as nn
from tetrapla.frontend.zoo.multihead import post_norm_block
from tetrapla.frontend.zoo.network import Draft, Published, network
from tetrapla.ir.graph import Array

_PAPER = 'J. Devlin et al., "BERT", arXiv:1810.04805, section 3, BERT-base'
_REFERENCE = "transformers 5.23.0, BertModel with its default configuration"
_EPSILON = 1e-12  # of every layer norm: the reference's layer_norm_eps
_LENGTH = 128  # tokens, as in TinyBERT's table of costs
_SMALL = 'I. Turc et al., "Well-read students learn better", arXiv:1908.08962, table 1'
_SHORT = 32  # tokens of the small one, assumed


@dataclass(frozen=True)
class Sizes:
    """BERT-base."""

    vocabulary: int = 30522
    positions: int = 512
    kinds: int = 2
    layers: int = 12
    features: int = 768
    heads: int = 12
    width: int = 3072


def bert(
    n: Layers, ids: Tensor, kinds: Tensor, seen: Tensor, sizes: Sizes
) -> tuple[Tensor, Tensor]:
    """Features of every token [B, L, F], and of the whole text [B, F].

    Args:
        n: makes the weights.
        ids: words, i64 [B, L].
        kinds: which of two sentences a word belongs to, i64 [B, L].
        seen: 1 for words and 0 for padding, i64 [B, L].
        sizes: of the network.
    """
    batch, length = ids.shape
    x = n.embedding(ids, sizes.vocabulary, sizes.features, name="words")
    places = n.parameter((sizes.positions, sizes.features), "positions", fan_in=1, gain=1.0)
    x = x + n.embedding(kinds, sizes.kinds, sizes.features, name="kinds") + places[:length]
    x = n.layer_norm(x, epsilon=_EPSILON)
    mask = (seen > 0).reshape(batch, 1, 1, length)
    for i in range(sizes.layers):
        with n.within(f"layer.{i}"):
            x = post_norm_block(
                n, x, sizes.heads, sizes.width, nn.gelu, mask=mask, epsilon=_EPSILON
            )
    pooled = n.linear(x[:, 0], sizes.features, gain=1.0, name="pooler").tanh()
    return x, pooled


def _drawn(rng: np.random.Generator, shape: tuple[int, int]) -> Mapping[str, Array]:
    return {
        "input_ids": rng.integers(0, Sizes.vocabulary, shape),
        "token_type_ids": np.sort(rng.integers(0, 2, shape), axis=1),
        "attention_mask": np.ones(shape, np.int64),
    }


def _sample(rng: np.random.Generator, batch: int) -> Mapping[str, Array]:
    return _drawn(rng, (batch, _LENGTH))


def _short(rng: np.random.Generator, batch: int) -> Mapping[str, Array]:
    return _drawn(rng, (batch, _SHORT))


@network(
    "bert-base",
    f"{_PAPER}; {_REFERENCE}",
    parameters=Published(109_482_240, _REFERENCE),
    macs=Published(
        11_250_000_000,
        'half of the 22.5 billion operations of X. Jiao et al., "TinyBERT", '
        "arXiv:1909.10351, table 1, at 128 tokens",
        0.01,
    ),
    sample=_sample,
)
def _base(n: Draft) -> None:
    _write(n, _LENGTH, Sizes())


@network(
    "bert-tiny",
    f"{_SMALL}; no source states MACs",
    parameters=Published(4_400_000, _SMALL, 0.01),
    sample=_short,
)
def _tiny(n: Draft) -> None:
    _write(n, _SHORT, Sizes(layers=2, features=128, heads=2, width=512))


def _write(n: Draft, length: int, sizes: Sizes) -> None:
    ids = n.input("input_ids", (length,), "i64")
    kinds = n.input("token_type_ids", (length,), "i64")
    seen = n.input("attention_mask", (length,), "i64")
    tokens, pooled = bert(n, ids, kinds, seen, sizes)
    n.output("last_hidden_state", tokens)
    n.output("pooler_output", pooled)
