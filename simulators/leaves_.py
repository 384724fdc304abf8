"""The leaves of a chip's tree: their values, sources and grades; and ``--set`` upon them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tetrapla.ir.errors import SpecError, nearest
from tetrapla.simulators.price_ import CLOCK
from tetrapla.simulators.schema_ import KeyPath, aliases, is_open, models_at
from tetrapla.simulators.units_ import is_quantity, split
from tetrapla.simulators.yaml_ import (
    Mapping,
    Place,
    Scalar,
    Sequence,
    Tree,
    kind_of,
    leaf,
    shortened,
)

ASSUMED: Final = "assumed"
USER: Final = "user"
GRADES: Final = ("measured", "published", "derived", ASSUMED)
STATIC_POWER: Final = ("chip", "static_power")
LEAF_KEYS: Final = ("value", "source", "grade", "range")


@dataclass(frozen=True)
class Leaf:
    """One value of a file; `source` and `grade` are empty where the file gives none.

    `range` is the two ends of a price as text; empty for what is none or has none.
    `range_place` is where they stand.
    """

    path: KeyPath
    tree: Scalar | Sequence
    source: str
    grade: str
    range: tuple[str, ...] = ()
    range_place: Place | None = None

    @property
    def number(self) -> tuple[str, str]:
        """Number and unit as written; a list is one text."""
        if isinstance(self.tree, Scalar):
            return split(self.tree.text or "null")
        return written(self.tree), ""

    @property
    def looks_numeric(self) -> bool:
        """Whether it is a number or a quantity, or a list with one in it."""
        items = self.tree.items if isinstance(self.tree, Sequence) else [self.tree]
        return any(isinstance(item, Scalar) and _is_number(item) for item in items)


@dataclass(frozen=True)
class Found:
    """A file as plain data for pydantic, and its leaves in order."""

    data: Any
    leaves: list[Leaf]


def leaves(tree: Tree, errors: list[str]) -> Found:
    """Return data and leaves of a tree; defects of ``{value: …}`` are added to `errors`."""
    found: list[Leaf] = []
    return Found(_data(tree, (), found, errors), found)


def dotted(path: KeyPath) -> str:
    """Return a path as it is written, ``memories[0].size``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def written(tree: Tree) -> str:
    """Return a value as text on one line."""
    match tree:
        case Scalar():
            return tree.text
        case Sequence():
            return f"[{', '.join(written(item) for item in tree.items)}]"
        case Mapping():
            inner = ", ".join(f"{key}: {written(item)}" for key, item in tree.entries.items())
            return f"{{{inner}}}"


def is_leaf(tree: Tree) -> bool:
    """Whether a tree stands for one value: everything but a section or a list of sections."""
    if isinstance(tree, Mapping):
        return "value" in tree.entries
    return isinstance(tree, Scalar) or not any(isinstance(i, Mapping) for i in tree.items)


def override(tree: Mapping, text: str, model: Any, errors: list[str]) -> None:
    """Set one ``FIELD=VALUE`` in a tree, or add the reason why not to `errors`."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        errors.append(f"--set must be FIELD=VALUE, not '{text}'; write 'array.rows=128'")
        return
    place = Place(f"--set {name}")
    home = _home(tree, name.split("."), (), model)
    if home is None:
        known = [dotted(one.path) for one in leaves(tree, []).leaves]
        hint = nearest(name, known) or f"; there are: {', '.join(sorted(known))}"
        errors.append(f"{place} must name a field of the chip{hint}")
        return
    section, key = home
    if section is tree and key == "family":
        errors.append(f"{place} must stay as it is; name a chip of the other family instead")
        return
    old = section.entries.get(key)
    if old is not None and not is_leaf(old):
        errors.append(f"{place} must name a value, not {kind_of(old)}; set its own fields")
        return
    try:
        section.entries[key] = leaf(value.strip(), place)
        section.keys[key] = place
    except SpecError as error:
        errors.append(str(error))


def _home(
    section: Mapping, parts: list[str], path: KeyPath, model: Any
) -> tuple[Mapping, str] | None:
    # a key may hold dots (mac.int8), so every split is tried, the longest key first
    for count in range(len(parts), 0, -1):
        key, rest = ".".join(parts[:count]), parts[count:]
        inner = section.entries.get(key)
        if not rest and (inner is not None or _can_have(model, (*path, key))):
            return section, key
        if rest and inner is None and models_at(model, (*path, key)):
            # a section that the file leaves out stays out unless it has the field
            place = Place(f"--set {dotted((*path, *parts))}")
            inner = Mapping(place, {}, {})
        if rest and isinstance(inner, Mapping) and not is_leaf(inner):
            home = _home(inner, rest, (*path, key), model)
            if home is not None:
                section.entries.setdefault(key, inner)
                section.keys.setdefault(key, inner.place)
                return home
    return None


def _can_have(model: Any, path: KeyPath) -> bool:
    if models_at(model, path):
        return False
    if path[:-1] == ("cost",):
        # any key would do, so a misspelt one would pass
        return path[-1] in (CLOCK, *getattr(model, "optional_actions", ()))
    parents = models_at(model, path[:-1])
    return any(path[-1] in aliases(one) for one in parents) or is_open(model, path[:-1])


def _data(tree: Tree, path: KeyPath, found: list[Leaf], errors: list[str]) -> Any:
    match tree:
        case Mapping() if "value" in tree.entries:
            return _sourced(tree, path, found, errors)
        case Mapping():
            return {
                key: _data(item, (*path, key), found, errors)
                for key, item in tree.entries.items()
            }
        case Sequence() if not is_leaf(tree):
            return [_data(item, (*path, i), found, errors) for i, item in enumerate(tree.items)]
        case Scalar() | Sequence():
            found.append(Leaf(path, tree, "", ""))
            return _value(tree)


def _sourced(tree: Mapping, path: KeyPath, found: list[Leaf], errors: list[str]) -> Any:
    thing = dotted(path) or "the file"
    for key in tree.entries:
        if key not in LEAF_KEYS:
            hint = nearest(key, LEAF_KEYS) or f"; it can have: {', '.join(LEAF_KEYS)}"
            errors.append(f"{tree.keys[key]}: {thing} has no key '{shortened(key)}'{hint}")
    source, grade = _text(tree, "source", thing, errors), _text(tree, "grade", thing, errors)
    if grade not in ("", *GRADES):
        hint = nearest(grade, GRADES) or "; take one of them"
        errors.append(
            f"{tree.keys['grade']}: {thing}.grade must be {', '.join(GRADES[:-1])} or "
            f"{GRADES[-1]}, not '{shortened(grade)}'{hint}"
        )
    value = tree.entries["value"]
    if isinstance(value, Mapping):
        errors.append(
            f"{tree.keys['value']}: {thing}.value must be a value, not a section; "
            "write the number itself"
        )
        return None
    ends = _ends(tree, thing, errors)
    found.append(Leaf(path, value, source, grade, ends, tree.keys.get("range")))
    return _value(value)


def _ends(tree: Mapping, thing: str, errors: list[str]) -> tuple[str, ...]:
    entry = tree.entries.get("range")
    if entry is None:
        return ()
    place = tree.keys["range"]
    items = entry.items if isinstance(entry, Sequence) else []
    ends = tuple(item.text for item in items if isinstance(item, Scalar))
    if len(ends) != 2 or len(items) != 2:
        errors.append(
            f"{place}: {thing}.range must be the least and the most, not "
            f"{shortened(written(entry))}; "
            "write '[1 pJ, 2 pJ]'"
        )
        return ()
    return ends


def _text(tree: Mapping, key: str, thing: str, errors: list[str]) -> str:
    entry = tree.entries.get(key)
    if entry is None:
        return ""
    if isinstance(entry, Scalar) and isinstance(entry.value, str):
        return entry.value.strip()
    errors.append(
        f"{tree.keys[key]}: {thing}.{key} must be text, not {kind_of(entry)}; "
        "write it in quotes"
    )
    return ""


def _value(tree: Tree) -> Any:
    match tree:
        case Scalar():
            return tree.value
        case Sequence():
            return [_value(item) for item in tree.items]
        case Mapping():
            return {key: _value(item) for key, item in tree.entries.items()}


def _is_number(scalar: Scalar) -> bool:
    value = scalar.value
    if isinstance(value, str):
        return is_quantity(value)
    return isinstance(value, int | float) and not isinstance(value, bool)
