"""Fixtures that every test may use, and the foreign reader of every module that tests make."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tetrapla.ir import irdl
from tetrapla.ir.module import Module

# a comparison's rows stay in this process: starting others is what tests of executors do
os.environ.setdefault("TETRAPLA_EXECUTOR", "serial")

# both of these would test how busy the machine is
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# pytest-xdist tells its workers how wide the terminal is; tests see what a pipe would
os.environ.pop("COLUMNS", None)

TOOL = "mlir-opt-22"  # MLIR's own, as Debian packages it
# the tool reads the dialects again for every part of a file, and forgets it behind the part
PART_CHARACTERS = 2**19


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's name: the same numbers on every run."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


class ForeignReader:
    """Module texts, each kept once, for a tool that knows the dialects from IRDL alone."""

    def __init__(self, folder: Path) -> None:
        self._irdl = folder / "tetrapla.irdl"
        self._irdl.write_text(irdl.text(), "utf-8")
        self._modules = folder / "modules.mlir"
        self._held: set[bytes] = set()
        self._room = PART_CHARACTERS

    def add(self, text: str) -> None:
        """Keep a text for `rejections`."""
        digest = hashlib.sha256(text.encode()).digest()
        if digest in self._held:
            return
        self._held.add(digest)
        self._room -= len(text)
        with self._modules.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
            if self._room < 0:
                file.write("// -----\n")
                self._room = PART_CHARACTERS

    def rejections(self) -> str:
        """What the tool says against the texts; empty where it takes all of them."""
        if not self._held:
            return ""
        options = [f"--irdl-file={self._irdl}", "--split-input-file", "-o", "/dev/null"]
        command = [TOOL, *options, str(self._modules)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return ""
        return done.stderr or f"{TOOL} ended with {done.returncode}"


@pytest.fixture
def foreign_reader(tmp_path: Path) -> ForeignReader:
    """A reader of the test's own."""
    return ForeignReader(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def _every_module_is_read_by_a_foreign_tool(  # pyright: ignore[reportUnusedFunction]
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Every module that verifies anywhere in the tests must be accepted by MLIR's own tool.

    The tool reads them together at the end of the session; one that it rejects is an error of
    the last test, and the session fails. Without the tool nothing is collected, and tests/ir
    says that it is missing.
    """
    if shutil.which(TOOL) is None:
        yield
        return
    reader = ForeignReader(tmp_path_factory.mktemp("foreign"))
    verify = Module.verify

    def verified(module: Module) -> None:
        verify(module)
        reader.add(module.text())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Module, "verify", verified)
        yield
    rejections = reader.rejections()
    if rejections:
        pytest.fail(f"{TOOL} rejects modules of this run:\n{rejections[:4000]}", False)
