"""The documents as a site: every page in its menu, every link found, nothing fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
needs_mkdocs = pytest.mark.skipif(
    not all(map(find_spec, ("mkdocs", "material", "mkdocstrings_handlers"))),
    reason="the site is built by MkDocs, of the extra 'docs'",
)


@pytest.mark.slow
@needs_mkdocs
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))
    fetched = re.compile(
        r'(?:<script[^>]* src|<link[^>]* href|<img[^>]* src)="?(https?:[^" >]+)'
    )
    assert {url for page in pages for url in fetched.findall(page.read_text("utf-8"))} == set()
    # the Python reference is made of the docstrings
    reference = (tmp_path / "api" / "index.html").read_text("utf-8")
    assert "Compile a module for a target." in reference
