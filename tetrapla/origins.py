"""Where a chip's numbers come from, with the short names of papers written out.

The comment at the head of a chip's YAML explains them, ``# [paper]: N. P. Jouppi et al., …``,
and a source refers to them, ``[paper] section 2``. A report stands alone, so it says both.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tetrapla.simulators.spec_ import Loaded, Provenance

_NAMED = re.compile(r"\[(\w+)\]: ")


def provenance(chip: Loaded[Any]) -> tuple[Provenance, ...]:
    """The chip's numbers, every short name in a source followed by what it stands for."""
    known = references(chip.text)

    def written_out(match: re.Match[str]) -> str:
        text = known.get(match[1])
        return f"[{match[1]}: {text}]" if text else match[0]

    return tuple(
        replace(entry, source=re.sub(r"\[(\w+)\]", written_out, entry.source))
        for entry in chip.provenance
    )


def references(text: str) -> dict[str, str]:
    """What each short name stands for, from the comment that a YAML text starts with."""
    found: dict[str, str] = {}
    for paragraph in _head(text).split("\n\n"):
        # [before, name, text, name, text, …]
        _, *parts = _NAMED.split(" ".join(paragraph.split()))
        for name, stands_for in zip(parts[::2], parts[1::2], strict=True):
            found[name] = stands_for.strip().rstrip(".")
    return found


def _head(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return "\n".join(lines)
