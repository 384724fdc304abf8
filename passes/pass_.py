"""What a pass is, how passes are found by file name, and how they are run one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import ClassVar, Self

from tetrapla.ir.errors import IRError, RegistryError, TetraplaError, nearest
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.module import Module


@dataclass(frozen=True)
class Pass(ABC):
    """A rewrite of a module; its options are its fields.

    A pass returns another module and leaves its operand as it was; run on its own result it
    changes nothing.

    Attributes:
        max_rel_error: how far an output may move, relative to the largest magnitude of that
            output: 0.0 says that every bit stays, infinity that the pass chooses new values
            on purpose. A subclass that admits an error says why.
    """

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

    @classmethod
    def example(cls, module: Module, inputs: Mapping[str, Array]) -> Self:
        """An instance that fits `module`; for what tries every pass.

        Args:
            module: the module that it will be run on.
            inputs: arrays of shape (invocations, *static shape).
        """
        del module, inputs
        return cls()


def run(module: Module, passes: Sequence[Pass]) -> Module:
    """Run the passes in order on a clone, verifying the result of each.

    Raises:
        TetraplaError: a pass refuses the module or makes an invalid one; the message starts
            with the pass's name.
    """
    current = module.clone()
    for pass_ in passes:
        try:
            changed = pass_(current)
            changed.verify()
            _check_interface(current, changed)
        except TetraplaError as error:
            raise type(error)(f"{pass_.name}: {error}") from error
        current = changed
    return current


def passes() -> dict[str, type[Pass]]:
    """Every pass by name: the files of this folder, without the contracts (``*_.py``).

    Raises:
        RegistryError: a file does not hold exactly one pass.
    """
    folder = str(Path(__file__).parent)
    stems = sorted(m.name for m in iter_modules([folder]) if not m.name.endswith("_"))
    return {_name(stem): _defined(stem) for stem in stems}


def find(name: str) -> type[Pass]:
    """Return the pass of that name.

    Raises:
        RegistryError: there is none.
    """
    known = passes()
    if name not in known:
        there = ", ".join(known)
        raise RegistryError(f"no pass '{name}'{nearest(name, known)}; there are: {there}")
    return known[name]


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
