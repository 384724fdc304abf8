"""A program as text for a person: one line per population, synapse group and core."""

from __future__ import annotations

from itertools import chain

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.program import Core, Population, Program, Synapses


def listing(program: Program) -> str:
    """The whole program; arrays as their ranges."""
    head = (
        f"program {program.name}: {program.timesteps} timesteps + {program.depth} to fill the "
        f"pipeline, {len(program.cores)} cores"
    )
    body = chain.from_iterable(_population(program, p) for p in program.populations)
    tail = [
        f"readout {r.name}: {r.population} * {r.scale:.9g} -> {_shape(r.shape)}"
        for r in program.readouts
    ]
    host = [
        f"host {h.name}: {h.kind} of "
        + ", ".join(each if isinstance(each, str) else "a constant" for each in h.operands)
        for h in program.host
    ]
    outputs = [f"output {name}: {step}" for name, step in program.outputs]
    return "\n".join([head, *body, *tail, *host, *outputs, ""])


def _population(program: Program, population: Population) -> list[str]:
    p = population
    rule = (
        f"theta {_span(p.threshold)}, {p.reset}, {p.compare}, "
        if p.model == "integrate_and_fire"
        else ""
    )
    if p.parameters or p.feed is not None:
        named = ", ".join(f"{name} {word}" for name, word in p.words.items())
        rule = f"{named}, " if named else ""
    else:
        rule = f"{rule}{p.state_bits} bits, "
    lines = [f"population {p.name}: {p.model} {_shape(p.shape)}, {rule}depth {p.depth}"]
    if p.feed is not None:
        feed = f"scale {p.feed.scale:.9g}, {p.feed.low} to {p.feed.high}, {p.feed.axes}"
        lines.append(f"  input {p.feed.input}: {feed}")
    lines += [f"  {name} {_span(a)}" for name, a in p.parameters.items() if a.size]
    lines += [f"  input {e.input}: scale {e.scale:.9g}, at most {e.high}" for e in p.encoders]
    lines += [f"  {_synapses(s)}" for s in p.synapses]
    lines += [f"  {_core(c, p)}" for c in program.cores if c.population == p.name]
    return lines


def _synapses(s: Synapses) -> str:
    detail = {
        "matmul": f"{_shape(s.weight.shape)} weights",
        "conv2d": f"{_shape(s.weight.shape)} weights, strides {s.strides}, pads {s.pads}",
        "sum_pool2d": f"weight {s.weight.tolist()}, kernel {s.kernel}, strides {s.strides}",
        "max_pool2d": f"kernel {s.kernel}, strides {s.strides}, pads {s.pads}",
        "scale": f"weight {s.weight.tolist()}",
        "sparse": f"{s.weight.size} synapses",
    }[s.kind]
    shift = f" << {s.exponent}" if s.exponent else ""
    delay = f", delay {s.delay}" if s.delay else ""
    lag = f", lag {_span(s.lags)}" if s.lags.size else ""
    wired = ", rewired" if s.wiring is not None else ""
    return f"{s.kind} from {s.source}{wired}: {detail}{shift}{lag}{delay}"


def _core(core: Core, population: Population) -> str:
    axons = "; ".join(
        f"axons {s.source}[{ranges(a)}]"
        for s, a in zip(population.synapses, core.axons, strict=True)
    )
    return f"core {core.index}: neurons [{ranges(core.neurons)}]{'; ' if axons else ''}{axons}"


def ranges(numbers: Array) -> str:
    """Integers as ``0:64, 80:96`` (ends excluded); more than 4 ranges are shortened."""
    flat = np.asarray(numbers).ravel()
    if flat.size == 0:
        return ""
    cuts = np.flatnonzero(np.diff(flat) != 1) + 1
    runs = np.split(flat, cuts)
    shown = [f"{r[0]}:{r[-1] + 1}" if len(r) > 1 else str(r[0]) for r in runs[:4]]
    more = f", ... {len(runs) - 4} more" if len(runs) > 4 else ""
    return ", ".join(shown) + more


def _span(numbers: Array) -> str:
    low, high = f"{numbers.min():.9g}", f"{numbers.max():.9g}"
    return low if low == high else f"{low} to {high}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
