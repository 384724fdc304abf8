"""What the site cannot link to, files outside this folder, becomes their paths."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+)([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs for every page; links that stay inside the documents are left alone."""
    depth = page.file.src_uri.count("/")

    def plain(found: re.Match[str]) -> str:
        text, up, path = found.groups()
        if up.count("/") <= depth:
            return found[0]
        path = path.partition("#")[0]
        return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"

    return _OUTSIDE.sub(plain, markdown)
