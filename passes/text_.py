"""Pipelines as text: ``fold-constants,fuse-epilogue,quantize{bits=8}``.

    pipeline   part {"," part}                   nothing is the empty pipeline
    part       a name of `pipeline_.PIPELINES`, which stands for its passes, or a pass
    pass       name ["{" option {"," option} "}"]
    option     name "=" value
    value      8 | -0.5 | 1e-3 | true | word | a string of JSON, in its quotes

White space between these means nothing. An option is a field of the pass that holds an
integer, a float, a truth value or a string; what else a pass needs comes from the context
that it is run in. Options at their defaults are not printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TypeAlias, get_type_hints

from tetrapla.ir.errors import RegistryError, SpecError, TetraplaError, nearest
from tetrapla.passes.pass_ import Pass, passes
from tetrapla.passes.pipeline_ import PIPELINES

Option: TypeAlias = bool | int | float | str

EXAMPLE = "fold-constants,quantize{bits=8}"
TOKEN = re.compile(r'\s*([A-Za-z0-9_.+-]+|"(?:[^"\\]|\\.)*"|\S)')
PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*")
INTEGER = re.compile(r"[+-]?[0-9]{1,999}")
END = "the end"


Named: TypeAlias = Mapping[str, tuple[Pass, ...]]


def parse(
    text: str, known: Mapping[str, type[Pass]] | None = None, named: Named = PIPELINES
) -> tuple[Pass, ...]:
    """The passes that a text names, in order.

    Args:
        text: see the module's docstring.
        known: passes by name; those of this folder if None.
        named: pipelines by name.

    Raises:
        RegistryError: there is no such pass, or no such option of it.
        SpecError: the text is not of the form, or a value not of its option's type.
        TetraplaError: the pass refuses a value.
    """
    return _Reader(text, passes() if known is None else known, named).pipeline()


def text(pipeline: Iterable[Pass]) -> str:
    """What `parse` reads as the same passes, their data (fields that are no options) aside."""
    return ",".join(_printed(pass_) for pass_ in pipeline)


def options(pass_: type[Pass]) -> dict[str, type[Option]]:
    """The fields that text can give, with their types; each has a default."""
    hints = get_type_hints(pass_)
    return {f.name: hints[f.name] for f in fields(pass_) if f.init and hints[f.name] in READ}


class _Reader:
    """Recursive descent, one token ahead."""

    def __init__(self, source: str, known: Mapping[str, type[Pass]], named: Named) -> None:
        matches = list(TOKEN.finditer(source))
        self.tokens = [m[1] for m in matches] + [END]
        self.columns = [m.start(1) + 1 for m in matches] + [len(source) + 1]
        self.known = known
        self.named = named
        self.at = 0

    def pipeline(self) -> tuple[Pass, ...]:
        found: list[Pass] = []
        if self._next() == END:
            return ()
        while True:
            found.extend(self._part())
            if self._next() == END:
                return tuple(found)
            self._take(",", "',' or the end after a pass")

    def _part(self) -> tuple[Pass, ...]:
        name = self._word("a pass")
        if name in self.known:
            return (self._pass(name, self.known[name]),)
        known = [*self.known, *self.named]
        if name not in self.named:
            raise RegistryError(
                f"no pass '{name}'{nearest(name, known)}; there are: {', '.join(known)}"
            )
        if self._next() == "{":
            raise SpecError(
                f"{name} is a pipeline and must have no options, not '{{'; write its passes "
                f"instead: {text(self.named[name])}"
            )
        return self.named[name]

    def _pass(self, name: str, pass_: type[Pass]) -> Pass:
        given: dict[str, Option] = {}
        if self._next() == "{":
            self._take("{", "'{'")
            while True:
                key = self._word(f"an option of {name}")
                if key in given:
                    raise SpecError(f"{name}: {key} must be given once, not twice; drop one")
                self._take("=", f"'=' after {name}'s {key}")
                given[key] = _value(pass_, name, key, self._any("a value"))
                if self._next() == "}":
                    break
                self._take(",", f"',' or '}}' after {name}'s {key}")
            self._take("}", "'}'")
        try:
            return pass_(**given)
        except TetraplaError as error:
            # a message that begins with the pass's name already stays as it is
            prefix = "" if str(error).startswith(f"{name}: ") else f"{name}: "
            raise type(error)(f"{prefix}{error}") from None

    def _next(self) -> str:
        return self.tokens[self.at]

    def _any(self, what: str) -> str:
        token = self._next()
        if token == END or token in "{},=":
            raise self._wrong(what)
        self.at += 1
        return token

    def _word(self, what: str) -> str:
        if WORD.fullmatch(self._next()) is None:
            raise self._wrong(what)
        return self._any(what)

    def _take(self, token: str, what: str) -> None:
        if self._next() != token:
            raise self._wrong(what)
        self.at += 1

    def _wrong(self, what: str) -> SpecError:
        found = END if self._next() == END else repr(self._next())
        column = self.columns[self.at]
        return SpecError(
            f"a pipeline's text must have {what} at column {column}, not {found}; "
            f"write it like {EXAMPLE}"
        )


def _value(pass_: type[Pass], name: str, key: str, token: str) -> Option:
    known = options(pass_)
    if key not in known:
        there = f"there are: {', '.join(known)}" if known else "it has none"
        raise RegistryError(f"no option '{key}' of {name}{nearest(key, known)}; {there}")
    what, read = READ[known[key]]
    try:
        return read(token)
    except ValueError:
        usual = spelled(getattr(pass_, key))
        raise SpecError(
            f"{name}: {key} must be {what}, not {token}; write {key}={usual} for the default"
        ) from None


def _printed(pass_: Pass) -> str:
    usual = type(pass_)  # a dataclass keeps the defaults of its fields
    given = [
        f"{key}={spelled(getattr(pass_, key))}"
        for key in options(usual)
        if getattr(pass_, key) != getattr(usual, key)
    ]
    return f"{pass_.name}{{{','.join(given)}}}" if given else pass_.name


def spelled(value: Option) -> str:
    """A value as text has it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value if WORD.fullmatch(value) else json.dumps(value)
        case int():
            return str(int(value))
        case _:
            return repr(float(value))


def _truth(token: str) -> bool:
    if token not in ("true", "false"):
        raise ValueError(token)
    return token == "true"


def _integer(token: str) -> int:
    if INTEGER.fullmatch(token) is None:
        raise ValueError(token)
    return int(token)


def _number(token: str) -> float:
    number = float(token)
    if number != number:  # NaN equals nothing, not even what it is printed as
        raise ValueError(token)
    return number


def _string(token: str) -> str:
    return token if PLAIN.fullmatch(token) else str(json.loads(token))


READ: Mapping[object, tuple[str, Callable[[str], Option]]] = MappingProxyType(
    {
        bool: ("true or false", _truth),
        int: ("an integer", _integer),
        float: ("a number", _number),
        str: ("a string", _string),
    }
)
