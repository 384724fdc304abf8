"""Functions to machine code, in processes of their own, each once for all programs.

What was compiled is kept by its content in $TETRAPLA_GPU_CACHE, or in
$XDG_CACHE_HOME/tetrapla/gpu, or in ~/.cache/tetrapla/gpu: the text of the function and of what
it calls, the types, the options, the architecture and Triton's version.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tetrapla.backends.gpu.triton.assembler import Job
from tetrapla.backends.gpu.triton.functions import Function
from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.report import InternalError

CACHE_VARIABLE = "TETRAPLA_GPU_CACHE"
# PTX and AMD's assembly, by the word that a report has for them
INSTRUCTIONS = {
    "wgmma": r"\bwgmma\.mma_async",
    "tcgen05": r"\btcgen05\.mma",
    "mma.sync": r"\bmma\.sync",
    "cp.async": r"\bcp\.async",
    "fma.rn.f32": r"\bfma\.rn\.f32",
    "mfma": r"\bv_mfma_",
}
_TYPES = {
    "f64": "*fp64",
    "f32": "*fp32",
    "f16": "*fp16",
    "bf16": "*bf16",
    "f8E4M3FN": "*fp8e4nv",
    "f8E5M2": "*fp8e5",
    "i64": "*i64",
    "i32": "*i32",
    "i16": "*i16",
    "i8": "*i8",
    "ui64": "*u64",
    "ui32": "*u32",
    "ui16": "*u16",
    "ui8": "*u8",
    "i1": "*i1",
}
_SCRIPT = Path(__file__).with_name("assembler.py")


@dataclass(frozen=True)
class Code:
    """A function on an architecture, as its assembler describes it.

    Attributes:
        function: its name.
        architecture: sm_90, gfx942.
        text: PTX or AMD assembly.
        binary: cubin or hsaco.
        registers: of 32 bits, of a thread.
        shared_bytes: of a program instance.
        spill_bytes: of a thread, stored to memory and loaded again for want of registers.
        instructions: by word of `INSTRUCTIONS`, how many there are.
    """

    function: str
    architecture: str
    text: str
    binary: bytes
    registers: int
    shared_bytes: int
    spill_bytes: int
    instructions: dict[str, int]


def compiled(functions: Sequence[Function], architectures: Sequence[str]) -> list[Code]:
    """Every function for every architecture, in this order; needs triton.

    Raises:
        InternalError: Triton does not compile one.
        UnsupportedError: the cache cannot be written.
    """
    wanted = [(f, a) for a in architectures for f in functions]
    places = [_cache() / _key(function, name) for function, name in wanted]
    missing = [i for i, place in enumerate(places) if not place.is_dir()]
    if missing:
        _make_cache()
        with tempfile.TemporaryDirectory(dir=_cache()) as folder:
            _make([(i, *wanted[i]) for i in missing], Path(folder))
            for i in missing:
                _keep(Path(folder), i, *wanted[i], places[i])
    return [described(*each, place) for each, place in zip(wanted, places, strict=True)]


def _make(jobs: Sequence[tuple[int, Function, str]], folder: Path) -> None:
    """Run the assembler over the jobs, on as many cores as there are."""
    listed: list[Job] = []
    for number, function, architecture in jobs:
        file = folder / f"{number}.py"
        file.write_text(function.module, "utf-8")
        listed.append(
            {
                "number": number,
                "file": str(file),
                "function": function.name,
                "types": [_TYPES[dtype] for dtype in function.dtypes],
                "warps": function.warps,
                "stages": function.stages,
                "architecture": architecture,
            }
        )
    count = min(len(listed), len(os.sched_getaffinity(0)))
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder / "triton")}
    environment.pop("TRITON_INTERPRET", None)
    running: list[subprocess.Popen[bytes]] = []
    for share in range(count):
        path = folder / f"jobs{share}.json"
        path.write_text(json.dumps(listed[share::count]), "utf-8")
        command = [sys.executable, "-P", str(_SCRIPT), str(path), str(folder)]
        with (folder / f"jobs{share}.log").open("wb") as log:
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    try:
        for process in running:
            process.wait()
    finally:
        for process in running:
            process.kill()
            process.wait()


def _keep(folder: Path, number: int, function: Function, name: str, place: Path) -> None:
    """Move what the assembler made of a job into the cache."""
    told = folder / f"{number}.json"
    found: dict[str, Any] = (
        json.loads(told.read_text("utf-8")) if told.is_file() else {"error": _last(folder)}
    )
    if "error" in found:
        raise InternalError(
            f"kernel {function.name} must compile for {name}, but Triton says "
            f"{' '.join(found['error'].split())}"
        )
    made = folder / f"made{number}"
    made.mkdir()
    for kind in ("text", "binary", "json"):
        (folder / f"{number}.{kind}").rename(made / kind)
    try:
        made.rename(place)
    except OSError:
        assert place.is_dir(), place  # another process was faster: both are the same


def _last(folder: Path) -> str:
    """What an assembler that died said last."""
    texts = [path.read_text("utf-8", "replace") for path in sorted(folder.glob("jobs*.log"))]
    lines = [line for text in texts for line in text.splitlines()[-1:]]
    return (lines or ["nothing"])[0][:500]


def described(function: Function, architecture: str, place: Path) -> Code:
    """What the cache has of a function in a folder."""
    text = (place / "text").read_text("utf-8")
    told = json.loads((place / "json").read_text("utf-8"))
    nvidia = architecture.startswith("sm_")
    log = told["log"] if nvidia else text
    registers = r"Used (\d+) registers" if nvidia else r"\.vgpr_count:\s*(\d+)"
    static = _most(r"(\d+) bytes smem", log) if nvidia else 0
    spills = (
        _most(r"(\d+) bytes spill stores", log)
        if nvidia
        else 4 * _most(r"\.vgpr_spill_count:\s*(\d+)", log)
    )
    counted = {word: len(re.findall(rule, text)) for word, rule in INSTRUCTIONS.items()}
    return Code(
        function.name,
        architecture,
        text,
        (place / "binary").read_bytes(),
        _most(registers, log),
        told["shared_bytes"] + static,
        spills,
        {word: count for word, count in counted.items() if count},
    )


def _most(rule: str, text: str) -> int:
    return max(map(int, re.findall(rule, text)), default=0)


def _key(function: Function, architecture: str) -> str:
    options = (function.dtypes, function.warps, function.stages, architecture)
    digest = hashlib.sha256(_SCRIPT.read_bytes())
    for part in (version("triton"), function.module, repr(options)):
        digest.update(part.encode() + b"\0")
    return f"{function.name[:80]}-{architecture}-{digest.hexdigest()[:24]}"


def _make_cache() -> None:
    try:
        _cache().mkdir(parents=True, exist_ok=True)
        writable = os.access(_cache(), os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise UnsupportedError(
            f"the cache of machine code must be a folder that can be written, not "
            f"'{_cache()}'; set {CACHE_VARIABLE} to another"
        )


def _cache() -> Path:
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tetrapla" / "gpu"
