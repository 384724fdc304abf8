"""What a pass may know of a model beside its module: data, which text cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Progress, Ranges, ranges
from tetrapla.passes.moments_ import Moments, moments


@dataclass(frozen=True)
class Context:
    """Given to `pass_.run`, from which a pass binds the fields that are no options.

    Attributes:
        calibration: arrays of shape (invocations, *static shape) by input name.
        ranges: found already, by the names of the module that will be quantised; they are
            taken instead of the data.
        progress: called with 1 after each invocation of a calibration.
    """

    calibration: Mapping[str, Array] | None = None
    ranges: Ranges | None = None
    progress: Progress | None = None

    def ranges_of(
        self, module: Module, method: str, percentile_pct: float, bits: int = 8
    ) -> Ranges:
        """The range of every value of `module`; see `calibrate_.ranges`.

        Raises:
            ModelError: there is neither data nor ranges, or the data does not fit.
        """
        if self.ranges is not None:
            return self.ranges
        levels = (1 << bits) - 1
        data = self.data(module)
        return ranges(module, data, method, percentile_pct, self.progress, levels)

    def moments_of(self, module: Module, second_order: bool) -> dict[str, Moments]:
        """The moments of the inputs of `module`'s layers; see `moments_.moments`.

        Raises:
            ModelError: there is no data, or it does not fit.
        """
        return moments(module, self.data(module), self.progress, second_order)

    def data(self, module: Module, done: str = "quantised") -> Mapping[str, Array]:
        """The calibration data.

        Args:
            module: that it is wanted for.
            done: what is done to the module with it, for the message.

        Raises:
            ModelError: there is none.
        """
        if self.calibration is None:
            raise ModelError(
                f"model '{module.name}' must have calibration data to be {done}, not none; "
                "give samples of its inputs"
            )
        return self.calibration


NOTHING = Context()
