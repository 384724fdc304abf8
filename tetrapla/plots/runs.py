"""Reading RUN.json: what simulate, compare, demo and sweep write, judged before it is drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from tetrapla.ir.errors import ModelError

Facts: TypeAlias = Mapping[str, Any]  # a report's dictionary, schema tetrapla.report/1

_REPORT, _COMPARE, _SWEEP = "tetrapla.report/1", "tetrapla.compare/1", "tetrapla.sweep/1"
_WAY = "write one with --json of simulate, compare, demo or sweep"
_NUMBER: Final = (int, float)
_MAYBE: Final = (int, float, type(None))
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "target": (str,),
    "command": (str,),
    "cycles": _NUMBER,
    "time_s": _NUMBER,
    "energy_pj": (dict,),
    "area_mm2": _MAYBE,
    "accuracy": (dict, type(None)),
    "layers": (list,),
}
_LAYER: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "cycles": _NUMBER,
    "macs": _NUMBER,
    "utilization_frac": _MAYBE,
    "bound_by": (str,),
    "energy_pj": _MAYBE,
}
_WORDS: Mapping[type, str] = {
    str: "text",
    int: "a number",
    float: "a number",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True)
class RunFile:
    """What a file holds.

    Attributes:
        path: as it was named.
        digest: SHA-256 of its bytes, in hexadecimal.
        reports: of one machine, of several, or of a sweep's points.
        settings: by report, what a sweep set; empty for the others.
        front: by report, whether a sweep's file calls it a point of the front.
        objectives: of a sweep.
    """

    path: Path
    digest: str
    reports: tuple[Facts, ...]
    settings: tuple[Mapping[str, str], ...] = ()
    front: tuple[bool, ...] = ()
    objectives: tuple[str, ...] = ()

    @property
    def swept(self) -> bool:
        """Whether the reports are the points of a sweep."""
        return bool(self.settings)

    @property
    def command(self) -> str:
        """The command that made the reports, as they tell it."""
        return next((str(each["command"]) for each in self.reports if each["command"]), "")


def read(path: Path) -> RunFile:
    """Read a file.

    Raises:
        ModelError: it is not there, no JSON, or not of a command that a figure can be of.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"'{path}' must be a file to read, not one that the system refuses: "
            f"{error.strerror}; {_WAY}"
        ) from None
    raw = _parsed(path, data)
    found = RunFile(path, hashlib.sha256(data).hexdigest(), ())
    schema = raw.get("schema") if isinstance(raw, dict) else None
    match schema:
        case "tetrapla.report/1":
            reports = [raw]
        case "tetrapla.compare/1":
            reports = _list(path, "reports", raw.get("reports"))
        case "tetrapla.sweep/1":
            return _sweep(found, raw)
        case _:
            what = f"schema {schema!r}" if schema else "JSON without a schema"
            raise ModelError(
                f"{path}: schema must be {_REPORT}, {_COMPARE} or {_SWEEP}, not {what}; {_WAY}"
            )
    return RunFile(path, found.digest, _checked(path, "reports", reports))


def chosen(run: RunFile, target: str | None) -> Sequence[Facts]:
    """The reports of a target; all where none is named.

    Raises:
        ModelError: the file has none of it.
    """
    if target is None:
        return run.reports
    held = [each for each in run.reports if each["target"] == target]
    if not held:
        names = ", ".join(dict.fromkeys(str(each["target"]) for each in run.reports))
        raise ModelError(
            f"--of must be a target of {run.path}, not '{target}'; there are: {names}"
        )
    return held


def _parsed(path: Path, data: bytes) -> Any:
    def constant(text: str) -> float:
        raise ModelError(f"{path}: a number must be finite, not {text}; {_WAY}")

    try:
        return json.loads(data.decode("utf-8"), parse_constant=constant)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{path}:{error.lineno}:{error.colno}: the file must be JSON: {error.msg}; {_WAY}"
        ) from None
    except UnicodeDecodeError:
        raise ModelError(f"{path}: the file must be JSON, not binary data; {_WAY}") from None
    except RecursionError:
        raise ModelError(
            f"{path}: the file must be JSON of a result, not nested without end; {_WAY}"
        ) from None


def _sweep(found: RunFile, raw: Mapping[str, Any]) -> RunFile:
    path = found.path
    points = _list(path, "points", raw.get("points"))
    for number, point in enumerate(points):
        _typed(path, f"points[{number}]", point, dict)
        for name, kind in (("settings", dict), ("pareto", bool), ("report", dict)):
            _typed(path, f"points[{number}].{name}", point.get(name), kind)
    reports = _checked(path, "points", [point["report"] for point in points])
    return RunFile(
        path,
        found.digest,
        reports,
        tuple({str(k): str(v) for k, v in point["settings"].items()} for point in points),
        tuple(point["pareto"] for point in points),
        tuple(str(each) for each in _list(path, "objectives", raw.get("objectives"))),
    )


def _checked(path: Path, where: str, reports: Sequence[Any]) -> tuple[Facts, ...]:
    """Reports whose fields are of the types that the contract says."""
    if not reports:
        raise ModelError(f"{path}: {where} must hold a report, not none; {_WAY}")
    for number, report in enumerate(reports):
        place = f"{where}[{number}]"
        _fields(path, place, report, _FIELDS)
        energy = report["energy_pj"]
        _typed(path, f"{place}.energy_pj.total", energy.get("total"), *_MAYBE)
        units = energy.get("by_unit")
        _typed(path, f"{place}.energy_pj.by_unit", units, dict)
        for unit, picojoules in cast("Mapping[str, object]", units).items():
            _typed(path, f"{place}.energy_pj.by_unit.{unit}", picojoules, *_MAYBE)
        for index, layer in enumerate(report["layers"]):
            _fields(path, f"{place}.layers[{index}]", layer, _LAYER)
        if report["accuracy"] is not None:
            share = report["accuracy"].get("target")
            _typed(path, f"{place}.accuracy.target", share, *_NUMBER)
    return tuple(reports)


def _fields(path: Path, place: str, raw: Any, fields: Mapping[str, tuple[type, ...]]) -> None:
    _typed(path, place, raw, dict)
    for name, kinds in fields.items():
        if name not in raw:
            raise ModelError(f"{path}: {place} must have {name}, not lack it; {_WAY}")
        _typed(path, f"{place}.{name}", raw[name], *kinds)


def _list(path: Path, where: str, raw: Any) -> list[Any]:
    _typed(path, where, raw, list)
    return cast("list[Any]", raw)


def _typed(path: Path, place: str, raw: object, *kinds: type) -> None:
    if isinstance(raw, kinds) and not (isinstance(raw, bool) and bool not in kinds):
        return
    words = " or ".join(dict.fromkeys(_WORDS[kind] for kind in kinds))
    raise ModelError(f"{path}: {place} must be {words}, not {_WORDS[type(raw)]}; {_WAY}")
