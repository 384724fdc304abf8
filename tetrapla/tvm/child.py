"""The process beside TVM: ``python -m tetrapla.tvm.child KIND`` answers on its pipes."""

from __future__ import annotations

import faulthandler
import os
import sys
from importlib import import_module
from typing import Any

from tetrapla.tvm.wire import receive, send


def main() -> None:
    """Answer until the other end is gone."""
    faulthandler.enable()
    # what TVM prints must not come between the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # the classes `Session` and `Generator`, each in its file
    kind = sys.argv[1]
    session = getattr(import_module(f"tetrapla.tvm.{kind}"), kind.capitalize())()
    while True:
        try:
            verb, arguments = receive(sys.stdin.buffer)
        except EOFError:
            return
        send(answers, _answer(session, verb, arguments))


def _answer(session: Any, verb: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "made", getattr(session, verb)(**arguments)
    except Exception as error:
        text = " ".join(str(error).split())
        return "refused", (type(error).__name__, text)


if __name__ == "__main__":
    main()
