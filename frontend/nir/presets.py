"""What NIR leaves open, by platform: how equations become timesteps.

NIR declares continuous equations; each platform's importer discretises them in its own way,
and their rasters differ. A preset is one such way. Rules of norse, snntorch and sinabs equal
those of norse 1.1.0, snntorch 1.0.0 and sinabs 3.1.3 on recorded traces; the others were
recovered from the traces in NIR's repository (LIF alone), up to a scale factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tetrapla.ir.errors import RegistryError, nearest
from tetrapla.ir.graph import Attribute


@dataclass(frozen=True)
class Preset:
    """One discretisation, in the words of the `spike` dialect.

    An IF and an I integrate what arrives in a timestep whole, as all importers have it.

    Attributes:
        method: euler, zoh or exponential.
        reset: to_value is to NIR's v_reset; subtract has no form in NIR.
        reset_time: same, or next.
        spikes: one, or many in a timestep.
        input_delay: timesteps, 0 or 1, that a current takes to its neuron.
    """

    method: str
    reset: str = "to_value"
    reset_time: str = "same"
    spikes: str = "one"
    input_delay: int = 0

    def firing(self) -> dict[str, Attribute]:
        """The attributes that every neuron of NIR has; its threshold is strict."""
        return {
            "reset": self.reset,
            "reset_time": self.reset_time,
            "compare": "gt",
            "spikes": self.spikes,
        }


PRESETS: Final = MappingProxyType(
    {
        "euler": Preset("euler"),
        "zoh": Preset("zoh"),
        "exponential": Preset("exponential"),
        "norse": Preset("euler"),
        "snntorch": Preset("euler"),
        "spinnaker2": Preset("euler"),
        "lava": Preset("euler", input_delay=1),
        "nengo": Preset("zoh"),
        "sinabs": Preset("exponential", "subtract", spikes="many"),
        "rockpool": Preset("exponential", "subtract", spikes="many"),
        "spyx": Preset("euler", "subtract", "next", input_delay=1),
    }
)


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        RegistryError: there is none.
    """
    if name not in PRESETS:
        raise RegistryError(
            f"no discretisation '{name}'{nearest(name, PRESETS)}; there are: "
            f"{', '.join(PRESETS)}"
        )
    return PRESETS[name]
