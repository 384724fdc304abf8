"""Where a factor per channel can move from one layer's weights into the next ones'.

    before   y = nn.conv2d(x, @w, @b)             after   y = nn.conv2d(x, @w / s, @b / s)
             z = nn.relu(y)                               z = nn.relu(y)
             p = nn.conv2d(z, @v)                         p = nn.conv2d(z, @v * s)

Between the two may stand what keeps a positive factor per channel: ReLU, leaky ReLU, pooling
of channels-first values and flattening. A clip (ReLU6) does not: its bound would need a factor
of each channel's own. Factors are powers of two, so that every bit of the results stays (short
of subnormals).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import is_narrow
from tetrapla.passes.rebuild_ import Rebuild

Factors = NDArray[np.float64]

NORMS = frozenset({"nn.layer_norm", "nn.rms_norm"})
KEEPING = frozenset({"nn.relu", "nn.leaky_relu"})
# these mix the last two axes, and so keep a factor along the second one alone
POOLS = frozenset({"nn.max_pool2d", "nn.average_pool2d", "nn.global_average_pool"})
LIMIT = 2.0**20  # assumed: a channel further off than this is dead, not unequal


@dataclass(frozen=True)
class Site:
    """A value whose channels can be scaled.

    Attributes:
        producer: makes the channels.
        consumers: the products and convolutions that read them, and nothing else does.
        channels: how many there are.
        repeats: how many consecutive inputs of a consumer are one channel (after flattening).
    """

    producer: Node
    consumers: tuple[Node, ...]
    channels: int
    repeats: int


def sites(graph: Graph) -> list[Site]:
    """All of them, in order of the producers."""
    uses = graph.uses()
    outputs = {value.index for _, value in graph.outputs}
    found = (_site(graph, node, uses, outputs) for node in graph.nodes)
    return [site for site in found if site is not None]


class Scaling:
    """Factors on the way: what each weight of a module is to be multiplied by."""

    def __init__(self, module: Module) -> None:
        self._module = module
        # by the node's name and the operand's place
        self._edits: dict[tuple[str, int], Array] = {}

    def before(self, site: Site) -> Factors:
        """The largest weight that makes each channel, shape (channels,)."""
        sizes = self._sizes(site.producer)
        if site.producer.kind == "nn.conv2d":
            return np.asarray(sizes.reshape(site.channels, -1).max(axis=1, initial=0))
        return np.asarray(sizes.reshape(-1, site.channels).max(axis=0, initial=0))

    def behind(self, site: Site) -> Factors:
        """The largest weight that each channel meets in the consumers, shape (channels,)."""
        found = np.zeros(site.channels)
        for node in site.consumers:
            sizes = self._sizes(node)
            if node.kind == "nn.conv2d":  # [O, C / groups, kh, kw] as [C, everything else]
                split = sizes.reshape(node.int("groups"), -1, *sizes.shape[1:])
                sizes = np.moveaxis(split, 2, 1)
            rows = sizes.reshape(site.channels, -1)
            found = np.maximum(found, rows.max(axis=1, initial=0))
        return found

    def move(self, site: Site, factor: Factors) -> None:
        """Divide the producer's channels by a factor and multiply it into the consumers."""
        for place in range(1, len(site.producer.operands)):
            filters = site.producer.kind == "nn.conv2d" and place == 1
            shaped = factor[:, None, None, None] if filters else factor
            self._edit(site.producer, place, 1 / shaped)
        spread = np.repeat(factor, site.repeats)
        for node in site.consumers:
            shaped = spread[:, None]
            if node.kind == "nn.conv2d":
                filters_, per = node.operands[1].shape[:2]
                groups = node.int("groups")
                # each group's filters read its own channels
                shaped = np.repeat(factor.reshape(groups, per), filters_ // groups, axis=0)
                shaped = shaped[..., None, None]
            self._edit(node, 1, shaped)

    def module(self) -> Module:
        """The module with all factors moved; itself where none was."""
        names = {name for name, _ in self._edits}
        if not names:
            return self._module
        new = Rebuild(self._module)
        for node in new.graph.nodes:
            if node.name not in names:
                new.copy(node)
                continue
            operands = [self._operand(new, node, i) for i in range(len(node.operands))]
            made = new.builder.op(node.kind, operands, node.attributes, name=node.name)
            new.set(node.result, made)
        return new.finish()

    def _operand(self, new: Rebuild, node: Node, place: int) -> Value:
        value = node.operands[place]
        factor = self._edits.get((node.name, place))
        if factor is None:
            return new.of(value)
        symbol = new.graph.constants[value.index]
        return new.derived(symbol, value, value.shape, lambda w: (w * factor).astype(w.dtype))

    def _edit(self, node: Node, place: int, factor: Array) -> None:
        past = self._edits.get((node.name, place), np.ones(()))
        self._edits[node.name, place] = past * factor

    def _sizes(self, node: Node) -> Factors:
        weights = np.abs(self._module.graph.weight(node.operands[1]).astype(np.float64))
        return np.asarray(weights * self._edits.get((node.name, 1), 1.0))


def power_of_two(factors: Factors) -> Factors:
    """The nearest power of two of each; 1 where a factor is none or beyond all measure."""
    usable = np.isfinite(factors) & (factors > 1 / LIMIT) & (factors < LIMIT)
    exponents = np.rint(np.log2(np.where(usable, factors, 1.0)))
    return np.asarray(np.exp2(exponents))


def _site(
    graph: Graph, node: Node, uses: Mapping[int, list[Node]], outputs: set[int]
) -> Site | None:
    if not _divisible(graph, node):
        return None
    value, repeats = node.result, 1
    axis = 1 if node.kind == "nn.conv2d" else len(value.shape) - 1
    channels = value.shape[axis]
    while value.index not in outputs:
        users = uses.get(value.index, [])
        if users and all(_reads(graph, user, value, axis) for user in users):
            return Site(node, tuple(users), channels, repeats)
        if len(users) != 1:
            return None
        (user,) = users
        if user.kind == "nn.reshape" and _flattens(user, axis):
            repeats = user.result.shape[-1] // channels
            axis = len(user.result.shape) - 1
        elif user.kind not in KEEPING and not (user.kind in POOLS and axis == 1):
            return None
        value = user.result
    return None


def _flattens(node: Node, axis: int) -> bool:
    """Whether each channel becomes consecutive entries of the last axis, the rest as it was."""
    (x,), y = node.operands, node.result
    if axis == len(x.shape) - 1:
        return bool(y.shape) and y.shape[-1] == x.shape[-1]
    return axis == 1 and len(y.shape) == 2 and y.shape[0] == x.shape[0]


def _divisible(graph: Graph, node: Node) -> bool:
    if len(node.results) != 1 or node.result.dtype != "f32":
        return False
    if not all(graph.is_weight(value) for value in node.operands[1:]):
        return False
    if node.kind in NORMS:
        last = node.int("axis") in (-1, len(node.result.shape) - 1)
        return last and node.operands[1].shape == node.result.shape[-1:]
    # a residual has no factor, and of the activations a ReLU keeps one
    return is_narrow(node) and (node.kind == "nn.conv2d" or _is_product(node))


def _reads(graph: Graph, node: Node, value: Value, axis: int) -> bool:
    """Whether the node multiplies each channel of the value with constant weights.

    As its residual, too, the value would be added without them.
    """
    places = [i for i, operand in enumerate(node.operands) if operand.index == value.index]
    if len(node.operands) < 2 or places != [0]:
        return False
    if not graph.is_weight(node.operands[1]):
        return False
    if node.kind == "nn.conv2d":
        return axis == 1
    return _is_product(node) and axis == len(value.shape) - 1


def _is_product(node: Node) -> bool:
    return node.kind == "nn.matmul" and len(node.operands[1].shape) == 2
