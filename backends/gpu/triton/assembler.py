"""Machine code of Triton functions, without a GPU or a driver: python assembler.py JOBS FOLDER.

A process of its own, because TRITON_INTERPRET, under which Triton compiles nothing, is read
when functions are defined. JOBS is a JSON list of `Job`; for job N the folder is given N.text
(PTX or AMD assembly), N.binary (cubin or hsaco) and N.json (`shared_bytes` and the assembler's
`log`, or an `error`).
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, TypedDict


class Job(TypedDict):
    """One function for one architecture.

    Attributes:
        number: of the job.
        file: a module that defines the function.
        function: its name.
        types: of its pointers, in Triton's words.
        warps: of a program instance.
        stages: of the loop's loads.
        architecture: sm_90 or gfx942, say.
    """

    number: int
    file: str
    function: str
    types: list[str]
    warps: int
    stages: int
    architecture: str


def main(jobs: list[Job], folder: Path) -> None:
    """Compile all; what one says does not stop the next."""
    from triton import knobs

    knobs.nvidia.dump_ptxas_log = True
    knobs.compilation.disable_line_info = True  # it would name files that are gone
    for job in jobs:
        try:
            with redirect_stdout(io.StringIO()) as log:
                made = _compiled(job)
        except Exception as error:
            told: dict[str, Any] = {"error": f"{type(error).__name__}: {error}"[:2000]}
        else:
            told = {"shared_bytes": made.metadata.shared, "log": log.getvalue()}
            (text, binary) = ("ptx", "cubin") if "ptx" in made.asm else ("amdgcn", "hsaco")
            (folder / f"{job['number']}.text").write_text(made.asm[text], "utf-8")
            (folder / f"{job['number']}.binary").write_bytes(made.asm[binary])
        (folder / f"{job['number']}.json").write_text(json.dumps(told), "utf-8")


def _compiled(job: Job) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    spec = spec_from_file_location(f"kernels_{job['number']}", job["file"])
    assert spec is not None, job["file"]
    assert spec.loader is not None, job["file"]
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, job["function"])
    source = ASTSource(
        fn=function,
        signature=dict(zip(function.arg_names, job["types"], strict=True)),
        constexprs={},
        # every buffer begins at a multiple of 256 bytes
        attrs={(i,): [["tt.divisibility", 16]] for i in range(len(job["types"]))},
    )
    name = job["architecture"]
    cuda = name.startswith("sm_")
    target = GPUTarget("cuda", int(name[3:]), 32) if cuda else GPUTarget("hip", name, 64)
    options = {
        "num_warps": job["warps"],
        "num_stages": job["stages"],
        "enable_fp_fusion": False,
    }
    return triton.compile(source, target=target, options=options)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))
