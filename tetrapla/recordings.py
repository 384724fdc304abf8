"""Recordings of event cameras as a model's input: counts of off and on events in time bins."""

from __future__ import annotations

from math import prod

from tetrapla.datasets import load_inputs
from tetrapla.frontend.events import binned, holds_events, load
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.module import Module

SUFFIXES = (".aedat", ".aedat4")


def is_recording(source: str) -> bool:
    """Whether a file's name, or an archive's arrays, say that it holds events.

    Raises:
        ModelError: an archive that cannot be read.
    """
    if source.endswith(SUFFIXES):
        return True
    return source.endswith(".npz") and holds_events(load_inputs(source))


def recorded(module: Module, source: str) -> tuple[str, Array]:
    """The name of the model's input, and the recording in its shape, f32.

    The input is [1, T, 2, rows, columns], or [1, T, n] where the camera has n / 2 pixels, or
    either with time first: the whole recording in T bins of equal length.

    Raises:
        ModelError: a recording that cannot be read, or an input of another shape.
    """
    inputs = module.graph.inputs
    events = load(source)
    name, value = inputs[0] if len(inputs) == 1 else ("", None)
    shape = () if value is None else value.shape
    pixels = shape[2:]
    whole = None if events.size is None else (2 * prod(events.size),)
    if 1 in shape[:2] and len(pixels) == 3 and pixels[0] == 2:
        counts = binned(events, prod(shape[:2]), (pixels[1], pixels[2]))
    elif 1 in shape[:2] and pixels == whole:
        counts = binned(events, prod(shape[:2]))
    else:
        raise ModelError(
            f"model must have one input [1, T, 2, rows, columns] for the events of {source}, "
            f"not {_shapes(inputs)}; reshape it, or count them with "
            "tetrapla.frontend.events.binned"
        )
    return name, counts.reshape(shape)


def _shapes(inputs: tuple[tuple[str, Value], ...]) -> str:
    return ", ".join(str(list(value.shape)) for _, value in inputs) or "none"
