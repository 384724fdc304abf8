"""Tiles on their way into the multipliers, by the format that these take."""

from __future__ import annotations

from tetrapla.backends.gpu.triton.steps import TYPES


def narrowed(operand: str, text: str, held: str) -> str:
    """Numbers of a type in the one that the multipliers take."""
    if held == operand:
        return text
    wide = text if held == "f32" else f"{text}.to(tl.float32)"
    match operand:
        case "f32":
            return wide
        case "tf32" | "bf16":
            return f"to_{operand}({wide})"
        case _:
            return f"{text}.to({TYPES[operand]})"


def added(operand: str, a: str, b: str, y: str) -> str:
    """A product of tiles that is added to `y`."""
    if operand == "bf16":
        return f"dot_bf16({a}, {b}, {y})"
    precision = "tf32" if operand == "tf32" else "ieee"
    return f'tl.dot({a}, {b}, {y}, input_precision="{precision}")'
