"""Broken files out of whole ones: by bytes, by words, and by what each kind is made of."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any, cast

import onnx
from onnx import AttributeProto, TensorProto

NUMBERS = (
    *(-1, 0, 1, 2, 3, 7, 8, 64, 127, 128, 255, 256, 65535, 10**6),
    *(2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**31), -(2**63)),
)
_OPERATORS = tuple(
    sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})
)
_LOCATIONS = (
    "ok.bin",
    "../outside.bin",
    "/etc/hostname",
    "link.bin",
    "hard.bin",
    "pipe",
    ".",
    "",
)
_WORD = re.compile(rb"\d+|\w+|\s+|[^\w\s]")
_NESTING = (b"[", b"(", b"{", b"<", b"- ", b"&a *a ", b"!!python/object:os.system ", b"tensor<")
_DESCRIPTIONS = (
    "<f4",
    ">i8",
    "|O",
    "|b1",
    "<f8",
    "<c16",
    "<U4",
    "|V2",
    "<m8[ns]",
    "x",
    "[('a','<f4')]",
)

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]


def mutated(suffix: str, seeds: Sequence[bytes], draw: Random) -> bytes:
    """A case of a kind."""
    data = draw.choice(seeds)
    kinds = _KINDS.get(suffix, (_bytes,))
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = draw.choice(kinds)(data, draw, seeds)
    return data


def _bytes(data: bytes, draw: Random, seeds: Sequence[bytes]) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        at = draw.randrange(len(made) + 1)
        match draw.randrange(6):
            case 0 if at < len(made):
                made[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(made):
                made[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            case 2:
                del made[at : at + draw.choice((1, 2, 8, len(made)))]
            case 3:
                made[at:at] = draw.randbytes(draw.choice((1, 4, 64)))
            case 4:
                made[at:at] = made[at : at + draw.randrange(1, 256)]
            case _:
                other = draw.choice(seeds)
                start = draw.randrange(len(other) + 1)
                made[at : at + 32] = other[start : start + 32]
    return bytes(made[: 2**20])


def _words(data: bytes, draw: Random, seeds: Sequence[bytes]) -> bytes:
    words = _WORD.findall(data) or [b""]
    for _ in range(draw.choice((1, 1, 2, 6))):
        at = draw.randrange(len(words))
        match draw.randrange(7):
            case 0:
                words[at] = b"%d" % draw.choice(NUMBERS)
            case 1:
                words[at] = draw.choice(words)
            case 2:
                del words[at : at + draw.choice((1, 1, 5))]
                words = words or [b""]
            case 3:
                words[at] *= draw.choice((2, 100, 5000))
            case 4:
                words[at:at] = [draw.choice(_NESTING)] * draw.choice((1, 3, 300, 20_000))
            case 5:
                words[at:at] = words[at : at + draw.randrange(1, 60)] * draw.choice((1, 2, 50))
            case _:
                other = _WORD.findall(draw.choice(seeds)) or [b""]
                start = draw.randrange(len(other))
                words[at : at + 4] = other[start : start + draw.randrange(1, 30)]
    return b"".join(words)[: 2**20]


def _numbers(data: bytes, draw: Random, seeds: Sequence[bytes]) -> bytes:
    """Other numbers in the same text."""
    del seeds
    found = list(re.finditer(rb"\d+", data))
    for match in sorted(
        draw.sample(found, min(len(found), draw.choice((1, 2, 3)))), key=_start
    )[::-1]:
        data = data[: match.start()] + b"%d" % draw.choice(NUMBERS) + data[match.end() :]
    return data


def _start(match: re.Match[bytes]) -> int:
    return match.start()


def _graph(data: bytes, draw: Random, seeds: Sequence[bytes]) -> bytes:
    """Another value for some fields of an ONNX model."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        return _bytes(data, draw, seeds)
    for _ in range(draw.choice((1, 1, 2, 5))):
        with suppress(ValueError):  # a number that the field cannot hold
            _edit(model, draw)
    return bytes(model.SerializeToString())


def _edit(model: onnx.ModelProto, draw: Random) -> None:
    messages = _messages(model)
    message: Any = draw.choice(messages)
    names = [
        name
        for m in messages[:500]
        if isinstance(m, onnx.NodeProto)
        for name in (*m.input, *m.output)
    ]
    match draw.randrange(8):
        case 0 if isinstance(message, onnx.NodeProto):
            message.op_type = draw.choice(_OPERATORS)
        case 1 if isinstance(message, onnx.NodeProto) and names:
            message.input.insert(draw.randrange(len(message.input) + 1), draw.choice(names))
        case 2 if isinstance(message, TensorProto):
            _external(message, draw)
        case 3 if isinstance(message, TensorProto):
            message.data_type = draw.randrange(27)
        case 4 if isinstance(message, AttributeProto):
            message.type = cast(Any, draw.randrange(15))
        case _:
            _field(message, draw, names)


def _external(tensor: Any, draw: Random) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=draw.choice(_LOCATIONS))
    if draw.random() < 0.5:
        tensor.external_data.add(key="offset", value=str(draw.choice(NUMBERS)))
    if draw.random() < 0.5:
        tensor.external_data.add(key="length", value=str(draw.choice(NUMBERS)))


def _field(message: Any, draw: Random, names: Sequence[str]) -> None:
    """Clear, double or change one field by its type."""
    field = draw.choice(message.DESCRIPTOR.fields)
    held = getattr(message, field.name)
    if field.is_repeated and len(held):
        at = draw.randrange(len(held))
        if draw.random() < 0.4:
            del held[at]
        elif field.message_type is not None:
            made = held.add()
            made.CopyFrom(held[at])
        else:
            held[at] = _value(held[at], draw, names)
    elif field.is_repeated or field.message_type is not None or draw.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(held, draw, names))


def _value(held: Any, draw: Random, names: Sequence[str]) -> Any:
    match held:
        case int():
            return draw.choice(NUMBERS)
        case float():
            return draw.choice((0.0, -1.0, 1e30, float("inf"), float("nan")))
        case bytes():
            return draw.randbytes(draw.choice((0, 1, 4, 7, 64)))
        case _:
            return draw.choice((*names[:200], "", "x" * 5000, "'\n\"", "__class__", "\u202e"))


def _messages(model: onnx.ModelProto) -> list[Any]:
    """Every message of a model, itself first."""
    found: list[Any] = [model]
    for message in found:
        for field, value in message.ListFields():
            if field.message_type is not None:
                found.extend(value if field.is_repeated else [value])
        if len(found) > 5000:
            break
    return found


def _archive(data: bytes, draw: Random, seeds: Sequence[bytes]) -> bytes:
    """An .npz with another header, entry or size; or the bytes of its directory."""
    if draw.random() < 0.3:
        return _bytes(data, draw, seeds)
    held = io.BytesIO()
    with zipfile.ZipFile(
        held, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        warnings.simplefilter("ignore")  # the same name twice is a case, too
        for _ in range(draw.choice((1, 1, 2, 3))):
            name = draw.choice(("x.npy", "y.npy", "train.npy", "../x.npy", "x.txt", "x"))
            archive.writestr(name, _array(draw))
    made = held.getvalue()
    return _bytes(made, draw, seeds) if draw.random() < 0.3 else made


def _member(data: bytes, draw: Random, seeds: Sequence[bytes]) -> bytes:
    """An archive with another content, name or place of one of its files."""
    held = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [(each.filename, archive.read(each)) for each in archive.infolist()]
    except Exception:
        files = []
    if not files:
        return _bytes(data, draw, seeds)
    # what is read first decides most, and is text
    at = draw.choice(
        [i for i, (name, _) in enumerate(files) if draw.random() < _share(name)] or [0]
    )
    name, content = files[at]
    match draw.randrange(8):
        case 0:
            del files[at]
        case 1:
            files.append((name, draw.choice(files)[1]))
        case 2:
            # an archive cannot hold a name of more than 65,535 bytes
            long = (name * 50)[:10_000]
            files[at] = (draw.choice((f"../{name}", f"/{name}", "x", long)), content)
        case 3:
            files[at] = (name, _bytes(content, draw, [content]))
        case _:
            change = draw.choice((_words, _numbers, _words))
            files[at] = (name, change(content, draw, [content]))
    with zipfile.ZipFile(held, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same name twice is a case, too
        for name, content in files:
            archive.writestr(name, content)
    return held.getvalue()


def _share(name: str) -> float:
    return 0.9 if name.endswith(".json") else 0.1


def _array(draw: Random) -> bytes:
    shape = tuple(draw.choice(NUMBERS) for _ in range(draw.randrange(4)))
    described = draw.choice(_DESCRIPTIONS)
    quoted = described if described[0] == "[" else repr(described)
    header = (
        f"{{'descr': {quoted}, 'fortran_order': {draw.random() < 0.5}, 'shape': {shape}, }}"
    )
    if draw.random() < 0.2:
        header = draw.choice(("(" * 5000, "{}", "__import__('os')", header + "#" * 70_000))
    text = header.encode("latin1").ljust(54) + b"\n"
    version = draw.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    size = (
        len(text).to_bytes(2 if version[0] == 1 else 4, "little")
        if len(text) < 2**16
        else b"\xff\xff"
    )
    body = draw.choice(
        (b"", b"\0" * 64, draw.randbytes(256), b"\0" * 10**6, b"cos\nsystem\n(S'x'\ntR.")
    )
    return b"\x93NUMPY" + version + size + text + body


_TEXT: tuple[Mutation, ...] = (_words, _words, _numbers, _bytes)
_KINDS: Mapping[str, tuple[Mutation, ...]] = {
    ".onnx": (_graph, _graph, _graph, _bytes),
    ".mlir": _TEXT,
    ".yaml": _TEXT,
    ".csv": _TEXT,
    ".npz": (_archive, _archive, _member, _bytes),
    ".pt2": (_member, _member, _bytes),
}
