"""The option that names a trace's format, of every command that reads one."""

from __future__ import annotations

from typing import Annotated

import typer

from factorysim.spec.trace_format import FormatChoice

FormatOption = Annotated[
    FormatChoice, typer.Option("--format", metavar="NAME", help="See formats; auto tells it.")
]
