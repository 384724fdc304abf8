"""Wormhole routers, cycle by cycle: flits, buffers, credits. `flits` says what they stand for.

Plain loops over arrays: `flow` runs as it is, or compiled, with the same numbers. Ports of a
tile, in and out: 0 east, 1 west, 2 north, 3 south (the way that flits move), then its cores';
behind them, in alone, the host's. A buffer of a link holds flits, one of a core messages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

EAST, WEST, NORTH, SOUTH, LOCAL = 0, 1, 2, 3, 4
_LATER = 2**62


def flow(mesh: Any, sender: Any, message: Any, result: Any) -> int:
    """Send all messages of a timestep; the cycle in which the last core is done.

    Args:
        mesh: tiles_x, tiles_y, cores per tile, buffer, flits of a message, and the cycles of a
            hop east or west, and north or south.
        sender: by sender its tile, its port and, one more, where its messages begin.
        message: by message the cycles since the one before, its core (-1: nowhere, the last
            of a sender) and how long that works on it.
        result: written: by message the cycles in which it was sent and received, and by
            output (tiles x ports) the flits that it passed.
    """
    tiles_x, tiles_y, cores, room, flits, wide, high = mesh
    tile_of, port_of, begin = sender
    spent, target, work = message
    sent_at, received_at, passed = result
    ports = LOCAL + cores + 1
    inputs = tiles_x * tiles_y * ports
    queue = np.full((inputs, room), -1, np.int64)
    arrives = np.zeros((inputs, room), np.int64)
    first = np.zeros(inputs, np.int64)
    held = np.zeros(inputs, np.int64)
    credit = np.full(inputs, room, np.int64)  # as the sender knows it
    gone = np.zeros(inputs, np.int64)  # flits of the message in front that have left
    owner = np.full(inputs, -1, np.int64)
    free_at = np.zeros(inputs, np.int64)
    turn = np.zeros(inputs, np.int64)
    chosen = np.full(inputs, -1, np.int64)
    rank = np.zeros(inputs, np.int64)
    freed = np.zeros(inputs, np.int64)
    boxes = tiles_x * tiles_y * cores
    box = np.full((boxes, room), -1, np.int64)
    box_first = np.zeros(boxes, np.int64)
    box_held = np.zeros(boxes, np.int64)
    box_due = np.zeros(boxes, np.int64)  # messages on their way into it
    busy = np.zeros(boxes, np.int64)
    following = begin[:-1].copy()
    ready = np.zeros(len(tile_of), np.int64)
    for k in range(len(tile_of)):
        ready[k] = spent[begin[k]]
    now = last = 0
    while True:
        soon = _LATER
        moved = False
        # 1: senders whose time has come, where their buffer has room
        for k in range(len(tile_of)):
            at = following[k]
            if at == begin[k + 1]:
                continue
            if ready[k] > now:
                soon = min(soon, ready[k])
                continue
            if target[at] < 0:
                last = max(last, ready[k])
                following[k] += 1
                continue
            into = tile_of[k] * ports + port_of[k]
            if credit[into] == 0:
                continue
            credit[into] -= 1
            place = (first[into] + held[into]) % room
            queue[into, place] = at
            arrives[into, place] = now
            held[into] += 1
            sent_at[at] = now
            following[k] += 1
            ready[k] = now + spent[at + 1]
            moved = True
        # 2: what every flit in front asks for; outputs choose in turn
        for i in range(inputs):
            if held[i] == 0:
                continue
            when = arrives[i, first[i]]
            if when > now:
                soon = min(soon, when)
                continue
            at = queue[i, first[i]]
            tile = i // ports
            x, y = tile // tiles_y, tile % tiles_y
            home = target[at] // cores
            to_x, to_y = home // tiles_y, home % tiles_y
            if to_x > x:
                way, down = EAST, (tile + tiles_y) * ports + EAST
            elif to_x < x:
                way, down = WEST, (tile - tiles_y) * ports + WEST
            elif to_y > y:
                way, down = NORTH, (tile + 1) * ports + NORTH
            elif to_y < y:
                way, down = SOUTH, (tile - 1) * ports + SOUTH
            else:
                way, down = LOCAL + target[at] % cores, -1
            out = tile * ports + way
            if owner[out] >= 0 and owner[out] != i:
                continue
            if free_at[out] > now:
                soon = min(soon, free_at[out])
                continue
            if down >= 0 and credit[down] == 0:
                continue
            full = box_held[target[at]] + box_due[target[at]] >= room
            if down < 0 and owner[out] < 0 and full:
                continue
            waits = (i % ports - turn[out]) % ports
            if chosen[out] < 0 or waits < rank[out]:
                chosen[out] = i
                rank[out] = waits
        # 3: one flit through every output
        for out in range(inputs):
            i = chosen[out]
            if i < 0:
                continue
            chosen[out] = -1
            moved = True
            at = queue[i, first[i]]
            tile, way = out // ports, out % ports
            owner[out] = i
            passed[out] += 1
            gone[out] += 1
            tail = gone[out] == flits
            link = i % ports < LOCAL
            if link or tail:
                queue[i, first[i]] = -1
                first[i] = (first[i] + 1) % room
                held[i] -= 1
                freed[i] += 1
            if way < LOCAL:
                takes = wide if way in (EAST, WEST) else high
                step = tiles_y if way == EAST else -tiles_y
                if way == NORTH:
                    step = 1
                elif way == SOUTH:
                    step = -1
                down = (tile + step) * ports + way
                credit[down] -= 1
                place = (first[down] + held[down]) % room
                queue[down, place] = at
                arrives[down, place] = now + takes
                held[down] += 1
                free_at[out] = now + max(takes, 1)
            else:
                core = target[at]
                if gone[out] == 1:
                    box_due[core] += 1
                if tail:
                    box_due[core] -= 1
                    box[core, (box_first[core] + box_held[core]) % room] = at
                    box_held[core] += 1
                    received_at[at] = now
                free_at[out] = now + 1
            if tail:
                owner[out] = -1
                gone[out] = 0
                turn[out] = (i % ports + 1) % ports
        # 4: cores take their next message; then credits are back
        for core in range(boxes):
            if box_held[core] == 0:
                continue
            if busy[core] > now:
                soon = min(soon, busy[core])
                continue
            at = box[core, box_first[core]]
            box_first[core] = (box_first[core] + 1) % room
            box_held[core] -= 1
            busy[core] = now + work[at]
            last = max(last, busy[core])
            moved = True
        for i in range(inputs):
            credit[i] += freed[i]
            freed[i] = 0
        if moved:
            soon = now + 1
        if soon == _LATER:
            return last
        now = soon
