"""When each population acts: depths, and the delays that let all paths arrive together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.spiking.program import Population, Synapses

# codes whose charge does not depend on when a spike comes
_TIMELESS = ("count", "graded")


def timed(populations: Sequence[Population], delay_max: int) -> tuple[Population, ...]:
    """The populations with their depths, and synapses with their delays.

    A spike takes a timestep from core to core. Where the network itself demands a lag, the way
    is a part of it.

    Raises:
        UnsupportedError: a cycle has more hops than timesteps, or a path has to wait longer
            than a core can.
    """
    depth = _depths(populations)
    answered = {p.name: depth[p.name] + p.latency for p in populations}
    made: list[Population] = []
    for p in populations:
        waits = [_wait(p, s, depth, answered) for s in p.synapses]
        spans = [int(s.lags.max(initial=0)) - s.least_lag for s in p.synapses]
        longest = max((w + span for w, span in zip(waits, spans, strict=True)), default=0)
        if longest > delay_max:
            raise UnsupportedError(
                f"layer {p.name}: a skip connection must wait at most {delay_max} timesteps, "
                f"not {longest}; shorten the path beside it{_converted(p)}"
            )
        synapses = tuple(replace(s, delay=w) for s, w in zip(p.synapses, waits, strict=True))
        made.append(replace(p, depth=depth[p.name], synapses=synapses))
    return tuple(made)


def _converted(p: Population) -> str:
    own = p.model in ("integrate_and_fire", "readout", "spike.phase")
    return ", or convert with --code sequential, whose neurons wait" if own else ""


def _wait(p: Population, s: Synapses, depth: dict[str, int], answered: dict[str, int]) -> int:
    if p.words.get("code") in _TIMELESS:
        return 0  # what comes early is gathered early
    return depth[p.name] - answered[s.source] - 1 + s.least_lag


def _depths(populations: Sequence[Population]) -> dict[str, int]:
    """The earliest timesteps: every hop takes one, less the lag that it is part of."""
    depth = {p.name: 0 for p in populations}
    latency = {p.name: p.latency for p in populations}
    late: list[str] = []
    for _ in range(len(populations) + 1):
        late = [
            p.name
            for p in populations
            for s in p.synapses
            if _raised(depth, p.name, depth[s.source] + latency[s.source] + 1 - s.least_lag)
        ]
        if not late:
            return depth
    members = {p.name: {s.source for s in p.synapses} for p in populations}
    cycle = _cycle(members, late[0])
    raise UnsupportedError(
        f"spiking: the cycle {' -> '.join(cycle)} must hold a timestep of delay for each of "
        f"its hops ({len(cycle) - 1}), not less: a spike takes one from core to core; load it "
        "with --discretisation lava, or give it a delay"
    )


def _raised(depth: dict[str, int], name: str, least: int) -> bool:
    higher = least > depth[name]
    if higher:
        depth[name] = least
    return higher


def _cycle(sources: dict[str, set[str]], start: str) -> list[str]:
    """A way from a population back to itself, forwards."""
    paths = [[start]]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for before in sorted(sources[path[-1]]):
            if before == start:
                return [start, *reversed(path)]
            if before not in seen:
                seen.add(before)
                paths.append([*path, before])
    return [start, start]
