"""In which order nodes are computed, and which edges of a cycle take a timestep.

A cycle is computed step by step: on the edges that close it, the value of the timestep before
arrives. These leave a neuron, so that a bias behind it acts from the first timestep on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tetrapla.frontend.nir.network import NEURONS, Edge, Network
from tetrapla.ir.errors import ModelError


@dataclass(frozen=True)
class Group:
    """Nodes that are computed together, in order; `late` edges among them take a timestep."""

    nodes: tuple[str, ...]
    late: frozenset[Edge]


def groups(network: Network, types: Mapping[str, str], *, every_hop: bool) -> list[Group]:
    """All nodes, those of a cycle together, each group behind what feeds it.

    Args:
        network: flat.
        types: of the nodes.
        every_hop: in a cycle, every edge out of a neuron takes a timestep, as between a
            chip's layers; else only those that close the cycle.

    Raises:
        ModelError: a cycle without a neuron.
    """
    after: dict[str, list[str]] = {name: [] for name in network.nodes}
    for a, b in network.edges:
        after[a].append(b)
    return [_group(set(found), network, types, every_hop) for found in _components(after)]


def _group(
    members: set[str], network: Network, types: Mapping[str, str], every_hop: bool
) -> Group:
    names = [name for name in network.nodes if name in members]
    inside = [(a, b) for a, b in network.edges if a in members and b in members]
    if not inside:
        return Group(tuple(names), frozenset())
    hops = {edge for edge in inside if types[edge[0]] in NEURONS}
    if _sorted(names, set(inside) - hops) is None:
        cycle = " -> ".join([*names, names[0]])
        raise ModelError(
            f"nir: the cycle {cycle} must hold a neuron on every way round, not none: nothing "
            "in it takes a timestep; put a neuron in, or cut an edge"
        )
    late = hops
    if not every_hop:
        entries = [b for a, b in network.edges if a not in members and b in members]
        late = _lifted(_closing([*entries, *names], inside), network.edges, inside, types)
    order = _sorted(names, set(inside) - late)
    assert order is not None, "every closing edge is late"
    return Group(tuple(order), frozenset(late))


def _closing(starts: Iterable[str], inside: list[Edge]) -> set[Edge]:
    """The edges that lead back to where a walk in depth came from."""
    after: dict[str, list[str]] = {}
    for a, b in inside:
        after.setdefault(a, []).append(b)
    closing, done, path = set[Edge](), set[str](), dict[str, Iterator[str]]()
    for start in starts:
        if start in done:
            continue
        path[start] = iter(after.get(start, []))
        while path:
            here = next(reversed(path))
            there = next(path[here], None)
            if there is None:
                done.add(here)
                del path[here]
            elif there in path:
                closing.add((here, there))
            elif there not in done:
                path[there] = iter(after.get(there, []))
    return closing


def _lifted(
    late: set[Edge], edges: Iterable[Edge], inside: list[Edge], types: Mapping[str, str]
) -> set[Edge]:
    """The closing edges, moved up to the neurons where nothing else reads what lies between."""
    out: dict[str, set[Edge]] = {}
    for edge in edges:
        out.setdefault(edge[0], set()).add(edge)
    waiting = sorted(late)
    while waiting:
        source, _ = waiting.pop()
        own = out[source]
        if types[source] not in NEURONS and own <= late:
            feeding = [edge for edge in inside if edge[1] == source]
            late = (late - own) | set(feeding)
            waiting += feeding
    return late


def _sorted(names: list[str], edges: set[Edge]) -> list[str] | None:
    """Each name behind what feeds it, else in the order given; None where they go round."""
    order: list[str] = []
    left = list(names)
    while left:
        waiting = {b for a, b in edges if a in left}
        ready = [name for name in left if name not in waiting]
        if not ready:
            return None
        order += ready
        left = [name for name in left if name in waiting]
    return order


def _components(after: Mapping[str, list[str]]) -> list[list[str]]:
    """Strongly connected parts, each behind those that lead to it; Tarjan 1972, a loop."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for root in after:
        path: list[tuple[str, Iterator[str]]] = [] if root in number else [_met(root)]
        while path:
            here, rest = path[-1]
            if here not in number:
                number[here] = low[here] = len(number)
                stack.append(here)
                path[-1] = here, (rest := iter(after[here]))
            there = next(rest, None)
            if there is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[here])
                if low[here] == number[here]:
                    cut = stack.index(here)
                    found.append(stack[cut:])
                    del stack[cut:]
            elif there not in number:
                path.append(_met(there))
            elif there in stack:
                low[here] = min(low[here], number[there])
    return found[::-1]


def _met(name: str) -> tuple[str, Iterator[str]]:
    return name, iter(())
