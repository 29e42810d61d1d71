"""Every command and block of code of the documentation, run; and its site, built.

The rules are in `docs/contributing.md`. Blocks over a few seconds are marked `slow` in the page.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from unittest.mock import patch

import pytest

from tests.acceptance.doc_pages import ROOT, blocks, matches, page_names, read_page, steps
from tests.acceptance.doc_runner import Page, terminal

PAGES = page_names()
NOT_RUN = {
    "README.md": 1,
    "docs/arrivals.md": 1,
    "docs/contributing.md": 1,
    "docs/fidelity.md": 1,
    "docs/lessons.md": 1,
    "docs/lpx.md": 1,
    "docs/performance.md": 1,
    "docs/start.md": 1,
}
"""Blocks of a page that are not run; each says why above itself."""


def run_page(name, tmp_path, *, slow):
    """Run a page's blocks in order; the slow ones too if asked for."""
    folder = tmp_path / "page"
    folder.mkdir()
    page = Page(folder)
    with terminal(folder), patch("factorysim.run.replicate.os.sched_getaffinity", lambda _: {0}):
        for block in read_page(name):
            if runs(block) and (slow or not block.marks.slow):
                page.run(block)


def runs(block):
    return block.language != "text" and not block.marks.not_run


def has(name, *, slow):
    """Tell whether a page has blocks to run that are slow, or any that are not."""
    try:
        return any(runs(block) and block.marks.slow is slow for block in read_page(name))
    except ValueError:
        return not slow  # the test of the page tells what is wrong


@pytest.mark.parametrize("name", [name for name in PAGES if has(name, slow=False)])
def test_every_quick_block_of_a_page_does_what_the_page_says(name, tmp_path):
    run_page(name, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAGES if has(name, slow=True)])
def test_every_block_of_a_page_does_what_the_page_says(name, tmp_path):
    run_page(name, tmp_path, slow=True)


def test_blocks_that_are_not_run_are_few_and_say_why():
    found = [block for name in PAGES for block in read_page(name) if block.marks.not_run]
    told = "\n".join(f"{block.where}: {block.marks.not_run}" for block in found)
    assert Counter(block.page for block in found) == NOT_RUN, told
    assert all(len(block.marks.not_run) > 10 for block in found), told


def test_no_command_hides_in_a_block_that_is_not_run():
    for name in PAGES:
        for block in read_page(name):
            if block.language == "text":
                assert not re.search(r"^\$ ", block.text, re.MULTILINE), block.where


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("```\ntext\n```\n", "none of console"),
        ("```yaml\nnever: closed\n", "no end"),
        ("prose\n\n    factorysim run quickstart\n", "indented"),
        ("<!-- quickly -->\n```yaml\na: 1\n```\n", "no mark"),
    ],
)
def test_a_block_that_says_nothing_of_itself_is_refused(page, says):
    with pytest.raises(ValueError, match=says):
        list(blocks(page, "docs/page.md"))


def test_marks_and_titles_are_of_the_block_below_them():
    text = '<!-- slow; exit 2 -->\n```yaml title="a.yaml"\nb: 1\n```\n\n```json\n{}\n```\n'
    first, second = blocks(text, "page.md")
    assert (first.title, first.line, first.text) == ("a.yaml", 3, "b: 1\n")
    assert (first.marks.slow, first.marks.code) == (True, 2)
    assert (second.title, second.marks.slow, second.line) == ("", False, 7)


def test_a_console_block_is_commands_with_what_they_print():
    (block,) = blocks("```console\n$ one \\\n    --two\nout\n\n$ three\n```\n", "page.md")
    assert steps(block) == [("one --two", "out\n\n"), ("three", "")]


@pytest.mark.parametrize(
    ("expected", "got", "alike"),
    [
        ("a\nb\n", "a  \nb\n\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\nb\n", "a\nb\n", True),
        ("a\n", "a\nb\n", False),
        ("...\nb\n", "a\nb\nc\n", False),
        ("took ... s\n", "took 1.5 s\n", True),
        ("took ... s\n", "took 1.5\n2 s\n", False),
        ("1.5 (a)\n", "1x5 (a)\n", False),
    ],
)
def test_output_is_compared_line_by_line(expected, got, alike):
    assert matches(expected, got) is alike


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; any warning of mkdocs fails it."""
    pytest.importorskip("material", reason="the site is built with the extra `docs`")
    place = tmp_path_factory.mktemp("site")
    quiet = {"NO_MKDOCS_2_WARNING": "true", "DISABLE_MKDOCS_2_WARNING": "true"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | quiet | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return place


class _Fetched(HTMLParser):
    """What a browser fetches for a page without being asked."""

    def __init__(self):
        super().__init__()
        self.places = []

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "link", "img", "iframe", "source", "object"):
            told = dict(attrs)
            self.places += [told[key] for key in ("src", "href", "data", "srcset") if told.get(key)]


def test_the_site_is_built_strictly_and_fetches_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        reader = _Fetched()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.places
        far = [place for place in reader.places if re.match(r"(https?:)?//", place)]
        assert not far, f"{page.relative_to(site)} fetches {far}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text("utf-8"))


def test_every_page_is_on_the_site_and_every_command_in_its_reference(site):
    from factorysim.cli.app import app

    for name in PAGES:
        if name.startswith("docs/"):
            assert (site / name.removeprefix("docs/")).with_suffix(".html").is_file(), name
    told = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert f">factorysim {command.name}<" in told, command.name


def test_links_between_pages_hold_on_disk_too():
    made = "reference/"  # of the site alone
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if not re.match(r"[a-z]+:", link) and made not in link:
                assert ((ROOT / name).parent / link).exists(), f"{name}: {link}"
