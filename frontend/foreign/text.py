"""Which dialect a text is written in, and the text as the bindings and the bounds take it.

Exporters print where an operation came from: aliases for locations that nest without bound,
which `tetrapla.ir.text` refuses and nothing here reads. They are taken out first. CHLO, which
the bindings lack, is turned into MLIR's generic form, which needs no dialect.
"""

from __future__ import annotations

import re

DIALECTS = ("stablehlo", "chlo", "tosa")

# an operation stands at the beginning of a line, behind its results; our own stand in quotes
_RESULTS = r"(?:%[\w#]{1,64}(?::\d{1,4})?(?:, %[\w#]{1,64}(?::\d{1,4})?){0,64} = )?"
_FOREIGN = re.compile(rf'^[ \t]*{_RESULTS}"?({"|".join(DIALECTS)})\.', re.MULTILINE)

# brackets of a location, six deep; possessive, so that no text takes more than linear time
_PIECE = r'[^()"\n]|"(?:[^"\\\n]|\\.)*+"'


def _brackets(deep: int) -> str:
    inner = f"|{_brackets(deep - 1)}" if deep > 1 else ""
    return rf"\((?:{_PIECE}{inner})*+\)"


_BRACKETS = _brackets(6)
_ALIAS = re.compile(rf"^#loc\d* = loc{_BRACKETS}[ \t]*$", re.MULTILINE)
_NAMED = r'(?!\("[\w.\[\]\' -]{1,64}"\))'  # loc("x"): an argument's name, worth keeping
_PLACE = re.compile(rf" loc{_NAMED}{_BRACKETS}")

_TENSOR = r"tensor<[\w?]{1,128}>"
_CHLO = re.compile(
    rf"(?<=[ \t])chlo\.(\w{{1,64}}) (%[\w#]{{1,64}}) : ({_TENSOR}) -> ({_TENSOR})"
)


def dialect_of(text: str) -> str | None:
    """The foreign dialect that a module's first foreign operation is of, if it has one."""
    found = _FOREIGN.search(text)
    return None if found is None else {"chlo": "stablehlo"}.get(found[1], found[1])


def prepared(text: str) -> str:
    """The text without locations, and with CHLO in generic form."""
    bare = _PLACE.sub("", _ALIAS.sub("", text))
    return _CHLO.sub(r'"chlo.\1"(\2) : (\3) -> \4', bare)
