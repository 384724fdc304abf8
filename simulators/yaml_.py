"""YAML with places: a tree of text, mappings and sequences that knows line and column.

Built from the parser's events, without recursion and without ever making a Python object that
the file names. What a chip never needs is refused: aliases, tags, several documents, nesting
deeper than `_DEPTH`, more than `MOST_SCALARS` keys and values, a key given twice (many readers
drop the first silently).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tetrapla.ir.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 256 * 1024
MOST_SCALARS = 4096
_DEPTH = 16
TAG = "!"  # the entry of a section that holds its tag, where those are read
_MOST_DEFECTS = 20
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where something stands: `name` of the file, line and column from 1 (0: no place)."""

    name: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name


@dataclass(frozen=True)
class Scalar:
    """A leaf as written; `quoted` text is never a number."""

    text: str
    quoted: bool
    place: Place

    @property
    def value(self) -> str | int | float | bool | None:
        """What it means in YAML 1.2's core schema."""
        if self.quoted:
            return self.text
        if self.text in ("", "~", "null", "Null", "NULL"):
            return None
        if self.text.lower() in ("true", "false"):
            return self.text.lower() == "true"
        if _INTEGER.fullmatch(self.text):
            return int(self.text)
        if _REAL.fullmatch(self.text):
            return float(self.text)
        if _SPECIAL.fullmatch(self.text):
            return float(self.text.replace(".", ""))
        return self.text


@dataclass(frozen=True)
class Sequence:
    """A list."""

    place: Place
    items: list[Tree]


@dataclass(frozen=True)
class Mapping:
    """Entries by key, with the place of each key."""

    place: Place
    entries: dict[str, Tree]
    keys: dict[str, Place]

    def place_of(self, key: str) -> Place:
        """Where to look for an entry: at its key, or at ``value:`` on a line below it."""
        inner, place = self.entries[key], self.keys[key]
        if isinstance(inner, Mapping) and "value" in inner.keys:
            below = inner.keys["value"]
            return below if below.line != place.line else place
        return place


Tree: TypeAlias = Scalar | Sequence | Mapping


def read_file(path: Path, name: str) -> str:
    """Return the text of a chip's file, called `name` in messages."""
    try:
        if not path.is_file():
            raise SpecError(f"{name} must be a file, and there is none; check the path")
        if path.stat().st_size > MOST_BYTES:
            raise SpecError(
                f"{name} must have at most {MOST_BYTES} bytes, not {path.stat().st_size}"
            )
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{name} must be UTF-8 text, not bytes like {error.object[error.start]:#04x}"
        ) from None
    except OSError as error:
        raise SpecError(f"{name} must be readable, not refused: {error.strerror}") from None


def read_text(text: str, name: str, *, tags: bool = False) -> Mapping:
    """Return the tree of a YAML text whose top is a mapping; the text may be hostile.

    With `tags`, a section may have one (``!Memory``), which is then its entry `TAG`, as other
    tools' files have them. The caller may write into it. A text is parsed once: a sweep reads
    the same file for each of its points.

    Raises:
        SpecError: what is not YAML, or is more of YAML than a chip needs; one line per defect.
    """
    return _copied(_parsed(text, name, tags))


@lru_cache(maxsize=32)
def _parsed(text: str, name: str, tags: bool) -> Mapping:
    builder = _Builder(name, tags)
    reader: Any = YAML(typ="safe", pure=True)
    try:
        for event in reader.parse(text):
            builder.take(event)
    except SpecError:
        raise
    except (YAMLError, ValueError) as error:
        mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SpecError(f"{place}: the file must be YAML: {problem}") from None
    if builder.errors:
        raise SpecError(listed(builder.errors))
    if not isinstance(builder.top, Mapping):
        raise SpecError(
            f"{Place(name, 1, 1)}: the file must hold keys and values, not "
            f"{kind_of(builder.top)}; start with 'name: …' and 'family: …'"
        )
    return builder.top


def _copied(tree: Mapping) -> Mapping:
    """The tree with collections of its own; the leaves and places are frozen."""
    entries = {key: _copy_of(entry) for key, entry in tree.entries.items()}
    return Mapping(tree.place, entries, dict(tree.keys))


def _copy_of(tree: Tree) -> Tree:
    match tree:
        case Mapping():
            return _copied(tree)
        case Sequence():
            return Sequence(tree.place, [_copy_of(item) for item in tree.items])
        case Scalar():
            return tree


def kind_of(tree: Tree | None) -> str:
    """Return a few words for what a tree is."""
    match tree:
        case Mapping():
            return "a section"
        case Sequence():
            return "a list"
        case Scalar():
            return f"'{shortened(tree.text)}'"
        case None:
            return "nothing"


def listed(defects: list[str]) -> str:
    """Return the defects of a file, one a line: each once, and no more than a person reads."""
    lines = list(dict.fromkeys(defects))
    more = len(lines) - _MOST_DEFECTS
    shown = lines[:_MOST_DEFECTS] + ([f"and {more} more; mend these first"] if more > 0 else [])
    return "\n".join(shown)


def shortened(text: str) -> str:
    """Return text that fits a message; what does not print (a terminal's escapes) is a dot."""
    text = "".join(letter if letter.isprintable() else "." for letter in text[:41])
    return text if len(text) <= 40 else text[:37] + "..."


def leaf(text: str, place: Place) -> Scalar | Sequence:
    """Return a value given on the command line: a scalar, or a list in brackets."""
    try:
        top = read_text("value: " + text, place.name)
    except SpecError as error:
        # line and column of a command line help nobody
        message = re.sub(r"^:\d+:\d+", "", str(error).removeprefix(place.name))
        raise SpecError(place.name + message.replace("the file", "its value")) from None
    tree = top.entries["value"]
    if len(top.entries) > 1:
        raise SpecError(f"{place} needs one value, not several lines; use --set for each")
    if isinstance(tree, Mapping):
        raise SpecError(f"{place} needs a value, not a section; set its own fields")
    return _placed(tree, place)


def _placed(tree: Scalar | Sequence, place: Place) -> Scalar | Sequence:
    if isinstance(tree, Scalar):
        return Scalar(tree.text, tree.quoted, place)
    items = [item if isinstance(item, Mapping) else _placed(item, place) for item in tree.items]
    return Sequence(place, items)


class _Builder:
    """Takes parser events one at a time; `stack` holds the open collections."""

    def __init__(self, name: str, tags: bool = False) -> None:
        self.name, self.tags = name, tags
        self.top: Tree | None = None
        self.errors: list[str] = []
        self.documents = 0
        self.scalars = 0
        self.stack: list[Sequence | Mapping] = []
        self.pending: list[tuple[str, Place] | None] = []  # the key that waits for its value

    def take(self, event: Any) -> None:
        place = Place(self.name, event.start_mark.line + 1, event.start_mark.column + 1)
        self._refuse(event, place)
        if isinstance(event, ScalarEvent):
            scalar: Any = event
            self._scalar(Scalar(scalar.value, scalar.style is not None, place))
        elif isinstance(event, MappingStartEvent):
            self._open(Mapping(place, *self._tagged(event, place)))
        elif isinstance(event, SequenceStartEvent):
            self._open(Sequence(place, []))
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self.stack.pop()
            self.pending.pop()

    def _refuse(self, event: Any, place: Place) -> None:
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise SpecError(f"{place}: the file must hold one document, not several")
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            raise SpecError(
                f"{place}: a chip must do without anchors and aliases, not use "
                f"'{shortened(str(anchor))}'; write the value out"
            )
        if tag is not None and not (self.tags and isinstance(event, MappingStartEvent)):
            raise SpecError(
                f"{place}: a chip must do without tags, not use '{shortened(str(tag))}'; "
                "write the plain value"
            )

    def _tagged(self, event: Any, place: Place) -> tuple[dict[str, Tree], dict[str, Place]]:
        if event.tag is None:
            return {}, {}
        return {TAG: Scalar(str(event.tag), True, place)}, {TAG: place}

    def _scalar(self, scalar: Scalar) -> None:
        self.scalars += 1
        if self.scalars > MOST_SCALARS:
            raise SpecError(
                f"{scalar.place}: a chip must have at most {MOST_SCALARS} keys and values, not "
                "more; remove what it does not need"
            )
        if any("\ud800" <= letter <= "\udfff" for letter in scalar.text):
            raise SpecError(f"{scalar.place}: text must be Unicode, not half a surrogate")
        if self.stack and isinstance(self.stack[-1], Mapping) and self.pending[-1] is None:
            self.pending[-1] = (scalar.text, scalar.place)
        else:
            self._add(scalar)

    def _open(self, tree: Sequence | Mapping) -> None:
        if len(self.stack) == _DEPTH:
            raise SpecError(f"{tree.place}: a chip must nest at most {_DEPTH} deep, not deeper")
        if self.stack and isinstance(self.stack[-1], Mapping) and self.pending[-1] is None:
            raise SpecError(f"{tree.place}: a key must be text, not {kind_of(tree)}")
        self._add(tree)
        self.stack.append(tree)
        self.pending.append(None)

    def _add(self, tree: Tree) -> None:
        parent = self.stack[-1] if self.stack else None
        match parent:
            case None:
                self.top = tree
            case Sequence():
                parent.items.append(tree)
            case Mapping():
                waiting = self.pending[-1]
                assert waiting is not None  # only a value comes here
                key, place = waiting
                self.pending[-1] = None
                if key in parent.entries:
                    first = parent.keys[key]
                    self.errors.append(
                        f"{place}: the key '{shortened(key)}' must be given once, not again "
                        f"after line {first.line}; remove one"
                    )
                parent.entries[key], parent.keys[key] = tree, place
