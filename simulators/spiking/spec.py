"""One design point of a spiking chip: cores of neurons on a mesh of tiles, with a barrier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from tetrapla.simulators.roof_ import Roof
from tetrapla.simulators.spec_ import Bits, Count, Seconds, Section, Spec

LEARNING = "learning.update"  # a rule's look at one synapse, at the end of an epoch

Code: TypeAlias = Literal["rate", "sequential", "radix", "ttfs", "graded"]
Neurons: TypeAlias = Literal["spike.neuron", "spike.loihi", "spike.truenorth", "any"]


class MeshSection(Section):
    """The tiles; core c sits in tile ``c // cores_per_tile``, at x = tile // tiles_y."""

    tiles_x: Count = Field(ge=1)
    tiles_y: Count = Field(ge=1)
    cores_per_tile: Count = Field(ge=1)


def _loihis_codes() -> list[Code]:
    return ["rate", "sequential"]


def _loihis_neurons() -> list[Neurons]:
    return ["spike.neuron", "spike.loihi"]


class CoreSection(Section):
    """What one core holds.

    `membrane_bits` includes sign and the `weight_shift_bits` that lie below a weight's last
    bit: weights and thresholds see ``membrane_bits - weight_shift_bits`` bits.
    `synapse_memory` counts words of `synapse_word`; a list of synapses has a header and
    comes in blocks (nengo-loihi's formula, see `capacity`).

    `codes` are what its neurons can do of a conversion's, `neurons` the operators that they
    can be; `any` are programmed ones, and a file without them has Loihi's. `axon_types` above 0
    is a crossbar of bits: an axon has one of so many types, and a neuron one weight for each.

    A neuron drives `axons_per_neuron` axons, any number where it is None; where further axons
    hear it, it has copies.

    A core's neurons share `compartment_configurations` (decays and the like) and
    `threshold_configurations`, and its synapses `synapse_configurations` (exponents and
    formats); None where a chip has no such limit or no source gives one.
    """

    codes: list[Code] = Field(default_factory=_loihis_codes)
    neurons: list[Neurons] = Field(default_factory=_loihis_neurons)
    axon_types: Count = Field(default=0, ge=0, le=8)
    axons_per_neuron: Count | None = Field(default=None, ge=1)

    compartments: Count = Field(ge=1)
    compartments_per_neuron: Count = Field(ge=1)
    input_axons: Count = Field(ge=1)
    output_axons: Count = Field(ge=1)
    axon_slots_shared: Count = Field(ge=1)
    synapse_memory: Count = Field(ge=1)
    synapse_word_bits: Bits = Field(alias="synapse_word", ge=1)
    synapse_index_bits: Bits = Field(alias="synapse_index", ge=0)
    list_header_bits: Bits = Field(alias="list_header", ge=0)
    list_block: Count = Field(ge=1)
    weight_bits: Bits = Field(alias="weight", ge=2, le=8)
    membrane_bits: Bits = Field(alias="membrane", ge=8, le=30)
    weight_shift_bits: Bits = Field(alias="weight_shift", ge=0)
    threshold_bits: Bits = Field(alias="threshold", ge=2, le=30)
    bias_bits: Bits = Field(alias="bias", ge=2, le=30)
    bias_exponent_max: Count = Field(ge=0, le=16)
    delay_max: Count = Field(ge=0)
    compartment_configurations: Count | None = Field(default=None, ge=1)
    threshold_configurations: Count | None = Field(default=None, ge=1)
    synapse_configurations: Count | None = Field(default=None, ge=1)

    @property
    def state_bits(self) -> int:
        """Bits of the membrane above a weight's last bit, with sign."""
        return self.membrane_bits - self.weight_shift_bits

    @property
    def bias_max(self) -> int:
        """The largest constant that a timestep can add, in steps of a weight's last bit."""
        return int((2 ** (self.bias_bits - 1) - 1) << self.bias_exponent_max)

    def types_left(self, singles: int) -> int:
        """Axon types for weights beside `singles` synapses that are one number each."""
        return max(1, self.axon_types - singles)

    def axons_per_source(
        self, sources: Sequence[tuple[int, int]], singles: int = 0
    ) -> tuple[int, int]:
        """How many axons of a crossbar a source takes: as many as there is room for.

        Args:
            sources: of a neuron by group of synapses: channels, and axons of one channel.
            singles: groups of synapses that are one number, on an axon of their own.

        Returns:
            A, and the number of the first channels that take A + 1.
        """
        fan = sum(channels * taps for channels, taps in sources)
        if not self.axon_types or not fan:
            return 1, 0
        room, most = self.input_axons - singles, self.types_left(singles)
        each = max(1, min(most, room // fan))
        left, more = (room - each * fan) * (each < most), 0
        for channels, taps in sources:
            fit = max(0, min(channels, left // taps))
            more, left = more + fit, left - fit * taps
            if fit < channels:
                break
        return each, more


class TimingSection(Section):
    """How long one event keeps its unit busy; learning's `synapse_update` may be unknown."""

    access_s: Seconds = Field(alias="access")
    update_s: Seconds = Field(alias="update")
    fire_s: Seconds = Field(alias="fire")
    packet_out_s: Seconds = Field(alias="packet_out")
    packet_in_s: Seconds = Field(alias="packet_in")
    synapse_dense_s: Seconds = Field(alias="synapse_dense")
    synapse_conv_s: Seconds = Field(alias="synapse_conv")
    synapse_sparse_s: Seconds = Field(alias="synapse_sparse")
    synapse_update_s: Seconds | None = Field(default=None, alias="synapse_update")


class NocSection(Section):
    """Links between tiles, and how closely a timestep's duration looks at them.

    Model `simple` waits for the slowest core's neurons and synapses; `detailed` follows every
    message over its links (see `detailed`), which takes long on large networks; `flit` is a
    judge for small ones (see `flits`): it counts time in steps of `cycle` and cuts a message
    into `flits`, one and 0.1 ns where a chip does not say (assumed).
    """

    model: Literal["simple", "detailed", "flit"]
    hop_east_west_s: Seconds = Field(alias="hop_east_west")
    hop_north_south_s: Seconds = Field(alias="hop_north_south")
    link_buffer: Count = Field(ge=1)
    flits: Count = Field(default=1, ge=1)
    cycle_s: Seconds = Field(default=1e-10, alias="cycle", gt=0)


class BarrierSection(Section):
    """End of a timestep, by how many tiles hold neurons: the last row that applies."""

    from_1_tile_s: Seconds = Field(alias="from_1_tile")
    from_2_tiles_s: Seconds = Field(alias="from_2_tiles")
    from_4_tiles_s: Seconds = Field(alias="from_4_tiles")
    from_29_tiles_s: Seconds = Field(alias="from_29_tiles")

    def seconds(self, tiles: int) -> float:
        """The barrier's duration with that many tiles in use."""
        rows = (
            (29, self.from_29_tiles_s),
            (4, self.from_4_tiles_s),
            (2, self.from_2_tiles_s),
        )
        return next((s for least, s in rows if tiles >= least), self.from_1_tile_s)


class SpikingSpec(Spec):
    """A Loihi-like chip; the sources of a shipped chip's numbers are in its YAML."""

    optional_actions: ClassVar[tuple[str, ...]] = (LEARNING,)

    timesteps: Count = Field(ge=1)
    mesh: MeshSection
    core: CoreSection
    timing: TimingSection
    noc: NocSection
    barrier: BarrierSection

    @property
    def on_chip_bytes(self) -> int:
        """The synapses' memory of all cores."""
        return self.cores * self.core.synapse_memory * self.core.synapse_word_bits // 8

    def roof(self, number_format: str | None = None) -> Roof:
        """None, and why."""
        del number_format
        return Roof(
            None,
            None,
            "cores add a weight for each spike, so the work depends on the data and no peak of "
            "multiply-accumulates bounds it",
            "synapses are kept on the cores: no memory feeds them",
        )

    @property
    def cores(self) -> int:
        """How many cores the chip has."""
        return self.mesh.tiles_x * self.mesh.tiles_y * self.mesh.cores_per_tile

    def position(self, core: int) -> tuple[int, int]:
        """Tile coordinates (x, y) of a core."""
        x, y = divmod(core // self.mesh.cores_per_tile, self.mesh.tiles_y)
        return x, y
