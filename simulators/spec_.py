"""Chips: a frozen model per family, read from YAML with a place and a source for every number.

A leaf is a plain value (``clock: 700 MHz``) or ``{value: 700 MHz, source: "…", grade: …}``.
The defects of a file are reported together, one a line: ``<file>:<line>:<column>: <thing>
<rule>, not <value>; <way out>``. Quantities are in `units_`, the reading of YAML in `yaml_`,
leaves and overrides in `leaves_`, the wording of pydantic's findings in `messages_`, prices
that follow from cost tables in `derive_`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Self, TypeAlias, TypeVar

from pydantic import Field, StringConstraints, ValidationError, field_validator

from tetrapla.ir.errors import RegistryError, SpecError, nearest
from tetrapla.simulators import units_
from tetrapla.simulators.derive_ import derive, is_recipe_key
from tetrapla.simulators.html_ import as_html
from tetrapla.simulators.leaves_ import (
    ASSUMED,
    GRADES,
    USER,
    Leaf,
    dotted,
    leaves,
    override,
)
from tetrapla.simulators.messages_ import foreign_names, messages
from tetrapla.simulators.price_ import STATIC
from tetrapla.simulators.ranges_ import price_ranges
from tetrapla.simulators.roof_ import Roof
from tetrapla.simulators.schema_ import annotation_at, is_numeric, unit_at
from tetrapla.simulators.section_ import Section as Section
from tetrapla.simulators.yaml_ import Mapping as YamlMapping
from tetrapla.simulators.yaml_ import Scalar, kind_of, listed, read_file, read_text, shortened

Amperes = units_.Amperes
Bits = units_.Bits
Bytes = units_.Bytes
BytesPerSecond = units_.BytesPerSecond
Count = units_.Count
Farads = units_.Farads
Fraction = units_.Fraction
Hertz = units_.Hertz
Integer = units_.Integer
Kelvin = units_.Kelvin
Nanometres = units_.Nanometres
Number = units_.Number
Ohms = units_.Ohms
OperationsPerSecond = units_.OperationsPerSecond
Picojoules = units_.Picojoules
Seconds = units_.Seconds
Siemens = units_.Siemens
SquareMillimetres = units_.SquareMillimetres
Volts = units_.Volts
Watts = units_.Watts

_LAST = 2**31  # behind every line
_PLACED = re.compile(r".*?:(\d+):(\d+): ")
Action = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")]
Cost: TypeAlias = dict[Action, Picojoules | None]  # a price is null where no source gives one


class ChipSection(Section):
    """What is printed on the box; `None` where no source gives it.

    Attributes:
        static_power_w: what the chip draws whatever it computes: leakage, and the clock tree
            where the cost table has no ``clock.cycle``.
    """

    area_mm2: SquareMillimetres | None = Field(alias="area")
    default_format: str
    deviation: str | None = None  # how the machine differs from the chip; a report says it
    node_nm: Nanometres | None = Field(default=None, alias="node", gt=0)
    static_power_w: Watts | None = Field(default=None, alias="static_power")
    tdp_w: Watts | None = Field(default=None, alias="tdp", gt=0)


class Spec(Section):
    """One design point; a family's subclass adds its sections.

    Attributes:
        optional_actions: what only some design points of the family do; a price that the file
            does not give is unknown.
    """

    optional_actions: ClassVar[tuple[str, ...]] = ()

    name: str
    family: str
    cost: Cost
    chip: ChipSection

    @field_validator("cost")
    @classmethod
    def _static_is_a_power(cls, cost: Cost) -> Cost:
        for action in cost:
            if action.startswith("static."):
                raise ValueError(
                    f"cost.{action} must be a power, chip.static_power, not an energy; write "
                    "'static_power: 28 W' under chip"
                )
        return cost

    @property
    def prices(self) -> Cost:
        """Picojoules by action, those of the static power included."""
        power_w = self.chip.static_power_w
        unknown = dict.fromkeys(self.optional_actions)
        return {**unknown, **self.cost, STATIC: None if power_w is None else power_w * 1e12}

    @property
    def area_mm2(self) -> float | None:
        """The area of this design point; as published, where nothing says how it grows."""
        return self.chip.area_mm2

    @property
    def rescaled(self) -> str:
        """A sentence on what stays as the YAML states it when fields are overridden."""
        return "area, power and prices that the chip's YAML states are not rescaled by --set"

    def roof(self, number_format: str | None = None) -> Roof | None:
        """What the chip can do at most in a format; None where nothing is known of it."""
        del number_format
        return None

    @property
    def on_chip_bytes(self) -> int | None:
        """What the chip's own memories hold; None where its fields do not say."""
        return None

    @property
    def off_chip_bytes(self) -> int | None:
        """What the memory beside it holds; None where there is none or no field says it."""
        return None

    def ideal(self) -> Self:
        """Return the spec with every non-ideality off; a digital machine has none."""
        return self


S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Provenance:
    """Where one number comes from: `value` and `unit` as written, ``"700"`` and ``"MHz"``."""

    field: str
    value: str
    unit: str
    source: str
    grade: str


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A spec, the origin of each of its numbers, and the text that it was read from.

    `ranges` is, by action, between which picojoules the sources of a price lie; `warnings` is
    what the file leaves open.
    """

    name: str
    spec: S
    provenance: tuple[Provenance, ...]
    text: str
    overrides: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """For a notebook: every number with its source."""
        return as_html(self.name, self.spec.family, self.provenance, dump(self))


def load_spec(
    source: str | Path, spec_type: type[S], overrides: Sequence[str] = ()
) -> Loaded[S]:
    """Read a chip.

    Args:
        source: a shipped chip's name, or a YAML file.
        spec_type: the family's model.
        overrides: ``FIELD=VALUE`` each, as given to ``--set``; their grade is ``user``.

    Raises:
        RegistryError: no chip of this name.
        SpecError: the defects of the file and of the overrides, one a line.
    """
    path, shown = locate(source)
    text = read_file(path, shown)
    return load_tree(read_text(text, shown), text, shown, spec_type, overrides)


def load_tree(
    tree: YamlMapping, text: str, shown: str, spec_type: type[S], overrides: Sequence[str] = ()
) -> Loaded[S]:
    """Read a chip from its tree, which may be made of another kind of file.

    Args:
        tree: the chip's keys and values, with their places; overrides are written into it.
        text: the same as YAML.
        shown: what messages call it.
        spec_type: the family's model.
        overrides: ``FIELD=VALUE`` each.

    Raises:
        SpecError: the defects of the tree and of the overrides, one a line.
    """
    errors: list[str] = []
    refusals: list[str] = []
    late = [text for text in overrides if _sets_a_price(text)]
    for assignment in overrides:
        if assignment not in late:
            override(tree, assignment, spec_type, refusals)
    said: tuple[str, ...] = ()
    try:
        said = derive(tree, shown)
    except SpecError as error:
        errors.append(str(error))
    for assignment in late:
        override(tree, assignment, spec_type, refusals)
    found = leaves(tree, errors)
    ranges = price_ranges(found.leaves, spec_type, errors)
    errors += foreign_names(tree, spec_type, shown)
    spec: S | None = None
    try:
        context = {units_.FROM_YAML: True}
        spec = spec_type.model_validate(found.data, context=context)
    except ValidationError as refused:
        errors += messages(refused, tree, spec_type, shown)
    if spec is None or errors or refusals:
        raise SpecError(listed([*sorted(errors, key=_order), *refusals]))
    provenance = tuple(_provenance(found.leaves, spec_type, spec))
    if spec.chip.deviation:
        said = (f"{spec.name} is not the chip in all: {spec.chip.deviation}", *said)
    return Loaded(spec.name, spec, provenance, text, tuple(overrides), ranges, said)


def chips() -> dict[str, Path]:
    """Return the shipped chips' files by name."""
    return dict(_shipped())


@cache
def _shipped() -> Mapping[str, Path]:
    folder = Path(__file__).parent / "chips"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def locate(source: str | Path) -> tuple[Path, str]:
    """Return the file of a chip, and its name in messages."""
    known = chips()
    path = known[source] if isinstance(source, str) and source in known else Path(source)
    if path in known.values():
        return path, path.name
    if isinstance(source, Path) or path.suffix in (".yaml", ".yml") or path.is_file():
        return path, str(source)
    hint = nearest(source, known) or f"; there are: {', '.join(known) or 'none'}"
    raise RegistryError(f"no chip '{source}'{hint}")


def family_of(source: str | Path, known: Sequence[str] | None = None) -> str:
    """Return the family that a chip's file names.

    Raises:
        SpecError: it names none, or none of `known`.
    """
    path, shown = locate(source)
    tree = read_text(read_file(path, shown), shown)
    family = tree.entries.get("family")
    if family is None:
        raise SpecError(_without_family(tree))
    if not isinstance(family, Scalar) or not isinstance(family.value, str):
        there = kind_of(family) if not isinstance(family, Scalar) else family.text or "null"
        raise SpecError(
            f"{tree.keys['family']}: family must be the name of a family, not "
            f"{shortened(there)}; write 'family: systolic'"
        )
    if known is not None and family.value not in known:
        raise SpecError(
            f"{family.place}: family must be {', '.join(known)}, not '{family.value}'"
            f"{nearest(family.value, known)}"
        )
    return family.value


def _without_family(tree: YamlMapping) -> str:
    """What is said of a file that names no family: the key that was meant to, or its place."""
    for key, place in tree.keys.items():
        if hint := nearest(key, ["family"]):
            return f"{place}: the file has no key '{shortened(key)}'{hint}"
    return f"{tree.place}: the file needs the key 'family'; add 'family: …'"


def unsourced(path: Path) -> list[str]:
    """Return the fields of a chip's numbers that name no source or no grade."""
    found = leaves(read_text(read_file(path, path.name), path.name), [])
    return [
        dotted(leaf.path)
        for leaf in found.leaves
        if leaf.looks_numeric and (not leaf.source or leaf.grade not in GRADES)
    ]


def dump(loaded: Loaded[S]) -> str:
    """Return the YAML that a chip was read from, with the overrides as comments above."""
    changed = "".join(f"# --set {text}\n" for text in loaded.overrides)
    return changed + loaded.text


def _order(message: str) -> tuple[int, int]:
    """Line and column that a message begins with."""
    found = _PLACED.match(message)
    return (int(found[1]), int(found[2])) if found else (_LAST, 0)


def _sets_a_price(assignment: str) -> bool:
    """Whether an override is of a price, which a table may have to give first."""
    section, _, key = assignment.partition("=")[0].strip().partition(".")
    return section == "cost" and not is_recipe_key(key)


def _provenance(found: Sequence[Leaf], spec_type: type[Spec], spec: Spec) -> list[Provenance]:
    written = [
        Provenance(dotted(leaf.path), *leaf.number, _source(leaf), leaf.grade or USER)
        for leaf in found
        if is_numeric(annotation_at(spec_type, leaf.path))
    ]
    return written + _defaults(spec, {leaf.path for leaf in found}, ())


def _source(leaf: Leaf) -> str:
    between = f"from {leaf.range[0]} to {leaf.range[1]}" if leaf.range else ""
    return "; ".join(part for part in (leaf.source, between) if part)


def _defaults(
    section: Section, given: set[tuple[str | int, ...]], path: tuple[str | int, ...]
) -> list[Provenance]:
    """Return the numbers that a file leaves to the program; a field's description says why."""
    found: list[Provenance] = []
    for name, entry in type(section).model_fields.items():
        here, value = (*path, entry.alias or name), getattr(section, name)
        if isinstance(value, Section):
            found += _defaults(value, given, here)
        elif here not in given and type(value) in (int, float):
            source = entry.description or f"the program's default for {type(section).__name__}"
            unit = unit_at(type(section), (here[-1],))
            found.append(Provenance(dotted(here), repr(value), unit, source, ASSUMED))
    return found
