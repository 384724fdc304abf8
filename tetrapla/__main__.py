"""The command line. Heavy imports are inside the commands, so that --help is quick."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence

import typer

from tetrapla.commands import (
    calibration,
    catalogue,
    compiling,
    importing,
    models,
    plotting,
    regions,
    results,
    retraining,
    rtl,
    searching,
    sweeping,
    validation,
)
from tetrapla.ir.errors import TetraplaError

_ABOUT = "One model, four machines: compile a network, simulate it, compare the designs."
# read when NumPy loads its linear algebra
_THREADS = (
    *("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    "VECLIB_MAXIMUM_THREADS",
)
_USAGE, _INTERNAL, _INTERRUPTED = 2, 1, 130
_LONG_WORD = re.compile(r"\S{256,}")  # no file system takes a longer name

app = typer.Typer(
    help=_ABOUT,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
arch = typer.Typer(help="Chips as YAML.", no_args_is_help=True, rich_markup_mode=None)
calibrate = typer.Typer(
    help="Fit a chip's constants to measurements.", no_args_is_help=True, rich_markup_mode=None
)
app.command("demo")(results.demo)
app.command("run")(models.run)
app.command("compile")(compiling.compile_)
app.command("retrain")(retraining.retrain)
app.command("simulate")(results.simulate)
app.command("compare")(results.compare)
app.command("sweep")(sweeping.sweep)
app.command("search")(searching.search)
app.command("plot")(plotting.plot)
app.command("validate")(validation.validate)
app.command("rtl")(rtl.rtl)
app.command("targets")(catalogue.targets)
app.command("regions")(regions.regions)
app.command("zoo")(catalogue.zoo)
app.command("schema")(catalogue.schema)
app.command("doctor")(catalogue.doctor)
app.command("ops")(models.ops)
app.command("ir")(models.ir)
arch.command("show")(catalogue.show)
arch.command("import")(importing.import_)
app.add_typer(arch, name="arch")
calibrate.command("gpu")(calibration.gpu)
app.add_typer(calibrate, name="calibrate")

# the root of the usage errors; typer moved it between releases, but it always is there
_ClickError = next(t for t in typer.BadParameter.__mro__ if t.__name__ == "ClickException")


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from tetrapla import __version__

        typer.echo(f"tetrapla {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status: 0, 1 (a check or a defect), 2 (the user)."""
    command = typer.main.get_command(app)
    try:
        return int(command.main(list(arguments), "tetrapla", standalone_mode=False) or 0)
    except TetraplaError as error:
        return _fail(str(error), _USAGE)
    except typer.Abort:
        return _fail("interrupted", _INTERRUPTED)
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # the reader went away (a pipe into head): nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _INTERNAL
    except MemoryError as error:
        why = f": {error}" if str(error) else ""
        return _fail(
            f"the memory is not enough{why}; use fewer samples or a smaller batch", _USAGE
        )
    except OSError as error:
        if error.filename is None or str(error.filename) not in _paths(arguments):
            return _defect(error)
        rule = f"must be a file to work with, not one that the system refuses: {error.strerror}"
        return _fail(f"'{_shortened(str(error.filename))}' {rule}; give another path", _USAGE)
    except Exception as error:
        return _usage(error) if isinstance(error, _ClickError) else _defect(error)


def _paths(arguments: Sequence[str]) -> set[str]:
    """Every word that may be a path, of ``--json=x`` and of ``a.yaml,b.yaml`` each part."""
    found = {part for word in arguments for part in (word, *word.split(","))}
    return found | {word.partition("=")[2] for word in arguments}


def _defect(error: Exception) -> int:
    if os.environ.get("TETRAPLA_TRACEBACK"):
        raise error
    kind = type(error).__name__
    text = " ".join(str(error).split())[:500]
    return _fail(
        f"internal error, a defect of tetrapla: {kind}: {text} "
        "(nothing was reported; TETRAPLA_TRACEBACK=1 shows where; please report it with this "
        "line, the command and the chip's YAML; no weights are needed)",
        _INTERNAL,
    )


def main() -> None:
    """Run the command that the shell gave, and exit."""
    for key in _THREADS:
        # one thread, so that sums have one order; a second one is slower on products this small
        os.environ.setdefault(key, "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without ± shows a question mark
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def _usage(error: Exception) -> int:
    message = getattr(error, "format_message", lambda: str(error))()
    where = getattr(getattr(error, "ctx", None), "command_path", "tetrapla")
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command
        typer.echo(message, err=True)
        return _USAGE
    if not message:  # no command was given: the help was printed
        return _USAGE
    return _fail(f"{message.rstrip('.')}; '{where} --help' says what there is", _USAGE)


def _shortened(text: str) -> str:
    return text if len(text) < 100 else f"{text[:80]}…"


def _fail(message: str, status: int) -> int:
    sys.stdout.flush()
    short = _LONG_WORD.sub(lambda word: f"{word[0][:80]}…", message)
    typer.echo(f"error: {short}", err=True)
    return status


if __name__ == "__main__":
    main()
