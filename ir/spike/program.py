"""A neuron whose update is a program, for chips whose neurons are programmed."""

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.op import Tensor
from tetrapla.ir.spike import microcode
from tetrapla.ir.spike.dialect import Spike
from tetrapla.ir.spike.membrane import Membrane

_CODE = """
states v
kept = mul v 0.875
v = add kept current
spike = gt v 1
v = select spike 0 v
""".strip()


class Program(Membrane, dialect=Spike, name="program", traits=[Pure]):
    """A neuron of a few instructions, given as a text.

    A line is an instruction, ``name = op operands``, and ``#`` begins a remark::

        states v
        parameters tau, theta
        away = sub current v
        step = div away tau
        v = add v step
        spike = gt v theta
        v = select spike 0 v

    Instructions are add, sub, mul, min, max, gt, ge (1 or 0) and select (of a truth, what is
    taken if it is not 0, and what else); of floats also div, of integers also shift (to the
    left by a literal, to the right by a negative one) and decay (``decay x d`` takes d 4096ths
    of x away, toward zero, as Loihi does). Names are the states, the parameters, current, and
    whatever a line above has set; literals are numbers. States keep what they have at the end.
    A neuron sends its spike: nothing up to 0, and at most 127.

    With a current of f32 all numbers are f32; with one of i32 they are integers of 64 bits,
    which wrap, and states are i64, parameters i32. Results are spike.lif's.

    Constraints:
        C1: the current is f32 or i32 [T, ...] with an axis behind T.
        C2: start is of the state's type and broadcasts to [states, ...].
        C3: parameters are of their type and broadcast to [...].
        C4: the code can be read; it has at most 64 instructions and sets spike.
        C5: there are as many parameters as the code names, at most eight.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    code: StringAttr
    p0: Operand[RankedTensorType] | None = None
    p1: Operand[RankedTensorType] | None = None
    p2: Operand[RankedTensorType] | None = None
    p3: Operand[RankedTensorType] | None = None
    p4: Operand[RankedTensorType] | None = None
    p5: Operand[RankedTensorType] | None = None
    p6: Operand[RankedTensorType] | None = None
    p7: Operand[RankedTensorType] | None = None

    @classmethod
    def infer(
        cls, current: Tensor, start: Tensor, *given: Tensor, **attributes: int | str
    ) -> tuple[Tensor, Tensor, Tensor]:
        try:
            held = microcode.code(str(attributes["code"]), not current.dtype.startswith("f"))
        except IRError as error:
            raise IRError(f"spike.program C4: {error}") from None
        if len(given) != len(held.parameters):
            raise IRError(
                f"spike.program C5: there must be {len(held.parameters)} parameters "
                f"({', '.join(held.parameters)}), not {len(given)}"
            )
        return super().infer(current, start, *given, **attributes)

    @classmethod
    def signed(cls, whole: bool, **attributes: int | str) -> tuple[int, tuple[str, str, str]]:
        held = microcode.code(str(attributes["code"]), whole)
        return len(held.states), ("i32", "i64", "i32") if whole else ("f32", "f32", "f32")

    @staticmethod
    def step(state: Array, current: Array, *, code: str, **parameters: Array) -> Array:
        held = microcode.code(code, state.dtype.kind == "i")
        given = [parameters[f"p{i}"] for i in range(len(held.parameters))]
        return microcode.step(held, state, current, given)

    example = (Tensor((4, 2, 3), "f32"), Tensor((), "f32")), {"code": _CODE}
