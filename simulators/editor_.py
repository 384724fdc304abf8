"""Help with editing a chip's YAML: a JSON schema, and comments beside the fields."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from pydantic import BaseModel

from tetrapla.simulators.derive_ import Recipe
from tetrapla.simulators.fields_ import (
    DEFINITIONS,
    field_text,
    kind,
    leaf,
    model_text,
    models_of,
)
from tetrapla.simulators.schema_ import aliases, models_at
from tetrapla.simulators.spec_ import Loaded, Spec
from tetrapla.simulators.yaml_ import Mapping, read_text

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_WIDTH = 96
_PRICES = (
    "energies by action, each a quantity in pJ (as 64 pJ) or null where no source gives it; "
    "range: between which its sources lie; table: prices that are not given follow from cost "
    "tables"
)


def json_schema(spec_type: type[Spec], family: str) -> dict[str, Any]:
    """The JSON schema of a family's chips.

    Args:
        spec_type: the family's model.
        family: its name, which the file must give.
    """
    body = _section(spec_type)
    body["properties"]["family"] = {"const": family}
    title = f"a {family} chip of tetrapla"
    return {"$schema": DRAFT, "title": title, **body, "$defs": DEFINITIONS}


def commented(loaded: Loaded[Any]) -> str:
    """A chip's YAML with a comment above every section and field: meaning, unit and range."""
    tree = read_text(loaded.text, loaded.name)
    lines = loaded.text.splitlines()
    notes: dict[int, list[str]] = {}
    _note(tree, type(loaded.spec), (), notes, -1)
    for number in sorted(notes, reverse=True):
        row = lines[number - 1]
        indent = row[: len(row) - len(row.lstrip())]
        width = max(40, _WIDTH - len(indent) - 2)
        text = [f"{indent}# {each}" for each in textwrap.wrap("; ".join(notes[number]), width)]
        lines[number - 1 : number - 1] = text
    return "\n".join(lines) + "\n"


def _section(model: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for key, name in aliases(model).items():
        entry = model.model_fields[name]
        text = field_text(model, name)
        if name == "cost":
            properties[key] = _cost(entry)
        elif inner := models_of(entry.annotation):
            parts = [_section(each) for each in inner]
            properties[key] = parts[0] if len(parts) == 1 else {"anyOf": parts}
        elif (found := kind(entry)).schema.get("type") == "object":
            properties[key] = {**found.schema, "description": text or found.words}
        else:
            said = "; ".join(part for part in (text, found.words) if part)
            properties[key] = {"description": said, **leaf(found)}
        if entry.is_required():
            required.append(key)
    return {
        "type": "object",
        "description": model_text(model),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _cost(entry: Any) -> dict[str, Any]:
    """Prices by action, and the keys of the recipe that fills them in."""
    recipe = _section(Recipe)["properties"]
    prices = kind(entry).schema["additionalProperties"]
    return {
        "type": "object",
        "description": _PRICES,
        "properties": {**recipe, "banks": {"type": "object"}},
        "additionalProperties": prices,
    }


def _note(
    tree: Mapping, model: Any, path: tuple[str | int, ...], notes: dict[int, list[str]], at: int
) -> None:
    """Collect by line what is to be said of the keys that stand first on it."""
    for key, item in tree.entries.items():
        place, here = tree.keys[key], (*path, key)
        first = place.line != at
        said = _said(model, path, key)
        if said and first:
            notes.setdefault(place.line, []).append(said)
        if not isinstance(item, Mapping) or "value" in item.entries:
            continue
        if here != ("cost",):
            _note(item, model, here, notes, place.line)


def _said(model: Any, path: tuple[str | int, ...], key: str) -> str:
    """Meaning, unit and range of a field; of a section its own sentence."""
    if (*path, key) == ("cost",):
        return _PRICES
    for one in models_at(model, path):
        name = aliases(one).get(key)
        if name is None:
            continue
        entry = one.model_fields[name]
        text = field_text(one, name)
        if inner := models_of(entry.annotation):
            return text or model_text(inner[0])
        return "; ".join(part for part in (text, kind(entry).words) if part)
    return ""
