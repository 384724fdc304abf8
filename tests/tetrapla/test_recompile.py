"""`tetrapla compile` into a folder that holds something: what goes, what stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.gpu.cuda import run
from tetrapla.earlier import MANIFEST, check_own, earlier, listed, remove
from tetrapla.ir.errors import ModelError

Cli = Callable[..., Any]
Refused = Callable[..., None]


def nothing() -> None:
    """No NVRTC."""


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, "utf-8")


def manifest(folder: Path, *names: object) -> None:
    held = {"schema": "tetrapla.gpu.package/1", "files": [MANIFEST, *names]}
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(held), "utf-8")


def test_a_manifest_lists_all_that_is_written_with_it() -> None:
    files: dict[str, str | bytes] = {"b": b"", MANIFEST: '{"schema": "s"}', "a/c": ""}
    held = json.loads(listed(files)[MANIFEST])
    assert held == {"schema": "s", "files": ["a/c", "b", MANIFEST]}
    assert listed({"b": ""}) == {"b": ""}


def test_only_what_a_manifest_lists_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ["code/sm_90/f.ptx", "cuda/run.py", "cuda/plan.json", "model.onnx", "kernels.py"]
    put(out, *names, "cuda/mine.txt", "code.txt")
    manifest(out, *names)
    kept = [out / "kernels.py", out / MANIFEST]
    notes = remove(out, earlier(out), kept, [str(out / "model.onnx"), None])
    assert notes == [f"{out}: what an earlier compile wrote is removed: code/sm_90, cuda"]
    left = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert left == {"cuda/mine.txt", "code.txt", "model.onnx", "kernels.py", MANIFEST}
    assert not (out / "code").exists()


def test_a_list_reaches_nothing_outside_its_folder(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    put(tmp_path, "other/a", "out/b/c", "out/d")
    (out / "link").symlink_to(other)
    (out / "e").symlink_to(out / "d")
    manifest(out, "../other/a", str(other / "a"), "link/a", "b/../d", "e", "b", "gone", "")
    assert earlier(out) == [out / MANIFEST]
    for held in ('{"schema": "mine/1", "files": ["d"]}', "[]", "{", '{"files": ["d"]}'):
        (out / MANIFEST).write_text(held, "utf-8")
        assert earlier(out) == []
    manifest(out, "d", 7)
    assert earlier(out) == []


@pytest.mark.parametrize("name", ["run.py", "cuda/kernels.cu", MANIFEST])
def test_a_file_of_one_s_own_is_not_replaced(tmp_path: Path, name: str) -> None:
    check_own(tmp_path, ["run.py", "cuda/kernels.cu", MANIFEST, "program.txt"])
    put(tmp_path, name, "program.txt")
    check_own(tmp_path, ["program.txt"])
    with pytest.raises(ModelError) as refused:
        check_own(tmp_path, ["program.txt", name])
    assert str(refused.value) == (
        f"output '{tmp_path / name}' must be what an earlier compile wrote, by the "
        "manifest.json in that folder, not a file of your own; choose another folder"
    )
    manifest(tmp_path, name)
    check_own(tmp_path, ["program.txt", name])


def test_compile_refuses_a_script_of_one_s_own(
    refused: Refused, mlp: str, tmp_path: Path
) -> None:
    put(tmp_path, "run.py")
    refused(
        f"output '{tmp_path / 'run.py'}' must be what an earlier compile wrote, by the "
        "manifest.json in that folder, not a file of your own; choose another folder",
        *("compile", mlp, "-t", "p100", "-o", tmp_path),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run.py"]
    assert (tmp_path / "run.py").read_text("utf-8") == "run.py"


def test_code_of_another_plan_goes_and_another_target_leaves_no_script(
    cli: Cli, mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tetrapla.backends.gpu.cuda.emitted.nvrtc_library", nothing)
    out = tmp_path / "out"
    words = ["compile", mlp, "--data", "digits", "-o", out, "-t"]
    assert cli(*words, "p100", "--emit", "cuda-c").status == 0
    assert (out / "cuda" / "run.py").is_file()
    done = cli(*words, "p100")
    assert f"note: {out}: what an earlier compile wrote is removed: cuda\n" in done.err
    assert not (out / "cuda").exists()
    done = cli(*words, "tpu-v1")
    assert done.status == 0
    assert not [*out.glob("*.py"), *out.glob(MANIFEST)]


def test_weights_of_another_plan_are_refused(
    cli: Cli,
    mlp: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tetrapla.backends.gpu.cuda.emitted.nvrtc_library", nothing)

    def unreached(name: str, folder: Path) -> None:
        del name, folder

    monkeypatch.setattr(run, "device_for", unreached)
    out = tmp_path / "out"
    assert cli("compile", mlp, "-t", "p100", "--emit", "cuda-c", "-o", out).status == 0
    place = out / "weights.safetensors"
    held = bytearray(place.read_bytes())
    held[-1] ^= 1
    place.write_bytes(held)
    np.savez(tmp_path / "x.npz", image=np.zeros((1, 1, 8, 8), np.float32))
    files = ["--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz")]
    capsys.readouterr()
    assert run.main(files, out / "cuda") == 2
    assert capsys.readouterr().err.removeprefix("error: ") == (
        f"{place} must hold the weights that plan.json beside run.py was written with, not "
        "others; compile again with --emit cuda-c\n"
    )
    assert not (tmp_path / "y.npz").exists()
