"""Backend `spiking`: networks of ReLU or of spiking neurons on a Loihi-like chip."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.backends.spiking.abilities import refuse_code, refuse_neurons, refuse_weights
from tetrapla.backends.spiking.certificate import certificate
from tetrapla.backends.spiking.convert import convert
from tetrapla.backends.spiking.integers import integers
from tetrapla.backends.spiking.lower import unplaced
from tetrapla.backends.spiking.mapping import mapped
from tetrapla.backends.spiking.phases import CODES, RATE, default_timesteps, most_timesteps
from tetrapla.backends.spiking.ranges import PERCENTILE, ranges
from tetrapla.backends.spiking.recurrent import has_steps, unrolled
from tetrapla.backends.target_ import Inputs, Lowered, Options, Target
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.graph import Array, Node
from tetrapla.ir.module import Module
from tetrapla.passes.pipeline_ import canonical
from tetrapla.simulators.report import CrossCheck, Run
from tetrapla.simulators.spiking import Program, SpikingSpec, run
from tetrapla.simulators.spiking.recorded import recorded

_UNPRICED = (
    "the energy holds the chip's events and leakage; the host, input and output are not in it: "
    "no source prices them"
)


def lower(
    module: Module, spec: SpikingSpec, calibration: Inputs | None, options: Options
) -> Lowered[Program]:
    """Convert, place and explain.

    Raises:
        ModelError: there are no calibration data.
        UnsupportedError: nodes without a spiking form (all are listed), or no room.
    """
    if any(node.kind.startswith("spike.") for g in module.graph.nested() for node in g.nodes):
        return _native(module, spec, calibration or {}, options)
    code = _code(options.code)
    refuse_code(code, spec)
    timesteps = _timesteps(code, spec, options)
    steps = has_steps(module)
    fused = canonical(unrolled(module) if steps else module)
    full = ranges(fused, calibration or {})
    converted = convert(fused, full, spec, timesteps, code, steps=steps)
    chip = mapped(unplaced(converted.module, spec), spec, calibration or {})
    program = chip.program
    how = (code, timesteps, converted.levels)
    proof = certificate(converted.module, how, (fused, converted.full), calibration or {})
    chosen = "the chip's default" if options.timesteps is None else "as asked"
    host = [f"the host computes {', '.join(converted.host)}"] if converted.host else []
    warnings = (
        f"{timesteps} timesteps per inference ({chosen}), {_until(program)}",
        _UNPRICED,
        *converted.warnings,
        *_chip_warnings(code),
        *proof.sentences(),
        *chip.sentences(),
        *_unread(options),
        *host,
    )
    notes = {
        "timesteps": timesteps,
        "code": code,
        "certificate": proof.to_dict(),
        "percentile": PERCENTILE,
        "thresholds": dict(converted.thresholds),
        "cores": len(program.cores),
        "mapping": chip.to_dict(),
        "host": list(converted.host),
    }
    return Lowered(converted.module, program, warnings, notes)


def _native(
    module: Module, spec: SpikingSpec, calibration: Inputs, options: Options
) -> Lowered[Program]:
    """A network that spikes already: its neurons in the chip's integers, its time as it is."""
    losses: tuple[str, ...] = ()
    nodes = [node for g in module.graph.nested() for node in g.nodes]
    if any(_is_float(node) for node in nodes):
        made = integers(module, spec, calibration)
        module, losses = made.module, made.losses
    refuse_neurons(module, spec)
    network = unplaced(module, spec)
    refuse_weights(network, spec)
    chip = mapped(network, spec, calibration)
    program = chip.program
    if options.timesteps not in (None, program.timesteps):
        raise ModelError(
            f"timesteps must be the model's own {program.timesteps}, not {options.timesteps}; "
            "its duration is a part of it"
        )
    warnings = [
        f"{program.timesteps} timesteps per inference, {_until(program)}",
        _UNPRICED,
        *losses,
        *chip.sentences(),
        *_unread(options),
    ]
    if any(p.feed is not None for p in program.populations):
        warnings.append("spikes from the host enter at tile 0 (assumed)")
    notes = {
        "timesteps": program.timesteps,
        "cores": len(program.cores),
        "mapping": chip.to_dict(),
        "losses": list(losses),
        "host": [f"{step.kind} ({step.name})" for step in program.host],
    }
    return Lowered(module, program, tuple(warnings), notes)


def _until(program: Program) -> str:
    return f"and {program.depth} until the last layer has its first input; cycles are timesteps"


def _code(code: str | None) -> str:
    if code is None:
        return RATE
    if code not in CODES:
        raise ModelError(
            f"--code must be one of {', '.join(CODES)}, not '{code}'{nearest(code, CODES)}"
        )
    return code


def _timesteps(code: str, spec: SpikingSpec, options: Options) -> int:
    asked = options.timesteps
    timesteps = default_timesteps(code, spec.timesteps) if asked is None else asked
    if timesteps < 1:
        raise ModelError(f"timesteps must be 1 or more, not {timesteps}")
    most = most_timesteps(code)
    if timesteps > most:
        raise ModelError(
            f"--code {code} must have at most {most} timesteps, not {timesteps}; leave "
            "--timesteps out"
        )
    return timesteps


def _chip_warnings(code: str) -> list[str]:
    """What of a code no publication of a chip says."""
    if code == RATE:
        return []
    return [
        f"--code {code}: layers take turns, so a neuron's threshold is out of reach while it "
        "gathers (assumed: the chip's neurons allow it, at the price of others)"
    ]


def _is_float(node: Node) -> bool:
    """Whether it is a neuron or synapses in floats, which no core has."""
    spikes = node.kind.startswith("spike.") and not node.kind.startswith("spike.encode")
    return spikes and any(value.dtype == "f32" for value in node.operands)


def _unread(options: Options) -> list[str]:
    if options.quant in (None, "int8"):
        return []
    return [f"weights are 8 bits on this chip; --quant {options.quant} changes nothing"]


def cross_check(
    lowered: Lowered[Program],
    spec: SpikingSpec,
    inputs: Inputs,
    run: Run,
    reference: Mapping[str, Array],
) -> CrossCheck:
    """Every output, bit by bit: all arithmetic between the chip's borders is in integers."""
    del lowered, spec, inputs
    mismatches = sum(
        int(np.count_nonzero(run.outputs[name] != expected))
        for name, expected in reference.items()
    )
    return CrossCheck("bit_exact", mismatches, None, None, mismatches == 0)


def _never(spec: SpikingSpec, options: Options) -> bool:
    del spec, options
    return False


TARGET: Target[SpikingSpec, Program] = Target(
    family="spiking",
    spec_type=SpikingSpec,
    default_chip="loihi",
    lower=lower,
    run=run,
    cross_check=cross_check,
    stochastic=_never,
    recorded=recorded,
)
