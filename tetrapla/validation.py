"""`validate`: published or golden numbers beside ours, error per row.

A suite is a file of `tetrapla/suites/` with ``rows(golden)``; it is found by its name, in which
an underscore is a hyphen. A file whose name ends in one is what suites share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from tetrapla.ir.errors import ModelError, RegistryError, nearest

SCHEMA = "tetrapla.validate/1"
GOLDEN = Path(__file__).resolve().parent / "data" / "golden"


@dataclass(frozen=True)
class Row:
    """One number of a source beside ours.

    Attributes:
        suite: the suite's name.
        case: what it is of: a layer, a network, a chip.
        quantity, unit: what is compared.
        published: the source's, or None where it gives none.
        ours: None where it cannot be computed, because shapes were never published.
        bound: the largest relative error that passes; None for a row that only informs.
        source: where `published` comes from.
    """

    suite: str
    case: str
    quantity: str
    unit: str
    published: float | None
    ours: float | None
    bound: float | None
    source: str

    @property
    def rel_error(self) -> float | None:
        """``ours / published - 1``; of a published 0, 0 where ours is 0 too, else infinite."""
        if self.published is None or self.ours is None:
            return None
        if self.published == 0:
            return 0.0 if self.ours == 0 else float("inf")
        return self.ours / self.published - 1

    @property
    def passed(self) -> bool | None:
        """Whether the error is within the bound; None for a row that only informs."""
        error = self.rel_error
        if self.bound is None:
            return None
        return error is not None and abs(error) <= self.bound

    def to_dict(self) -> dict[str, Any]:
        """The public contract's fields."""
        error = self.rel_error
        return {
            "suite": self.suite,
            "case": self.case,
            "quantity": self.quantity,
            "unit": self.unit,
            "published": self.published,
            "ours": self.ours,
            # JSON has no infinity; a bound that is broken says enough
            "rel_error": None if error is None or abs(error) == float("inf") else error,
            "bound": self.bound,
            "passed": self.passed,
            "source": self.source,
        }


def suites() -> tuple[str, ...]:
    """The names of all suites."""
    folder = Path(__file__).resolve().parent / "suites"
    files = (found.name for found in iter_modules([str(folder)]))
    return tuple(sorted(name.replace("_", "-") for name in files if not name.endswith("_")))


def validate(names: Sequence[str] = (), golden: Path | None = None) -> list[Row]:
    """The rows of the suites named, of all for none.

    Args:
        names: of suites.
        golden: a folder of the same layout as the shipped golden data, which is the default.

    Raises:
        RegistryError: there is no such suite.
        ModelError: the golden data is missing or broken.
    """
    there = suites()
    for name in names:
        if name not in there:
            raise RegistryError(
                f"no suite '{name}'{nearest(name, there)}; there are: {', '.join(there)}"
            )
    if golden is not None and not golden.is_dir():
        raise ModelError(f"--golden must be a folder of golden tables, not '{golden}'")
    return [row for name in names or there for row in _rows(name, golden or GOLDEN)]


def _rows(name: str, golden: Path) -> Iterator[Row]:
    suite = import_module(f"tetrapla.suites.{name.replace('-', '_')}")
    found: Iterator[Row] = suite.rows(golden)
    return found
