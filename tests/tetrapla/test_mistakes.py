"""What a mistake gets: status 2, one whole sentence, no traceback and no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tetrapla.backends.target_ import targets
from tetrapla.passes.pass_ import passes

Cli = Callable[..., Any]
Refused = Callable[..., None]
TARGETS = ", ".join(targets())
NOT_FINITE = "holds NaN or infinity; drop or mend that sample"
MLP = "MLP"  # stands for the path of the shipped model


def see(command: str) -> str:
    return f"; 'tetrapla {command} --help' says what there is"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        # the command line itself
        ("Missing argument 'MODEL'" + see("simulate"), ["simulate"]),
        ("Missing option '--target' / '-t'" + see("simulate"), ["simulate", MLP]),
        ("Missing option '--targets'" + see("compare"), ["compare", MLP]),
        (
            "No such command 'frobnicate'" + "; 'tetrapla --help' says what there is",
            ["frobnicate"],
        ),
        ("No such command 'wander'; 'tetrapla --help' says what there is", ["wander", MLP]),
        # the model
        (
            "no.onnx: no such file; give the path of an .onnx file",
            ["simulate", "no.onnx", "-t", "h100"],
        ),
        (
            "MODEL must be the path of a model file, not ''; name one",
            ["simulate", "", "-t", "h100"],
        ),
        (
            "m.pt: must be one of .csv, .mlir, .nir, .onnx, .pt2, not a PyTorch checkpoint; "
            "export it with torch.onnx.export(model, x, 'model.onnx')",
            ["simulate", "m.pt", "-t", "h100"],
        ),
        (
            "zoo:resnet must name a network, not 'resnet'; 'tetrapla zoo' lists them; "
            "did you mean 'resnet50'?",
            ["simulate", "zoo:resnet", "-t", "h100"],
        ),
        (
            "MODEL must be given once, not 'MLP' 2 times",
            ["compare", MLP, MLP, "--targets", "h100"],
        ),
        # the target
        (
            f"no target 'h1000'; did you mean 'h100'? there are: {TARGETS}",
            ["simulate", MLP, "-t", "h1000"],
        ),
        (f"no target ''; there are: {TARGETS}", ["simulate", MLP, "-t", ""]),
        (
            "target file 'no.yaml' must exist; write one or name a chip",
            ["simulate", MLP, "-t", "no.yaml"],
        ),
        (
            "--targets must name at least one target, not none",
            ["compare", MLP, "--targets", " , "],
        ),
        (
            "--targets must name each target once, not 'h100' 2 times; drop the others",
            ["compare", MLP, "--targets", "h100, h100"],
        ),
        (
            "--set clock needs a unit, not 700; write '700 MHz'",
            ["simulate", MLP, "-t", "tpu-v1", "--set", "clock=700"],
        ),
        (
            "--set array.row must name a field of the chip; did you mean 'array.rows'?",
            ["simulate", MLP, "-t", "tpu-v1", "--set", "array.row=8"],
        ),
        (
            "target 'h100': --set clock needs a unit, not 1; write '1 MHz'",
            ["compare", MLP, "--targets", "h100,loihi", "--set", "clock=1"],
        ),
        # the numbers
        (
            "--samples must be at least 1, not 0",
            ["simulate", MLP, "-t", "h100", "--samples", "0"],
        ),
        (
            "--samples must be a whole number, not '1.5'",
            ["simulate", MLP, "-t", "h100", "--samples", "1.5"],
        ),
        ("--seed must be at least 0, not -1", ["simulate", MLP, "-t", "h100", "--seed", "-1"]),
        (
            "--seed must be a whole number, not ''",
            ["simulate", MLP, "-t", "h100", "--seed", ""],
        ),
        (
            "--seed must be at most 4294967288, not 4294967289",
            ["simulate", MLP, "-t", "h100", "--seed", "4294967289"],
        ),
        (
            "--seed must have at most 18 digits, not 5000",
            ["simulate", MLP, "-t", "h100", "--seed", "9" * 5000],
        ),
        (
            "--timesteps must be at least 1, not 0",
            ["simulate", MLP, "-t", "loihi", "--timesteps", "0"],
        ),
        ("--batch must be at least 1, not 0", ["simulate", MLP, "-t", "h100", "--batch", "0"]),
        (
            "--quant must be int8, int4, int16, fp32, tf32, bf16, fp16, fp8, none or a "
            "pipeline like 'canonical,quantize{weights=i4}', not 'int5'; did you mean 'int8'?",
            ["simulate", MLP, "-t", "h100", "--quant", "int5"],
        ),
        (
            "--tuning must be given to a GPU, not to loihi; leave it out",
            ["simulate", MLP, "-t", "loihi", "--tuning", "tiles.json"],
        ),
        (
            "tuning file 'tiles.json' must exist; give another path",
            ["simulate", MLP, "-t", "h100", "--tuning", "tiles.json"],
        ),
        (
            "--dim must be NAME=SIZE with a size above 0, not 'batch'; write batch=1",
            ["simulate", MLP, "-t", "h100", "--dim", "batch"],
        ),
        (
            "--dim must be NAME=SIZE with a size above 0, not 'batch=-1'; write batch=1",
            ["simulate", MLP, "-t", "h100", "--dim", "batch=-1"],
        ),
        (
            "--dim must name 'batch' once, not twice; drop one of them",
            ["simulate", MLP, "-t", "h100", "--dim", "batch=1", "--dim", "batch=2"],
        ),
        (
            "MLP: there is no dimension 'foo', the model has batch",
            ["simulate", MLP, "-t", "h100", "--dim", "foo=3"],
        ),
        (
            "--batch 2 must not contradict --dim batch=4, both sizes of the leading dimension "
            "of input 'image'; drop one of them",
            ["simulate", MLP, "-t", "h100", "--dim", "batch=4", "--batch", "2"],
        ),
        # the data
        (
            "--data must be digits or an .npz file, not 'digit'; did you mean 'digits'?",
            ["simulate", MLP, "-t", "h100", "--data", "digit"],
        ),
        (
            "--calib and --calib-fraction must come with --data, not alone",
            ["simulate", MLP, "-t", "h100", "--calib", "c.npz"],
        ),
        (
            "--calib must not be given with --calib-fraction; drop one of them",
            [
                *("simulate", MLP, "-t", "h100", "--data", "digits"),
                *("--calib", "c.npz", "--calib-fraction", "0.5"),
            ],
        ),
        (
            "--calib-fraction must be a number, not 'half'",
            ["simulate", MLP, "-t", "h100", "--data", "digits", "--calib-fraction", "half"],
        ),
        (
            "--calib-fraction must be between 0 and 1, not nan",
            ["simulate", MLP, "-t", "h100", "--data", "digits", "--calib-fraction", "nan"],
        ),
        (
            "--samples must be at least the batch of 4, not 1; raise it",
            [
                *("simulate", MLP, "-t", "h100", "--data", "digits"),
                *("--samples", "1", "--batch", "4"),
            ],
        ),
        (
            "digits: 'image' must have at least 451 samples, not 450; give more or a smaller "
            "batch",
            ["simulate", MLP, "-t", "h100", "--data", "digits", "--batch", "451"],
        ),
        # compile and ir
        (
            "--emit must be onnx or qdq.onnx, not 'cuda-c'",
            ["compile", MLP, "-t", "tpu-v1", "-o", "o", "--emit", "cuda-c"],
        ),
        (
            "output folder must have a name, not '-'; name a folder",
            ["compile", MLP, "-t", "h100", "-o", "-"],
        ),
        (
            "the ONNX exporter has no form of spike.decode, spike.encode, spike.matmul, "
            "spike.neuron (node 'image.current'); compile for a target whose lowered module "
            "has none of them",
            [
                *("compile", MLP, "-t", "loihi", "--data", "digits", "-o", "o"),
                *("--emit", "onnx"),
            ],
        ),
        (
            "no pass 'fuse-epilog'; did you mean 'fuse-epilogue'?; there are: "
            f"{', '.join(passes())}",
            ["ir", MLP, "--after", "fuse-epilog"],
        ),
    ],
)
def test_a_mistake_gets_one_sentence(
    refused: Refused,
    mlp: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    message: str,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [mlp if word == MLP else word for word in words]
    refused(message.replace(MLP, mlp), *given)
    assert list(tmp_path.iterdir()) == []


def test_a_group_without_a_command_shows_its_help(cli: Cli) -> None:
    done = cli("arch")
    assert (done.status, done.out) == (2, "")
    assert "Usage: tetrapla arch" in done.err
    assert "error" not in done.err


# outputs


@pytest.mark.parametrize("flag", ["--json", "--report", "--csv"])
def test_an_output_is_judged_before_the_work(
    refused: Refused, tmp_path: Path, flag: str
) -> None:
    path = tmp_path / "none" / "o"
    refused(
        f"output '{path}' must lie in a folder that exists, not in '{path.parent}'; "
        "make the folder or choose another place",
        *("simulate", "no.onnx", "--target", "h100", flag, path),
    )
    refused(
        f"output file '{tmp_path}' must not be a folder; name a file in it",
        *("simulate", "no.onnx", "--target", "h100", flag, tmp_path),
    )


def test_an_output_is_named_once(refused: Refused, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "o"
    message = f"output file '{path}' must be named once; choose two names"
    refused(message, "demo", "--json", path, "--report", tmp_path / "." / "o")
    refused(message.replace(str(path), "-"), "demo", "--json", "-", "--csv", "-")


def test_an_input_is_never_written_over(refused: Refused, mlp: str, tmp_path: Path) -> None:
    model = tmp_path / "module.mlir"
    model.write_bytes(b"text")
    message = f"output file '{model}' must not be an input; choose another name"
    refused(message, "simulate", model, "--target", "h100", "--json", model)
    refused(message, "run", model, "--input", "x.npz", "-o", model)
    assert model.read_bytes() == b"text"


def test_compile_never_writes_over_its_model(
    cli: Cli, refused: Refused, mlp: str, tmp_path: Path
) -> None:
    words = ["--target", "h100", "-o", tmp_path / "out"]
    assert cli("compile", mlp, *words).status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    model = tmp_path / "out" / "module.mlir"
    message = f"output file '{model}' must not be an input; choose another name"
    refused(message, "compile", model, *words)
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")} == before


def test_a_path_that_the_system_refuses_is_a_users_error(refused: Refused, mlp: str) -> None:
    name = 300 * "a" + ".yaml"
    refused(
        f"'{name[:80]}…' must be a file to work with, not one that the system refuses: "
        "File name too long; give another path",
        *("compare", mlp, "--targets", f"h100,{name}"),
    )


def test_a_long_name_is_shortened_wherever_it_stands(refused: Refused) -> None:
    message = f"{'n' * 80}… no such file; give the path of an .onnx file"
    refused(message, "ops", f"{'n' * 200}/{'n' * 50}/m.onnx")


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_a_link_to_itself_is_a_users_error(
    refused: Refused, mlp: str, tmp_path: Path, option: str
) -> None:
    loop = tmp_path / "loop.npz"
    loop.symlink_to(loop.name)
    paths = {"--input": tmp_path / "x.npz", "--output": tmp_path / "y.npz", option: loop}
    rule = "must lead to a file, not to a symbolic link that leads to itself"
    words = [word for pair in paths.items() for word in pair]
    refused(f"'{loop}' {rule}; give another path", "run", mlp, *words)
