"""A chip made of another tool's file: fields with the place that they came from, as a tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tetrapla.simulators.leaves_ import ASSUMED
from tetrapla.simulators.yaml_ import Mapping, Place, Scalar, Tree


@dataclass(frozen=True)
class Made:
    """One field of the chip: its path, its text, and where that comes from."""

    path: tuple[str, ...]
    text: str
    source: str
    grade: str
    place: Place


def assumed(path: tuple[str, ...], text: str, source: str, file: Place) -> Made:
    """A field that the file does not have."""
    return Made(path, text, source, ASSUMED, file)


def tree(held: Sequence[Made]) -> Mapping:
    """The chip's keys and values, each at the place in the other file."""
    top = Mapping(held[0].place, {}, {})
    for leaf in held:
        section = top
        for key in leaf.path[:-1]:
            inner = section.entries.setdefault(key, Mapping(leaf.place, {}, {}))
            assert isinstance(inner, Mapping), "a path goes through sections"
            section.keys.setdefault(key, leaf.place)
            section = inner
        section.entries[leaf.path[-1]] = _value(leaf)
        section.keys[leaf.path[-1]] = leaf.place
    return top


def yaml(held: Sequence[Made], head: str) -> str:
    """The chip as a YAML file that is one itself; `head` is its comment, line by line."""
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    open_: list[str] = []
    for leaf in held:
        *above, key = leaf.path
        for depth, name in enumerate(above):
            if open_[: depth + 1] != above[: depth + 1]:
                lines.append(f"{'  ' * depth}{name}:")
        open_ = above
        text = json.dumps(leaf.text) if leaf.path == ("name",) else leaf.text
        if leaf.source:
            grade = f", grade: {leaf.grade}" if leaf.grade else ""
            text = f"{{value: {text}, source: {json.dumps(leaf.source)}{grade}}}"
        lines.append(f"{'  ' * len(above)}{key}: {text}")
    return "\n".join(lines) + "\n"


def _value(leaf: Made) -> Mapping | Scalar:
    parts = {"value": leaf.text, "source": leaf.source, "grade": leaf.grade}
    quoted = {"value": leaf.path == ("name",), "source": True, "grade": True}
    found: dict[str, Tree] = {
        key: Scalar(text, quoted[key], leaf.place) for key, text in parts.items() if text
    }
    if not leaf.source:
        return Scalar(leaf.text, False, leaf.place)
    return Mapping(leaf.place, found, dict.fromkeys(found, leaf.place))
