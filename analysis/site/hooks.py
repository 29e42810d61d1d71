"""What `mkdocs build` adds to the pages of `docs/`: reference pages, and links into the repository.

Reference pages are made of the program itself (its commands, specs, metrics, catalog and public
names), so that they cannot fall behind it. A link of a page to a file outside `docs/` works in a
checkout; on the site it becomes one to the repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import catalog_page
import cli_page
import metrics_page
import python_page
import spec_pages
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = "https://github.com/factorysim/factorysim/blob/main/"
LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]*)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference."""
    pages = {
        "reference/cli.md": cli_page.page(),
        "reference/catalog.md": catalog_page.page(),
        "reference/metrics.md": metrics_page.page(),
        "reference/python.md": python_page.page(),
        **spec_pages.pages(),
    }
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that leave `docs/` into links to the repository; they must lead somewhere."""
    docs = Path(config.docs_dir)
    here = (docs / page.file.src_uri).parent

    def outwards(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(here / found[1]))
        if target.is_relative_to(docs):
            return found[1]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri}: link to {found[1]}, which does not exist")
        return REPOSITORY + target.relative_to(docs.parent).as_posix()

    return LINK.sub(outwards, markdown)
