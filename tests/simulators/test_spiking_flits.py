"""The flit-level network: hops, latencies and deliveries by hand and by law."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import summed
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Core, Population, Program, SpikingSpec, Synapses, run
from tetrapla.simulators.spiking.detailed import Detailed, Network
from tetrapla.simulators.spiking.engine import engine
from tetrapla.simulators.spiking.flits import Flits
from tetrapla.simulators.spiking.messages import HOST, Message
from tetrapla.simulators.spiking.program import Feed, Readout

LAST = Message(0.0, None, 0.0)
PER_TILE = 4


def spec_of(*more: str) -> SpikingSpec:
    return load_spec("loihi", SpikingSpec, ["noc.model=flit", *more]).spec


def core(x: int, y: int, port: int = 0) -> int:
    """A core's number by its tile on Loihi's mesh of 8 x 4."""
    return (x * 4 + y) * PER_TILE + port


def cycles(seconds: float) -> int:
    return round(seconds / 1e-10)


def test_one_message_by_hand() -> None:
    # 3 hops of 4.1 ns east and 2 of 6.5 ns south after 10 ns, then 20 ns of work
    queues = {core(1, 3): [Message(10e-9, core(4, 1), 20e-9), LAST]}
    done = Flits(spec_of()).run(queues)
    assert done.sent.tolist() == [100, -1]
    assert done.received.tolist() == [100 + 3 * 41 + 2 * 65, -1]
    assert done.hops == (3, 2)
    assert done.last_s == pytest.approx((100 + 253 + 200) * 1e-10, rel=1e-12)


def test_flits_of_a_message_follow_one_another_by_hand() -> None:
    # three flits over two links of 41 cycles: the last is two links' times behind the first
    queues = {core(0, 0): [Message(0.0, core(2, 0), 0.0), LAST]}
    done = Flits(spec_of("noc.flits=3")).run(queues)
    assert done.received[0] == 2 * 41 + 2 * 41
    assert done.hops == (2, 0)


def test_a_link_passes_one_flit_at_a_time_by_hand() -> None:
    # two cores of a tile send at once over the same link: the second waits for 41 cycles
    queues = {core(0, 0, p): [Message(0.0, core(1, 0, p), 0.0), LAST] for p in (0, 1)}
    done = Flits(spec_of()).run(queues)
    assert sorted(done.received[[0, 2]].tolist()) == [41, 82]


def test_a_message_of_several_flits_is_not_torn() -> None:
    # both cross the same link; the second one's first flit waits for the first one's last
    queues = {core(0, 0, p): [Message(0.0, core(1, 0, p), 0.0), LAST] for p in (0, 1)}
    done = Flits(spec_of("noc.flits=3")).run(queues)
    assert sorted(done.received[[0, 2]].tolist()) == [3 * 41, 6 * 41]


def test_a_slow_core_holds_back_who_sends_to_it() -> None:
    # a box of 1 and a buffer of 1: the third is sent when the first is done, not before
    queues = {core(0, 0): [*[Message(0.0, core(0, 0, 1), 100e-9)] * 4, LAST]}
    done = Flits(spec_of("noc.link_buffer=1")).run(queues)
    # 1 works, 1 waits in the box, 1 in the router: the fourth leaves after the first work
    assert done.sent[3] > 1000
    assert done.last_s == pytest.approx(4 * 100e-9, rel=1e-12)


def test_the_host_is_beside_tile_0() -> None:
    done = Flits(spec_of()).run({HOST: [Message(0.0, core(2, 1), 0.0), LAST]})
    assert done.received[0] == 2 * 41 + 65
    assert done.hops == (2, 1)


def traffic(seed: int, count: int, gap_s: float) -> dict[int, list[Message]]:
    """Messages between random cores of a mesh of 3 x 2; a core sends at least a gap apart."""
    rng = np.random.default_rng(seed)
    queues: dict[int, list[Message]] = {c: [] for c in range(3 * 2 * PER_TILE)}
    for _ in range(count):
        source, target = (int(each) for each in rng.integers(0, len(queues), 2))
        spent = gap_s + int(rng.integers(0, 200)) * 1e-10
        queues[source].append(Message(spent, target, int(rng.integers(0, 300)) * 1e-10))
    return {c: [*held, Message(5e-9, None, 0.0)] for c, held in queues.items()}


def apart(source: int, target: int) -> tuple[int, int]:
    """Hops of the analytic model: east or west, and north or south."""
    (x, y), (to_x, to_y) = (divmod(c // PER_TILE, 2) for c in (source, target))
    return abs(x - to_x), abs(y - to_y)


SMALL = ("mesh.tiles_x=3", "mesh.tiles_y=2")


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 60),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 16]),
)
def test_nothing_is_lost_and_hops_are_the_analytic_ones(
    seed: int, count: int, flits: int, room: int
) -> None:
    spec = spec_of(*SMALL, f"noc.flits={flits}", f"noc.link_buffer={room}")
    queues = traffic(seed, count, 0.0)
    done = Flits(spec, fast=False).run(queues)
    ways = [(c, m.core) for c, held in queues.items() for m in held if m.core is not None]
    hops = [apart(*way) for way in ways]
    assert done.hops == (sum(h[0] for h in hops), sum(h[1] for h in hops))
    real = done.target >= 0
    assert Counter(done.target[real].tolist()) == Counter(way[1] for way in ways)
    least = np.array([41 * wide + 65 * high for wide, high in hops])
    # a message's other flits are at least a cycle behind, and one hop's time on a link
    least += (
        [(flits - 1) * (65 if high else 41 if wide else 1) for wide, high in hops]
        if flits > 1
        else 0
    )
    assert (done.received[real] >= 0).all()
    assert (done.received[real] - done.sent[real] >= least).all()


def test_latencies_are_the_analytic_ones_where_nobody_is_in_the_way() -> None:
    # one message after the other: each core sends when the one before has long been received
    rng = np.random.default_rng(3)
    queues: dict[int, list[Message]] = {}
    for turn, source in enumerate(rng.permutation(24)):
        target = int(rng.integers(0, 24))
        queues[int(source)] = [Message((turn + 1) * 200e-9, target, 30e-9), LAST]
    spec = spec_of(*SMALL)
    done = Flits(spec, fast=False).run(queues)
    ways = [(c, held[0].core) for c, held in queues.items()]
    least = [41 * wide + 65 * high for wide, high in (apart(c, t or 0) for c, t in ways)]
    real = done.target >= 0
    assert (done.received[real] - done.sent[real]).tolist() == least
    # so the timestep is as long as the faster model says, to half a cycle of each duration
    assert done.last_s == pytest.approx(Network(spec).last_s(queues), abs=1e-10)


@pytest.mark.parametrize("flits", [1, 3])
def test_compiled_routers_give_the_same_numbers(flits: int) -> None:
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    spec = spec_of(*SMALL, f"noc.flits={flits}", "noc.link_buffer=2")
    queues = traffic(5, 300, 0.0)
    plain, compiled = (Flits(spec, fast=fast).run(queues) for fast in (False, True))
    assert plain.last_s == compiled.last_s
    assert plain.hops == compiled.hops
    for ours, theirs in zip(plain[1:4], compiled[1:4], strict=True):
        assert np.array_equal(ours, theirs)


def listening(tiles: tuple[int, ...]) -> Program:
    """Five inputs, heard by populations one behind the other on cores of the given tiles."""
    none, theta = np.zeros(1, np.int32), np.array([3], np.int32)
    feed = Feed("x", 1.0, 0, 1, "time_first")
    held = [Population("x", "input", "input", (5,), 0, (), none, none, feed=feed)]
    cores: list[Core] = []
    rng = np.random.default_rng(7)
    for depth, tile in enumerate(tiles, 1):
        before = held[-1]
        weight = rng.integers(-2, 4, (before.neurons, 40)).astype(np.int8)
        s = Synapses("matmul", before.name, before.shape, None, weight)
        name = f"p{depth}"
        held.append(
            Population(
                name, "spike.matmul", "integrate_and_fire", (40,), depth, (s,), none, theta
            )
        )
        every = np.arange(before.neurons)
        for part in range(2):
            own = np.arange(20) + 20 * part
            cores.append(Core(tile * PER_TILE + part, name, own, (every,)))
    last = held[-1].name
    readout = Readout("n", last, None, (1, 40), 1.0, "count")
    return Program("net", 6, 1, ("x",), (("y", "n"),), tuple(held), tuple(cores), (readout,))


def test_spikes_of_a_network_are_delivered_over_the_counted_hops() -> None:
    program, spec = listening((5, 0, 3)), spec_of(*SMALL)
    x = (np.random.default_rng(0).random((1, 6, 1, 5)) < 0.5).astype(np.float32)
    actions = summed([layer.actions for layer in run(program, spec, {"x": x}, Key(0)).layers])
    made = engine(program, 1)
    done = made.run({"x": x.reshape(1, -1)})
    detailed = Detailed(program, spec, made.wired)
    trains = detailed.trains(done)
    flows = [
        Flits(spec).run(detailed.queues(done, trains, t, 0))
        for t in range(program.chip_timesteps)
    ]
    crossed = np.array([flow.hops for flow in flows]).sum(axis=0)
    assert crossed.tolist() == [
        actions["network.hop_east_west"],
        actions["network.hop_north_south"],
    ]
    delivered = sum(int((flow.received >= 0).sum()) for flow in flows)
    assert delivered == actions["network.packet_in"]
    # each spike goes to the two cores of the population behind its own
    spikes = sum(int(done[p.name].train.sum()) for p in program.populations[:-1])
    assert spikes > 0
    assert delivered == 2 * spikes


def test_the_machine_takes_the_judge() -> None:
    program = listening((5, 0, 3))
    x = (np.random.default_rng(0).random((1, 6, 1, 5)) < 0.5).astype(np.float32)
    times = {
        model: run(program, spec_of(*SMALL, f"noc.model={model}"), {"x": x}, Key(0)).time_s
        for model in ("simple", "detailed", "flit")
    }
    # every message costs what the simple model counts, and its way beside
    assert times["simple"] < times["flit"]
    assert times["simple"] < times["detailed"]


@pytest.mark.parametrize("buffer", [1, 16])
def test_compiled_links_give_the_same_times_bit_by_bit(buffer: int) -> None:
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    program = listening((5, 0, 3, 1))
    spec = spec_of(*SMALL, "noc.model=detailed", f"noc.link_buffer={buffer}")
    x = (np.random.default_rng(1).random((4, 6, 1, 5)) < 0.6).astype(np.float32)
    made = engine(program, 4)
    done = made.run({"x": x.reshape(4, -1)})
    plain, compiled = (
        Detailed(program, spec, made.wired, fast=fast).seconds(done) for fast in (False, True)
    )
    assert plain.shape == (program.chip_timesteps, 4)
    assert len(np.unique(plain)) > 1
    assert np.array_equal(plain, compiled)


@pytest.mark.parametrize("buffer", [1, 16])
@pytest.mark.parametrize("seed", range(4))
def test_compiled_links_of_crowded_traffic_are_the_same_bit_by_bit(
    buffer: int, seed: int
) -> None:
    links = pytest.importorskip("tetrapla.simulators.spiking.links", reason="no extra `fast`")
    spec = spec_of(*SMALL, "noc.model=detailed", f"noc.link_buffer={buffer}")
    rng = np.random.default_rng(seed)
    queues = {
        c: [m._replace(processing_s=float(rng.random()) * 1e-7) for m in held[:-1]] + held[-1:]
        for c, held in traffic(seed, 800, 0.0).items()
    }
    listed = [m for held in queues.values() for m in held]
    message = (
        np.array([m.spent_s for m in listed]),
        np.array([-1 if m.core is None else m.core for m in listed], np.int64),
        np.array([m.processing_s for m in listed]),
    )
    begin = np.cumsum([0, *map(len, queues.values())])
    noc = (float(buffer), spec.noc.hop_east_west_s, spec.noc.hop_north_south_s)
    found = links.last(np.array([*queues]), begin, message, (3, 2, PER_TILE), noc)
    assert found == Network(spec).last_s(queues)
