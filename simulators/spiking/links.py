"""Messages and links of `detailed` compiled (extra `fast`); the same times, bit by bit.

Every sum is taken in the order in which `detailed` takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar, cast

import numba
import numpy as np

from tetrapla.ir.graph import Array

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    made = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return cast("_Function", made)


@_compiled
def send(neurons: Array, busy: Array, fired: Array, ways: Any, timing: Any, out: Any) -> None:
    """One core's messages of a timestep, as `Detailed` lists them.

    Args:
        neurons: the core's.
        busy: by neuron of the core, bool.
        fired: by neuron of the core, how many spikes, i64.
        ways: of the population: where each neuron's begin, cores, seconds of work.
        timing: seconds of an access, of an update, of a spike and of a packet out, for all
            compartments of a neuron.
        out: written: seconds since the message before, cores (-1 for the last), work.
    """
    start, core, work = ways
    each, access, update, fire, packet = timing
    spent_s, target, work_s = out
    spent, at = 0.0, 0
    for i in range(len(neurons)):
        spent += each * (access + update * (1 if busy[i] else 0))
        for _ in range(fired[i]):
            spent += fire
            for way in range(start[neurons[i]], start[neurons[i] + 1]):
                spent_s[at], target[at], work_s[at] = spent + packet, core[way], work[way]
                spent = 0.0
                at += 1
    spent_s[at], target[at], work_s[at] = spent, -1, 0.0


@_compiled
def _route(source: int, target: int, mesh: Any, links: Array) -> int:
    """The links of a way, and how many they are."""
    rows, cores = mesh[1], mesh[2]
    ports = 4 + cores
    tile, to = source // cores, target // cores
    x, y, to_x, to_y = tile // rows, tile % rows, to // rows, to % rows
    links[0] = tile * ports + 4 + source % cores
    count = 1
    while x != to_x or y != to_y:
        if x != to_x:
            way = 0 if to_x > x else 1
            x += 1 if to_x > x else -1
        else:
            way = 2 if to_y > y else 3
            y += 1 if to_y > y else -1
        links[count] = (x * rows + y) * ports + way
        count += 1
    return count


@_compiled
def _hops_s(source: int, target: int, mesh: Any, noc: Any) -> float:
    tile, to = source // mesh[2], target // mesh[2]
    wide = abs(tile // mesh[1] - to // mesh[1])
    high = abs(tile % mesh[1] - to % mesh[1])
    seconds: float = wide * noc[1] + high * noc[2]
    return seconds


@_compiled
def _arrived(now: float, mean: float, flight: Any, ways: Any, held: Any) -> float:
    """Take what has arrived off its links; the mean work of what still flies."""
    senders, message, mesh = ways
    density, _, links = held
    while len(flight) > 0 and flight[0][0] <= now:
        left = len(flight)
        _, _, sender, gone = heappop(flight)
        used = _route(int(senders[sender]), int(message[1][gone]), mesh, links)
        for i in range(used):
            density[links[i]] -= 1 / (used + 1)
        if left > 1:
            mean += (mean - message[2][gone]) / (left - 1)
        else:
            mean = 0.0
    return mean


@_compiled
def _sent(
    now: float, mean: float, way: tuple[int, int], work: float, mesh: Any, noc: Any, held: Any
) -> tuple[float, float]:
    """Put a message on its links; when it went, and when its core has it."""
    density, finish, links = held
    source, to = way
    used = _route(source, to, mesh, links)
    along = 0.0
    for i in range(used):
        along += density[links[i]]
    room = noc[0] * used
    if along > room:
        now += (along - room) * mean
    network = max(_hops_s(source, to, mesh, noc), along * mean / used)
    received = max(finish[to], now + network)
    finish[to] = received + work
    for i in range(used):
        density[links[i]] += 1 / (used + 1)
    return now, received


@_compiled
def last(senders: Array, begin: Array, message: Any, mesh: Any, noc: Any) -> float:
    """When the last core has done everything, as `Network` says.

    Args:
        senders: core of each.
        begin: where each one's messages begin, and one more.
        message: seconds since the one before, cores, seconds of work.
        mesh: tiles_x, tiles_y, cores per tile.
        noc: messages of a buffer, seconds of a hop east or west, and north or south.
    """
    spent_s, target, work_s = message
    tiles, finish = mesh[0] * mesh[1], np.zeros(mesh[0] * mesh[1] * mesh[2])
    held = (np.zeros(tiles * (4 + mesh[2])), finish, np.zeros(mesh[0] + mesh[1] + 1, np.int64))
    mean, sends, latest = 0.0, 0, 0.0
    flight: list[Any] = [(0.0, 0, 0, 0)]
    flight.pop()
    waiting: list[Any] = [(0.0, 0, 0, 0)]
    waiting.pop()
    for k in range(len(senders)):
        heappush(waiting, (spent_s[begin[k]], k, k, begin[k]))
    count = len(senders) - 1
    while len(waiting) > 0:
        now, _, k, at = heappop(waiting)
        mean = _arrived(now, mean, flight, (senders, message, mesh), held)
        latest = max(latest, now)
        if target[at] >= 0:
            way = (int(senders[k]), int(target[at]))
            now, received = _sent(now, mean, way, work_s[at], mesh, noc, held)
            mean += (work_s[at] - mean) / (len(flight) + 1)
            sends += 1
            heappush(flight, (received, sends, k, at))
            latest = max(latest, finish[target[at]])
        if at + 1 < begin[k + 1]:
            count += 1
            heappush(waiting, (now + spent_s[at + 1], count, k, at + 1))
    return float(latest)
