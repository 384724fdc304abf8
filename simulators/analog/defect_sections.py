"""The parts of an analog chip's YAML about defects: what is broken, and what helps."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tetrapla.simulators.spec_ import Fraction, Section


class FaultsSection(Section):
    """Defects of manufacture, as the share of cells or lines that have them.

    A cell that is stuck is at g_min (`stuck_low`) or at g_max (`stuck_high`) for ever; a line
    that is open carries nothing; one that is shorted is tied to the next one.
    """

    stuck_low_frac: Fraction = Field(default=0.0, alias="stuck_low", description="none")
    stuck_high_frac: Fraction = Field(default=0.0, alias="stuck_high", description="none")
    open_rows_frac: Fraction = Field(default=0.0, alias="open_rows", description="none")
    open_cols_frac: Fraction = Field(default=0.0, alias="open_cols", description="none")
    shorted_rows_frac: Fraction = Field(default=0.0, alias="shorted_rows", description="none")
    shorted_cols_frac: Fraction = Field(default=0.0, alias="shorted_cols", description="none")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.stuck_low_frac + self.stuck_high_frac > 1:
            raise ValueError(
                "faults.stuck_low and faults.stuck_high must be at most 1 together, not "
                f"{self.stuck_low_frac:g} and {self.stuck_high_frac:g}; lower one"
            )
        return self

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return any(float(getattr(self, name)) > 0 for name in type(self).model_fields)


class RecoverySection(Section):
    """What a chip does about its faults; nothing by default (`recovery`).

    Attributes:
        wires: conductances are bent so that they arrive as wanted through resistive wires.
        drift: converters' references follow the cells, those of a tile or of each column.
        rows: weights move away from broken cells, to other rows of their tile.
        outputs: every output's mean and spread become those of the exact network again, by a
            gain and an offset of its own, found on calibration inputs (`reestimation`).
    """

    wires: Literal["none", "precompensated"] = "none"
    drift: Literal["none", "global", "column"] = "none"
    rows: Literal["none", "permuted"] = "none"
    outputs: Literal["none", "reestimated"] = "none"

    @property
    def tests(self) -> bool:
        """Whether the chip is read to find out how it is."""
        return any(how != "none" for how in (self.drift, self.rows, self.outputs))
