"""What the host reads of the chip, and computes from it."""

from __future__ import annotations

from tetrapla.backends.spiking.trains import Train
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.simulators.spiking.program import HostStep, Readout


class Reading:
    """Values of a graph that have left the chip, or can.

    Attributes:
        readouts, steps: what the program's host does.
        trains, voltages: values that are on the chip, by index.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.readouts: list[Readout] = []
        self.steps: list[HostStep] = []
        self.trains: dict[int, Train] = {}
        self.voltages: dict[int, str] = {}
        self.host: dict[int, str] = {}

    def on_host(self, value: Value) -> str:
        """The name of a value that the host holds; trains and voltages are read."""
        index = value.index
        if index not in self.host:
            name = f"{self._read_of(index)}.read{len(self.readouts)}"
            self.host[index] = name
            if index in self.trains:
                train = self.trains[index]
                self.refuse_late(train, name)
                held = (train.population, train.in_order(), value.shape, 1.0, "train")
            else:
                held = (self.voltages[index], None, value.shape, 1.0, "voltage")
            self.readouts.append(Readout(name, *held))
        return self.host[index]

    def _read_of(self, index: int) -> str:
        if index in self.trains:
            return self.trains[index].population
        if index in self.voltages:
            return self.voltages[index]
        raise UnsupportedError(
            "spiking: an output must be spikes, a voltage or what is decoded, not a current or "
            "a last state; read the spikes"
        )

    def refuse_late(self, train: Train, name: str) -> None:
        if train.lag.any():
            raise UnsupportedError(
                f"spiking: {name} must be spikes as they are sent, not delayed ones; read them "
                "before the delay"
            )

    def host_step(self, node: Node) -> None:
        operands = tuple(
            self.graph.weight(v) if self.graph.is_weight(v) else self.on_host(v)
            for v in node.operands
        )
        self.steps.append(HostStep(node.kind, node.name, operands, node.attributes))
        self.host[node.result.index] = node.name

    def decoded(self, node: Node, of: str) -> None:
        """Spikes that the host counts."""
        train = self.trains[node.operands[0].index]
        self.refuse_late(train, node.name)
        held = (train.population, train.in_order(), node.result.shape, node.float("scale"), of)
        self.readouts.append(Readout(node.name, *held))
        self.host[node.result.index] = node.name

    def gathered(self, node: Node) -> None:
        """A membrane that the host reads."""
        held = (node.name, None, node.result.shape, node.float("scale"), "state")
        self.readouts.append(Readout(node.name, *held))
        self.host[node.result.index] = node.name
