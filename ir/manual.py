"""The manual of the operators, made from their classes."""

from __future__ import annotations

import inspect
import sys

from tetrapla.ir.dialects import DIALECTS
from tetrapla.ir.graph import BITS
from tetrapla.ir.op import OPS, Op, fields_of

_HEAD = """# Operators

Made from the classes under `ir/` by `tetrapla.ir.manual.markdown()`, a test holds
it. A constraint's number is what a refusal names: `conv1: nn.conv2d C2: ...`. C0, which every
operator has, says that a result in the text must have the type that is inferred.

Text is MLIR's generic form:
`"nn.relu"(%x) {layer = "relu1"} : (tensor<2x3xf32>) -> tensor<2x3xf32>`.
An operand, result or attribute in brackets may be absent.

Element types: """


def markdown() -> str:
    """The text of ``docs/operators.md``."""
    types = ", ".join(f"`{name}`" for name in BITS)
    lines = [f"{_HEAD}{types}."]
    for dialect in DIALECTS:
        stem = dialect.DIALECT_NAMESPACE
        kinds = [kind for kind in sorted(OPS) if kind.startswith(f"{stem}.")]
        lines += ["", f"## {stem}", "", inspect.cleandoc(dialect.__doc__ or "")]
        for kind in kinds:
            lines += ["", f"### {kind}", "", f"`{signature(kind)}`", "", _text(OPS[kind])]
    return "\n".join(lines) + "\n"


def signature(kind: str) -> str:
    """``(x, w, [bias]) {strides, ...} -> y``: the fields of an operator, in order."""
    found: dict[str, list[str]] = {}
    for field in fields_of(OPS[kind]):
        name = field.name if field.variadicity.name == "single" else f"[{field.name}]"
        found.setdefault(type(field).__name__, []).append(name)
    operands, results = (_short(found.get(f"{what}Def", [])) for what in ("Operand", "Result"))
    attributes, bodies = found.get("AttributeDef", []), found.get("RegionDef", [])
    held = f" {{{', '.join(attributes)}}}" if attributes else ""
    inner = f" bodies {', '.join(bodies)}" if bodies else ""
    return f"({operands}){held}{inner} -> {results or '()'}"


def _short(names: list[str]) -> str:
    """Names joined; a long numbered list by its ends."""
    return ", ".join(names) if len(names) < 12 else f"{names[0]}, ..., {names[-1]}"


def _text(op: type[Op]) -> str:
    """The docstring, with its constraints as a list."""
    body, _, rules = inspect.cleandoc(op.__doc__ or "").partition("Constraints:")
    for base in op.__mro__ if not rules else ():  # what operators of a kind have in common
        if issubclass(base, Op) and "Constraints:" in (base.__doc__ or ""):
            rules = inspect.cleandoc(base.__doc__ or "").partition("Constraints:")[2]
            break
    lines = [body.strip()]
    if rules:
        lines += ["", *_items(rules)]
    return "\n".join(lines)


def _items(rules: str) -> list[str]:
    found: list[str] = []
    for line in inspect.cleandoc(rules).splitlines():
        if line[:1] == "C" and ":" in line:
            found.append(f"* {line}")
        else:
            found.append(f"  {line}".rstrip())
    return found


if __name__ == "__main__":
    sys.stdout.write(markdown())
