"""The components of an architecture file, from the outermost memory to the compute unit.

A component's fields are flat: ``actions.read.energy``, ``attributes.depth``. Which of them a
chip takes is written down as they are read, so that the others can be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.systolic.architecture.numbers import number, whole
from tetrapla.simulators.yaml_ import (
    TAG,
    Mapping,
    Place,
    Scalar,
    Sequence,
    Tree,
    kind_of,
    read_file,
    read_text,
    shortened,
)

TOPS: Final = {"arch": "AccelForge", "architecture": "Timeloop v4"}
_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_ALONE = re.compile(r"^(arch|architecture)[ \t]*:", re.MULTILINE)
_CHIP = re.compile(r"^family[ \t]*:", re.MULTILINE)
_KINDS: Final = {
    **{"!Memory": "memory", "!Compute": "compute", "!Toll": "toll", "!Container": "container"},
    **{"!Hierarchical": "chain", "!Parallel": "branches", "!Fork": "branches"},
    **{
        "!Array": "branches",
        "!Pipelined": "branches",
        "!Component": "component",
        "!Nothing": "container",
    },
}
_COMPUTES = re.compile(r"mac|compute|multipl|alu|^pe$", re.IGNORECASE)
_STORES = re.compile(r"ram|ddr|hbm|storage|buffer|reg|^rf$|_rf|spad|cache", re.IGNORECASE)
_SILENT: Final = frozenset({"name", TAG, "nodes"})


@dataclass(frozen=True)
class Fanout:
    """One dimension of copies; `reuse` is the tensor that they share or sum, if one is said."""

    name: str
    count: int
    reuse: str
    place: Place


@dataclass
class Component:
    """One entry of the file.

    Attributes:
        kind: memory, compute or another, which no chip has.
        path: the dimensions of copies that it lies in, from the outermost.
        fields: by dotted name, its leaves.
        taken: names of those that the chip has.
    """

    name: str
    kind: str
    place: Place
    path: tuple[Fanout, ...]
    fields: dict[str, Scalar]
    taken: set[str] = field(default_factory=set[str])

    @property
    def instances(self) -> int:
        """How many of it there are."""
        found = 1
        for each in self.path:
            found *= each.count
        return found

    def text(self, *names: str) -> str | None:
        """The first of these fields that is there, which is then taken."""
        for name in names:
            if name in self.fields:
                self.taken.add(name)
                return self.fields[name].text
        return None

    def number(self, *names: str) -> float | None:
        """The first of these fields that is a number, which is then taken."""
        for name in names:
            if name in self.fields and (found := number(self.fields[name].text)) is not None:
                self.taken.add(name)
                return found
        return None

    @property
    def left(self) -> list[str]:
        """Fields that the chip has not."""
        return [name for name in self.fields if name not in self.taken]


@dataclass(frozen=True)
class Architecture:
    """A file: what of it is components, and settings that hold for all of them."""

    tool: str
    place: Place
    components: tuple[Component, ...]
    common: Component


def is_architecture(path: Path) -> bool:
    """Whether a file has the shape of one: a key of `TOPS` on top, and no chip's family."""
    try:
        text = read_file(path, path.name)
    except SpecError:
        return False
    return _ALONE.search(text) is not None and _CHIP.search(text) is None


def read(path: Path) -> Architecture:
    """Read a file.

    Raises:
        SpecError: it is a template, no YAML, or not of the shape that the tools take.
    """
    name = str(path)
    text = read_file(path, name)
    if found := _TEMPLATE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise SpecError(
            f"{Place(name, line, column)}: the file must be plain YAML, not a Jinja template "
            f"with '{found[0]}'; render it first, then import the result"
        )
    tree = read_text(text, name, tags=True)
    (top, *others) = [key for key in tree.entries if key in TOPS]
    if others:
        raise SpecError(
            f"{tree.keys[others[0]]}: the file must have arch or architecture, not both; "
            "keep one"
        )
    body = tree.entries[top]
    if not isinstance(body, Mapping):
        raise SpecError(
            f"{tree.keys[top]}: {top} must hold nodes, not {kind_of(body)}; write 'nodes:'"
        )
    for old in ("subtree", "local"):
        if old in body.entries:
            raise SpecError(
                f"{body.keys[old]}: {top} must list its nodes as version 0.4 does, not have "
                f"'{old}' of an earlier one; convert it with that tool"
            )
    nodes = body.entries.get("nodes")
    if not isinstance(nodes, Sequence):
        raise SpecError(
            f"{tree.keys[top]}: {top} must have a list of nodes, not {kind_of(nodes)}; "
            "write 'nodes:' with '- !Memory' or '- !Component' entries"
        )
    rest = {key: entry for key, entry in body.entries.items() if key not in ("nodes", TAG)}
    rest |= {key: entry for key, entry in tree.entries.items() if key not in (top, TAG)}
    common = Component("the file", "common", body.place, (), _flat(rest))
    common.text("version")
    walked, _ = _walk(nodes, ())
    return Architecture(TOPS[top], tree.keys[top], tuple(walked), common)


def _walk(
    nodes: Sequence, path: tuple[Fanout, ...], branches: bool = False
) -> tuple[list[Component], tuple[Fanout, ...]]:
    """Components in order; each lies in the copies of those before it, but in branches."""
    found: list[Component] = []
    for entry in nodes.items:
        if not isinstance(entry, Mapping):
            raise SpecError(
                f"{entry.place}: a node must be a component, not {kind_of(entry)}; write "
                "'- !Memory' or '- !Component' with its fields below"
            )
        kind, tag = _kind(entry)
        name = entry.entries.get("name")
        own = tuple(_fanouts(entry))
        inside = (*path, *own)
        inner = entry.entries.get("nodes")
        called = name.text if isinstance(name, Scalar) else tag.removeprefix("!").lower()
        if inner is None or kind in ("memory", "compute"):
            made = Component(called, kind, entry.place, inside, _fields(entry))
            made.taken |= {n for n in made.fields if _in_fanout(n)}
            found.append(made)
        elif isinstance(inner, Sequence):
            below, after = _walk(inner, inside, kind == "branches")
            found += below
            inside = inside if kind == "branches" else after
        else:
            raise SpecError(
                f"{entry.keys['nodes']}: nodes must be a list, not {kind_of(inner)}; "
                "write '- !Component' entries"
            )
        path = path if branches else inside
    return found, path


def _kind(entry: Mapping) -> tuple[str, str]:
    """What an entry is, and its tag."""
    tag = entry.entries.get(TAG)
    if not isinstance(tag, Scalar):
        raise SpecError(
            f"{entry.place}: a node must have a tag, not none; write '- !Memory', "
            "'- !Compute', '- !Container' or '- !Component'"
        )
    kind = _KINDS.get(tag.text)
    if kind is None:
        raise SpecError(
            f"{entry.place}: a node must be one of {', '.join(_KINDS)}, not "
            f"'{shortened(tag.text)}'; take it out or write it as one of them"
        )
    if kind != "component":
        return kind, tag.text
    own = entry.entries.get("class")
    words = own.text if isinstance(own, Scalar) else ""
    if _STORES.search(words):
        return "memory", tag.text
    return ("compute" if _COMPUTES.search(words) else "component"), tag.text


def _fanouts(entry: Mapping) -> Iterator[Fanout]:
    """AccelForge's list of dimensions, or Timeloop's meshX and meshY."""
    given = entry.entries.get("spatial")
    if given is None:
        return
    place = entry.keys["spatial"]
    if isinstance(given, Mapping):
        for name in ("meshX", "meshY"):
            if name in given.entries:
                yield Fanout(name, _count(given, name), "", given.keys[name])
        return
    if not isinstance(given, Sequence):
        raise SpecError(
            f"{place}: spatial must be a list of dimensions or meshX and meshY, not "
            f"{kind_of(given)}; write '[{{name: X, fanout: 4}}]'"
        )
    for item in given.items:
        if not isinstance(item, Mapping) or "fanout" not in item.entries:
            raise SpecError(
                f"{item.place}: a dimension of spatial must have its fanout, not "
                f"{kind_of(item)}; write '{{name: X, fanout: 4}}'"
            )
        called, reuse = item.entries.get("name"), item.entries.get("reuse")
        yield Fanout(
            called.text if isinstance(called, Scalar) else "unnamed",
            _count(item, "fanout"),
            reuse.text if isinstance(reuse, Scalar) else "",
            item.keys["fanout"],
        )


def _count(section: Mapping, key: str) -> int:
    entry = section.entries[key]
    found = whole(entry.text) if isinstance(entry, Scalar) else None
    if found is None:
        raise SpecError(
            f"{section.keys[key]}: {key} must be a number of copies from 1 up, not "
            f"{kind_of(entry)}; write it as a number"
        )
    return found


def _in_fanout(name: str) -> bool:
    """Whether a field is of what `_fanouts` reads."""
    parts = name.split(".")
    last = ("name", "fanout", "reuse", "meshX", "meshY")
    return parts[0] == "spatial" and parts[-1] in last


def _fields(entry: Mapping) -> dict[str, Scalar]:
    return _flat({key: each for key, each in entry.entries.items() if key not in _SILENT})


def _flat(entries: dict[str, Tree], above: str = "") -> dict[str, Scalar]:
    """Leaves by dotted name; an entry of a list is called by its name or its number."""
    found: dict[str, Scalar] = {}
    for key, each in entries.items():
        name = f"{above}{key}"
        match each:
            case Scalar():
                found[name] = each
            case Mapping():
                inner = {k: e for k, e in each.entries.items() if k != TAG}
                found |= _flat(inner, f"{name}.")
            case Sequence():
                found |= _listed(name, each)
    return found


def _listed(name: str, given: Sequence) -> dict[str, Scalar]:
    plain = [item for item in given.items if isinstance(item, Scalar)]
    if len(plain) == len(given.items):
        text = ", ".join(item.text for item in plain)
        return {name: Scalar(text, True, given.place)}
    found: dict[str, Scalar] = {}
    for number_, item in enumerate(given.items):
        own = item.entries.get("name") if isinstance(item, Mapping) else None
        key = own.text if isinstance(own, Scalar) else str(number_)
        inner: dict[str, Tree] = {key: item}
        found |= _flat(inner, f"{name}.")
    return {n: s for n, s in found.items() if not n.endswith(".name")}
