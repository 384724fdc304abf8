"""What the fields of a chip's YAML mean: their words, units and ranges, from the models."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from tetrapla.simulators.leaves_ import GRADES
from tetrapla.simulators.schema_ import members
from tetrapla.simulators.units_ import Unit
from tetrapla.simulators.words_ import WORDS

_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")
_QUANTITY = r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
_BOUNDS = (
    (Ge, "ge", "minimum", "at least"),
    (Gt, "gt", "exclusiveMinimum", "above"),
    (Le, "le", "maximum", "at most"),
    (Lt, "lt", "exclusiveMaximum", "below"),
)
DEFINITIONS: Final[dict[str, Any]] = {
    "source": {"type": "string", "description": "paper and table, or why"},
    "grade": {"enum": list(GRADES)},
    "range": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 2,
        "maxItems": 2,
        "description": "between which the sources of a price lie",
    },
}


@dataclass(frozen=True)
class Kind:
    """A type of values: as JSON schema of a plain value, and in words."""

    schema: dict[str, Any]
    words: str


def field_text(model: type[BaseModel], name: str) -> str:
    """What a class's docstring or the field itself says of a field; nothing where neither."""
    lines = cleandoc(model.__doc__ or "").splitlines()
    start = lines.index("Attributes:") + 1 if "Attributes:" in lines else len(lines)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines[start:]:
        entry = _ENTRY.match(line)
        if entry:
            names = entry[1].split(", ")
        for each in names:
            found[each] = f"{found.get(each, '')} {entry[2] if entry else line.strip()}".strip()
    reason = model.model_fields[name].description
    text = found.get(name, "").rstrip(".") or _words(model, name)
    return text or (f"where it is left out: {reason}" if reason else "")


def _words(model: type[BaseModel], name: str) -> str:
    """The sentence of the class that the field is of, or of one that it is made from."""
    keys = [f"{each.__name__}.{name}" for each in model.__mro__]
    return next((WORDS[key] for key in keys if key in WORDS), "")


def model_text(model: type[BaseModel]) -> str:
    """The first sentence of a section's docstring."""
    text = " ".join(cleandoc(model.__doc__ or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.;]) ", text)[0].rstrip(".;")


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field may be."""
    return [m for m in members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]


def kind(entry: FieldInfo) -> Kind:
    """What a field's plain value may be."""
    return _kind(entry.annotation, tuple(entry.metadata))


def _kind(annotation: Any, metadata: tuple[Any, ...] = ()) -> Kind:
    while hasattr(annotation, "__metadata__"):
        metadata = (*annotation.__metadata__, *metadata)
        annotation = annotation.__origin__
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _union([_kind(each, metadata) for each in get_args(annotation)])
    if annotation is type(None):
        return Kind({"type": "null"}, "null where it is not known")
    if origin is Literal:
        values = list(get_args(annotation))
        return Kind({"enum": values}, " or ".join(map(str, values)))
    if origin in (list, tuple):
        inner = _kind(get_args(annotation)[0])
        return Kind({"type": "array", "items": leaf(inner)}, f"a list of: {inner.words}")
    if origin is dict:
        inner = _kind(get_args(annotation)[1])
        schema = {"type": "object", "additionalProperties": leaf(inner)}
        return Kind(schema, f"by name, each {inner.words}")
    found = [m.func for m in metadata if isinstance(m, BeforeValidator)]
    if found and isinstance(found[0], Unit):
        return _quantity(found[0], metadata)
    if annotation is bool:
        return Kind({"type": "boolean"}, "true or false")
    if annotation in (int, float):
        return _number(annotation, metadata)
    return Kind({"type": "string"}, "text")


def _union(kinds: list[Kind]) -> Kind:
    words = [each.words for each in kinds]
    return Kind({"anyOf": [each.schema for each in kinds]}, ", or ".join(words))


def _quantity(unit: Unit, metadata: tuple[Any, ...]) -> Kind:
    symbols = "|".join(re.escape(symbol) for symbol in sorted(unit.factors))
    example = f"64 {unit.usual}"
    bounds = _bounds(metadata)
    limits = " and ".join(f"{words} {value:g} {unit.base}" for _, value, words in bounds)
    words = f"a quantity in {unit.base}{limits and ', ' + limits} (as {example})"
    pattern = f"^{_QUANTITY}\\s*({symbols})$"
    return Kind(
        {"type": "string", "pattern": pattern, "description": words, "examples": [example]},
        words,
    )


def _number(annotation: Any, metadata: tuple[Any, ...]) -> Kind:
    whole = annotation is int
    bounds = _bounds(metadata)
    limits = " and ".join(f"{words} {value:g}" for _, value, words in bounds)
    plain = {"type": "integer" if whole else "number", **{key: v for key, v, _ in bounds}}
    name = "a whole number" if whole else "a number"
    words = f"{name}{limits and ', ' + limits}"
    if whole:
        return Kind(plain, words)
    percent = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+) ?%$"}
    return Kind({"anyOf": [plain, percent]}, words)


def _bounds(metadata: tuple[Any, ...]) -> list[tuple[str, float, str]]:
    """JSON schema's word, the bound, and in words; of several of a kind the tightest."""
    found: dict[str, tuple[str, float, str]] = {}
    for each in (part for m in metadata for part in getattr(m, "metadata", [m])):
        for type_, name, key, words in _BOUNDS:
            if isinstance(each, type_):
                value = getattr(each, name)
                old = found.get(key)
                tighter = max if "inimum" in key else min
                found[key] = (key, value if old is None else tighter(value, old[1]), words)
    if "minimum" in found and "exclusiveMinimum" in found:
        weaker = found["exclusiveMinimum"][1] >= found["minimum"][1]
        del found["minimum" if weaker else "exclusiveMinimum"]
    return list(found.values())


def leaf(inner: Kind) -> dict[str, Any]:
    """A plain value, or ``{value: …, source: …, grade: …}``."""
    shared = {name: {"$ref": f"#/$defs/{name}"} for name in DEFINITIONS}
    sourced = {
        "type": "object",
        "properties": {"value": inner.schema, **shared},
        "required": ["value"],
        "additionalProperties": False,
    }
    return {"anyOf": [inner.schema, sourced]}
