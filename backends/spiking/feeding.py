"""How inputs reach the chip: as constant currents, or as spikes from the host."""

from __future__ import annotations

from tetrapla.backends.spiking.reading import Reading
from tetrapla.backends.spiking.trains import ZERO, Current, sent
from tetrapla.ir.graph import Attribute, Graph, Node, Value
from tetrapla.simulators.spiking.program import Encoder, Feed, Population


class Feeding(Reading):
    """The inputs of a graph.

    Attributes:
        populations: by name; `timesteps` and `batch` are what the inputs say.
        inputs: values that the host still holds: the input's name, and its axes as of `Feed`.
        currents: values that reach neurons.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.populations: dict[str, Population] = {}
        self.timesteps = self.batch = 1
        self.inputs: dict[int, tuple[str, str]] = {}
        self.currents: dict[int, Current] = {}

    def enter(self, name: str, value: Value) -> None:
        """An input: numbers for an encoder, or a spike train [T, batch, ...]."""
        if value.dtype == "i8":
            self.feed(name, value, Feed(name, 1.0, -128, 127, "time_first"))
            return
        self.batch = value.shape[0]
        self.inputs[value.index] = (name, "code")

    def encode(self, node: Node) -> None:
        """Numbers as a constant current."""
        name, _ = self.inputs[node.operands[0].index]
        self.timesteps, self.batch = node.result.shape[:2]
        encoder = Encoder(name, node.float("scale"), node.int("high"))
        self.currents[node.result.index] = Current(encoders=(encoder,))

    def encode_phase(self, node: Node) -> None:
        """Numbers as the spikes of a code."""
        name, _ = self.inputs[node.operands[0].index]
        feed = Feed(name, node.float("scale"), 0, node.int("levels"), "code", node.str("code"))
        self.feed(node.name, node.result, feed)

    def quantize(self, node: Node) -> None:
        """Numbers in time as spikes, sent as they are."""
        name, axes = self.inputs[node.operands[0].index]
        scale = float(self.graph.weight(node.operands[1]).item())
        layout = "batch_first" if axes == "batch_first" else "time_first"
        feed = Feed(name, scale, -128, 127, layout)
        self.feed(node.name, node.result, feed)

    def feed(self, name: str, value: Value, feed: Feed) -> None:
        """Spikes of an input."""
        self.timesteps, self.batch, *rest = value.shape
        shape = tuple(rest)
        words: dict[str, Attribute] = {"code": feed.code} if feed.code else {}
        self.populations[name] = Population(
            name, "spike.encode", "input", shape, 0, (), ZERO, ZERO, feed=feed, words=words
        )
        self.trains[value.index] = sent(name, shape)
