"""What a pass is, how passes are found by file name, and how they are run one after another."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import ClassVar, Self, TypeAlias

from tetrapla.ir.errors import IRError, RegistryError, TetraplaError, nearest
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.module import Module
from tetrapla.passes.context_ import NOTHING, Context


@dataclass(frozen=True)
class Pass(ABC):
    """A rewrite of a module; its options are its fields.

    A pass leaves its operand as it was and returns another module, or the operand itself
    where there is nothing to do. Fields that are numbers or words are options in a
    pipeline's text (`text_`); what is no option comes from a context (`bound`).

    Attributes:
        idempotent: whether a second run on its own result changes nothing.
        max_rel_error: how far an output may move, relative to the largest magnitude of that
            output: 0.0 says that every bit stays, infinity that the pass chooses new values
            on purpose. A subclass that admits an error says why. It is said of outputs of
            floats that no discrete operator (a rounding, a comparison, a cast to integers)
            lies before: such a one may turn the least difference into a step.
    """

    idempotent: ClassVar[bool] = True
    max_rel_error: ClassVar[float] = 0.0

    @property
    def name(self) -> str:
        """The file's name with hyphens."""
        return _name(type(self).__module__.rsplit(".", 1)[-1])

    @abstractmethod
    def __call__(self, module: Module) -> Module:
        """Return the rewritten module.

        Raises:
            TetraplaError: the module cannot be rewritten.
        """

    def bound(self, module: Module, context: Context) -> Self:
        """The pass with the data that it needs for `module`; most need none.

        Raises:
            ModelError: the context has not what the pass needs.
        """
        del module, context
        return self

    @classmethod
    def example(cls, module: Module, inputs: Mapping[str, Array]) -> Self:
        """An instance that fits `module`; for what tries every pass.

        Args:
            module: the module that it will be run on.
            inputs: arrays of shape (invocations, *static shape).
        """
        del module, inputs
        return cls()


@dataclass(frozen=True)
class Step:
    """One pass of a pipeline that ran.

    Attributes:
        pass_: as it ran, its data bound.
        module: its result, verified.
        time_s: of rewriting and verifying, by the caller's clock; finding the data that the
            pass needs (a calibration) is not in it.
    """

    pass_: Pass
    module: Module
    time_s: float


After: TypeAlias = Callable[[Pass, Module], None]


def run(
    module: Module,
    passes: Iterable[Pass],
    context: Context = NOTHING,
    after: After | None = None,
) -> Module:
    """Run the passes in order, verifying the result of each.

    Args:
        module: stays as it is.
        passes: see `text_.parse` for their text form.
        context: data that passes need, for all of them.
        after: called with each pass and its verified result.

    Raises:
        TetraplaError: a pass refuses the module or makes an invalid one; the message starts
            with the pass's name.
    """
    current = module
    for step in steps(module, passes, context):
        current = step.module
        if after is not None:
            after(step.pass_, current)
    return current


def steps(
    module: Module,
    passes: Iterable[Pass],
    context: Context = NOTHING,
    clock_s: Callable[[], float] = time.process_time,
) -> Iterator[Step]:
    """Run a pipeline one pass at a time; see `run`.

    Args:
        module: stays as it is.
        passes: in order.
        context: data that passes need.
        clock_s: read before and after each pass.
    """
    current = module
    for pass_ in passes:
        ready = _bound(pass_, current, context)
        start_s = clock_s()
        current = _checked(ready, current)
        yield Step(ready, current, clock_s() - start_s)


def passes() -> dict[str, type[Pass]]:
    """Every pass by name: the files of this folder, without the contracts (``*_.py``).

    Raises:
        RegistryError: a file does not hold exactly one pass.
    """
    folder = str(Path(__file__).parent)
    stems = sorted(m.name for m in iter_modules([folder]) if not m.name.endswith("_"))
    return {_name(stem): _defined(stem) for stem in stems}


def find(name: str, known: Mapping[str, type[Pass]] | None = None) -> type[Pass]:
    """Return the pass of that name.

    Args:
        name: with hyphens.
        known: passes by name; those of this folder if None.

    Raises:
        RegistryError: there is none.
    """
    known = passes() if known is None else known
    if name not in known:
        there = ", ".join(known)
        raise RegistryError(f"no pass '{name}'{nearest(name, known)}; there are: {there}")
    return known[name]


def _bound(pass_: Pass, module: Module, context: Context) -> Pass:
    try:
        return pass_.bound(module, context)
    except TetraplaError as error:
        raise type(error)(f"{pass_.name}: {error}") from error


def _checked(pass_: Pass, module: Module) -> Module:
    try:
        changed = pass_(module)
        # asked even of the operand itself, which the pass may have edited against the rule
        changed.verify()
        if changed is not module:
            _check_interface(module, changed)
    except TetraplaError as error:
        raise type(error)(f"{pass_.name}: {error}") from error
    return changed


def _name(stem: str) -> str:
    return stem.replace("_", "-")


def _defined(stem: str) -> type[Pass]:
    module = import_module(f"tetrapla.passes.{stem}")
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, Pass)
        and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise RegistryError(
            f"passes/{stem}.py must hold one pass, not {len(found)}; end the name of a file "
            "that holds none in an underscore"
        )
    return found[0]


def _check_interface(before: Module, after: Module) -> None:
    for what in ("inputs", "outputs"):
        wanted, found = (_types(getattr(module, what)) for module in (before, after))
        if wanted != found:
            raise IRError(f"the model's {what} must stay {wanted}, not {found}")


def _types(values: Mapping[str, Value]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(name, value.shape, value.dtype) for name, value in values.items()]
