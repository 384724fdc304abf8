"""What a chip's neurons can do: codes of a conversion, and operators of a network."""

from __future__ import annotations

from functools import cache

from tetrapla.ir.errors import ModelError, UnsupportedError, some
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.ir.spike.membrane import Membrane
from tetrapla.simulators.spec_ import chips, family_of, load_spec
from tetrapla.simulators.spiking.spec import SpikingSpec


def refuse_code(code: str, spec: SpikingSpec) -> None:
    """Raise `ModelError` where the chip's neurons cannot do a code."""
    if code in spec.core.codes:
        return
    able = [chip.name for chip in _catalogue() if code in chip.core.codes]
    raise ModelError(
        f"--code must be one that neurons of {spec.name} can do, {', '.join(spec.core.codes)}, "
        f"not {code}; use --target {' or '.join(able)}, or set core.codes"
    )


def refuse_neurons(module: Module, spec: SpikingSpec) -> None:
    """Raise `UnsupportedError` where a network has neurons or weights that the chip lacks."""
    if spec.core.axon_types:
        raise UnsupportedError(
            f"spiking: weights of a network for {spec.name} must be fitted to its "
            f"{spec.core.axon_types} axon types, which a converted network's are and those of "
            "one that spikes already are not; give a network of ReLUs, or use --target loihi"
        )
    if "any" in spec.core.neurons:
        return
    foreign = [
        f"{node.name} = {node.kind}"
        for graph in module.graph.nested()
        for node in graph.nodes
        if node.kind in OPS
        and issubclass(OPS[node.kind], Membrane)
        and node.kind not in spec.core.neurons
    ]
    if foreign:
        raise UnsupportedError(
            f"spiking: neurons on {spec.name} must be {', '.join(spec.core.neurons)}, not "
            f"{some(foreign)}; use a chip whose neurons are programmed: --target loihi2 or "
            "spinnaker"
        )


@cache
def _catalogue() -> list[SpikingSpec]:
    """The shipped spiking chips."""
    found = [name for name in chips() if family_of(name) == "spiking"]
    return [load_spec(name, SpikingSpec).spec for name in found]
