"""Writing: every file or none, through links and into pipes, and never a half of one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tetrapla.files import STDOUT, check_folder, check_outputs, write_all
from tetrapla.ir.errors import ModelError


def test_files_appear_with_the_modes_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_all({tmp_path / "new" / "a": "text", tmp_path / "new" / "b": b"\xff"})
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "a").read_text("utf-8") == "text"
    assert (tmp_path / "new" / "b").read_bytes() == b"\xff"
    assert (tmp_path / "new" / "a").stat().st_mode & 0o777 == 0o640


def test_a_refusal_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("kept", "utf-8")
    place = tmp_path / "none" / "deep" / "c"
    with pytest.raises(ModelError) as caught:
        write_all({tmp_path / "old": "new", tmp_path / "made" / "b": "b", place: "c"})
    assert str(caught.value) == (
        f"output '{place}' must be writable, not refused by the system: "
        "No such file or directory; choose another place"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text("utf-8") == "kept"


def test_an_interruption_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_all({tmp_path / "new" / "a": "text"})
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "deep" / "real")
    write_all({link: "text"})
    assert link.is_symlink()
    assert (tmp_path / "deep" / "real").read_text("utf-8") == "text"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text("utf-8")))
    reader.start()
    check_outputs([pipe])
    write_all({pipe: "text"})
    reader.join(5)
    assert found == ["text"]
    assert pipe.is_fifo()


def test_a_device_is_never_replaced() -> None:
    check_outputs([Path(os.devnull)])
    write_all({Path(os.devnull): "text"})
    assert Path(os.devnull).is_char_device()


def test_a_hyphen_is_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_all({STDOUT: "text\n"})
    assert capsys.readouterr().out == "text\n"


@pytest.mark.usefixtures("no_superuser")
def test_a_closed_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ModelError, match="must be writable; choose another"):
        check_folder(tmp_path / "a")
    with pytest.raises(ModelError, match="must be writable; choose another"):
        check_outputs([tmp_path / "a"])


def test_a_folder_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ModelError) as caught:
        check_folder(tmp_path / "file")
    assert str(caught.value) == (
        f"output folder '{tmp_path / 'file'}' must not be a file; choose another name"
    )
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
