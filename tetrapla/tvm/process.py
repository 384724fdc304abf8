"""TVM in a process of its own, because it can end the one that it is in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tetrapla
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.tvm.pins import check_installed
from tetrapla.tvm.wire import receive, send

LIMIT_S = 600  # for one answer, assumed
_LONGEST = 400  # characters of what TVM says, assumed: its messages repeat whole functions


class Child:
    """A process with TVM; `ask` gives one answer of its `Session` or its `Generator`."""

    def __init__(self, kind: str = "session", limit_s: float = LIMIT_S) -> None:
        check_installed()
        self._limit_s = limit_s
        self._errors = tempfile.TemporaryFile()
        root = str(Path(tetrapla.__file__).parent.parent)
        paths = [root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tetrapla.tvm.child", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, verb: str, **arguments: object) -> Any:
        """What the child answers.

        Raises:
            ModelError: the request is wrong.
            UnsupportedError: TVM refuses it, ends the process, or takes too long.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None, "it is a pipe"
        assert stdout is not None, "it is a pipe"
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        watch = threading.Timer(self._limit_s, stop)
        watch.start()
        try:
            send(stdin, (verb, arguments))
            kind, found = receive(stdout)
        except (EOFError, BrokenPipeError):
            raise UnsupportedError(self._ended(verb, late.is_set())) from None
        finally:
            watch.cancel()
        if kind == "made":
            return found
        name, text = found
        if name == "ModelError":
            raise ModelError(text)
        raise UnsupportedError(f"TVM refuses to {verb.replace('_', ' ')}: {_short(text)}")

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # it ended while something was on its way
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _ended(self, verb: str, late: bool) -> str:
        task = f"'{verb.replace('_', ' ')}'"
        if late:
            return f"TVM's process must answer {task} in {self._limit_s:g} s, not longer"
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        last = f" ({_short(said[-1])})" if said and code > 0 else ""
        return f"TVM's process must answer {task}, not end with {how}{last}; try another model"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
