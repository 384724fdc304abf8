"""Chips: a frozen model per family, read from YAML with a place and a source for every number.

A leaf is a plain value (``clock: 700 MHz``) or ``{value: 700 MHz, source: "…", grade: …}``.
The defects of a file are reported together, one a line: ``<file>:<line>:<column>: <thing>
<rule>, not <value>; <way out>``. Quantities are in `units_`, the reading of YAML in `yaml_`,
leaves and overrides in `leaves_`, the wording of pydantic's findings in `messages_`, prices
that follow from cost tables in `derive_`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Self, TypeAlias, TypeVar

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, field_validator

from tetrapla.ir.errors import RegistryError, SpecError, nearest
from tetrapla.simulators import units_
from tetrapla.simulators.derive_ import derive, is_recipe_key
from tetrapla.simulators.leaves_ import (
    ASSUMED,
    GRADES,
    STATIC_POWER,
    USER,
    Leaf,
    dotted,
    leaves,
    override,
)
from tetrapla.simulators.messages_ import foreign_names, messages
from tetrapla.simulators.price_ import STATIC
from tetrapla.simulators.schema_ import annotation_at, is_numeric, unit_at
from tetrapla.simulators.section_ import Section as Section
from tetrapla.simulators.yaml_ import Mapping as YamlMapping
from tetrapla.simulators.yaml_ import Scalar, listed, read_file, read_text

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
    ranges = _ranges(found.leaves, errors)
    errors += foreign_names(tree, spec_type, shown)
    spec: S | None = None
    try:
        context = {units_.FROM_YAML: True}
        spec = spec_type.model_validate(found.data, context=context)
    except ValidationError as refused:
        errors += messages(refused, tree, spec_type, shown)
    if spec is None or errors or refusals:
        raise SpecError(listed([*errors, *refusals]))
    provenance = tuple(_provenance(found.leaves, spec_type, spec))
    if spec.chip.deviation:
        said = (f"{spec.name} is not the chip in all: {spec.chip.deviation}", *said)
    return Loaded(spec.name, spec, provenance, text, tuple(overrides), ranges, said)


def chips() -> dict[str, Path]:
    """Return the shipped chips' files by name."""
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
    if not isinstance(family, Scalar) or not isinstance(family.value, str):
        place = tree.keys.get("family", tree.place)
        raise SpecError(f"{place}: family must be the name of a family; add 'family: …'")
    if known is not None and family.value not in known:
        raise SpecError(
            f"{family.place}: family must be {', '.join(known)}, not '{family.value}'"
            f"{nearest(family.value, known)}"
        )
    return family.value


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


def _sets_a_price(assignment: str) -> bool:
    """Whether an override is of a price, which a table may have to give first."""
    section, _, key = assignment.partition("=")[0].strip().partition(".")
    return section == "cost" and not is_recipe_key(key)


def _ranges(found: Sequence[Leaf], errors: list[str]) -> dict[str, tuple[float, float]]:
    """Ends of the prices that have them; what is no range is added to `errors`."""
    energies = TypeAdapter(tuple[Picojoules, Picojoules, Picojoules])
    powers = TypeAdapter(tuple[Watts, Watts, Watts])
    ranges: dict[str, tuple[float, float]] = {}
    for leaf in found:
        if not leaf.range or not isinstance(leaf.tree, Scalar):
            continue
        written = (leaf.range[0], leaf.tree.text, leaf.range[1])
        static = leaf.path == STATIC_POWER
        try:
            low, value, high = (powers if static else energies).validate_python(
                written, context={units_.FROM_YAML: True}
            )
        except ValidationError:
            low, value, high = 1.0, 0.0, 0.0
        if not low <= value <= high:
            kind = "powers" if static else "energies"
            errors.append(
                f"{leaf.tree.place}: {dotted(leaf.path)}.range must be {kind} from below the "
                f"value to above it, not [{', '.join(leaf.range)}]; mend it"
            )
        ranges[STATIC if static else str(leaf.path[-1])] = (
            (low * 1e12, high * 1e12) if static else (low, high)
        )
    return ranges


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
