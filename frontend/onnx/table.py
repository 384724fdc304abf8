"""The one table of translators: an operator's domain and name to the function for it."""

from __future__ import annotations

from collections.abc import Callable

from tetrapla.frontend.onnx.node import Translate

OPERATORS: dict[tuple[str, str], Translate] = {}
RUNTIME = "com.microsoft"  # ONNX Runtime's own domain


def translates(*ops: str, domain: str = "") -> Callable[[Translate], Translate]:
    """Enter a function in the table under operators' names."""

    def enter(function: Translate) -> Translate:
        for op in ops:
            OPERATORS[domain, op] = function
        return function

    return enter
