"""Every field of every shipped chip, spoilt as people spoil it: one sentence, at its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tetrapla.backends.target_ import target
from tetrapla.ir.errors import SpecError
from tetrapla.simulators.leaves_ import dotted
from tetrapla.simulators.schema_ import aliases, models_at
from tetrapla.simulators.spec_ import chips, family_of, load_tree
from tetrapla.simulators.yaml_ import Mapping, Place, Scalar, Sequence, Tree, read_text

Path_ = tuple["str | int", ...]
CHIPS = tuple(chips())
LARGEST = ("isaac", "h100", "ane", "spinnaker", "tpu-v1")  # of each family
MESSAGE = re.compile(r"m\.yaml:(\d+):(\d+): (\S+) (?:.+; \S.*|.*\?)")
VALUES = (
    *(
        "banana",
        "7",
        "-3",
        "0",
        "0.5",
        "-3 MHz",
        "1e40 MHz",
        "1e-40 s",
        "64 kiB",
        "5 KB",
        "1 nm",
    ),
    *(".nan", ".inf", "-.inf", "1e309", "1" + 30 * "0", "99999999999", "100 %", "-5 %", "0x10"),
    *(
        "null",
        "true",
        "''",
        "'5'",
        "5 bananas",
        "\uff17",
        "\uff11 MHz",
        "日本",
        '"\\0"',
        "1_000",
        "1:30",
    ),
    *("[]", "[1, 2]", "[[1]]", "{a: 1}", "[{a: 1}]"),
)


@cache
def parsed(name: str) -> tuple[str, Mapping]:
    text = chips()[name].read_text("utf-8")
    return text, read_text(text, "m.yaml")


@cache
def spec_type(name: str) -> Any:
    return target(family_of(name)).spec_type


@cache
def value(text: str) -> Tree:
    return read_text(f"x: {text}", "x").entries["x"]


def told(tree: Mapping, name: str) -> list[str]:
    """What is said of a tree, a line each; nothing where it is a chip all the same."""
    try:
        load_tree(tree, "", "m.yaml", spec_type(name))
    except SpecError as error:
        return str(error).splitlines()
    return []


def scalars(tree: Tree, path: Path_ = ()) -> Iterator[tuple[Path_, Scalar]]:
    match tree:
        case Scalar():
            yield path, tree
        case Sequence():
            for i, item in enumerate(tree.items):
                yield from scalars(item, (*path, i))
        case Mapping():
            for key, item in tree.entries.items():
                yield from scalars(item, (*path, key))


def changed(tree: Tree, path: Path_, new: Tree | None) -> Tree:
    """A copy of a tree with another part in one place; None leaves it out."""
    match tree:
        case Scalar():
            return tree
        case Sequence():
            items = [
                new
                if path == (i,) and new
                else changed(item, path[1:] if path[:1] == (i,) else (), new)
                for i, item in enumerate(tree.items)
            ]
            return Sequence(tree.place, items)
        case Mapping():
            inner: dict[str, Tree] = {}
            for key, item in tree.entries.items():
                if path != (key,):
                    inner[key] = changed(item, path[1:] if path[:1] == (key,) else (), new)
                elif new is not None:
                    inner[key] = new
            return Mapping(tree.place, inner, {key: tree.keys[key] for key in inner})


def renamed(tree: Tree, path: Path_, name: str) -> Tree:
    """A copy of a tree with another key in one place."""
    if not isinstance(tree, Mapping):
        return changed(tree, (), None)
    inner, keys = dict[str, Tree](), dict[str, Place]()
    for key, item in tree.entries.items():
        here = name if path == (key,) else key
        inner[here] = renamed(item, path[1:] if path[:1] == (key,) else (), name)
        keys[here] = tree.keys[key]
    return Mapping(tree.place, inner, keys)


def placed(tree: Tree, place: Place) -> Tree:
    """A tree as if it stood at a place of the file."""
    match tree:
        case Scalar():
            return Scalar(tree.text, tree.quoted, place)
        case Sequence():
            return Sequence(place, [placed(item, place) for item in tree.items])
        case Mapping():
            inner = {key: placed(item, place) for key, item in tree.entries.items()}
            return Mapping(place, inner, dict.fromkeys(inner, place))


def misplaced(message: str, lines: list[str]) -> str:
    """What is wrong with a message: its form, or that what it names stands elsewhere."""
    found = MESSAGE.fullmatch(message)
    if not found:
        return f"form: {message}"
    thing, here = found[3].rstrip(":"), lines[int(found[1]) - 1][int(found[2]) - 1 :]
    key = re.match(r"[\w.]+", here)
    if thing == "the" or thing.endswith("]"):  # the file …; an item of a list
        return ""
    known = key and (thing.endswith(key[0]) or key[0] in ("value", "range"))
    return "" if known else f"{message} is not at: {here}"


@pytest.mark.parametrize("name", CHIPS)
@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32 - 1))
def test_every_value_of_every_chip_is_refused_at_its_place(name: str, seed: int) -> None:
    random = Random(seed)
    text, tree = parsed(name)
    lines = text.splitlines()
    wrong: list[str] = []
    for path, old in scalars(tree):
        if path[-1] in ("source", "grade") and name not in LARGEST:
            continue
        spoilt = changed(tree, path, placed(value(random.choice(VALUES)), old.place))
        assert isinstance(spoilt, Mapping)
        own = dotted(tuple(part for part in path if part != "value"))
        for message in told(spoilt, name):
            wrong += filter(None, [misplaced(message, lines)])
            if f": {own} " in message and not message.startswith(f"m.yaml:{old.place.line}:"):
                wrong.append(message)
    assert wrong == []


def sections(tree: Mapping, model: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The paths of every key that the model knows."""
    for key, item in tree.entries.items():
        known = any(key in aliases(one) for one in models_at(model, path))
        if known:
            yield (*path, key)
        if isinstance(item, Mapping) and "value" not in item.entries:
            yield from sections(item, model, (*path, key))


@pytest.mark.parametrize("name", LARGEST)
@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_misspelt_key_is_one_sentence_with_the_key_that_was_meant(
    name: str, seed: int
) -> None:
    random = Random(seed)
    _, tree = parsed(name)
    for path in sections(tree, spec_type(name)):
        if path in (("family",), ("cost",)):
            continue  # read before the rest
        key = str(path[-1])
        at = random.randrange(len(key))
        wrong = random.choice(
            [key[:at] + key[at] + key[at:], key[: at + 1] + "_" + key[at + 1 :]]
        )
        spoilt = renamed(tree, path, wrong)
        assert isinstance(spoilt, Mapping)
        place = _key_place(tree, path)
        thing = dotted(path[:-1]) or "the file"
        assert told(spoilt, name) == [
            f"{place}: {thing} has no key '{wrong}'; did you mean '{key}'?"
        ]


def _key_place(tree: Mapping, path: Path_) -> Place:
    here: Any = tree
    for part in path[:-1]:
        here = here.entries[part]
    place: Place = here.keys[path[-1]]
    return place


@pytest.mark.parametrize("name", LARGEST)
def test_a_missing_key_is_asked_for_where_it_belongs(name: str) -> None:
    text, tree = parsed(name)
    for path in sections(tree, spec_type(name)):
        spoilt = changed(tree, path, None)
        assert isinstance(spoilt, Mapping)
        said = [misplaced(message, text.splitlines()) for message in told(spoilt, name)]
        assert list(filter(None, said)) == []


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(CHIPS), seed=st.integers(0, 2**32 - 1), twice=st.booleans())
def test_a_spoilt_file_gets_status_2_and_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, twice: bool
) -> None:
    from tetrapla.__main__ import run

    random = Random(seed)
    text, tree = parsed(name)
    lines = text.splitlines()
    path, old = random.choice([one for one in scalars(tree) if one[0][-1] == "value"])
    row, at = lines[old.place.line - 1], old.place.column - 1
    lines[old.place.line - 1] = row[:at] + random.choice(VALUES) + row[at + len(old.text) :]
    if twice:
        lines.insert(old.place.line, lines[old.place.line - 1])
    file = tmp_path_factory.getbasetemp() / "spoilt.yaml"
    file.write_text("\n".join(lines), "utf-8")
    assert run(["arch", "show", str(file)]) in (0, 2), path


def test_all_defects_of_a_file_are_told_together_in_its_order(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    text = chips()["tpu-v1"].read_text("utf-8")
    for old, new in (
        ("  cols: {value: 256", "  colums: {value: 256"),
        ("700 MHz", "700"),
        ("24 MiB", "24 MB2"),
        ("  lanes:", "  lines:"),
        ("100 ns", "-1 ns"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    done = cli("arch", "show", path)
    assert done.err.splitlines() == [
        f"error: {path}:20:3: array has no key 'colums'; did you mean 'cols'?",
        f"{path}:27:1: clock needs a unit, not 700; write '700 MHz'",
        f"{path}:30:3: memories.unified_buffer must be in bytes, not '24 MB2'; did you mean "
        "'MB'?",
        f"{path}:38:3: vector has no key 'lines'; did you mean 'lanes'?",
        f"{path}:46:3: dram.latency must be at least 0 s, not -1 ns; give a larger one",
    ]
    assert done.status == 2
