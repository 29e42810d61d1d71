"""`factorysim` alone: the next step to take from where one stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

SCHEMA = "schema: factorysim.scenario/"
HEAD_BYTES = 4096
"""Of a YAML file that are looked at: its schema stands at the top."""
FILES_MOST = 500
"""In a folder that are looked at."""


class Step(NamedTuple):
    """A command, and what it is for."""

    command: str
    purpose: str


def next_steps(folder: Path) -> list[Step]:
    """Suggest commands: of the newest run and scenario in a folder, or the first ones of all.

    Parameters
    ----------
    folder
        Where the user stands. It is only looked at, and nothing in it need be ours.
    """
    scenario, run = _newest_scenario(folder), _newest_run(folder)
    if run is None and scenario is None:
        return [
            Step("factorysim run quickstart", "one rack, three streams; 15 s"),
            Step("factorysim compare quickstart quickstart-open", "closed or open, same demand"),
            Step("factorysim show quickstart", "what it is made of"),
        ]
    steps: list[Step] = []
    if run is not None:
        steps.append(Step(f"factorysim report {_word(run)}", "your newest run as one page"))
    if scenario is not None:
        steps.append(Step(f"factorysim validate {_word(scenario)}", "every fault, with its line"))
        steps.append(Step(f"factorysim run {_word(scenario)}", "simulate it"))
        steps.append(Step(f"factorysim capacity {_word(scenario)}", "how much load it carries"))
    else:
        steps.append(Step("factorysim compare quickstart quickstart-open", "closed or open?"))
    return steps


def welcome(folder: Path) -> str:
    """Write what the program prints when it is given nothing to do."""
    from factorysim import __version__
    from factorysim.marked import printable

    steps = next_steps(folder)
    width = max(len(step.command) for step in steps)
    lines = [
        f"factorysim {__version__}: agents on racks of GPUs, LPUs and CPUs, simulated.",
        "",
        "Next:",
        *(f"  {printable(step.command):{width}}  {step.purpose}" for step in steps),
        "",
        "All commands: factorysim --help",
    ]
    return "\n".join(lines)


def _word(path: Path) -> str:
    """Write a path so that a shell takes it as one word."""
    from shlex import quote

    return quote(str(path))


def _newest_run(folder: Path) -> Path | None:
    places = [one.parent for one in (folder / "runs").glob("*/manifest.json")][:FILES_MOST]
    return _newest([place for place in places if _is_run(place)], folder)


def _is_run(place: Path) -> bool:
    try:
        manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    return isinstance(schema, str) and schema.startswith("factorysim.run/")


def _newest_scenario(folder: Path) -> Path | None:
    files = [*folder.glob("*.yaml"), *folder.glob("*.yml")][:FILES_MOST]
    return _newest([file for file in files if _is_scenario(file)], folder)


def _is_scenario(file: Path) -> bool:
    try:
        with file.open("rb") as text:
            return SCHEMA.encode() in text.read(HEAD_BYTES)
    except OSError:
        return False


def _newest(places: list[Path], folder: Path) -> Path | None:
    """Choose what was changed last, by name where that is equal; relative to the folder."""
    if not places:
        return None
    return max(places, key=lambda place: (place.stat().st_mtime, place.name)).relative_to(folder)
