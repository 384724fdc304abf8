"""Names from outside: made safe for the IR, files and generated code, and short in messages."""

from __future__ import annotations

import re

_LONGEST = 64  # characters, assumed: longer names help nobody


def shown(text: object) -> str:
    """A quoted text for a message: one line, at most 64 characters."""
    quoted = repr(str(text)[: _LONGEST + 1])
    return quoted if len(str(text)) <= _LONGEST else f"{quoted[:_LONGEST]}...'"


class Names:
    """Gives every layer, weight or value a name of letters, digits, ``_`` and ``.``, once."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """The wanted name made safe, with a number behind it when it is taken."""
        base = safe(wanted)
        name = base
        while name in self._taken:
            self._taken[base] += 1
            name = f"{base}_{self._taken[base]}"
        self._taken[name] = 0
        return name


def safe(text: str) -> str:
    """Letters, digits, ``_`` and ``.`` only, at most 64, never starting with a digit or dot."""
    kept = re.sub(r"[^A-Za-z0-9_.]+", "_", text[: 2 * _LONGEST], flags=re.ASCII)
    kept = kept.strip("_.")[:_LONGEST] or "value"
    return f"n{kept}" if kept[0].isdigit() else kept
