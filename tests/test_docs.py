"""The documents say what is so: commands parse, links lead somewhere, examples run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import tetrapla
from tetrapla.__main__ import app, run
from tetrapla.backends.target_ import find

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("docs", "changelog.d", "examples", "tests", "benchmarks", "tetrapla/data")
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.md"))}
)
BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MACHINE = re.compile(r"(?<![\w.])/(?:home|Users|root|tmp|work|mnt|opt|var)/|\b[A-Z]:\\")
WIDE = "200"  # columns of the terminal: no table is wrapped


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(path: Path, kind: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language, as (file that it stands for, content)."""
    found = BLOCK.findall(path.read_text("utf-8"))
    return [(name, content) for language, name, content in found if language == kind]


def rows(printed: str) -> set[str]:
    """The rows of a comparison's table, whatever its columns' widths and who is the best."""
    lines = {" ".join(line.replace("*", "").split()) for line in printed.splitlines()}
    return {line for line in lines if line.endswith(": passed")}


def documented() -> Iterator[tuple[str, list[str]]]:
    """Every `tetrapla` command of a shell block, and the document that it stands in."""
    for path in DOCUMENTS:
        for _, content in blocks(path, "sh"):
            for line in re.split(r"\n|&&", content.replace("\\\n", " ")):
                words = shlex.split(line.partition(" > ")[0], comments=True)
                if words[:1] == ["tetrapla"]:
                    yield path.name, words[1:]


def mentioned() -> Iterator[tuple[str, list[str]]]:
    """Every `tetrapla` command between backticks: it may leave arguments out."""
    for path in DOCUMENTS:
        prose = BLOCK.sub("", path.read_text("utf-8"))
        for found in re.findall(r"`tetrapla ([a-z][^`]*)`", prose):
            yield path.name, shlex.split(found)


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the rest of them."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words, "a command of the group must follow"
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options(command: Any) -> set[str]:
    """The options of a command and of those below it."""
    own = {name for each in command.params for name in each.opts}
    below = getattr(command, "commands", {}).values()
    return own.union(*(options(each) for each in below))


@pytest.mark.parametrize(("document", "words"), list(documented()))
def test_a_command_of_a_shell_block_parses(document: str, words: list[str]) -> None:
    command, rest = leaf(words)
    command.make_context("tetrapla", list(rest))  # raises where an option is not known


@pytest.mark.parametrize(("document", "words"), list(mentioned()))
def test_a_command_in_the_prose_exists(document: str, words: list[str]) -> None:
    command, rest = leaf(words)
    flags = {word for word in rest if word.startswith("-")}
    assert flags <= options(command)


def test_every_option_in_the_prose_exists() -> None:
    known = options(typer.main.get_command(app))
    for path in DOCUMENTS:
        prose = BLOCK.sub("", path.read_text("utf-8"))
        found = set(re.findall(r"`(--[a-z-]+)", prose))
        assert found <= known, path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    prose = BLOCK.sub("", path.read_text("utf-8"))
    links = [link for link in LINK.findall(prose) if not link.startswith("https://")]
    missing = [link for link in links if not (path.parent / link.partition("#")[0]).exists()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_path_of_a_machine(path: Path) -> None:
    assert MACHINE.findall(path.read_text("utf-8")) == []


def test_the_check_that_lands_calls_the_commands_of_the_readme() -> None:
    # the first shell block installs and runs the demo, the second installs and runs the tests
    (_, first), (_, second), *_ = blocks(ROOT / "README.md", "sh")
    assert first == "pip install . && tetrapla demo\n"
    install, _, tests = second.strip().partition(" && ")
    script = text(".ci/run").replace("--quiet ", "")
    assert install in script
    assert re.search(rf"^.*\b{re.escape(tests)}\b", script, re.MULTILINE)


def test_the_python_example_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    ((_, source),) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), names)
    assert names["report"].cross_check.passed
    assert '"schema": "tetrapla.report/1"' in capsys.readouterr().out


def test_the_readme_shows_what_the_demo_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", WIDE)
    # isaac takes longer than the rest together and stays out
    model, targets = str(ROOT / "examples" / "digits_cnn.onnx"), ["tpu-v1", "h100", "loihi"]
    run(["compare", model, "--data", "digits", "--targets", ",".join(targets)])
    # where Triton is installed, a second row of h100 has no place in the README's table
    found = {row for row in rows(capsys.readouterr().out) if "second check" not in row}
    assert len(found) == len(targets)
    assert found <= rows(text("README.md"))


def test_the_chip_that_the_readme_edits_loads(tmp_path: Path) -> None:
    ((_, line),) = blocks(ROOT / "README.md", "yaml")
    key = line.partition(":")[0]
    lines = find("isaac")[1].text.splitlines()
    edited = [line.rstrip("\n") if each.startswith(f"{key}:") else each for each in lines]
    assert edited != lines
    path = tmp_path / "my.yaml"
    path.write_text("\n".join(edited) + "\n", "utf-8")
    assert find(str(path))[1].spec.array.cell_bits == 1


def test_the_report_page_names_every_field() -> None:
    report = tetrapla.simulate(
        str(ROOT / "examples" / "digits_mlp.onnx"), "tpu-v1", data="digits", samples=2
    ).to_dict()
    fields = set(report) - {"energy_pj"}
    for name in ("energy_pj", "accuracy", "cross_check"):
        fields |= {f"{name}.{key}" for key in report[name]}
    fields |= {"interval_s", "quant", "normalised", "co2", "cost"}
    fields |= {"second_check", "yield", *report["layers"][0], *report["provenance"][0]}
    page = text("docs/report.md").partition("## `tetrapla.compare/1`")[0]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == fields


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = set(LINK.findall(text("docs/decisions/README.md")))
    assert index == {path.name for path in folder.glob("[0-9]*.md")}


def test_changelog_fragments_have_a_kind() -> None:
    for path in (ROOT / "changelog.d").glob("*.md"):
        assert re.fullmatch(r"README\.md|\w+\.(added|changed|fixed|removed)\.md", path.name)


@pytest.mark.parametrize("name", ["digits_mlp.onnx", "digits_cnn.onnx"])
def test_the_examples_are_the_bundled_networks(name: str) -> None:
    model = (ROOT / "examples" / name).read_bytes()
    assert model == (ROOT / "tetrapla" / "data" / name).read_bytes()
    assert f"{len(model):,} bytes" in text("examples/README.md")


def test_the_target_of_the_walk_through_works(tmp_path: Path) -> None:
    page = ROOT / "docs" / "adding-a-target.md"
    package = tmp_path / "tetrapla"  # the links become folders: a project of its own
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tetrapla", package, ignore=ignored)
    for name, content in (*blocks(page, "python"), *blocks(page, "yaml")):
        (package / name).write_text(content, "utf-8")
    compare, _ = (words for document, words in documented() if document == page.name)
    refused = ["simulate", "examples/digits_cnn.onnx", "--data", "digits", "--target", "dot"]
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    script = (
        "import json, sys\n"
        "from tetrapla.__main__ import run\n"
        "print([run(words) for words in json.loads(sys.argv[1])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps([compare, refused])],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": WIDE},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[0, 2]", done.stderr
    assert len(rows(done.stdout)) == 2
    assert rows(done.stdout) <= rows(page.read_text("utf-8"))
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert error in page.read_text("utf-8").splitlines()
