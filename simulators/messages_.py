"""Pydantic's findings in the project's words: place, thing, rule, value, way out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tetrapla.ir.errors import nearest
from tetrapla.simulators.leaves_ import LEAF_KEYS, dotted, is_leaf, written
from tetrapla.simulators.schema_ import KeyPath, aliases, models_at, unit_at
from tetrapla.simulators.units_ import RULE, is_quantity
from tetrapla.simulators.yaml_ import Mapping, Place, Scalar, Sequence, Tree, kind_of, shortened

if TYPE_CHECKING:
    from pydantic import ValidationError

_BOUNDS = {
    "greater_than": ("gt", "greater than", "give a larger one"),
    "greater_than_equal": ("ge", "at least", "give a larger one"),
    "less_than": ("lt", "less than", "give a smaller one"),
    "less_than_equal": ("le", "at most", "give a smaller one"),
}
_KINDS = {
    "int": ("must be a whole number", "write digits alone, 64"),
    "float": ("must be a number", "write digits alone, 0.5"),
    "finite": ("must be finite", "give a number"),
    "string": ("must be text", "write a name, in quotes where it looks like a number"),
    "bool": ("must be true or false", "write one of them"),
    "list": ("must be a list", "write it in brackets, [a, b]"),
    "tuple": ("must be a list", "write it in brackets, [a, b]"),
    "dict": ("must be a section", "write its keys on lines of their own below it"),
    "model": ("must be a section", "write its keys on lines of their own below it"),
}


def messages(refused: ValidationError, tree: Mapping, model: Any, shown: str) -> list[str]:
    """Return one message for each defect, in the order of the file."""
    findings = [(error, _path(tree, error)) for error in refused.errors()]
    known: list[tuple[Place, str]] = []
    misspelt: set[KeyPath] = set()
    missing = [path for error, path in findings if error["type"] == "missing"]
    for error, path in findings:
        if error["type"] == "extra_forbidden":
            absent = [str(other[-1]) for other in missing if other[:-1] == path[:-1]]
            text, meant = _unknown(path, model, absent)
            misspelt.add((*path[:-1], meant))
            known.append((_key_place(tree, path), text))
    for error, path in findings:
        if error["type"] == "extra_forbidden":
            continue
        if error["type"] == "missing" and path in misspelt:
            continue
        if _is_no_value(_lookup(tree, path)):
            continue  # said where leaves were read
        if error["type"] == "value_error":
            known.append(_judged(error, path, tree))
        else:
            known.append((_where(error, path, tree), _sentence(error, path, tree, model)))
    known.sort(key=lambda entry: (entry[0].line == 0, entry[0].line, entry[0].column))
    return [_at(place, text, shown) for place, text in known]


def foreign_names(tree: Tree, model: Any, shown: str, path: KeyPath = ()) -> list[str]:
    """Return messages for keys that are the program's names (`clock_hz`), not YAML's (`clock`).

    Pydantic would take either, and silently drop one of two.
    """
    if not isinstance(tree, Mapping) or is_leaf(tree):
        items = list(enumerate(tree.items)) if isinstance(tree, Sequence) else []
        return [m for i, item in items for m in foreign_names(item, model, shown, (*path, i))]
    found: list[str] = []
    models = models_at(model, path)
    for key, item in tree.entries.items():
        named = (alias for one in models for alias, name in aliases(one).items() if name == key)
        meant = next(named, None)
        if meant is not None and not any(key in aliases(one) for one in models):
            thing = dotted(path) or "the file"
            text = f"{thing} has no key '{shortened(key)}'; did you mean '{meant}'?"
            found.append(_at(tree.keys[key], text, shown))
        found += foreign_names(item, model, shown, (*path, key))
    return found


def _at(place: Place, text: str, shown: str) -> str:
    # an override is its own thing: its place already names the field
    return f"{place}: {text}" if place.line or place.name == shown else f"{place} {text}"


def _path(tree: Tree, error: Any) -> KeyPath:
    """Return the part of pydantic's location that is keys; it also names members of unions."""
    path: list[str | int] = []
    here: Tree | None = tree
    loc = error["loc"]
    absent = error["type"] in ("missing", "extra_forbidden")  # the last key is not there
    for i, part in enumerate(loc):
        if isinstance(here, Mapping) and part in here.entries:
            here = here.entries[str(part)]
        elif isinstance(here, Sequence) and isinstance(part, int) and part < len(here.items):
            here = here.items[part]
        elif not (absent and isinstance(here, Mapping) and i == len(loc) - 1):
            continue  # the name of a union's member, or '[key]'
        path.append(part)
    return tuple(path)


def _lookup(tree: Tree, path: KeyPath) -> Tree | None:
    here: Tree | None = tree
    for part in path:
        if isinstance(here, Mapping):
            here = here.entries.get(str(part))
        elif isinstance(here, Sequence) and isinstance(part, int) and part < len(here.items):
            here = here.items[part]
        else:
            return None
    return here


def _place(tree: Mapping, path: KeyPath) -> Place:
    """Return the place of a key, or of what ought to hold it."""
    for length in range(len(path), 0, -1):
        parent, part = _lookup(tree, path[: length - 1]), path[length - 1]
        if isinstance(parent, Mapping) and part in parent.keys:
            return parent.place_of(str(part)) if length == len(path) else parent.keys[str(part)]
        item = _lookup(tree, path[:length])
        if item is not None:
            return item.place
    return Place(tree.place.name, 1, 1)


def _where(error: Any, path: KeyPath, tree: Mapping) -> Place:
    """The place of what is wrong: a field, its key alone, or a key beside source and grade."""
    here = _lookup(tree, path)
    if error["loc"] and error["loc"][-1] == "[key]":
        return _key_place(tree, path)
    if isinstance(here, Mapping) and _without_value(here, error):
        return next((here.keys[key] for key in here.keys if key not in LEAF_KEYS), here.place)
    return _place(tree, path)


def _key_place(tree: Mapping, path: KeyPath) -> Place:
    """The place of a key itself, wherever its value stands."""
    section = _lookup(tree, path[:-1])
    if isinstance(section, Mapping) and path[-1] in section.keys:
        return section.keys[str(path[-1])]
    return _place(tree, path)


def _is_no_value(tree: Tree | None) -> bool:
    return isinstance(tree, Mapping) and isinstance(tree.entries.get("value"), Mapping)


def _unknown(path: KeyPath, model: Any, missing: list[str]) -> tuple[str, str]:
    """Return the message for a key that nothing has, and the key that was meant."""
    thing, key = dotted(path[:-1]) or "the file", str(path[-1])
    known = sorted({alias for one in models_at(model, path[:-1]) for alias in aliases(one)})
    hint = nearest(key, missing) or nearest(key, known)
    meant = hint.removeprefix("; did you mean '").removesuffix("'?")
    hint = hint or f"; it can have: {', '.join(known)}"
    return f"{thing} has no key '{shortened(key)}'{hint}", meant


def _judged(error: Any, path: KeyPath, tree: Mapping) -> tuple[Place, str]:
    """Where a whole section's check belongs: to the field that its sentence begins with.

    What the command line changed is said beside a field of the file, which it may contradict.
    """
    text = str(error["ctx"]["error"])
    thing, _, rest = text.partition(" ")
    named, section = _path_of(tree, thing), _lookup(tree, path)
    if not named and isinstance(section, Mapping) and not is_leaf(section):
        inner = _path_of(section, thing)  # a section's own check names its own fields
        named = (*path, *inner) if inner else ()
        text = f"{dotted(path)}.{text}" if inner else text
    place = _place(tree, named or path)
    if not place.line:
        return place, rest
    changed = ", ".join(_overrides(tree))
    return place, f"with {changed}, {text}" if changed else text


def _path_of(tree: Mapping, name: str) -> KeyPath:
    """The keys of a dotted name, as far as the tree has them; a key may hold dots."""
    here, parts = tree, name.removesuffix(":").split(".")
    path: KeyPath = ()
    while parts:
        keys = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        key = next((key for key in keys if key in here.entries), None)
        if key is None:
            return path
        path, parts, inner = (*path, key), parts[key.count(".") + 1 :], here.entries[key]
        if not isinstance(inner, Mapping) or is_leaf(inner):
            return path
        here = inner
    return path


def _overrides(tree: Mapping, path: KeyPath = ()) -> list[str]:
    """What the command line set, as it was written."""
    found: list[str] = []
    for key, item in tree.entries.items():
        here = (*path, key)
        if tree.keys[key].name == f"--set {dotted(here)}":
            found.append(f"--set {dotted(here)}={written(item)}")
        elif isinstance(item, Mapping) and not is_leaf(item):
            found += _overrides(item, here)
    return found


def _sentence(error: Any, path: KeyPath, tree: Mapping, model: Any) -> str:
    if error["type"] == "missing":
        thing = dotted(path[:-1]) or "the file"
        return f"{thing} needs the key '{path[-1]}'; add '{path[-1]}: …'"
    here = _lookup(tree, path)
    if isinstance(here, Mapping) and (sourced := _without_value(here, error)):
        return f"{dotted(path)} {sourced}"
    override = not _place(tree, path).line
    rule, way_out = _rule(error, unit_at(model, path))
    if error["loc"] and error["loc"][-1] == "[key]":
        value = f"'{shortened(str(path[-1]))}'"
    else:
        value = _shown(here)
    thing = "" if override else (dotted(path) or "the file") + " "
    return f"{thing}{rule}, not {value}{way_out and '; ' + way_out}"


def _rule(error: Any, unit: str) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == RULE:
        return context["rule"], context["way_out"]
    if kind in _BOUNDS:
        name, words, way_out = _BOUNDS[kind]
        return f"must be {words} {context[name]:g} {unit}".rstrip(), way_out
    if kind in ("literal_error", "enum"):
        allowed = re.findall(r"'([^']*)'", context["expected"])
        hint = nearest(str(error["input"]), allowed).removeprefix("; ")
        return f"must be {context['expected']}", hint or "take one of them"
    if kind == "string_pattern_mismatch":
        # the one pattern of a chip is that of an action
        return "must be an action, unit.action in small letters", "write 'mac.int8'"
    if kind in ("too_short", "too_long"):
        words = {"too_short": "at least", "too_long": "at most"}[kind]
        count = context.get("min_length", context.get("max_length"))
        return f"must have {words} {count} items", "mend the list"
    family = kind.partition("_")[0]
    if family in _KINDS:
        return _KINDS[family]
    return f"must be right: {error['msg']}", ""


def _without_value(section: Mapping, error: Any) -> str:
    """What is wrong with ``{source: …, grade: …}``, meant as a number with its source."""
    sourced = any(key in section.entries for key in LEAF_KEYS)
    if not sourced or is_leaf(section) or error["type"] in ("missing", "model_type"):
        return ""
    odd = next((key for key in section.entries if key not in LEAF_KEYS), None)
    if odd is None:
        return "needs the key 'value'; add 'value: …'"
    hint = nearest(odd, ["value"]) or "; write 'value'"
    return f"has no key '{shortened(odd)}'{hint}"


def _shown(tree: Tree | None) -> str:
    if isinstance(tree, Mapping) and is_leaf(tree):
        tree = tree.entries["value"]
    if not isinstance(tree, Scalar):
        return shortened(written(tree)) if isinstance(tree, Sequence) else kind_of(tree)
    value = tree.value
    if value is None:
        return "null"
    if isinstance(value, str) and not is_quantity(value):
        return f"'{shortened(value)}'"
    return shortened(tree.text)
