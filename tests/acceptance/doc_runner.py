"""Runs the blocks of a page of `docs/`, in order, in a folder of its own."""

from __future__ import annotations

import difflib
import doctest
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

from factorysim.yaml_reader import parse_yaml
from tests.acceptance.doc_pages import ROOT, Block, Step, matches, nested, steps
from tests.acceptance.program import Told, factorysim

_SHELL = frozenset("|<>;&$*(`")
"""A command without any of these needs no shell."""
_OWN = {
    "traces/mine.jsonl.gz": "scenarios/traces/quickstart.jsonl.gz",
    "agents/mine.yaml": "factorysim/catalog/agents/customer_service.yaml",
}
_CHECKOUT = ("analysis", "factorysim", "scenarios", "topologies")
_TERMINAL = {"COLUMNS": "80", "LINES": "40", "NO_COLOR": "1", "TERM": "dumb"}


class Page:
    """A reader who does what a page says.

    Parameters
    ----------
    folder
        To work in: as a checkout that also holds `traces/mine.jsonl.gz` and `agents/mine.yaml`,
        of somebody who has a trace and an agent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, object] = {"__name__": "__main__"}
        for name, own in _OWN.items():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / own, folder / name)
        for name in _CHECKOUT:
            (folder / name).symlink_to(ROOT / name)

    def run(self, block: Block) -> None:
        """Run a block; what differs from the page is an `AssertionError` that says where."""
        match block.language:
            case "python" | "json" if block.title:
                self._write(block)
            case "console":
                self._console(block)
            case "python":
                with redirect_stdout(StringIO()):
                    exec(
                        compile("\n" * (block.line - 1) + block.text, block.page, "exec"),
                        self.names,
                    )
            case "pycon":
                self._doctest(block)
            case "yaml":
                self._yaml(block)

    def _console(self, block: Block) -> None:
        asked = steps(block)
        for step in asked:
            told = _shell(step.command) if _SHELL & set(step.command) else _words(step.command)
            code = block.marks.code if step is asked[-1] else 0
            _compare(block, step, told, code)

    def _doctest(self, block: Block) -> None:
        test = doctest.DocTestParser().get_doctest(
            block.text, self.names, block.where, block.page, block.line - 1
        )
        told = StringIO()
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=told.write, clear_globs=False)
        self.names.update(test.globs)
        assert not runner.failures, told.getvalue()

    def _yaml(self, block: Block) -> None:
        """Write the file, and validate it; a fragment where it is to stand."""
        if block.title:
            name = self._write(block)
        elif block.marks.over:
            name = self._lay_over(block)
        else:
            name = "fragment.yaml"
            (self.folder / name).write_text(block.text, encoding="utf-8")
        data = _plain((self.folder / name).read_text(encoding="utf-8"))
        assert "schema" in data, f"{block.where}: a fragment, and no `over: FILE at KEY` above it"
        told = factorysim("validate", name)
        assert told.code == block.marks.code, f"{block.where}\n{told.out}{told.err}"

    def _write(self, block: Block) -> str:
        (self.folder / block.title).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / block.title).write_text(block.text, encoding="utf-8")
        return block.title

    def _lay_over(self, block: Block) -> str:
        """Lay a fragment over the file that it is of.

        Maps merge; at a place (`at`), the fragment's keys go instead of what the file has there.
        """
        name, base, place = "fragment.yaml", block.marks.over, block.marks.at
        if base.startswith("agents/"):
            whole = (ROOT / "factorysim" / "catalog" / base).read_text(encoding="utf-8")
            text = json.dumps(_laid(_plain(whole), _plain(block.text)))
            (self.folder / name).write_text(text, encoding="utf-8")
            return name
        if place:
            keys = "".join(f"{key}: null\n" for key in _plain(block.text))
            base = self._extending(base, nested(keys, place), "without.yaml")
        return self._extending(base, nested(block.text, place), name)

    def _extending(self, base: str, text: str, name: str) -> str:
        """Write a scenario that extends another."""
        whole = f"schema: factorysim.scenario/1\nextends: {base}\n{text}"
        (self.folder / name).write_text(whole, encoding="utf-8")
        return name


@contextmanager
def terminal(folder: Path) -> Iterator[None]:
    """Stand in a folder, before 80 columns, on one core."""
    before, had, modules = Path.cwd(), dict(os.environ), set(sys.modules)
    commands = folder.parent / "bin"
    commands.mkdir(exist_ok=True)
    for name, call in (("factorysim", "-m factorysim"), ("python", "")):
        shim = commands / name
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n', encoding="utf-8")
        shim.chmod(0o755)
    path = f"{commands}{os.pathsep}{had.get('PATH', '')}"
    os.environ.update(_TERMINAL, PATH=path, PYTHONPATH=str(ROOT))
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - modules:
            if getattr(sys.modules[name], "__file__", None) == str(folder / f"{name}.py"):
                del sys.modules[name]
        os.chdir(before)
        os.environ.clear()
        os.environ.update(had)


def _words(command: str) -> Told:
    """Run a command without a shell: this program in this process, others in their own."""
    program, *words = shlex.split(command, comments=True)
    return factorysim(*words) if program == "factorysim" else _shell(command)


def _shell(command: str) -> Told:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    return Told(done.returncode, done.stdout, done.stderr)


def _compare(block: Block, step: Step, told: Told, code: int) -> None:
    printed = told.out + told.err
    head = f"{block.where}: $ {step.command}\n"
    assert (told.code or 0) == code, f"{head}exits with {told.code}, not {code}:\n{printed}"
    if not step.expected.strip() or matches(step.expected, printed):
        return
    lines = difflib.unified_diff(
        step.expected.splitlines(), printed.splitlines(), "the page", "the program", lineterm=""
    )
    raise AssertionError(head + "\n".join(lines))


def _plain(text: str) -> dict[str, object]:
    """Read a map of YAML."""
    data = parse_yaml(text, "page").plain()
    assert isinstance(data, dict), text
    return data


def _laid(base: object, over: object) -> object:
    """Lay maps over maps, as `extends:` does."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _laid(base.get(key), value) for key, value in over.items()}
