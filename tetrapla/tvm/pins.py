"""The releases of TVM that this package works with, and what a person is told of others."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from tetrapla.ir.errors import ModelError

# 0.1.15.post2, which pip would take for this TVM, ends the process with a segmentation fault
# in TVM's schedules (tensorize); 0.27 is the release whose names of modules are used here
PINS = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post0"}
_INSTALL = 'install it with pip install "tetrapla[tvm]"'
_WHY = {
    "apache-tvm": "whose modules have other names",
    "apache-tvm-ffi": "which can end the process in TVM's schedules",
}


def check_installed() -> None:
    """Refuse to start without TVM, or with another release of it.

    Raises:
        ModelError: which package is missing or is another release.
    """
    for package, wanted in PINS.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            raise ModelError(
                f"the bridge to TVM needs {package} {wanted}, which is missing; {_INSTALL}"
            ) from None
        if found != wanted:
            raise ModelError(
                f"the bridge to TVM needs {package} {wanted}, not {found}, {_WHY[package]}; "
                f"{_INSTALL}"
            )
