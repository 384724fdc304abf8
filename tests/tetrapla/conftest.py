"""Running commands in this process, and the shipped models."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tetrapla.__main__ import run
from tetrapla.validation import Row, validate

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


@pytest.fixture
def no_superuser(monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.access` by the owner's bits, which bind everybody but the superuser."""

    def access(path: str | os.PathLike[str], mode: int) -> bool:
        return mode != os.W_OK or bool(Path(path).stat().st_mode & stat.S_IWUSR)

    monkeypatch.setattr(os, "access", access)


@pytest.fixture(scope="session")
def shipped() -> Callable[[str], list[Row]]:
    """The rows of a suite on the shipped tables, which several tests look at."""

    @cache
    def rows(name: str) -> list[Row]:
        return validate([name])

    return rows


@pytest.fixture(scope="session")
def mlp() -> str:
    """The shipped MLP."""
    return str(EXAMPLES / "digits_mlp.onnx")


@pytest.fixture(scope="session")
def cnn() -> str:
    """The shipped CNN."""
    return str(EXAMPLES / "digits_cnn.onnx")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[Any], Path]:
    """Write a result's JSON."""

    def write(content: Any) -> Path:
        path = tmp_path / "run.json"
        path.write_text(json.dumps(content), "utf-8")
        return path

    return write
