"""The manual of the passes, made from their classes."""

from __future__ import annotations

import inspect
import sys
from math import inf

from tetrapla.passes.pass_ import Pass, passes
from tetrapla.passes.text_ import options, spelled

_HEAD = """# Passes

Made from the files under `passes/` by `tetrapla.passes.manual_.markdown()`; a test holds them
together. A pipeline is text, `fold-constants,quantize{bits=8}`; what a pass does to values is
held to its statement on example models and random graphs.

| pass | options, with their defaults | values | twice is once |
|---|---|---|---|"""


def markdown() -> str:
    """The text of ``docs/passes.md``."""
    known = passes()
    lines = [_HEAD, *(_row(name, pass_) for name, pass_ in known.items())]
    for name, pass_ in known.items():
        about = (sys.modules[pass_.__module__].__doc__ or "").strip()
        lines += ["", f"## {name}", "", about, "", _own(pass_)]
    return "\n".join(line for line in lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _row(name: str, pass_: type[Pass]) -> str:
    held = ", ".join(f"`{key}={spelled(getattr(pass_, key))}`" for key in options(pass_))
    once = "yes" if pass_.idempotent else "no"
    return f"| [{name}](#{name}) | {held or '-'} | {_bound(pass_.max_rel_error)} | {once} |"


def _bound(error: float) -> str:
    if error == 0:
        return "bit exact"
    return "chosen anew" if error == inf else f"within {error:.3g} of the largest"


def _own(pass_: type[Pass]) -> str:
    """The class's docstring; nothing where it only has the base's."""
    return inspect.cleandoc(pass_.__doc__ or "") if "__doc__" in vars(pass_) else ""


if __name__ == "__main__":
    sys.stdout.write(markdown())
