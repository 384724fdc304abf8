"""A chip's prices from cost tables: `cost` names them, and what they do not say is filled in.

    before  cost:                               after  cost:
              table: jouppi-2021                         mac.int8: {value: 0.1 pJ, source: …}
              dram_kind: hbm2                            dram.read_byte: {value: 43.75 pJ, …}
              banks: {unified_buffer: 1 MiB}             unified_buffer.read_byte: …
              mac.idle: 0.02 pJ                          mac.idle: 0.02 pJ

A price that the file states stays. Nodes are scaled by `nodes_`; the area is derived, too,
where the file leaves it null and a table has areas (`areas_`).
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import Any, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from tetrapla.ir.errors import RegistryError, SpecError, nearest
from tetrapla.simulators import units_
from tetrapla.simulators.actions_ import prices
from tetrapla.simulators.areas_ import Area, area, sizes
from tetrapla.simulators.costs_ import Table, table
from tetrapla.simulators.leaves_ import leaves
from tetrapla.simulators.messages_ import messages
from tetrapla.simulators.nodes_ import LARGEST_NM, SMALLEST_NM
from tetrapla.simulators.recipes_ import ASSUMED, Bank, Book, Price, per_byte
from tetrapla.simulators.section_ import Section
from tetrapla.simulators.yaml_ import Mapping, Place, Scalar, Sequence, Tree

_DIGITS = 6  # of a derived number; no source has as many


class Recipe(Section):
    """The keys of `cost` that are no prices.

    Attributes:
        tables: names of cost tables; of each price the first that has its constants.
        mixed: why tables of several families stand beside each other.
        banks: what one access of a memory reads from, by memory; all of it where not given.
    """

    tables: str | tuple[str, ...] = Field(alias="table")
    mixed: str | None = None
    dram_kind: str | None = None
    link_kind: str | None = None
    banks: dict[str, units_.Bytes] = Field(default_factory=dict[str, int])


class _Chip(Section):
    cost: Recipe


_ABSENT = ("", "null", "~")

Said: TypeAlias = tuple[str, str, str]
"""A number as written, its source and its grade."""

KEYS = tuple(entry.alias or name for name, entry in Recipe.model_fields.items())


def is_recipe_key(key: str) -> bool:
    """Whether ``cost.KEY`` is no price."""
    return key.partition(".")[0] in KEYS


def derive(tree: Mapping, shown: str) -> tuple[str, ...]:
    """Replace the recipe in a chip's tree by the prices that follow from it.

    Args:
        tree: of the whole chip; its `cost` may name a table.
        shown: the file's name in messages.

    Returns:
        What a report should say of it.

    Raises:
        SpecError: the recipe is wrong, at its place.
    """
    cost = tree.entries.get("cost")
    if not isinstance(cost, Mapping) or not any(key in cost.entries for key in KEYS):
        return ()
    wanted = Mapping(cost.place, _only(cost.entries), _only(cost.keys))
    for key in wanted.entries:
        del cost.entries[key], cost.keys[key]
    recipe, grades = _read(wanted, cost.place, shown)
    place = wanted.keys["table"]
    book = _book(tree, recipe, place)
    found = _prices(tree, book, recipe, grades, wanted.keys)
    for action, price in found.items():
        if action not in cost.entries:
            cost.entries[action], cost.keys[action] = _leaf(price, place), place
    return _warnings(tree, book, recipe, place)


def _only(entries: AnyMapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in entries.items() if key in KEYS}


def _read(wanted: Mapping, place: Place, shown: str) -> tuple[Recipe, dict[str, Said]]:
    """The recipe, and by dotted key the number as written, its source and its grade."""
    outer = Mapping(place, {"cost": wanted}, {"cost": place})
    errors: list[str] = []
    found = leaves(outer, errors)
    try:
        context = {units_.FROM_YAML: True}
        recipe = _Chip.model_validate(found.data, context=context).cost
    except ValidationError as refused:
        raise SpecError("\n".join(messages(refused, outer, _Chip, shown))) from None
    if errors:
        raise SpecError("\n".join(errors))
    said = {
        ".".join(map(str, leaf.path[1:])): (" ".join(leaf.number), leaf.source, leaf.grade)
        for leaf in found.leaves
    }
    return recipe, said


def _book(tree: Mapping, recipe: Recipe, place: Place) -> Book:
    chosen = _tables(recipe, place)
    node_nm = _quantity(tree, ("chip", "node"), units_.Nanometres)
    if node_nm is None:
        raise SpecError(
            f"{place}: cost.table needs chip.node, to scale by; add it, or give the prices"
        )
    if not SMALLEST_NM <= node_nm <= LARGEST_NM:
        raise SpecError(
            f"{place}: cost.table can be scaled to nodes of {SMALLEST_NM} to {LARGEST_NM} nm, "
            f"not {node_nm:g} nm; give the prices themselves"
        )
    return Book(chosen, node_nm)


def _prices(
    tree: Mapping,
    book: Book,
    recipe: Recipe,
    said: AnyMapping[str, Said],
    places: AnyMapping[str, Place],
) -> dict[str, Price | None]:
    banks = {
        name: Bank(size, _said(*said[f"banks.{name}"][:2]), said[f"banks.{name}"][2])
        for name, size in recipe.banks.items()
    }
    whole = sizes(tree)
    for name, size in (whole.memories if whole else {}).items():
        banks.setdefault(name, Bank(size, f"{size} bytes (all of it, assumed)", ASSUMED))
    found = prices(book, banks, _text(tree, ("chip", "default_format")))
    for kind, name, actions in (
        ("dram_kind", "dram", ("dram.read_byte", "dram.write_byte")),
        ("link_kind", "link", ("host_link.byte",)),
    ):
        price = _outside(getattr(recipe, kind), kind, name, places)
        found.update(dict.fromkeys(actions, price))
    return found


def _warnings(tree: Mapping, book: Book, recipe: Recipe, place: Place) -> tuple[str, ...]:
    """Set the area where it can be derived, and say what is unusual."""
    said: list[str] = []
    families = dict.fromkeys(table.family for table in book.tables)
    if len(families) > 1:
        said.append(f"prices come of several tables, {', '.join(families)}: {recipe.mixed}")
    parts, known = sizes(tree), _text(tree, ("chip", "area"))
    made = area(parts, book.tables, book.node_nm) if parts and known in _ABSENT else None
    if made is not None:
        _set_area(tree, made, place)
        said.append(f"the area is derived, not published: {made.source}")
    return tuple(said)


def _tables(recipe: Recipe, place: Place) -> tuple[Table, ...]:
    names = (recipe.tables,) if isinstance(recipe.tables, str) else recipe.tables
    try:
        chosen = tuple(table(name) for name in names)
    except RegistryError as error:
        raise SpecError(f"{place}: cost.table: {error}") from None
    families = sorted({one.family for one in chosen})
    if len(families) > 1 and not recipe.mixed:
        raise SpecError(
            f"{place}: cost.table must be of one family, not {', '.join(families)}, which "
            "differ several times on the same operation; say why in cost.mixed"
        )
    return chosen


def _outside(
    kind: str | None, key: str, name: str, places: AnyMapping[str, Place]
) -> Price | None:
    if kind is None:
        return None
    known = table(name)
    price = per_byte(known, kind)
    if price is None:
        there = sorted({record.name for record in known.records})
        hint = nearest(kind, there) or f"; there are: {', '.join(there)}"
        raise SpecError(
            f"{places[key]}: cost.{key} must be of the table '{name}', not {kind}{hint}"
        )
    return price


def _said(shown: str, source: str) -> str:
    return f"{shown} ({source})" if source else shown


def _leaf(price: Price | None, place: Place) -> Tree:
    if price is None:
        entries: dict[str, Tree] = {
            "value": Scalar("null", False, place),
            "source": Scalar("no table of this chip has the constants", True, place),
            "grade": Scalar("derived", True, place),
        }
    else:
        entries = {
            "value": Scalar(_picojoules(price.pj), False, place),
            "source": Scalar(price.source, True, place),
            "grade": Scalar(price.grade, True, place),
        }
        if price.low_pj < price.high_pj:
            ends = (price.low_pj, price.high_pj)
            entries["range"] = Sequence(
                place, [Scalar(_picojoules(end), False, place) for end in ends]
            )
    return Mapping(place, entries, dict.fromkeys(entries, place))


def _picojoules(energy_pj: float) -> str:
    return f"{energy_pj:.{_DIGITS}g} pJ"


def _set_area(tree: Mapping, made: Area, place: Place) -> None:
    chip = tree.entries["chip"]
    assert isinstance(chip, Mapping)  # `area` found it empty there
    entries: dict[str, Tree] = {
        "value": Scalar(f"{made.mm2:.{_DIGITS}g} mm2", False, place),
        "source": Scalar(made.source, True, place),
        "grade": Scalar("derived", True, place),
    }
    chip.entries["area"] = Mapping(place, entries, dict.fromkeys(entries, place))
    chip.keys.setdefault("area", place)


def _quantity(tree: Mapping, path: tuple[str, ...], kind: Any) -> float | None:
    """A number of the tree in its base unit; None where it is missing or wrong."""
    try:
        context = {units_.FROM_YAML: True}
        return float(TypeAdapter(kind).validate_python(_text(tree, path), context=context))
    except ValidationError:
        return None  # the whole chip's own check says what is wrong


def _text(tree: Mapping, path: tuple[str, ...]) -> str:
    here: Tree | None = tree
    for key in path:
        here = here.entries.get(key) if isinstance(here, Mapping) else None
    if isinstance(here, Mapping):
        here = here.entries.get("value")
    return here.text if isinstance(here, Scalar) else ""
