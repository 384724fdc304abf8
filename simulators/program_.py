"""What reading any machine's program from JSON has in common."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from tetrapla.ir.errors import ModelError


def listed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON has them: tuples become lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def tupled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `listed` wrote."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


@contextmanager
def reading(data: Mapping[str, Any], schema: str) -> Generator[None]:
    """Around the reading of a program: whatever is wrong with the data is a `ModelError`.

    Raises:
        ModelError: the data is of another kind, lacks a part or was changed.
    """
    if data.get("schema") != schema:
        raise ModelError(f"a program's schema must be {schema}, not {data.get('schema')}")
    try:
        yield
    except KeyError as error:
        raise ModelError(f"a program must have the part {error}; compile it again") from None
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"a program must be as it was written, not changed ({error}); compile it again"
        ) from None
