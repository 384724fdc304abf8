"""Every command that the README and the documents show is run, and prints what they show.

A document's shell blocks run in order, in a folder that has the examples and the files that
documents name as a reader's own. Installing is what `.ci/run` does.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tetrapla.__main__ import run
from tetrapla.datasets import load_data

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)(?: \S+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLING = ("pip", "pytest", "python3", "git", "ruff")

# what is not run here, and why
ELSEWHERE = {
    "tetrapla rtl": "builds SystemVerilog for minutes: tests/rtl",
    "gtkwave": "shows a file of the line above it",
    "tetrapla validate": "tests of each suite run it: tests/tetrapla",
    "tetrapla compile model.onnx --codegen tvm": "needs TVM: test_tvm_codegen.py",
    "tetrapla compare examples/digits_mlp.onnx --data digits --targets dot16": "test_docs.py",
    "tetrapla sweep examples/digits_mlp.onnx --target dot ": "needs the files of test_docs.py",
}

# the files that documents name as a reader's own, and what they tell a reader to edit
OWN = {
    "net.csv": "Layer, IFMAP h, IFMAP w, Filter h, Filter w, Channels, Filters, Strides,\n"
    "Conv1, 16, 16, 3, 3, 8, 16, 1,\n",
    "google.cfg": "[architecture_presets]\nArrayHeight: 128\nArrayWidth: 128\n"
    "IfmapSramSzkB: 512\nFilterSramSzkB: 512\nOfmapSramSzkB: 256\nBandwidth: 10\n"
    "Dataflow: ws\n[run_presets]\nInterfaceBandwidth: CALC\n",
    "mine.csv": "m,n,k,format,time_s\n64,64,64,fp16,4e-6\n512,512,512,fp16,7e-6\n"
    "4096,4096,4096,fp16,2.4e-4\n",
    "mine.pdl": """pdl.pattern @same : benefit(1) {
  %type = pdl.type
  %x = pdl.operand : %type
  %log = pdl.operation "nn.log" (%x : !pdl.value) -> (%type : !pdl.type)
  %inner = pdl.result 0 of %log
  %exp = pdl.operation "nn.exp" (%inner : !pdl.value) -> (%type : !pdl.type)
  pdl.rewrite %exp {
    pdl.replace %exp with (%x : !pdl.value)
  }
}
""",
}
EDITS = {
    "my.yaml": (
        ("name: isaac", "name: my-isaac"),
        ("  cell: {value: 2 bit", "  cell: {value: 1 bit"),
    )
}


@dataclass(frozen=True)
class Shown:
    """A shell block's commands, and what the text block behind them says that they print."""

    commands: tuple[str, ...]
    printed: str


def shown(path: Path) -> Iterator[Shown]:
    whole = path.read_text("utf-8")
    found = list(BLOCK.finditer(whole))
    for i, block in enumerate(found):
        language, content = block.groups()
        if language != "sh":
            continue
        after, text = found[i + 1].groups() if i + 1 < len(found) else ("", "")
        if after and "\n#" in whole[block.end() : found[i + 1].start()]:
            after = ""  # of another section
        lines = re.split(r"\n|&&", content.replace("\\\n", " "))
        commands = tuple(line.strip() for line in lines if _runs(line.strip()))
        if commands:
            yield Shown(commands, text if after == "text" else "")


def _runs(line: str) -> bool:
    # the bare demo is the first line that CI runs, and test_docs.py holds what it prints
    left_out = ("#", *INSTALLING, *ELSEWHERE)
    return bool(line) and line != "tetrapla demo" and not line.startswith(left_out)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that a reader has, or is told to write."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "examples" / "digits_cnn.onnx", tmp_path / "model.onnx")
    held = load_data("digits")
    images = held.x.reshape(-1, 1, 8, 8)
    np.savez(tmp_path / "data.npz", x=images[:64], y=held.y[:64])
    np.savez(tmp_path / "calib.npz", x=images[64:128])
    np.savez(tmp_path / "x.npz", image=images[:4], input=np.ones((1, 100, 3), np.float32))
    _neurons(tmp_path / "net.nir")
    for name, content in OWN.items():
        (tmp_path / name).write_text(content, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in DOCUMENTS if list(shown(p))], ids=lambda p: p.name)
def test_the_commands_of_a_document_run(
    path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in shown(path):
        printed = "".join(_printed(command, capsys) for command in block.commands)
        missing = [line for line in _lines(block.printed) if line not in set(_lines(printed))]
        assert missing == [], block.commands


def _neurons(path: Path) -> None:
    """Three inputs, four leaky neurons."""
    nir = pytest.importorskip("nir", reason="documents show NIR files, of the extra 'spiking'")
    ones = np.ones(4)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "fc": nir.Affine(np.full((4, 3), 0.5), 0 * ones),
        "lif": nir.LIF(ones / 100, ones, 0 * ones, ones / 10),
        "output": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output")]
    nir.write(path, nir.NIRGraph(nodes, edges))


def _lines(text: str) -> list[str]:
    """Lines without what the widths of columns change."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip("─ ")]


def _printed(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    line, _, file = map(str.strip, command.partition(" > "))
    words = shlex.split(line, comments=True)
    if words[0] == "python":
        done = subprocess.run(
            [sys.executable, *words[1:]], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert words[0] == "tetrapla", command
    status = run(words[1:])
    found = capsys.readouterr()
    assert status == 0, f"{command}\n{found.err}"
    if file:
        text = found.out
        for old, new in EDITS.get(file, ()):
            assert old in text
            text = text.replace(old, new)
        Path(file).write_text(text, "utf-8")
    return found.out + found.err


def test_what_is_left_out_is_shown_somewhere() -> None:
    texts = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert [prefix for prefix in ELSEWHERE if prefix not in texts] == []
