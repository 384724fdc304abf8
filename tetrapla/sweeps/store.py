"""Results by content: what was computed once, by any run, is not computed again.

A store is one SQLite file. A point's key is a digest of everything that its report depends
on: the package itself, the model with its weights, the samples, the design and the options.
Every point is written in a transaction of its own, so a run that is ended at any moment keeps
all that it finished, and two runs may write at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import disk_usage
from typing import Any, Final

import numpy as np

from tetrapla.designs import Design
from tetrapla.ir.errors import ModelError
from tetrapla.run import Trial
from tetrapla.settings import Settings
from tetrapla.simulators.report import Report
from tetrapla.sweeps.stored import report_of

SCHEMA: Final = "tetrapla.store/1"
_WAIT_S: Final = 60.0  # for another run's transaction, which takes milliseconds
_OPTIONS: Final = (
    *("quant", "timesteps", "code", "ideal", "compat", "seed", "chips", "least_accuracy"),
)
POINT_BYTES: Final = 20_000  # of a point in a file, about; measured on the digits models
_CODE: Final = (".py", ".yaml", ".h", ".sv")


class Store:
    """Reports by key in a SQLite file.

    Args:
        path: made where there is none.

    Raises:
        ModelError: it cannot be written, or is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._failing():
            # each statement outside `with` is its own transaction
            self._file = sqlite3.connect(path, timeout=_WAIT_S)
            self._file.execute("PRAGMA journal_mode=WAL")
            with self._file:
                self._file.execute("CREATE TABLE IF NOT EXISTS about (schema TEXT PRIMARY KEY)")
                kinds = [row[0] for row in self._file.execute("SELECT schema FROM about")]
                if not kinds:
                    # of two runs that begin at once, the second waits and writes the same
                    self._file.execute("INSERT OR IGNORE INTO about VALUES (?)", (SCHEMA,))
                    self._file.execute(
                        "CREATE TABLE IF NOT EXISTS points (key TEXT PRIMARY KEY, report TEXT)"
                    )
            # a store that was there, on a disk that cannot be written now
            self._file.execute("BEGIN IMMEDIATE")
            self._file.rollback()
        if kinds not in ([], [SCHEMA]):
            raise ModelError(
                f"store '{path}' must be of kind {SCHEMA}, not {', '.join(sorted(kinds))}; "
                "name another file"
            )

    def check_room(self, count: int) -> None:
        """Refuse to begin so many points where the disk has no room for them.

        Raises:
            ModelError: the disk would be full before they are done.
        """
        needed, free = count * POINT_BYTES, disk_usage(self.path.absolute().parent).free
        if needed > free:
            raise ModelError(
                f"store '{self.path}' must have room for {count} points, about "
                f"{needed / 1e6:.3g} MB, not {free / 1e6:.3g} MB; name another place"
            )

    def get(self, key: str, said: str) -> Report | None:
        """The report of a point with `said` as its command; None where there is none."""
        with self._failing():
            found = self._file.execute(
                "SELECT report FROM points WHERE key = ?", (key,)
            ).fetchone()
        return None if found is None else replace(report_of(json.loads(found[0])), command=said)

    def put(self, key: str, report: Report) -> None:
        """Keep a report; one that another run put there first stays."""
        # how it was asked for is not part of a result
        text = json.dumps(replace(report, command="").to_dict(), ensure_ascii=False)
        with self._failing(), self._file:
            self._file.execute("INSERT OR IGNORE INTO points VALUES (?, ?)", (key, text))

    def items(self) -> Iterator[tuple[str, str]]:
        """Every key with its report's JSON, by key."""
        with self._failing():
            yield from self._file.execute("SELECT key, report FROM points ORDER BY key")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise ModelError(
                    f"store '{self.path}' must have room for another point, not a full disk; "
                    "it keeps what is finished: make room and run the same command again"
                ) from None
            raise ModelError(
                f"store '{self.path}' must be a writable SQLite file: {error}; name another "
                "place"
            ) from None


def point_key(trial: str, design: Design, settings: Settings) -> str:
    """The key of a model on a design.

    Args:
        trial: `trial_digest` of what it is run on.
        design: with its overrides.
        settings: the options; what they say of data is in the trial.
    """
    tuning = settings.tuning and Path(settings.tuning).read_bytes()
    parts: list[Any] = [
        *(package_digest(), trial, design.label, design.target.family, design.chip.text),
        list(design.chip.overrides),
        design.chip.spec.model_dump_json(),
        {name: getattr(settings, name) for name in _OPTIONS},
        tuning and hashlib.sha256(tuning).hexdigest(),
    ]
    return _digest(json.dumps(parts).encode())


def trial_digest(trial: Trial) -> str:
    """Of a model, its weights, and the samples that it is run on."""
    samples = trial.samples
    arrays: dict[str, Mapping[str, Any] | None] = {
        "weights": trial.module.weights,
        "inputs": samples.inputs,
        "calibration": samples.calibration,
        "labels": None if samples.labels is None else {"y": samples.labels},
    }
    head = [trial.module.text(), trial.name, samples.batch, list(samples.warnings)]
    digest = hashlib.sha256(json.dumps(head).encode())
    for what, held in arrays.items():
        for name, array in sorted((held or {}).items()):
            content = np.ascontiguousarray(array)
            digest.update(json.dumps([what, name, str(content.dtype), content.shape]).encode())
            digest.update(content.view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


@cache
def package_digest() -> str:
    """Of this package's own files: another version may compute another thing."""
    import tetrapla

    digest = hashlib.sha256(np.__version__.encode())
    root = Path(tetrapla.__file__).parent
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        for name in sorted(files):
            if name.endswith(_CODE):
                path = Path(folder, name)
                digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
