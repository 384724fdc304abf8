"""What every part of a YAML file's model is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of fields; the YAML key of a field is its alias, without the unit.

    A validator that raises `ValueError` words the whole sentence: ``array.rows must be …``.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )
