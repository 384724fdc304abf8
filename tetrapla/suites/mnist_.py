"""MNIST on silicon beside what our prices make of the same layers, row by row.

No activity of the networks was published, so nothing here has a bound. Where the table gives
the layers and the chip's file has prices, a row says what one spike of each source in an
inference would cost (assumed), and another how many spikes of each the published energy would
pay for. A third says what a whole chip at rest takes for as long as an inference does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tetrapla.simulators.price_ import STATIC
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import SpikingSpec
from tetrapla.validation import Row

_SOURCE = "Renner et al., Nature Communications 2024, table 1"


@dataclass(frozen=True)
class Published:
    """A row of the table.

    Attributes:
        case: chip and network.
        energy_uj, latency_ms: of an inference; None where the table has none.
        chip: one of ours, or None.
        layers: neurons, the inputs first; empty where the table does not give them.
        steps: timesteps that its neurons are updated for: SpiNNaker's of 1 ms in the latency;
            1 where nothing says (assumed).
    """

    case: str
    energy_uj: float
    latency_ms: float | None
    chip: str | None = None
    layers: tuple[int, ...] = ()
    steps: int = 1


_TABLE = (
    Published("Loihi, 400-400-10", 2.5, 0.17, "loihi", (400, 400, 10)),
    Published("Loihi, CNN (Shrestha 2021)", 2470, 10),
    Published("Loihi, 1920-10 (Lin 2018)", 12.8, None, "loihi", (1920, 10)),
    Published("TrueNorth, 512 neurons (Esser)", 0.27, 1, "truenorth"),
    Published("TrueNorth, 3840 neurons (Esser)", 108, 1, "truenorth"),
    Published("SpiNNaker, 784-500-500-10", 3300, 11, "spinnaker", (784, 500, 500, 10), 11),
    Published("SPOON", 0.313, 0.12),
    Published("BrainScaleS-2", 8.4, 0.048),
    Published("Loihi, learning on the chip", 590, 1.5),
)


def rows() -> Iterator[Row]:
    """The table, and what each row makes of our prices."""
    for each in _TABLE:
        spec = None if each.chip is None else load_spec(each.chip, SpikingSpec).spec
        if spec is None or not each.layers:
            yield _row(each, "energy_per_inference", "uJ", each.energy_uj, None)
        else:
            still_uj, spike_uj = _parts_uj(each, spec)
            ours = still_uj + spike_uj
            yield _row(each, "energy_one_spike_each", "uJ", each.energy_uj, ours)
            paid = max(0.0, each.energy_uj - still_uj) / spike_uj
            yield _row(each, "spikes_per_source_paid", "spikes", None, paid)
        if spec is not None and each.latency_ms is not None:
            rest_uj = (spec.prices[STATIC] or 0.0) * each.latency_ms * 1e-9
            yield _row(each, "energy_of_a_chip_at_rest", "uJ", None, rest_uj)


def _row(
    each: Published, quantity: str, unit: str, published: float | None, ours: float | None
) -> Row:
    return Row("spiking", f"mnist, {each.case}", quantity, unit, published, ours, None, _SOURCE)


def _parts_uj(each: Published, spec: SpikingSpec) -> tuple[float, float]:
    """Microjoules of the neurons' updates, and of one spike of every source."""

    def price(action: str) -> float:
        return spec.cost[action] or 0.0

    updates = sum(each.layers[1:]) * each.steps
    still_pj = updates * (price("soma.access") + price("soma.update"))
    synapses = sum(a * b for a, b in pairwise(each.layers))
    fire_pj = sum(each.layers[1:-1]) * (price("soma.fire") + price("network.packet_out"))
    return still_pj * 1e-6, (synapses * price("synapse.dense") + fire_pj) * 1e-6
