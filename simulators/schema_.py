"""Questions to a spec's model, asked by the path of a YAML key."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator

from tetrapla.simulators.units_ import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

KeyPath = tuple["str | int", ...]


def annotation_at(model: Any, path: KeyPath) -> list[Any]:
    """Return the types that the field at `path` may have; none if there is no such field."""
    found = [model]
    for part in path:
        outer = [member for one in found for member in members(one)]
        found = [inner for member in outer for inner in _into(member, part)]
    return found


def members(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union, looking through `Annotated`."""
    if get_origin(annotation) is Annotated:
        yield from members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from members(inner)
    else:
        yield annotation


def is_open(model: Any, path: KeyPath) -> bool:
    """Whether the section at `path` takes keys of the file's own, each with one value."""
    return any(
        get_origin(member) is dict
        for one in annotation_at(model, path)
        for member in members(one)
    )


def models_at(model: Any, path: KeyPath) -> list[type[BaseModel]]:
    """Return the models that the section at `path` may be."""
    return [
        member
        for one in annotation_at(model, path)
        for member in members(one)
        if isinstance(member, type) and issubclass(member, BaseModel)
    ]


def aliases(model: type[BaseModel]) -> dict[str, str]:
    """Return the YAML keys of a model, and the names of their fields."""
    return {entry.alias or name: name for name, entry in model.model_fields.items()}


def is_numeric(annotations: list[Any]) -> bool:
    """Whether a field, or the items of a list, can be numbers."""
    for annotation in annotations:
        for member in members(annotation):
            if member in (int, float):
                return True
            if get_origin(member) in (list, tuple) and is_numeric(list(get_args(member))):
                return True
    return False


def unit_at(model: Any, path: KeyPath) -> str:
    """Return the base unit of the field at `path`, or an empty string."""
    return next((unit for one in annotation_at(model, path) for unit in _units(one)), "")


def _into(member: Any, part: str | int) -> Iterator[Any]:
    if isinstance(member, type) and issubclass(member, BaseModel):
        name = aliases(member).get(str(part))
        if name is not None:
            entry = member.model_fields[name]
            metadata = tuple(entry.metadata)
            yield Annotated[(entry.annotation, *metadata)] if metadata else entry.annotation
    elif get_origin(member) is dict:
        yield get_args(member)[1]
    elif get_origin(member) in (list, tuple) and isinstance(part, int):
        yield get_args(member)[0]


def _units(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        for entry in metadata:
            if isinstance(entry, BeforeValidator) and isinstance(entry.func, Unit):
                yield entry.func.base
        yield from _units(inner)
    else:
        for inner in get_args(annotation):
            yield from _units(inner)
