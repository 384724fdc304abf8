"""Weights of neighbouring layers get channels of like size, for integers of few bits.

A channel whose weights are small before a ReLU and large behind it loses bits in one of the two
layers; a factor moved from one to the other (`channels_`) makes both ranges the same. With one
scale per output channel it is the second layer alone that gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.module import Module
from tetrapla.passes.channels_ import Scaling, power_of_two, sites
from tetrapla.passes.pass_ import Pass

# assumed: chains of this many layers settle, and a longer one stops nearly equal
SWEEPS = 32


@dataclass(frozen=True)
class Equalize(Pass):
    """Cross-layer equalisation by powers of two, so every bit stays.

    Nagel, van Baalen, Blankevoort, Welling, "Data-free quantization through weight equalization
    and bias correction", ICCV 2019, section 4.1: s = sqrt(r1 / r2), here rounded to a power of
    two, with r1 and r2 the largest weight of a channel before and behind. Swept over all pairs
    until none moves, which a cyclic case may never reach: hence no claim to idempotence.
    """

    idempotent: ClassVar[bool] = False

    def __call__(self, module: Module) -> Module:
        if module.shape_only:
            return module
        scaling, found = Scaling(module), sites(module.graph)
        for _ in range(SWEEPS):
            moved = False
            for site in found:
                with np.errstate(all="ignore"):
                    ratio = scaling.before(site) / scaling.behind(site)
                    factor = power_of_two(np.sqrt(ratio))
                if (factor != 1).any():
                    scaling.move(site, factor)
                    moved = True
            if not moved:
                break
        return scaling.module()
