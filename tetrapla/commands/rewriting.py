"""What `ir` does with a module: run a pipeline and watch it, shrink what fails, write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tetrapla.commands import options
from tetrapla.commands.readable import readable
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.saving import files_of, save

if TYPE_CHECKING:
    from tetrapla.ir.module import Module
    from tetrapla.passes.context_ import Context
    from tetrapla.passes.pass_ import Pass, Step
    from tetrapla.samples import Samples


@dataclass(frozen=True)
class Watch:
    """What is told of a pipeline while it runs, on the error stream.

    Attributes:
        after: the pass whose every result is printed; "all" prints each pass's.
        times: whether a table of the passes follows, with CPU seconds.
        generic: whether modules are printed as MLIR's generic text.
        reduce: where the smallest module is written on which a pass fails as it did.
    """

    after: str | None = None
    times: bool = False
    generic: bool = False
    reduce: Path | None = None


def printed(module: Module, generic: bool) -> str:
    """A module as `ir` prints it, without a line break at its end."""
    return module.text().rstrip("\n") if generic else readable(module)


def check_file(option: str, path: Path | None, suffixes: Sequence[str], read: str) -> None:
    """Refuse a file that could not be written, or not in a form that its name tells.

    Raises:
        ModelError: which path breaks which rule.
    """
    from tetrapla.files import check_outputs

    if path is None:
        return
    if path.suffix not in suffixes:
        raise ModelError(f"{option} must be a file in {' or '.join(suffixes)}, not '{path}'")
    check_outputs(files_of(path), [read])


def chosen(after: str | None, pipeline: str | None) -> tuple[Pass, ...]:
    """The passes that the options name.

    Args:
        after: a pass, or a pipeline's name. `quantize` runs in its pipeline, because it is
            calibrated on the fused module.
        pipeline: a pipeline's text.

    Raises:
        ModelError: both are given.
        TetraplaError: there is no such pass, or the text is wrong.
    """
    from tetrapla.passes.pass_ import find
    from tetrapla.passes.pipeline_ import INT8, PIPELINES
    from tetrapla.passes.text_ import parse

    if after is not None and pipeline is not None:
        raise ModelError("--after and --pipeline must not both be given; drop one")
    if pipeline is not None:
        return parse(pipeline)
    if after is None:
        return ()
    if after == "quantize":
        return INT8
    return PIPELINES[after] if after in PIPELINES else (find(after)(),)


def data_for(
    module: Module, passes: Sequence[Pass], what: str, samples: Callable[[Module], Samples]
) -> Context:
    """The calibration data, if a pass takes any.

    Args:
        module: that it belongs to.
        passes: that will run.
        what: the option that named them, for the message.
        samples: reads the data.

    Raises:
        ModelError: a pass needs it, and there is none.
    """
    from tetrapla.passes.context_ import NOTHING, Context
    from tetrapla.passes.pass_ import Pass

    # a pass that takes data says how to bind it
    if all(type(pass_).bound is Pass.bound for pass_ in passes) or module.shape_only:
        return NOTHING
    found = samples(module)
    if found.calibration is None:
        raise ModelError(f"{what} must have calibration data, not none; give --calib")
    options.note(*found.warnings)
    return Context(found.calibration)


def rewritten(module: Module, passes: Sequence[Pass], context: Context, watch: Watch) -> Module:
    """The module after the passes.

    Raises:
        ModelError: what is watched does not run, or nothing failed that could be reduced.
        TetraplaError: a pass fails; its smallest module is written first, if that is wanted.
    """
    from tetrapla.passes.pass_ import steps

    names = [pass_.name for pass_ in passes]
    if watch.after not in (None, "all", *names):
        there = ", ".join(dict.fromkeys(names)) or "none"
        raise ModelError(
            f"--print-ir-after must be all or a pass that runs, not '{watch.after}'"
            f"{nearest(watch.after or '', names)}; there are: {there}"
        )
    done: list[Step] = []
    current = module
    try:
        for step in steps(module, passes, context):
            done.append(step)
            current = step.module
            if watch.after in ("all", step.pass_.name):
                typer.echo(f"after {len(done)}, {step.pass_.name}:", err=True)
                typer.echo(printed(current, watch.generic), err=True)
    except Exception as error:
        if watch.reduce is not None:
            _reduce(current, passes[len(done)], context, error, watch.reduce)
        raise
    if watch.reduce is not None:
        raise ModelError("--reduce must have a pass that fails, and none did; drop it")
    if watch.times:
        _tell_times(module, done)
    return current


def _reduce(
    module: Module, unbound: Pass, context: Context, error: Exception, path: Path
) -> None:
    from tetrapla.ir.errors import TetraplaError
    from tetrapla.passes.reduce_ import fails_like, reduce
    from tetrapla.passes.text_ import text

    try:
        pass_ = unbound.bound(module, context)
    except TetraplaError:
        # a part of the model has other inputs than the data
        options.note(f"{unbound.name} fails on its data already; nothing is reduced")
        return
    found = reduce(module, fails_like(pass_, error))
    if not found.module.graph.nodes:
        options.note(f"{pass_.name} fails on a model without operators, too; see its options")
        return
    save(found.module, path)
    small, large = (len(each.graph.nodes) for each in (found.module, module))
    options.note(
        f"{path} holds {small} of {large} operators, on which {pass_.name} fails alike "
        f"(--pipeline '{text([pass_])}')"
    )


def _tell_times(module: Module, done: Sequence[Step]) -> None:
    from tetrapla.table import show_rows

    rows: list[tuple[str, ...]] = []
    before = len(module.graph.nodes)
    for i, step in enumerate(done):
        nodes = len(step.module.graph.nodes)
        rows.append(
            (str(i + 1), step.pass_.name, f"{step.time_s:.3f}", f"{before}", f"{nodes}")
        )
        before = nodes
    total_s = sum(step.time_s for step in done)
    title = f"{module.name}: {len(done)} passes, {total_s:.3f} s of CPU with verification"
    show_rows(title, ("", "pass", "s", "operators before", "after"), rows, err=True)
