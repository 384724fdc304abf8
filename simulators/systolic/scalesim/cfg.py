"""SCALE-Sim's configuration files, as SCALE-Sim 3.0.0 reads them.

They are INI files in the dialect of Python's configparser: keys in any case, ``:`` or ``=``,
whole-line comments. Which keys are read, and under which others, follows scale_config.py of
SCALE-Sim 3.0.0. What it would stop at, a section or a key that is missing, takes the default of
its class here; what it reads and never uses, or never reads, is named.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tetrapla.ir.errors import SpecError, nearest
from tetrapla.simulators.systolic.scalesim.closed_form import DATAFLOWS
from tetrapla.simulators.yaml_ import Place, read_file, shortened

_ARCHITECTURE, _LAYOUT = "architecture_presets", "layout"
_SPARSITY, _RUN = "sparsity", "run_presets"
_MOST_DIGITS = 15
_WHOLE = re.compile(rf"\+?[0-9]{{1,{_MOST_DIGITS}}}")
_BOOLEANS = configparser.ConfigParser.BOOLEAN_STATES

_SPARSE_ONLY = ("sparserep", "optimizedmapping", "randomnumbergeneratorseed")


@dataclass(frozen=True)
class Setting:
    """A value of a file, or a default of SCALE-Sim's, which has no place."""

    value: int | str | bool
    place: Place | None = None


@dataclass(frozen=True)
class Config:
    """A file's settings by the keys' names in SCALE-Sim's documentation.

    Attributes:
        settings: every key that SCALE-Sim reads in this file's modes.
        bandwidth: the words per cycle of `Bandwidth`, under USER alone.
        ignored: keys of the file that SCALE-Sim does not read, with the reason.
    """

    settings: dict[str, Setting]
    bandwidth: tuple[int, ...]
    ignored: tuple[str, ...]

    def number(self, key: str) -> int:
        """A whole number's value."""
        return int(self.settings[key].value)

    def text(self, key: str) -> str:
        """A text's value."""
        return str(self.settings[key].value)

    def flag(self, key: str) -> bool:
        """A switch's value."""
        return bool(self.settings[key].value)

    @property
    def assumed(self) -> tuple[str, ...]:
        """Keys that the file does not give, with the values taken for them."""
        held = self.settings.items()
        return tuple(f"{key} {entry.value}" for key, entry in held if entry.place is None)


Reader: TypeAlias = Callable[[str, str], int | str | bool]


@dataclass(frozen=True)
class _Written:
    """A key as it stands in a file, and the place of its value."""

    key: str
    place: Place


def read(path: Path) -> Config:
    """Read a file.

    Raises:
        SpecError: the file is no INI file, or values are wrong, each at its line.
    """
    text = read_file(path, str(path)).removeprefix("\ufeff")
    if "\0" in text:
        raise SpecError(f"{path}: the file must be text, not bytes with NUL in them")
    return _Reading(str(path), _parsed(text, str(path)), _places(text, str(path))).config()


def _parsed(text: str, name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text, name)
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        if line is None and isinstance(error, configparser.ParsingError) and error.errors:
            line = error.errors[0][0]
        where = Place(name, line or 1, 1)
        raise SpecError(f"{where}: the file must be INI text: {_problem(error)}") from None
    return parser


def _problem(error: configparser.Error) -> str:
    match error:
        case configparser.MissingSectionHeaderError():
            return "a section such as [general] must come before the first key"
        case configparser.DuplicateSectionError():
            return f"the section [{shortened(error.section)}] must be given once"
        case configparser.DuplicateOptionError():
            return f"the key {shortened(error.option)} must be given once; remove one"
        case _:
            return "a line must be [section] or key = value"


def _places(text: str, name: str) -> dict[tuple[str, str], _Written]:
    """Where each key's value stands, by section and lower-cased key."""
    found: dict[tuple[str, str], _Written] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\[(.+)\]", line)
        pair = re.match(r"\s*([^#;:=\s][^:=]*)[:=](.*)", line)
        if header:
            section = header[1]
        elif pair:
            column = len(line.rstrip()) - len(pair[2].strip()) + 1
            key = pair[1].strip()
            place = Place(name, number, column)
            found.setdefault((section, key.lower()), _Written(key, place))
    return found


@dataclass
class _Reading:
    """One file on its way to a `Config`; every defect is collected."""

    name: str
    parser: configparser.ConfigParser
    written: dict[tuple[str, str], _Written]
    settings: dict[str, Setting] = field(default_factory=dict)
    known: set[tuple[str, str]] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def config(self) -> Config:
        self.take("general", "run_name", "scale_run", _text)
        mode = self.take(_RUN, "InterfaceBandwidth", "CALC", _one_of("CALC", "USER"))
        self.take(_RUN, "UseRamulatorTrace", False, _exactly_true)
        self._architecture()
        self._layout()
        self._sparsity()
        bandwidth = self._bandwidth() if mode == "USER" else ()
        if self.errors:
            raise SpecError("\n".join(self.errors))
        return Config(self.settings, bandwidth, tuple(self._ignored()))

    def take(
        self, section: str, key: str, default: int | str | bool, read: Reader
    ) -> int | str | bool:
        """Read one key; where the file lacks it, SCALE-Sim's default."""
        self.known.add((section, key.lower()))
        raw = self._raw(section, key)
        if raw is None:
            self.settings[key] = Setting(default)
            return default
        place = self._place(section, key)
        try:
            value = read(key, raw)
        except ValueError as error:
            self.errors.append(f"{place}: {error}")
            value = default
        self.settings[key] = Setting(value, place)
        return value

    def _raw(self, section: str, key: str) -> str | None:
        try:
            return self.parser.get(section, key, fallback=None)
        except configparser.InterpolationError:
            self.errors.append(
                f"{self._place(section, key)}: {key} must not refer to other keys by '%'; "
                "write %%"
            )
            return None

    def _place(self, section: str, key: str) -> Place:
        held = self.written.get((section, key.lower()))
        return held.place if held else Place(self.name)

    def _architecture(self) -> None:
        for key, default in (
            ("ArrayHeight", 4),
            ("ArrayWidth", 4),
            ("IfmapSramSzkB", 256),
            ("FilterSramSzkB", 256),
            ("OfmapSramSzkB", 128),
        ):
            self.take(_ARCHITECTURE, key, default, _positive)
        self.take(_ARCHITECTURE, "IfmapOffset", 0, _whole)
        self.take(_ARCHITECTURE, "FilterOffset", 10_000_000, _whole)
        self.take(_ARCHITECTURE, "OfmapOffset", 20_000_000, _whole)
        self.take(_ARCHITECTURE, "Dataflow", "ws", _one_of(*DATAFLOWS))
        for key in ("ReadRequestBuffer", "WriteRequestBuffer"):
            self.take(_ARCHITECTURE, key, 60, _whole)

    def _layout(self) -> None:
        for operand in ("Ifmap", "Filter"):
            self.take(_LAYOUT, f"{operand}CustomLayout", False, _boolean)
            self.take(_LAYOUT, f"{operand}SRAMBankBandwidth", 10, _positive)
            self.take(_LAYOUT, f"{operand}SRAMBankNum", 10, _positive)
            self.take(_LAYOUT, f"{operand}SRAMBankPort", 2, _positive)

    def _sparsity(self) -> None:
        if not self.take(_SPARSITY, "SparsitySupport", False, _true_or_false):
            return
        self.take(_SPARSITY, "SparseRep", "", _one_of("csr", "csc", "ellpack_block", ""))
        if self.take(_SPARSITY, "OptimizedMapping", False, _true_or_false):
            size = self.take(_SPARSITY, "BlockSize", 4, _positive)
            height = self.settings["ArrayHeight"].value
            if int(size) > int(height):
                place = self.settings["BlockSize"].place or self.name
                self.errors.append(
                    f"{place}: BlockSize must be at most ArrayHeight, {height}, not {size}"
                )
        self.take(_SPARSITY, "RandomNumberGeneratorSeed", 40, _whole)

    def _bandwidth(self) -> tuple[int, ...]:
        text = str(self.take(_ARCHITECTURE, "Bandwidth", "10", _numbers))
        return tuple(int(part) for part in text.split(",")) if not self.errors else ()

    def _ignored(self) -> Iterator[str]:
        """Keys that are not read, with why where the file's own settings are the reason."""
        why = {
            "bandwidth": "(without InterfaceBandwidth USER)",
            **dict.fromkeys(_SPARSE_ONLY, "(without SparsitySupport)"),
            "blocksize": "(without OptimizedMapping)",
        }
        for section in self.parser.sections():
            for key in self.parser.options(section):
                if (section, key) in self.known or key in self.parser.defaults():
                    continue
                held = self.written.get((section, key))
                words = [shortened(held.key if held else key), why.get(key, "")]
                yield " ".join(word for word in words if word)


def _text(key: str, raw: str) -> str:
    if not raw.strip() or not raw.isprintable():
        raise ValueError(f"{key} must be a name, not {shortened(raw)!r}")
    return raw.strip()[:64]


def _check_length(key: str, raw: str) -> None:
    digits = raw.strip()
    if len(digits) > _MOST_DIGITS and digits.isascii() and digits.isdigit():
        raise ValueError(
            f"{key} must have at most {_MOST_DIGITS} digits, not {len(digits)}; give a "
            "smaller number"
        )


def _whole(key: str, raw: str) -> int:
    _check_length(key, raw)
    if not _WHOLE.fullmatch(raw.strip()):
        raise ValueError(f"{key} must be a whole number, not '{shortened(raw)}'")
    return int(raw)


def _positive(key: str, raw: str) -> int:
    _check_length(key, raw)
    value = _whole(key, raw) if _WHOLE.fullmatch(raw.strip()) else 0
    if value < 1:
        raise ValueError(f"{key} must be a whole number of at least 1, not '{shortened(raw)}'")
    return value


def _numbers(key: str, raw: str) -> str:
    parts = [part.strip() for part in raw.split(",")]
    if not all(_WHOLE.fullmatch(part) and int(part) for part in parts):
        raise ValueError(
            f"{key} must be whole numbers of words per cycle, not '{shortened(raw)}'; "
            "write 10 or 10,10,10"
        )
    return ",".join(parts)


def _boolean(key: str, raw: str) -> bool:
    if raw.lower() not in _BOOLEANS:
        raise ValueError(f"{key} must be True or False, not '{shortened(raw)}'")
    return _BOOLEANS[raw.lower()]


def _true_or_false(key: str, raw: str) -> bool:
    # SCALE-Sim takes all but "true" as false, a typing error with it
    if raw.lower() not in ("true", "false"):
        raise ValueError(f"{key} must be true or false, not '{shortened(raw)}'")
    return raw.lower() == "true"


def _exactly_true(key: str, raw: str) -> bool:
    _boolean(key, raw)
    return raw == "True"  # the only text that switches it on


def _one_of(*known: str) -> Reader:
    def read(key: str, raw: str) -> str:
        if raw in known:
            return raw
        alike = [name for name in known if name.lower() == raw.lower()]
        hint = f"; did you mean '{alike[0]}'?" if alike else nearest(raw, known)
        words = " or ".join(name for name in known if name)
        raise ValueError(f"{key} must be {words}, not '{shortened(raw)}'{hint}")

    return read
