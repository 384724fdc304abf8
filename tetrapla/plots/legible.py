"""Names as a figure can write them: in letters that its font has, and no longer than fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from tetrapla.plots.runs import RunFile

_MODEL, _NAME = 20, 40  # letters of a model, a machine or a unit; of a layer
_SHORT: Final = ("model", "target")
_ABSENT: Final = "\ufffd"


def legible(run: RunFile) -> RunFile:
    """The same file with every text legible; its command stays, which metadata tell."""
    letters = _letters()

    def clean(text: str, most: int) -> str:
        return cut("".join(c if c in letters else _ABSENT for c in text), most)

    reports = []
    for report in run.reports:
        made: dict[str, Any] = {
            name: each if name == "command" else _cleaned(name, each, clean)
            for name, each in report.items()
        }
        reports.append(made)
    settings = tuple(
        {clean(k, _NAME): clean(v, _MODEL) for k, v in each.items()} for each in run.settings
    )
    return replace(run, reports=tuple(reports), settings=settings)


def cut(name: str, letters: int) -> str:
    """A name with its middle left out: both of its ends tell layers apart."""
    if len(name) <= letters:
        return name
    half = (letters - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _cleaned(name: str, value: Any, clean: Callable[[str, int], str]) -> Any:
    if isinstance(value, str):
        return clean(value, _MODEL if name in _SHORT else _NAME)
    if isinstance(value, Mapping):
        held = cast("Mapping[str, Any]", value)
        return {clean(k, _MODEL): _cleaned(k, each, clean) for k, each in held.items()}
    if isinstance(value, list):
        return [_cleaned(name, each, clean) for each in cast("Sequence[Any]", value)]
    return value


def _letters() -> frozenset[str]:
    """What the figures' font can write."""
    from matplotlib.font_manager import findfont, get_font

    font: Any = get_font(findfont("DejaVu Sans"))
    # control characters have glyphs in some fonts, and break lines
    return frozenset(chr(code) for code in font.get_charmap() if code >= 32 and code != 127)
