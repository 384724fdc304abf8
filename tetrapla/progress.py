"""Progress on the terminal's error stream, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

Step: TypeAlias = Callable[[str, int], None]
"""Say what is being done, and how many steps were finished since the last call."""


def silent(text: str, count: int) -> None:
    """A `Step` that shows nothing."""
    del text, count


@contextmanager
def bar(total: int) -> Generator[Step]:
    """Show a bar while the block runs; silent when stderr is not a terminal."""
    if not total or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TimeRemainingColumn(), TextColumn("left")),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)

        def step(text: str, count: int) -> None:
            # markup in a file's name is text, too
            progress.update(task, description=Text(text).markup, advance=count)

        yield step
