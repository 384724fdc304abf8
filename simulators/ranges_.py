"""Between which energies a price lies: the ``range`` beside a value of a chip's YAML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import TypeAdapter, ValidationError

from tetrapla.simulators import units_
from tetrapla.simulators.leaves_ import STATIC_POWER, Leaf, dotted
from tetrapla.simulators.price_ import STATIC
from tetrapla.simulators.schema_ import annotation_at
from tetrapla.simulators.section_ import Section
from tetrapla.simulators.yaml_ import Scalar, shortened

_ENERGY: Final[TypeAdapter[float]] = TypeAdapter(units_.Picojoules)
_POWER: Final[TypeAdapter[float]] = TypeAdapter(units_.Watts)


def price_ranges(
    found: Sequence[Leaf], spec_type: type[Section], errors: list[str]
) -> dict[str, tuple[float, float]]:
    """Ends of the prices that have them; what is no range is added to `errors`."""
    ranges: dict[str, tuple[float, float]] = {}
    for leaf in found:
        if not leaf.range or not annotation_at(spec_type, leaf.path):
            continue  # of an unknown field the key itself is refused
        static, thing = leaf.path == STATIC_POWER, f"{dotted(leaf.path)}.range"
        if leaf.path[0] != "cost" and not static:
            errors.append(
                f"{leaf.range_place}: {thing} can be given for a price or chip.static_power "
                "alone; remove it"
            )
            continue
        adapter = _POWER if static else _ENERGY
        if not isinstance(leaf.tree, Scalar):
            continue  # what is wrong with the value itself is said once
        value, ends = (
            _number(adapter, leaf.tree.text),
            [_number(adapter, e) for e in leaf.range],
        )
        if value is None and leaf.tree.value is not None:
            continue
        low, high = ends
        if value is None or low is None or high is None or not low <= value <= high:
            kind = "powers" if static else "energies"
            errors.append(
                f"{leaf.range_place}: {thing} must be {kind} from below the value to above it, "
                f"not [{', '.join(shortened(end) for end in leaf.range)}]; mend it"
            )
            continue
        ranges[STATIC if static else str(leaf.path[-1])] = (
            (low * 1e12, high * 1e12) if static else (low, high)
        )
    return ranges


def _number(adapter: TypeAdapter[float], text: str) -> float | None:
    """A quantity in its base unit; None where the text is none."""
    try:
        return adapter.validate_python(text, context={units_.FROM_YAML: True})
    except ValidationError:
        return None
