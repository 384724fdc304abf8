"""Activations with outlying channels hand their size to the weights that they meet.

    before   y = nn.layer_norm(x, @gain, @shift)     after   the same on @gain / s, @shift / s
             q = nn.matmul(y, @wq)                           q = nn.matmul(y, @wq * s)

One integer scale serves all channels of an activation, so a channel far larger than the others
costs them their bits; weights have a scale per output channel and bear it better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.passes.channels_ import Factors, Scaling, power_of_two, sites
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.peaks_ import peaks


@dataclass(frozen=True)
class SmoothQuant(Pass):
    """SmoothQuant by powers of two, so every bit stays.

    Xiao, Lin, Seznec, Wu, Demouth, Han, "SmoothQuant", ICML 2023, equation 4:
    s = max|X|^alpha / max|W|^(1 - alpha) per channel, here rounded to a power of two. A second
    run would move the same peaks again, so it is not idempotent.

    Args:
        alpha: how much of the difficulty goes to the weights, 0 to 1; the paper's 0.5.
        peaks: the largest magnitude of each channel of each producer's result, by its name;
            None takes them from the context's calibration data.
    """

    idempotent: ClassVar[bool] = False
    alpha: float = 0.5
    peaks: Mapping[str, Factors] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ModelError(f"alpha must lie in 0..1, not {self.alpha}")

    def __call__(self, module: Module) -> Module:
        if module.shape_only:
            return module
        found = sites(module.graph)
        if self.peaks is None and found:
            raise ModelError(
                f"model '{module.name}' must have calibration data to be smoothed, not none; "
                "run the pass in a context"
            )
        scaling = Scaling(module)
        for site in found:
            sizes = (self.peaks or {}).get(site.producer.name)
            if sizes is None:
                continue
            with np.errstate(all="ignore"):
                weights = scaling.behind(site)
                wanted = sizes**self.alpha / weights ** (1 - self.alpha)
            factor = power_of_two(np.where((sizes > 0) & (weights > 0), wanted, 1.0))
            if (factor != 1).any():
                scaling.move(site, factor)
        return scaling.module()

    def bound(self, module: Module, context: Context) -> Self:
        if self.peaks is not None or not sites(module.graph):
            return self
        data = context.data(module, "smoothed")
        return replace(self, peaks=peaks(module, data, context.progress))

    @classmethod
    def example(cls, module: Module, inputs: Mapping[str, Array]) -> Self:
        return cls(peaks=peaks(module, inputs))
