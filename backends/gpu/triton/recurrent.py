"""Recurrent layers in Triton, after `simulators.gpu.recurrent`."""

from __future__ import annotations

from tetrapla.backends.gpu.triton.dots import added, narrowed
from tetrapla.backends.gpu.triton.text import Writer, number
from tetrapla.simulators.gpu.recurrent import Recurrent

_NAMES = {"nn.rnn": ("h",), "nn.gru": ("z", "r", "n"), "nn.lstm": ("i", "o", "f", "c")}


def recurrent(kernel: Recurrent, write: Writer) -> None:
    """Write a layer: the loop over the steps, in it one over tiles of the state."""
    last, tile = kernel.length - 1, kernel.tile_batch
    write(
        f"sequence = tl.program_id(0) * {tile} + tl.arange(0, {tile})",
        f"in_batch = sequence[:, None] < {kernel.batch}",
    )
    if kernel.directions > 1:
        write("way = tl.program_id(1)", f"row = way * {kernel.batch} + sequence[:, None]")
    else:
        write("row = sequence[:, None]")
    write(f"for number in range({kernel.length}):")
    write.indent += 1
    match kernel.directions, kernel.reverse:
        case 1, False:
            write("t = number", "before = number - 1")
        case 1, True:
            write(f"t = {last} - number", f"before = {last + 1} - number")
        case _:
            write(
                f"t = tl.where(way == 0, number, {last} - number)",
                f"before = tl.where(way == 0, number - 1, {last + 1} - number)",
            )
    _bodies(kernel, write)
    write.indent -= 1


def _bodies(kernel: Recurrent, write: Writer) -> None:
    """The parts of a step; what one stores, the next reads."""
    late = kernel.op == "nn.gru" and not kernel.flag
    with_state = {"nn.rnn": _rnn, "nn.lstm": _lstm, "nn.gru": _gru_late if late else _gru}
    if late:
        _columns(write, kernel)
        _products(kernel, write, (0, 1), "state")
        _gates_of_gru(kernel, write)
        _store(kernel, write, "z", kernel.scratch, "row")
        _load_state(kernel, write, "column[None, :]", "inside", "h")
        plane = kernel.directions * kernel.batch
        _store(kernel, write, "r * h", kernel.scratch, f"({plane} + row)")
        write.indent -= 1
        write("tl.debug_barrier()")
    _columns(write, kernel)
    with_state[kernel.op](kernel, write)
    write.store(kernel.output, _state(kernel, "t", "column[None, :]"), "inside", "f32")
    write.indent -= 1
    write("tl.debug_barrier()")


def _columns(write: Writer, kernel: Recurrent) -> None:
    """Begin the loop over tiles of the state."""
    n, tile = kernel.hidden, kernel.tile_hidden
    write(f"for left in range(0, {n}, {tile}):")
    write.indent += 1
    write(
        f"column = left + tl.arange(0, {tile})",
        f"inside = in_batch & (column[None, :] < {n})",
    )


def _products(kernel: Recurrent, write: Writer, gates: tuple[int, ...], source: str) -> None:
    """Products of the last state, or of what the scratch buffer has, by gates' matrices."""
    n, tile = kernel.hidden, kernel.tile_k
    names = [_NAMES[kernel.op][gate] for gate in gates]
    for name in names:
        write(f"{name} = tl.zeros(({kernel.tile_batch}, {kernel.tile_hidden}), tl.float32)")
    write(f"for start in range(0, {n}, {tile}):")
    write.indent += 1
    write(
        f"step = start + tl.arange(0, {tile})",
        f"in_a = in_batch & (step[None, :] < {n})",
        f"in_b = (step[:, None] < {n}) & (column[None, :] < {n})",
    )
    if source == "state":
        _load_state(kernel, write, "step[None, :]", "in_a", "a")
    else:
        plane = kernel.directions * kernel.batch
        place = f"({plane} + row) * {n} + step[None, :]"
        write(f"a = tl.load({write.pointers[kernel.scratch]} + {place}, mask=in_a, other=0.0)")
    write(f"a = {narrowed(kernel.operand, 'a', 'f32')}")
    for gate, name in zip(gates, names, strict=True):
        place = f"({_gate(kernel, gate)} + column[None, :]) * {n} + step[:, None]"
        text = f"tl.load({write.pointers[kernel.r]} + {place}, mask=in_b, other=0.0)"
        write(f"b = {narrowed(kernel.operand, text, write.dtypes[kernel.r])}")
        write(f"{name} = {added(kernel.operand, 'a', 'b', name)}")
    write.indent -= 1


def _given(kernel: Recurrent, write: Writer, gates: tuple[int, ...]) -> None:
    """Add what the input and the biases give; not the bias that a reset multiplies."""
    rows = kernel.gates * kernel.hidden
    late = kernel.op == "nn.gru" and kernel.flag
    for gate in gates:
        name = _NAMES[kernel.op][gate]
        every = kernel.directions * rows
        place = f"(t * {kernel.batch} + sequence[:, None]) * {every} + column[None, :]"
        place += f" + {_gate(kernel, gate)}"
        write(f"x = tl.load({write.pointers[kernel.given]} + {place}, inside, other=0.0)")
        if kernel.b:
            write(f"own = {_bias(kernel, write, gate, 0)}")
            if not (late and gate == 2):
                write(f"own = own + {_bias(kernel, write, gate, 1)}")
            write("x = x + own[None, :]")
        write(f"{name} = {name} + x")


def _bias(kernel: Recurrent, write: Writer, gate: int, half: int) -> str:
    rows = kernel.gates * kernel.hidden
    start = f"{half * rows + gate * kernel.hidden}"
    if kernel.directions > 1:
        start = f"way * {2 * rows} + {start}"
    return write.load(kernel.b, f"{start} + column", f"column < {kernel.hidden}", "0.0")


def _gate(kernel: Recurrent, gate: int) -> str:
    """The first row of a gate among all of the directions'."""
    own = f"{gate * kernel.hidden}"
    return f"way * {kernel.gates * kernel.hidden} + {own}" if kernel.directions > 1 else own


def _state(kernel: Recurrent, t: str, column: str) -> str:
    """Where y has the state of a step."""
    plane = kernel.directions * kernel.batch
    return f"({t} * {plane} + row) * {kernel.hidden} + {column}"


def _load_state(kernel: Recurrent, write: Writer, column: str, inside: str, name: str) -> None:
    """The last state, or the first one; zeros where there is none."""
    seen = f"{inside} & (number > 0)"
    write(
        f"{name} = {write.load(kernel.output, _state(kernel, 'before', column), seen, '0.0')}"
    )
    if kernel.h0:
        first = f"{inside} & (number == 0)"
        place = f"row * {kernel.hidden} + {column}"
        # as narrow as what products take, whatever holds it
        held = narrowed(kernel.operand, write.load(kernel.h0, place, first, "0.0"), "f32")
        write(f"{name} = {name} + {held}.to(tl.float32)")


def _load_cell(kernel: Recurrent, write: Writer) -> None:
    place = f"row * {kernel.hidden} + column[None, :]"
    write(f"cell = {write.load(kernel.scratch, place, 'inside & (number > 0)', '0.0')}")
    if kernel.c0:
        first = write.load(kernel.c0, place, "inside & (number == 0)", "0.0")
        write(f"cell = cell + {first}")


def _store(kernel: Recurrent, write: Writer, value: str, buffer: str, row: str) -> None:
    place = f"{row} * {kernel.hidden} + column[None, :]"
    write(f"tl.store({write.pointers[buffer]} + {place}, {value}, mask=inside)")


def _rnn(kernel: Recurrent, write: Writer) -> None:
    _products(kernel, write, (0,), "state")
    _given(kernel, write, (0,))
    _activate(kernel, write, "h", 0, "y")


def _lstm(kernel: Recurrent, write: Writer) -> None:
    _products(kernel, write, (0, 1, 2, 3), "state")
    _given(kernel, write, (0, 1, 2, 3))
    _load_cell(kernel, write)
    _peephole(kernel, write, "i", 0)
    _activate(kernel, write, "i", 0, "i")
    if kernel.flag:
        write("f = 1.0 - i")
    else:
        _peephole(kernel, write, "f", 2)
        _activate(kernel, write, "f", 0, "f")
    _activate(kernel, write, "c", 1, "c")
    write("cell = f * cell + i * c")
    _store(kernel, write, "cell", kernel.scratch, "row")
    _peephole(kernel, write, "o", 1)
    _activate(kernel, write, "o", 0, "o")
    _activate(kernel, write, "cell", 2, "shown", limited=False)
    write("y = o * shown")


def _peephole(kernel: Recurrent, write: Writer, name: str, place: int) -> None:
    if not kernel.p:
        return
    start = f"{place * kernel.hidden}"
    if kernel.directions > 1:
        start = f"way * {3 * kernel.hidden} + {start}"
    weight = write.load(kernel.p, f"{start} + column", f"column < {kernel.hidden}", "0.0")
    write(f"own = {weight}", f"{name} = {name} + own[None, :] * cell")


def _gates_of_gru(kernel: Recurrent, write: Writer) -> None:
    _given(kernel, write, (0, 1))
    _activate(kernel, write, "z", 0, "z")
    _activate(kernel, write, "r", 0, "r")


def _gru(kernel: Recurrent, write: Writer) -> None:
    """The reset acts on the product."""
    _products(kernel, write, (0, 1, 2), "state")
    _gates_of_gru(kernel, write)
    if kernel.b:
        write(f"own = {_bias(kernel, write, 2, 1)}", "n = n + own[None, :]")
    write("n = r * n")
    _given(kernel, write, (2,))
    _activate(kernel, write, "n", 1, "n")
    _load_state(kernel, write, "column[None, :]", "inside", "h")
    write("y = (1.0 - z) * n + z * h")


def _gru_late(kernel: Recurrent, write: Writer) -> None:
    """The reset has acted on the state before the product."""
    _products(kernel, write, (2,), "scratch")
    _given(kernel, write, (2,))
    _activate(kernel, write, "n", 1, "n")
    place = f"row * {kernel.hidden} + column[None, :]"
    write(f"z = {write.load(kernel.scratch, place, 'inside', '0.0')}")
    _load_state(kernel, write, "column[None, :]", "inside", "h")
    write("y = (1.0 - z) * n + z * h")


def _activate(
    kernel: Recurrent, write: Writer, x: str, place: int, to: str, *, limited: bool = True
) -> None:
    """An activation; the two directions may have different ones."""
    if kernel.clip and limited:
        limit = number(kernel.clip)
        write(f"{x} = tl.minimum(tl.maximum({x}, -{limit}), {limit})")
    names = [kernel.functions(way)[place] for way in range(kernel.directions)]
    texts = [_FUNCTIONS[name].format(x=x) for name in names]
    if len(set(texts)) == 1:
        write(f"{to} = {texts[0]}")
    else:
        write(f"{to} = tl.where(way == 0, {texts[0]}, {texts[1]})")


_FUNCTIONS = {
    "sigmoid": "logistic({x})",
    "tanh": "tangent({x})",
    "relu": "tl.maximum({x}, 0.0, propagate_nan=tl.PropagateNan.ALL)",
}
_LOGISTIC = '''

@triton.jit
def logistic(x):
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + tl.exp(-x))
'''
_TANGENT = '''

@triton.jit
def tangent(x):
    """The hyperbolic tangent, by the exponential of what is not positive."""
    power = tl.exp(tl.abs(x) * -2.0)
    far = (1.0 - power) / (1.0 + power)
    return tl.where(x < 0.0, -far, far)
'''
HELPERS = ((("logistic",), _LOGISTIC), (("tangent",), _TANGENT))
