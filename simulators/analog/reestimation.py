"""Outputs that mean what they did: gains and offsets from a trial on calibration inputs.

After programming, and after drift, every chip runs a few calibration inputs. Each output of
each product then gets the gain and the offset with which its accumulators have the mean and
the spread that the exact network has on the same inputs, one layer after the other, each on
what the layers before it now give:

    a = sd(exact) / sd(chip)    b = mean(exact) - a mean(chip)    y = round_half_even(a x + b)

That is the re-estimation of batch-norm statistics (AdaBS: V. Joshi et al., "Accurate deep
neural network inference using computational phase-change memory", Nature Communications 11,
2020) for networks whose batch norms are folded into their products. It is digital: a product's
requantisation has a multiplier and an offset already, so nothing is counted (assumed).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.arrays_ import packed, unpacked

FIRST_READ: Final = 1 << 31  # number of a trial's first invocation; a run has fewer (assumed)
_INT32: Final = np.iinfo(np.int32)


@dataclass(frozen=True)
class Statistics:
    """Of accumulators over invocations and positions, f64 [outputs] each."""

    mean: Array
    sd: Array


@dataclass(frozen=True)
class Affine:
    """Gain and offset of every output, f64 [outputs]; 1 and 0 exactly where nothing is off."""

    gain: Array
    offset: Array

    def applied(self, accumulators: Array, axis: int) -> Array:
        """Accumulators int32 [...] with it; `axis` is that of the outputs."""
        if bool((self.gain == 1).all()) and not self.offset.any():
            return accumulators
        shape = [1] * accumulators.ndim
        shape[axis] = -1
        moved = accumulators * self.gain.reshape(shape) + self.offset.reshape(shape)
        made = np.clip(np.rint(moved), _INT32.min, _INT32.max)
        return np.asarray(made.astype(np.int32))


@dataclass(frozen=True)
class Trial:
    """What a chip is tried on, and what it should give.

    Attributes:
        inputs: calibration inputs by name, (invocations, ...).
        wanted: of the exact accumulators on them, by product.
    """

    inputs: Mapping[str, Array]
    wanted: Mapping[str, Statistics]

    @property
    def invocations(self) -> int:
        """How often the chip runs for it."""
        return len(next(iter(self.inputs.values()), ()))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives the same trial back."""
        wanted = {
            name: {"mean": packed(one.mean), "sd": packed(one.sd)}
            for name, one in self.wanted.items()
        }
        inputs = {name: packed(array) for name, array in self.inputs.items()}
        return {"inputs": inputs, "wanted": wanted}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Trial:
        """The trial that `to_dict` wrote."""
        return Trial(
            {name: unpacked(array) for name, array in data["inputs"].items()},
            {
                name: Statistics(unpacked(one["mean"]), unpacked(one["sd"]))
                for name, one in data["wanted"].items()
            },
        )


def statistics(accumulators: Array, axis: int) -> Statistics:
    """Of accumulators [...] along every axis but that of the outputs."""
    # whole numbers: their sum is exact in any order, and so is a mean of equal arrays
    by_output = np.moveaxis(accumulators, axis, 0).reshape(accumulators.shape[axis], -1)
    return Statistics(by_output.mean(axis=1), by_output.std(axis=1))


def affine(found: Statistics, wanted: Statistics) -> Affine:
    """What gives outputs of these statistics the wanted ones.

    An output that does not change on either side keeps the gain 1.
    """
    both = (found.sd > 0) & (wanted.sd > 0)
    gain = np.divide(wanted.sd, found.sd, out=np.ones_like(found.sd), where=both)
    return Affine(gain, wanted.mean - gain * found.mean)
