"""Pools of a network of ReLUs as neurons."""

from __future__ import annotations

import numpy as np

from tetrapla.backends.spiking.emit import Current, Rate, Train
from tetrapla.backends.spiking.terms import RefusedError
from tetrapla.backends.spiking.values import Spiking, Values
from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.nn.pool import window_counts

# thresholds of pooling neurons carry the division; below this they round too coarsely
_LEAST_THETA = 256


class Pools(Values):
    """Values, and the pools between them.

    Attributes:
        maxima: whether there is a max pool.
    """

    maxima = False

    def max_pool(self, node: Node) -> Spiking:
        """Neurons that follow their most active input."""
        value = self.of(node)
        if isinstance(value, Current):
            users = self.graph.uses().get(node.result.index, [])
            if not users or any(user.kind != "nn.relu" for user in users):
                raise RefusedError("its operand may be negative")
            value = self.relu(value, self._producer(node))
        if not isinstance(value, Rate) or value.signed:
            raise RefusedError("its operand may be negative")
        self.maxima = True
        (train,) = value.trains
        kind = self.emit.maximum
        pooled = self.builder.op(kind, [train.value], node.attributes, name=node.name)
        return Rate((Train(pooled),), value.full)

    def average_pool(self, node: Node) -> Spiking:
        """Neurons whose thresholds divide."""
        rate = self.rate(self.of(node))
        strides: tuple[int, ...]
        pads: tuple[int, ...]
        size = node.operands[0].shape[2:]
        if node.kind == "nn.global_average_pool":
            kernel, strides, pads, include = size, (1, 1), (0,) * 4, 0
        else:
            kernel, strides = node.ints("kernel"), node.ints("strides")
            pads, include = node.ints("pads"), node.int("count_include_pad")
        counts = window_counts(size, kernel, strides, pads, include)
        full = rate.full if rate.signed else min(rate.full, self.magnitude(node.name).full)
        shares = counts * (full / rate.full)
        weight = int(np.clip(np.ceil(_LEAST_THETA / shares.min()), 1, 127))
        theta = np.rint(weight * shares).astype(np.int32)
        theta = np.array([theta.flat[0]]) if np.all(theta == theta.flat[0]) else theta
        attributes: dict[str, Attribute] = {
            "kernel": kernel,
            "strides": strides,
            "pads": pads,
            "weight": weight,
            "exponent": 0,
        }
        made = tuple(
            Train(self._summed(node, train, attributes, theta), train.sign)
            for train in rate.trains
        )
        return Rate(made, full)

    def _summed(
        self, node: Node, train: Train, held: dict[str, Attribute], theta: Array
    ) -> Value:
        name = node.name if train.sign > 0 else f"{node.name}.negative"
        total = self.builder.op("spike.sum_pool2d", [train.value], held, f"{name}.synapses")
        return self.emit.fire(total, np.maximum(theta, 1), name)

    def _producer(self, node: Node) -> str:
        operand = node.operands[0].index
        return next(n.name for n in self.graph.nodes if n.result.index == operand)
