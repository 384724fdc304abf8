"""Recurrent layers in CUDA C, after `simulators.gpu.recurrent`.

A block takes one sequence in one direction through all steps; its threads share the units of
the state, which stays in shared memory, as an LSTM's cell does.
"""

from __future__ import annotations

from collections.abc import Sequence

from tetrapla.backends.gpu.cuda.products import rounded
from tetrapla.backends.gpu.cuda.text import THREADS, Writer, narrowed, number, quotient
from tetrapla.simulators.gpu.recurrent import Recurrent

_NAMES = {"nn.rnn": ("h",), "nn.gru": ("z", "r", "n"), "nn.lstm": ("i", "o", "f", "c")}
_FUNCTIONS = {
    "sigmoid": "logistic({x})",
    "tanh": "tangent({x})",
    "relu": "maximum({x}, 0.0f)",
}


def blocks(kernel: Recurrent) -> int:
    """Of the launch: sequences, directions."""
    return kernel.batch * kernel.directions


def recurrent(kernel: Recurrent, write: Writer) -> None:
    """Write a layer: the first states, then the loop over the steps."""
    n, last = kernel.hidden, kernel.length - 1
    late = kernel.op == "nn.gru" and not kernel.flag
    write(f"__shared__ float state[2][{n}];")
    if kernel.op == "nn.lstm":
        write(f"__shared__ float cell[{n}];")
    if late:
        write(f"__shared__ float update[{n}], seen[{n}];")
    write("const int row = blockIdx.x;")  # of all directions' sequences
    if kernel.directions > 1:
        write(f"const int way = {quotient('row', kernel.batch)};")
    write(f"const int sequence = row % {kernel.batch};", f"{_units(n)} {{")
    write(f"state[0][unit] = {_first(kernel, write, kernel.h0)};")
    if kernel.op == "nn.lstm":
        write(f"cell[unit] = {_first(kernel, write, kernel.c0)};")
    write("}", "__syncthreads();")
    write(f"for (int number = 0; number < {kernel.length}; number++) {{")
    backwards = f"{last} - number"
    match kernel.directions, kernel.reverse:
        case 1, reverse:
            t = backwards if reverse else "number"
        case _:
            t = f"way == 0 ? number : {backwards}"
    write(f"const int t = {t};", "const float *now = state[number % 2];")
    if late:
        _gates(kernel, write)
    _step(kernel, write)
    write("}")


def _units(n: int) -> str:
    return f"for (int unit = threadIdx.x; unit < {n}; unit += {THREADS})"


def _first(kernel: Recurrent, write: Writer, name: str) -> str:
    """A unit of a first state, [directions, batch, H]; 0 where there is none."""
    return write.load(name, f"(Index)row * {kernel.hidden} + unit") if name else "0.0f"


def _step(kernel: Recurrent, write: Writer) -> None:
    """Every unit's next state."""
    n = kernel.hidden
    write(f"{_units(n)} {{")
    {"nn.rnn": _rnn, "nn.lstm": _lstm, "nn.gru": _gru}[kernel.op](kernel, write)
    plane = kernel.directions * kernel.batch
    write.store(kernel.output, f"((Index)t * {plane} + row) * {n} + unit", "y")
    kept = narrowed("y", kernel.kept)
    write(f"state[(number + 1) % 2][unit] = read({kept});", "}", "__syncthreads();")


def _products(
    kernel: Recurrent, write: Writer, gates: Sequence[int], source: str = "now"
) -> None:
    """Products of a state by gates' matrices, tile of k by tile, as the plan adds them."""
    n, names = kernel.hidden, [_NAMES[kernel.op][gate] for gate in gates]
    write(f"float {', '.join(f'{name} = 0.0f' for name in names)};")
    write(f"for (int start = 0; start < {n}; start += {kernel.tile_k}) {{")
    write(f"float {', '.join(f'{name}_part = 0.0f' for name in names)};")
    write(f"const int end = minimum(start + {kernel.tile_k}, {n});")
    write("for (int k = start; k < end; k++) {")
    write(f"const float a = {rounded(kernel.operand, 'f32', f'{source}[k]')};")
    for gate, name in zip(gates, names, strict=True):
        text = write.load(kernel.r, f"((Index){_gate(kernel, gate)} + unit) * {n} + k")
        b = rounded(kernel.operand, write.dtype(kernel.r), text)
        write(f"{name}_part = __fmaf_rn(a, {b}, {name}_part);")
    write("}", *(f"{name} = add({name}, {name}_part);" for name in names), "}")


def _given(kernel: Recurrent, write: Writer, gates: Sequence[int]) -> None:
    """Add what the input and the biases give; not the bias that a reset multiplies."""
    rows = kernel.gates * kernel.hidden
    for gate in gates:
        name = _NAMES[kernel.op][gate]
        place = f"((Index)t * {kernel.batch} + sequence) * {kernel.directions * rows}"
        x = write.load(kernel.given, f"{place} + {_gate(kernel, gate)} + unit")
        if kernel.b:
            bias = _bias(kernel, write, gate, 0)
            if not (kernel.op == "nn.gru" and kernel.flag and gate == 2):
                bias = f"add({bias}, {_bias(kernel, write, gate, 1)})"
            x = f"add({x}, {bias})"
        write(f"{name} = add({name}, {x});")


def _bias(kernel: Recurrent, write: Writer, gate: int, half: int) -> str:
    rows = kernel.gates * kernel.hidden
    way = f"way * {2 * rows} + " if kernel.directions > 1 else ""
    return write.load(kernel.b, f"{way}{half * rows + gate * kernel.hidden} + unit")


def _gate(kernel: Recurrent, gate: int) -> str:
    """The first row of a gate among all of the directions'."""
    own = f"{gate * kernel.hidden}"
    return f"way * {kernel.gates * kernel.hidden} + {own}" if kernel.directions > 1 else own


def _rnn(kernel: Recurrent, write: Writer) -> None:
    _products(kernel, write, (0,))
    _given(kernel, write, (0,))
    write(f"const float y = {_activated(kernel, 'h', 0)};")


def _lstm(kernel: Recurrent, write: Writer) -> None:
    _products(kernel, write, (0, 1, 2, 3))
    _given(kernel, write, (0, 1, 2, 3))
    _peephole(kernel, write, "i", 0)
    write(f"i = {_activated(kernel, 'i', 0)};")
    if kernel.flag:
        write("f = sub(1.0f, i);")
    else:
        _peephole(kernel, write, "f", 2)
        write(f"f = {_activated(kernel, 'f', 0)};")
    write(f"c = {_activated(kernel, 'c', 1)};")
    write("cell[unit] = add(mul(f, cell[unit]), mul(i, c));")
    _peephole(kernel, write, "o", 1)
    shown = _activated(kernel, "cell[unit]", 2, limited=False)
    write(f"const float y = mul({_activated(kernel, 'o', 0)}, {shown});")


def _peephole(kernel: Recurrent, write: Writer, name: str, place: int) -> None:
    if kernel.p:
        way = f"way * {3 * kernel.hidden} + " if kernel.directions > 1 else ""
        weight = write.load(kernel.p, f"{way}{place * kernel.hidden} + unit")
        write(f"{name} = add({name}, mul({weight}, cell[unit]));")


def _gates(kernel: Recurrent, write: Writer) -> None:
    """The update gate, and what the reset leaves of the state."""
    write(f"{_units(kernel.hidden)} {{")
    _products(kernel, write, (0, 1))
    _given(kernel, write, (0, 1))
    write(
        f"update[unit] = {_activated(kernel, 'z', 0)};",
        f"seen[unit] = mul({_activated(kernel, 'r', 0)}, now[unit]);",
        "}",
        "__syncthreads();",
    )


def _gru(kernel: Recurrent, write: Writer) -> None:
    """With the flag the reset acts on the product, else it has acted on the state."""
    if kernel.flag:
        _products(kernel, write, (0, 1, 2))
        _given(kernel, write, (0, 1))
        write(f"z = {_activated(kernel, 'z', 0)};", f"r = {_activated(kernel, 'r', 0)};")
        if kernel.b:
            write(f"n = add(n, {_bias(kernel, write, 2, 1)});")
        write("n = mul(r, n);")
    else:
        write("const float z = update[unit];")
        _products(kernel, write, (2,), "seen")
    _given(kernel, write, (2,))
    write(f"n = {_activated(kernel, 'n', 1)};")
    write("const float y = add(mul(sub(1.0f, z), n), mul(z, now[unit]));")


def _activated(kernel: Recurrent, x: str, place: int, *, limited: bool = True) -> str:
    """An activation; the two directions may have different ones."""
    if kernel.clip and limited:
        limit = number(kernel.clip)
        x = f"minimum(maximum({x}, -{limit}), {limit})"
    names = [kernel.functions(way)[place] for way in range(kernel.directions)]
    texts = [_FUNCTIONS[name].format(x=x) for name in names]
    return texts[0] if len(set(texts)) == 1 else f"(way == 0 ? {texts[0]} : {texts[1]})"
