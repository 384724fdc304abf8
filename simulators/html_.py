"""A chip for a notebook: its numbers with their sources, and the YAML folded away."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Protocol


class Origin(Protocol):
    """Where a number comes from; `Provenance` is one."""

    @property
    def field(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def grade(self) -> str: ...
    @property
    def source(self) -> str: ...


def as_html(name: str, family: str, origins: Iterable[Origin], text: str) -> str:
    """A heading, a row for each number, and the text."""
    rows = "".join(
        f"<tr><td>{escape(each.field)}</td><td>{escape(each.value)} {escape(each.unit)}</td>"
        f"<td>{escape(each.grade)}</td><td>{escape(each.source)}</td></tr>"
        for each in origins
    )
    return (
        f"<h3>{escape(name)}, {escape(family)}</h3><table><thead><tr><th>field</th>"
        f"<th>value</th><th>grade</th><th>source</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<details><summary>YAML</summary><pre>{escape(text)}</pre></details>"
    )
