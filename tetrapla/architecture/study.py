"""What a search computed, kept by content in one SQLite file, so that nothing is done twice.

The key of an entry is a digest of all that it depends on, this package's own files included;
each entry is a transaction of its own, so a search that is ended at any moment goes on from
there, and another search, with another seed or budget, takes what it shares with this one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tetrapla.ir.errors import ModelError
from tetrapla.sweeps.store import package_digest

SCHEMA: Final = "tetrapla.sweeps.search-study/1"
_WAIT_S: Final = 60.0  # for another run's transaction


class Study:
    """Plain data by key.

    Args:
        path: of the file, made where there is none; None keeps everything in memory.

    Raises:
        ModelError: it cannot be written, or is another kind of file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.computed = 0  # entries that this run had to compute
        with self._failing():
            self._file = sqlite3.connect(path or ":memory:", timeout=_WAIT_S)
            with self._file:
                self._file.execute("CREATE TABLE IF NOT EXISTS about (schema TEXT PRIMARY KEY)")
                kinds = [row[0] for row in self._file.execute("SELECT schema FROM about")]
                if not kinds:
                    self._file.execute("INSERT OR IGNORE INTO about VALUES (?)", (SCHEMA,))
                    self._file.execute(
                        "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, data TEXT)"
                    )
        if kinds not in ([], [SCHEMA]):
            raise ModelError(
                f"study '{path}' must be of kind {SCHEMA}, not {', '.join(sorted(kinds))}; "
                "name another file"
            )

    def known(self, parts: list[Any], compute: Callable[[], Any]) -> Any:
        """The entry of `parts`, computed where there is none yet.

        Args:
            parts: plain data, all that the entry depends on beside the package itself.
            compute: gives plain data.
        """
        text = json.dumps([package_digest(), *parts])
        key = hashlib.sha256(text.encode()).hexdigest()
        with self._failing():
            found = self._file.execute(
                "SELECT data FROM entries WHERE key = ?", (key,)
            ).fetchone()
        if found is not None:
            return json.loads(found[0])
        data = json.dumps(compute())
        self.computed += 1
        with self._failing(), self._file:
            self._file.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (key, data))
        return json.loads(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ModelError(
                f"study '{self.path}' must be a writable SQLite file: {error}; name another "
                "place"
            ) from None
