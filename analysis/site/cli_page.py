"""The commands, as the program's own parser has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from pieces import MADE, cell, code, prose, table

from factorysim.cli.app import app

Parsed = Any
"""A command, group or parameter: some versions of typer bring a click of their own, so that there
is no one class to name."""
INTRO = """\
Results go to stdout, progress and errors to stderr. Exit codes: 0; 1, our fault; 2, the user's;
130, interrupted, and what was finished is kept. `factorysim COMMAND --help` prints what this page
says.
"""


def page() -> str:
    """Tell every command with its arguments and options."""
    root: Parsed = typer.main.get_command(app)
    sections = "\n".join(_section(name, command) for name, command in _commands(root, root.name))
    return f"{MADE}# Commands\n\n{INTRO}\n{sections}"


def _commands(group: Parsed, path: str) -> Iterator[tuple[str, Parsed]]:
    """Walk the commands below a group, in the order in which it lists them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def _section(name: str, command: Parsed) -> str:
    context = command.context_class(command, info_name=name)
    usage = " ".join((name, *command.collect_usage_pieces(context)))
    parts = [f"## {name}", prose(command.help), f"```text\n{usage}\n```"]
    for kind, head in (("argument", "Argument"), ("option", "Option")):
        told = [p.get_help_record(context) for p in command.params if p.param_type_name == kind]
        rows = [(code(what), _told(means)) for what, means in filter(None, told)]
        if rows:
            parts.append(table((head, "What it is"), rows))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _told(text: str) -> str:
    """Show bounds and defaults, which the parser puts in brackets at the end, as typed."""
    return re.sub(r"\s+\[([^]]+)\]$", r" (\1)", cell(text))
