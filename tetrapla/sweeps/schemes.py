"""Fields of a quantisation, set one by one over a format of a machine.

``quant.weights = i4`` over int8 is the machine's own int8 pipeline with another `weights` of
its pass `quantize`; what it becomes is the pipeline's text, which ``--quant`` takes, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tetrapla.designs import Design
from tetrapla.ir.errors import ModelError, TetraplaError, UnsupportedError
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.text_ import parse, text

PREFIX: Final = "quant."
_ELSE: Final = "int8"  # where a chip's own format is one of floats


def varied(design: Design, quant: str | None, fields: Mapping[str, str]) -> str:
    """The pipeline of a format with other fields of its quantisation.

    Args:
        design: the machine.
        quant: a format or a pipeline's text; None for the chip's own format.
        fields: of `Quantize`, as text.

    Raises:
        UnsupportedError: the machine quantises nothing.
        TetraplaError: there is no such field, or not such a value of it.
    """
    passes = _passes(design, quant)
    names = ", ".join(f"{PREFIX}{name}" for name in fields)
    options = ",".join(f"{name}={value}" for name, value in fields.items())
    try:
        (wanted,) = parse(f"quantize{{{options}}}")
        given = {name: getattr(wanted, name) for name in fields}
        made = [replace(p, **given) if isinstance(p, Quantize) else p for p in passes]
    except TetraplaError as error:
        raise type(error)(f"--set {names}: {error}") from None
    return text(made)


def _passes(design: Design, quant: str | None) -> tuple[Pass, ...]:
    schemes = design.target.schemes
    if quant is not None and ("{" in quant or "," in quant):
        found = parse(quant)
        if not any(isinstance(each, Quantize) for each in found):
            raise ModelError(
                f"--quant must have a pass quantize for --set {PREFIX}…, not '{quant}'; add it"
            )
        return found
    name = quant or design.chip.spec.chip.default_format
    if quant is None and name not in schemes:
        name = _ELSE
    if name not in schemes:
        there = ", ".join(schemes) or "none"
        raise UnsupportedError(
            f"--set {PREFIX}… must come with a format that {design.label} quantises to, "
            f"{there}, not {name}; leave it out"
        )
    return schemes[name]
