"""What a compiler says of its work: products that a model has and its machine does not do."""

from __future__ import annotations

from collections.abc import Iterator

from tetrapla.ir.module import Module
from tetrapla.ir.op import macs


def about_macs(module: Module, lowered: Module) -> Iterator[str]:
    """How many multiply-accumulates were folded away, or are done besides; nothing if none."""
    given, left = macs(module.graph.nodes), macs(lowered.graph.nodes)
    if given is None or left is None:
        return
    if given > left:
        yield (
            f"{given - left:,} of the model's {given:,} MACs are not done and not counted: "
            "their products are known (first states of zero, constants), unused or repeated, "
            "and were folded away"
        )
    elif given < left:
        yield (
            f"{left - given:,} MACs are done beside the model's {given:,}: "
            "operators that the array has not were taken apart into more products"
        )
