"""Timesteps flit by flit: wormhole routers on a mesh, the judge of the faster models.

Messages are cut into flits, which go along x and then along y. A router sends one flit over a
link at a time and only into a buffer with room (credits, which come back in the next cycle);
from a message's first flit to its last an output serves no other; then its inputs take turns.
A core works on one message at a time and keeps as many waiting as a link's buffer has flits.
A core that finds its router's buffer full waits. Routers themselves take no time, so a message
alone needs what the analytic model says: its hops, and its other flits behind it.

Dally, Seitz, "Deadlock-free message routing in multiprocessor interconnection networks", IEEE
Trans. Computers C-36 (1987): routes along x first have no cycle of waiting. No source describes
the chip's routers as closely; buffers are SANA-FE's, the rest of this file is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.messages import HOST, Message
from tetrapla.simulators.spiking.routers import LOCAL, Mesh, Messages, Senders, compiled, flow
from tetrapla.simulators.spiking.spec import SpikingSpec

# messages below which a timestep is done before compiled code is loaded, assumed
_WORTH_COMPILING = 2000


class Flow(NamedTuple):
    """A timestep's messages, in the order of their senders.

    Attributes:
        last_s: when the last core has done everything.
        target: core of each, i64; -1 for the last of a sender, which goes nowhere.
        sent, received: cycles, i64.
        hops: links that flits crossed, per flit of a message: i64 east and west, north and
            south.
    """

    last_s: float
    target: Array
    sent: Array
    received: Array
    hops: tuple[int, int]


class Flits:
    """The routers of a chip.

    Args:
        spec: of the chip.
        fast: whether to compile (extra `fast`); None where it is there and worth it. The
            numbers are the same.
    """

    def __init__(self, spec: SpikingSpec, *, fast: bool | None = None) -> None:
        self._spec, self._fast = spec, fast

    def last_s(self, queues: Mapping[int, Sequence[Message]]) -> float:
        """When the last core has done everything, by each core's messages in order."""
        return self.run(queues).last_s

    def run(self, queues: Mapping[int, Sequence[Message]]) -> Flow:
        """Send all messages of a timestep.

        Args:
            queues: by core, or `HOST`, its messages in order; the last one goes nowhere.
        """
        mesh, noc = self._spec.mesh, self._spec.noc
        listed = [message for queue in queues.values() for message in queue]
        target = np.array([-1 if m.core is None else m.core for m in listed], np.int64)
        spent = np.array([self._cycles(m.spent_s) for m in listed], np.int64)
        work = np.array([self._cycles(m.processing_s) for m in listed], np.int64)
        begin = np.cumsum([0, *map(len, queues.values())])
        homes = [self._home(core) for core in queues]
        tile, port = (np.array(each, np.int64) for each in zip(*homes, strict=True))
        ports = LOCAL + mesh.cores_per_tile + 1
        passed = np.zeros(mesh.tiles_x * mesh.tiles_y * ports, np.int64)
        sent, received = np.full((2, len(listed)), -1, np.int64)
        fast = self._fast
        if fast is None:
            fast = len(listed) >= _WORTH_COMPILING and find_spec("numba") is not None
        made = Mesh(
            mesh.tiles_x,
            mesh.tiles_y,
            mesh.cores_per_tile,
            noc.link_buffer,
            noc.flits,
            self._cycles(noc.hop_east_west_s),
            self._cycles(noc.hop_north_south_s),
        )
        senders = Senders(tile, port, begin[:-1].copy(), begin[1:], spent[begin[:-1]])
        messages = Messages(spent, target, work, sent, received)
        last = (compiled() if fast else flow)(made, senders, messages, passed)
        crossed = passed.reshape(-1, ports)[:, :LOCAL].sum(axis=0) // noc.flits
        hops = (int(crossed[:2].sum()), int(crossed[2:].sum()))
        return Flow(last * noc.cycle_s, target, sent, received, hops)

    def _cycles(self, seconds: float) -> int:
        return round(seconds / self._spec.noc.cycle_s)

    def _home(self, core: int) -> tuple[int, int]:
        """Tile and port of a sender."""
        each = self._spec.mesh.cores_per_tile
        if core == HOST:
            return 0, LOCAL + each
        return core // each, LOCAL + core % each
