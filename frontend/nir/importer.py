"""From a graph to a module: whole trains through what has no cycle, a loop for what has one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import numpy as np

from tetrapla.frontend.builder import Builder
from tetrapla.frontend.builder.tensor import Tensor
from tetrapla.frontend.nir.network import NEURONS, SPIKING, Network, Node
from tetrapla.frontend.nir.nodes import LINEAR, Context, neuron, real, rest
from tetrapla.frontend.nir.order import Group, groups
from tetrapla.frontend.nir.presets import Preset
from tetrapla.frontend.nir.shapes import Shape, bordered, shapes
from tetrapla.ir.errors import ModelError, TetraplaError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module


class Imported(Module):
    """A NIR graph's module; `network` is the graph with all that the module cannot say."""

    network: Network


def imported(
    network: Network, name: str, preset: Preset, dt_s: float, timesteps: int, batch: int
) -> Imported:
    """The module of a flat graph.

    Every Input is an f32 input [batch, timesteps, ...], and so is every Output; in between,
    time is the first axis.

    Raises:
        ModelError: a field is missing or wrong, shapes do not fit, or a cycle has no neuron.
        UnsupportedError: a cycle holds a Delay.
    """
    bare = network
    network = bordered(network)
    nodes = {each: node for each, node in network.nodes.items() if isinstance(node, Node)}
    types = {each: node.type for each, node in nodes.items()}
    plan = groups(network, types, every_hop=preset.input_delay > 0)
    context = Context(Builder(name), preset, dt_s)
    walk = _Walk(context, network, nodes, shapes(network, nodes, plan), (timesteps, batch))
    for group in plan:
        if group.late:
            walk.loop(group)
        else:
            walk.plain(group.nodes[0])
    module = context.builder.build()
    made = Imported(module.mlir, module.weights, name)
    made.network = bare
    return made


class _Walk:
    def __init__(
        self,
        context: Context,
        network: Network,
        nodes: Mapping[str, Node],
        found: Mapping[str, Shape],
        extent: tuple[int, int],
    ) -> None:
        self._c = context
        self._nodes = nodes
        self._shapes = found
        self._extent = extent
        self._sources: dict[str, list[str]] = {name: [] for name in nodes}
        for a, b in network.edges:
            self._sources[b].append(a)
        self._edges = network.edges
        self._values: dict[str, Tensor] = {}

    def plain(self, name: str) -> None:
        """A node that is in no cycle."""
        node, b = self._nodes[name], self._c.builder
        if node.type == "Input":
            timesteps, batch = self._extent
            x = b.input(name, (batch, timesteps, *self._shapes[name]))
            self._values[name] = self._swapped(x)
            return
        x = self._sum([self._values[each] for each in self._sources[name]])
        if node.type in NEURONS:
            start = rest(node, self._extent[1], self._shapes[name])
            self._values[name], _ = self._neuron(name, self._delayed(x), start)
        else:
            self._values[name] = self._linear(name, x)
        if node.type == "Output":
            b.output(name, self._swapped(self._values[name]))

    def loop(self, group: Group) -> None:
        """A cycle, one timestep a round; its states are the neurons' and the late values."""
        self._check(group)
        fed = {name: self._outside(name, group) for name in group.nodes}
        sequences = {name: self._delayed(x) for name, x in fed.items() if x is not None}
        neurons = [name for name in group.nodes if self._nodes[name].type in NEURONS]
        late = sorted({a for a, _ in group.late})
        first = [rest(self._nodes[n], self._extent[1], self._shapes[n]) for n in neurons]
        first += [self._silence(name) for name in late]
        read = [n for n in group.nodes if any(a == n and b not in fed for a, b in self._edges)]
        label = f"{group.nodes[0]}.loop"
        with self._c.builder.scan(*sequences.values(), init=first, name=label) as loop:
            slices = dict(zip(sequences, map(_one_step, loop.slices), strict=True))
            states = dict(zip(neurons, loop.states, strict=False))
            before = dict(zip(late, loop.states[len(neurons) :], strict=True))
            before = {name: _one_step(x) for name, x in before.items()}
            now: dict[str, Tensor] = {}
            for name in group.nodes:
                x = self._sum(self._arriving(name, group, slices, now, before))
                if name in states:
                    now[name], states[name] = self._neuron(name, x, states[name])
                else:
                    now[name] = self._linear(name, x)
            used = {*late, *read}
            frames = {n: x.reshape(*x.shape[1:]) for n, x in now.items() if n in used}
            loop.carry(*states.values(), *(frames[name] for name in late))
            loop.stack(*(frames[name] for name in read))
        self._values |= dict(zip(read, loop.stacked, strict=True))

    def _check(self, group: Group) -> None:
        delays = [name for name in group.nodes if self._nodes[name].type == "Delay"]
        if delays:
            raise UnsupportedError(
                f"nir: Delay '{delays[0]}' must not be in a cycle, whose closing edges take a "
                "timestep each; move it out of the cycle"
            )

    def _arriving(
        self,
        name: str,
        group: Group,
        slices: Mapping[str, Tensor],
        now: Mapping[str, Tensor],
        before: Mapping[str, Tensor],
    ) -> list[Tensor]:
        found = [slices[name]] if name in slices else []
        for source in self._sources[name]:
            if source in group.nodes:
                found.append(before[source] if (source, name) in group.late else now[source])
        return found

    def _outside(self, name: str, group: Group) -> Tensor | None:
        arriving = [s for s in self._sources[name] if s not in group.nodes]
        return self._sum([self._values[each] for each in arriving]) if arriving else None

    def _silence(self, name: str) -> Array:
        dtype = np.int8 if self._nodes[name].type in SPIKING else np.float32
        return np.zeros((self._extent[1], *self._shapes[name]), dtype)

    def _delayed(self, x: Tensor) -> Tensor:
        steps = self._c.preset.input_delay
        if not steps:
            return x
        return self._c.builder.op("spike.delay", [x, np.array(steps, np.int32)])

    def _swapped(self, x: Tensor) -> Tensor:
        """Time and batch the other way round: files of data have samples first."""
        axes = (1, 0, *range(2, len(x.shape)))
        return self._c.builder.op("nn.transpose", [x], {"perm": axes})

    def _sum(self, values: list[Tensor]) -> Tensor:
        total = values[0]
        for each in values[1:]:
            total = real(self._c, total) + real(self._c, each)
        return total

    def _neuron(self, name: str, x: Tensor, start: Tensor | Array) -> tuple[Tensor, Tensor]:
        with _named(name):
            return neuron(self._c, name, self._nodes[name], x, start)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        node = self._nodes[name]
        with _named(name):
            return LINEAR[node.type](self._c, name, node, x)


def _one_step(x: Tensor) -> Tensor:
    return x.reshape(1, *x.shape)


@contextmanager
def _named(name: str) -> Generator[None]:
    """Errors of a node say its name."""
    try:
        yield
    except TetraplaError as error:
        text = str(error).removeprefix(f"{name}: ")
        raise ModelError(f"nir: node '{name}': {text}") from None
