"""Edge TPU's published latencies beside our machine's; every row informs, none is fitted.

Coral publishes milliseconds an inference, USB 3 accelerator, and little of the chip: see
`simulators/chips/edge-tpu.yaml`. It keeps up to 8 MB of weights between inferences, which our
machine does not: only VGG16, whose weights never fit, is the same work here and there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tetrapla.backends.target_ import Options, find
from tetrapla.frontend.zoo.network import entry
from tetrapla.simulators.random_ import Key
from tetrapla.validation import Row

CHIP = "edge-tpu"
_SOURCE = "coral.ai/docs/edgetpu/benchmarks, read in 2026, USB 3"
_KEPT = "the chip keeps these weights in its SRAM, ours loads them each time"
_TABLE = (  # network of the zoo, or why it has none; milliseconds; what to know
    ("mobilenet-v1", 2.4, _KEPT),
    ("mobilenet-v2", 2.6, _KEPT),
    ("googlenet-2014", 3.4, f"Inception v1; {_KEPT}"),
    ("vgg16", 296.0, "its weights fit neither"),
)
_OTHERS = (
    ("resnet50", 49.0, "ours is null: theirs is of 299 x 299 pixels, the zoo's of 224 x 224"),
)


def rows(golden: Path) -> Iterator[Row]:
    """One row a network; they need no golden tables."""
    del golden
    for name, published, said in _TABLE:
        yield _row(name, published, milliseconds(name), said)
    for name, published, said in _OTHERS:
        yield _row(name, published, None, said)


def milliseconds(name: str) -> float:
    """An inference of a network of the zoo, without values."""
    target, chip = find(CHIP)
    module = entry(name).draft(values=False).builder.build()
    program = target.lower(module, chip.spec, None, Options()).program
    return 1e3 * target.run(program, chip.spec, {}, Key(0)).time_s


def _row(name: str, published: float, ours: float | None, said: str) -> Row:
    return Row("edge-tpu", name, "latency", "ms", published, ours, None, f"{_SOURCE}; {said}")
