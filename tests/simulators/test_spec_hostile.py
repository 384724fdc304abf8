"""Files that no chip's author writes: each is refused in a sentence, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.toy_chip import Toy, complaint, written
from tetrapla.ir.errors import SpecError
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.yaml_ import MOST_BYTES, read_text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\nb: 4\n",
         "m.yaml:3:1: the key 'a' must be given once, not again after line 1; remove one\n"
         "m.yaml:4:1: the key 'b' must be given once, not again after line 2; remove one"),
        ("a: &x [1]\nb: [*x, *x]\n",
         "m.yaml:1:4: a chip must do without anchors and aliases, not use 'x'; "
         "write the value out"),
        ("a: !!python/name:os.system\n",
         "m.yaml:1:4: a chip must do without tags, not use "
         "'tag:yaml.org,2002:python/name:os.system'; write the plain value"),
        ("[" * 100_000, "m.yaml:1:17: a chip must nest at most 16 deep, not deeper"),
        ("a: 1\n---\nb: 2\n", "m.yaml:2:1: the file must hold one document, not several"),
        ("", "m.yaml:1:1: the file must hold keys and values, not nothing; "
         "start with 'name: …' and 'family: …'"),
        ("- 1\n", "m.yaml:1:1: the file must hold keys and values, not a list; "
         "start with 'name: …' and 'family: …'"),
        ("{a: 1}: 2\n", "m.yaml:1:1: a key must be text, not a section"),
        ("a: 'x\n", "m.yaml:2:1: the file must be YAML: found unexpected end of stream"),
        ('a: "\\ud800"\n', "m.yaml:1:4: text must be Unicode, not half a surrogate"),
        ("a: [" + "1," * 100_000 + "]",
         "m.yaml:1:8195: a chip must have at most 4096 keys and values, not more; remove what "
         "it does not need"),
    ],
)  # fmt: skip
def test_a_hostile_text_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(text, "m.yaml")
    assert str(caught.value) == message


def test_no_more_defects_are_listed_than_a_person_reads() -> None:
    with pytest.raises(SpecError) as caught:
        read_text("a: 1\n" + "a: 2\n" * 1000, "m.yaml")
    first, *others = str(caught.value).splitlines()
    assert first == (
        "m.yaml:2:1: the key 'a' must be given once, not again after line 1; remove one"
    )
    assert len(others) == 20
    assert others[-1] == "and 980 more; mend these first"


@given(st.text(alphabet="ab:{}[]-?&*!|>'\"%@`#, \n\t.\x00\ufeff1", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    refusal = "m.yaml:"
    try:
        read_text(text, "m.yaml")
    except SpecError as error:
        refusal = str(error)
    assert refusal.startswith("m.yaml:")


def test_escapes_of_a_terminal_are_not_repeated(folder: Path) -> None:
    assert complaint(folder, "name: mine", '"\\e[31mx": 1\nname: mine') == (
        "mine.yaml:1:1: the file has no key '.[31mx'; it can have: array, bits, chip, clock, "
        "cost, duty, family, gain, latency, memories, name"
    )


def test_a_file_too_large_is_not_read(folder: Path) -> None:
    written(folder, "#" * (MOST_BYTES + 1))
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy)
    assert str(caught.value) == "mine.yaml must have at most 262144 bytes, not 262145"


def test_bytes_that_are_not_text_are_refused(folder: Path) -> None:
    (folder / "mine.yaml").write_bytes(b"name: \xff")
    with pytest.raises(SpecError) as caught:
        load_spec("mine.yaml", Toy)
    assert str(caught.value) == "mine.yaml must be UTF-8 text, not bytes like 0xff"
