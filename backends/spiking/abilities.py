"""What a chip's neurons can do: codes of a conversion, and operators of a network."""

from __future__ import annotations

from functools import cache

import numpy as np

from tetrapla.backends.spiking.crossbar import Synapses as Weights
from tetrapla.backends.spiking.crossbar import fitted
from tetrapla.ir.errors import ModelError, UnsupportedError, some
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.ir.spike.membrane import Membrane
from tetrapla.simulators.spec_ import chips, family_of, load_spec
from tetrapla.simulators.spiking.program import Program
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
    """Raise `UnsupportedError` where a network has neurons that the chip lacks."""
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


def refuse_weights(program: Program, spec: SpikingSpec) -> None:
    """Raise `UnsupportedError` where a crossbar's axon types do not make the weights."""
    if not spec.core.axon_types:
        return
    for p in program.populations:
        own = [s for s in p.synapses if s.kind in ("matmul", "conv2d")]
        if any(s.kind == "sparse" for s in p.synapses):
            raise UnsupportedError(
                f"spiking: synapses of {p.name} must be dense or a convolution on {spec.name}, "
                "not lists; write them as spike.matmul, or use --target loihi"
            )
        if not own:
            continue
        groups = [Weights(s.kind, s.weight.astype(np.int64) << s.exponent) for s in own]
        found = fitted(groups, spec.core, len(p.synapses) - len(own))
        if found.loss_frac:
            raise UnsupportedError(
                f"spiking: weights of {p.name} must be sums of weights that {spec.name}'s "
                f"{spec.core.axon_types} axon types have, and the nearest found are "
                f"{found.loss_frac:.1%} off; give a network of ReLUs, whose weights are "
                "fitted, or use --target loihi"
            )


@cache
def _catalogue() -> list[SpikingSpec]:
    """The shipped spiking chips."""
    found = [name for name in chips() if family_of(name) == "spiking"]
    return [load_spec(name, SpikingSpec).spec for name in found]
