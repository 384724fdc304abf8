"""Wormhole routers, cycle by cycle: flits, buffers, credits. `flits` says what they stand for.

Plain loops over arrays: `flow` runs as it is or compiled (extra `fast`), the numbers are equal.
Ports of a tile, in and out: 0 east, 1 west, 2 north, 3 south (the way that flits move), then
its cores'; behind them, in alone, the host's. Inputs and outputs are numbered tile by tile. A
buffer of a link holds flits, one of a core messages.

Every part of a cycle says when something can happen next; cycles without are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np

from tetrapla.ir.graph import Array

EAST, WEST, NORTH, SOUTH, LOCAL = 0, 1, 2, 3, 4
_LATER = 2**62


class Mesh(NamedTuple):
    """Tiles, cores of a tile, places of a buffer, flits of a message, cycles of a hop."""

    tiles_x: int
    tiles_y: int
    cores: int
    room: int
    flits: int
    wide: int
    high: int


class Senders(NamedTuple):
    """By sender its tile, its port, its next message, the last one's end, when it is ready."""

    tile: Array
    port: Array
    following: Array
    end: Array
    ready: Array


class Messages(NamedTuple):
    """By message: all i64.

    Attributes:
        spent: cycles since the one before.
        target: core; -1 for the last of a sender, which goes nowhere.
        work: cycles that the core works on it.
        sent, received: cycles, written.
    """

    spent: Array
    target: Array
    work: Array
    sent: Array
    received: Array


class Inputs(NamedTuple):
    """Buffers: messages, when they arrive [inputs, room]; places that a sender knows free."""

    queue: Array
    arrives: Array
    first: Array
    held: Array
    credit: Array
    freed: Array


class Outputs(NamedTuple):
    """By output.

    Attributes:
        gone: flits that left of its message.
        owner: the input that its message comes from, or -1.
        free_at: the cycle from which it is free.
        turn: the port that is asked first.
        chosen, rank: the input that may send now, or -1, and how far from its turn.
        passed: all flits so far.
    """

    gone: Array
    owner: Array
    free_at: Array
    turn: Array
    chosen: Array
    rank: Array
    passed: Array


class Boxes(NamedTuple):
    """By core.

    Attributes:
        queue, first, held: messages that wait [cores, room].
        due: messages of which not all flits are there.
        busy: until when it works.
        last: until when any has worked.
    """

    queue: Array
    first: Array
    held: Array
    due: Array
    busy: Array
    last: Array


def flow(mesh: Mesh, senders: Senders, messages: Messages, passed: Array) -> int:
    """Send all messages of a timestep; the cycle in which the last core is done.

    Args:
        mesh: sizes.
        senders: where they are; changed.
        messages: `sent` and `received` are written.
        passed: written: by output the flits that it passed.
    """
    inputs, outputs, cores = _empty(mesh, passed)
    now = 0
    while now < _LATER:
        soon = _send(now, mesh, senders, messages, inputs, cores)
        soon = min(soon, _ask(now, mesh, messages, inputs, outputs, cores))
        soon = min(soon, _pass(now, mesh, messages, inputs, outputs, cores))
        soon = min(soon, _work(now, mesh, messages, cores))
        inputs.credit[:] += inputs.freed  # credits are back in the next cycle
        inputs.freed[:] = 0
        now = soon
    return int(cores.last[0])


def _empty(mesh: Mesh, passed: Array) -> tuple[Inputs, Outputs, Boxes]:
    """Routers before the first message."""
    count, boxes = len(passed), mesh.tiles_x * mesh.tiles_y * mesh.cores
    inputs = Inputs(
        np.full((count, mesh.room), -1, np.int64),
        np.zeros((count, mesh.room), np.int64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full(count, mesh.room, np.int64),
        np.zeros(count, np.int64),
    )
    outputs = Outputs(
        np.zeros(count, np.int64),
        np.full(count, -1, np.int64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full(count, -1, np.int64),
        np.zeros(count, np.int64),
        passed,
    )
    cores = Boxes(
        np.full((boxes, mesh.room), -1, np.int64),
        np.zeros(boxes, np.int64),
        np.zeros(boxes, np.int64),
        np.zeros(boxes, np.int64),
        np.zeros(boxes, np.int64),
        np.zeros(1, np.int64),
    )
    return inputs, outputs, cores


def _send(
    now: int, mesh: Mesh, senders: Senders, messages: Messages, inputs: Inputs, cores: Boxes
) -> int:
    """Senders whose time has come put a message into their buffer, where it has room."""
    soon = _LATER
    for k in range(len(senders.tile)):
        at = senders.following[k]
        if at == senders.end[k]:
            continue
        if senders.ready[k] > now:
            soon = min(soon, senders.ready[k])
            continue
        if messages.target[at] < 0:
            cores.last[0] = max(cores.last[0], senders.ready[k])
            senders.following[k] += 1
            continue
        into = senders.tile[k] * (LOCAL + mesh.cores + 1) + senders.port[k]
        if inputs.credit[into] == 0:
            continue
        _enter(into, at, now, mesh, inputs)
        messages.sent[at] = now
        senders.following[k] += 1
        senders.ready[k] = now + messages.spent[at + 1]
        soon = now + 1
    return soon


def _enter(into: int, at: int, when: int, mesh: Mesh, inputs: Inputs) -> None:
    """Put a message, or a flit of it, into a buffer."""
    place = (inputs.first[into] + inputs.held[into]) % mesh.room
    inputs.queue[into, place] = at
    inputs.arrives[into, place] = when
    inputs.held[into] += 1
    inputs.credit[into] -= 1


def _ask(
    now: int, mesh: Mesh, messages: Messages, inputs: Inputs, outputs: Outputs, cores: Boxes
) -> int:
    """What every flit in front asks for; an output chooses among its inputs in turn."""
    soon = _LATER
    ports = LOCAL + mesh.cores + 1
    for i in range(len(inputs.held)):
        if inputs.held[i] == 0:
            continue
        when = inputs.arrives[i, inputs.first[i]]
        if when > now:
            soon = min(soon, when)
            continue
        core = int(messages.target[inputs.queue[i, inputs.first[i]]])
        tile = i // ports
        way = _way(tile, core, mesh)
        out = tile * ports + way
        if outputs.owner[out] >= 0 and outputs.owner[out] != i:
            continue
        if outputs.free_at[out] > now:
            soon = min(soon, outputs.free_at[out])
            continue
        if way < LOCAL:
            if inputs.credit[_behind(tile, way, mesh)] == 0:
                continue
        elif outputs.owner[out] < 0 and cores.held[core] + cores.due[core] >= mesh.room:
            continue
        waits = (i % ports - outputs.turn[out]) % ports
        if outputs.chosen[out] < 0 or waits < outputs.rank[out]:
            outputs.chosen[out] = i
            outputs.rank[out] = waits
    return soon


def _way(tile: int, core: int, mesh: Mesh) -> int:
    """The output that leads to a core: along x first."""
    x, y = tile // mesh.tiles_y, tile % mesh.tiles_y
    home = core // mesh.cores
    to_x, to_y = home // mesh.tiles_y, home % mesh.tiles_y
    if to_x != x:
        return EAST if to_x > x else WEST
    if to_y != y:
        return NORTH if to_y > y else SOUTH
    return LOCAL + core % mesh.cores


def _behind(tile: int, way: int, mesh: Mesh) -> int:
    """The input at the other end of a link."""
    step = mesh.tiles_y if way in (EAST, WEST) else 1
    if way in (WEST, SOUTH):
        step = -step
    return (tile + step) * (LOCAL + mesh.cores + 1) + way


def _pass(
    now: int, mesh: Mesh, messages: Messages, inputs: Inputs, outputs: Outputs, cores: Boxes
) -> int:
    """One flit through every output that has chosen."""
    soon = _LATER
    ports = LOCAL + mesh.cores + 1
    for out in range(len(outputs.chosen)):
        i = outputs.chosen[out]
        if i < 0:
            continue
        soon = now + 1
        outputs.chosen[out] = -1
        outputs.owner[out] = i
        outputs.passed[out] += 1
        outputs.gone[out] += 1
        at, way = int(inputs.queue[i, inputs.first[i]]), out % ports
        tail = outputs.gone[out] == mesh.flits
        if i % ports < LOCAL or tail:  # a core's buffer holds whole messages
            inputs.first[i] = (inputs.first[i] + 1) % mesh.room
            inputs.held[i] -= 1
            inputs.freed[i] += 1
        takes = 1
        if way < LOCAL:
            takes = mesh.wide if way in (EAST, WEST) else mesh.high
            _enter(_behind(out // ports, way, mesh), at, now + takes, mesh, inputs)
        else:
            _receive(now, at, outputs.gone[out] == 1, tail, mesh, messages, cores)
        outputs.free_at[out] = now + max(takes, 1)
        if tail:
            outputs.owner[out] = -1
            outputs.gone[out] = 0
            outputs.turn[out] = (i % ports + 1) % ports
    return soon


def _receive(
    now: int, at: int, head: bool, tail: bool, mesh: Mesh, messages: Messages, cores: Boxes
) -> None:
    """A flit has reached its core."""
    core = messages.target[at]
    if head:
        cores.due[core] += 1
    if tail:
        cores.due[core] -= 1
        place = (cores.first[core] + cores.held[core]) % mesh.room
        cores.queue[core, place] = at
        cores.held[core] += 1
        messages.received[at] = now


def _work(now: int, mesh: Mesh, messages: Messages, cores: Boxes) -> int:
    """Cores that are free take their next message."""
    soon = _LATER
    for core in range(len(cores.held)):
        if cores.held[core] == 0:
            continue
        if cores.busy[core] > now:
            soon = min(soon, cores.busy[core])
            continue
        at = cores.queue[core, cores.first[core]]
        cores.first[core] = (cores.first[core] + 1) % mesh.room
        cores.held[core] -= 1
        cores.busy[core] = now + messages.work[at]
        cores.last[0] = max(cores.last[0], cores.busy[core])
        soon = now + 1
    return soon


@cache
def compiled() -> Callable[[Mesh, Senders, Messages, Array], int]:
    """`flow` compiled; needs the extra `fast`."""
    import numba
    from numba.extending import register_jitable

    for part in (_empty, _send, _enter, _ask, _way, _behind, _pass, _receive, _work):
        register_jitable(part)
    made = cast("Any", numba).njit(nogil=True, cache=True, error_model="numpy")(flow)
    return cast("Callable[[Mesh, Senders, Messages, Array], int]", made)
