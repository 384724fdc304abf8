"""Running commands in this process, and the shipped models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tetrapla.__main__ import run

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


class Done(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run one command in this process."""

    def command(*words: object) -> Done:
        status = run([str(word) for word in words])
        found = capsys.readouterr()
        return Done(status, found.out, found.err)

    return command


@pytest.fixture
def refused(cli: Callable[..., Done]) -> Callable[..., None]:
    """A user's error: status 2, the whole message and nothing else, on one line."""

    def check(message: str, *words: object) -> None:
        assert cli(*words) == Done(2, "", f"error: {message}\n")

    return check


@pytest.fixture(scope="session")
def mlp() -> str:
    """The shipped MLP."""
    return str(EXAMPLES / "digits_mlp.onnx")


@pytest.fixture(scope="session")
def cnn() -> str:
    """The shipped CNN."""
    return str(EXAMPLES / "digits_cnn.onnx")
