"""What an entry of the zoo is; entries are found by looking through this folder's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType

import numpy as np

from tetrapla.frontend.builder import Builder, Layers, Tensor
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.graph import Array, Graph
from tetrapla.ir.module import Module

PREFIX = "zoo:"  # of a network's name where a file's path could stand
_MOST_MEANT = 3  # names in a suggestion
# the small set, which every compiler is tried on: up to 25 million multiply-accumulates, and no
# loop that ends where a value says so
SMALL_MACS = 25_000_000
SMALL = (
    *("actor-critic", "adaline", "autoencoder", "bert-tiny", "bidirectional-lstm"),
    *("boltzmann-machine", "digits-search", "dqn", "duelling-dqn", "elman", "gpt2-tiny-step"),
    *("graph-transformer", "graphsage", "gru", "kohonen-map", "lenet5", "lif-digits"),
    *("lif-mlp", "lstm", "mcculloch-pitts", "mlp", "neocognitron", "nettalk", "ntm-copy"),
    *("ntm-step", "ode-step", "perceptron", "pixelcnn-mnist", "rbm", "vae"),
)


@dataclass(frozen=True)
class Published:
    """A count that a source states.

    Attributes:
        count: of parameters or multiply-accumulates.
        source: the paper's table, or the reference implementation with its version.
        tolerance: the largest relative difference that its rounding explains; 0 is exact.
        why: what explains a tolerance above rounding.
    """

    count: int
    source: str
    tolerance: float = 0.0
    why: str = ""


class Draft(Layers):
    """A network in the making, whose inputs have a batch axis in front."""

    def __init__(self, name: str, batch: int, seed: int, values: bool) -> None:
        super().__init__(Builder(name), seed=seed, values=values)
        self.batch = batch

    def input(self, name: str, shape: Sequence[int], dtype: str = "f32") -> Tensor:
        """Declare an input of the shape of one sample; the batch comes before it."""
        return self.builder.input(name, (self.batch, *shape), dtype)

    def output(self, name: str, value: Tensor) -> None:
        """Declare an output."""
        self.builder.output(name, value)


Write = Callable[[Draft], None]
# what the host makes of the outputs, beyond the network itself (non-maximum suppression)
Host = Callable[[Mapping[str, Array]], Mapping[str, Array]]
# inputs that mean something to a network: its name, and the arrays from a generator
Sample = Callable[[np.random.Generator, int], Mapping[str, Array]]


@dataclass(frozen=True)
class Network:
    """One entry: `source` is the paper, and the version where there are several."""

    name: str
    family: str
    source: str
    write: Write
    parameters: Published | None = None
    macs: Published | None = None
    host: Host | None = field(default=None, compare=False)
    sample: Sample | None = field(default=None, compare=False)

    def module(self, batch: int = 1, seed: int = 0) -> Module:
        """The network with its weights, verified."""
        return self.draft(batch, seed).builder.build()

    def graph(self, batch: int = 1) -> Graph:
        """Its operators alone: no weights and no MLIR, for counting."""
        return self.draft(batch, values=False).builder.graph()

    def draft(self, batch: int = 1, seed: int = 0, *, values: bool = True) -> Draft:
        """The network in the making, which knows how many parameters it has."""
        draft = Draft(f"{PREFIX}{self.name}", batch, seed, values)
        self.write(draft)
        return draft


_FOUND: dict[str, Network] = {}


def network(
    name: str,
    source: str,
    *,
    parameters: Published | None = None,
    macs: Published | None = None,
    host: Host | None = None,
    sample: Sample | None = None,
) -> Callable[[Write], Write]:
    """Enter a function into the zoo, in the family that its file is.

    Args:
        name: lower case, as in ``zoo:NAME``.
        source: the paper or implementation that the shape comes from.
        parameters: what the source states, or None with the reason in `source`.
        macs: alike, of one inference at batch 1.
        host: what is done with the outputs off the machine.
        sample: inputs for a batch; uniform numbers unless given.
    """

    def enter(write: Write) -> Write:
        if name in _FOUND:
            raise ValueError(f"two networks are called {name}")
        family = write.__module__.rsplit(".", 1)[-1]
        _FOUND[name] = Network(name, family, source, write, parameters, macs, host, sample)
        return write

    return enter


@cache
def networks() -> Mapping[str, Network]:
    """Every entry by its name, sorted by family."""
    package = "tetrapla.frontend.zoo"
    for found in iter_modules([str(Path(__file__).parent)]):
        import_module(f"{package}.{found.name}")
    return MappingProxyType(
        {each.name: each for each in sorted(_FOUND.values(), key=lambda n: (n.family, n.name))}
    )


def entry(name: str) -> Network:
    """The network of a name, which is without the prefix; an underscore counts as a hyphen.

    Raises:
        ModelError: there is none.
    """
    found = networks()
    known = found.get(name) or found.get(name.replace("_", "-"))
    if known is None:
        raise ModelError(
            f"{PREFIX}{name} must name a network, not {name!r}; 'tetrapla zoo' lists them"
            f"{_meant(name.replace('_', '-'), list(found))}"
        )
    return known


def _meant(name: str, known: Sequence[str]) -> str:
    """The nearest name, else the first ones that begin with what was typed."""
    longer = [f"'{each}'" for each in known if name and each.startswith(name)][:_MOST_MEANT]
    return nearest(name, known) or (f"; did you mean {' or '.join(longer)}?" if longer else "")
