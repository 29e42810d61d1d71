"""`factorysim` alone: the next step to take from where one stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from factorysim.marked import printable

SCHEMA = "schema: factorysim.scenario/"
HEAD_BYTES = 4096
"""Of a YAML file that are looked at: its schema stands at the top."""
COLUMN = 50
"""Of commands that have their purpose beside them."""
RUNS_MOST = 12
"""Of a comparison: as many as a page holds."""
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
    if not run and scenario is None:
        return [
            Step("factorysim run quickstart", "one rack, three streams; 15 s"),
            Step("factorysim compare quickstart quickstart-open", "closed or open, same demand"),
            Step("factorysim show quickstart", "what it is made of"),
        ]
    steps: list[Step] = []
    if run:
        what = "your newest run as one page" if len(run) == 1 else "your newest comparison"
        steps.append(Step(f"factorysim report {' '.join(map(_word, run))}", what))
    if scenario is not None:
        steps.append(Step(f"factorysim validate {_word(scenario)}", "every fault, with its line"))
        steps.append(Step(f"factorysim run {_word(scenario)}", "simulate it"))
        steps.append(Step(f"factorysim capacity {_word(scenario)}", "how much load it carries"))
    elif len(run) == 1:
        steps.append(Step("factorysim compare quickstart quickstart-open", "closed or open?"))
    else:
        steps.append(Step("factorysim capacity quickstart-open", "how much load it carries"))
    return steps


def welcome(folder: Path) -> str:
    """Write what the program prints when it is given nothing to do."""
    from factorysim import __version__

    steps = next_steps(folder)
    width = max(len(step.command) for step in steps if len(step.command) <= COLUMN)
    lines = [
        f"factorysim {__version__}: agents on racks of GPUs, LPUs and CPUs, simulated.",
        "",
        "Next:",
        *(_line(step, width) for step in steps),
        "",
        "All commands: factorysim --help",
    ]
    return "\n".join(lines)


def _line(step: Step, width: int) -> str:
    """Write a command and its purpose; a long one has it on the next line."""
    command = printable(step.command)
    if len(command) > width:
        return f"  {command}\n  {'':{width}}  {step.purpose}"
    return f"  {command:{width}}  {step.purpose}"


def _word(path: Path) -> str:
    """Write a path so that a shell takes it as one word."""
    from shlex import quote

    return quote(str(path))


def _newest_run(folder: Path) -> list[Path]:
    """Find the newest run, or the runs of the newest comparison; none: there is neither."""
    alone = [one.parent for one in (folder / "runs").glob("*/manifest.json")][:FILES_MOST]
    paired = [one.parent for one in (folder / "runs").glob("*/comparison.json")][:FILES_MOST]
    runs = {place: [place.relative_to(folder)] for place in alone if _is_run(place)}
    runs |= {
        place: [one.relative_to(folder) for one in inside]
        for place in paired
        if len(inside := _compared(place)) > 1
    }
    newest = _newest(list(runs), folder)
    return [] if newest is None else runs[folder / newest]


def _is_run(place: Path) -> bool:
    manifest = _map_in(place / "manifest.json")
    return str(manifest.get("schema")).startswith("factorysim.run/")


def _compared(place: Path) -> list[Path]:
    """Give the runs of a comparison, the one first that the others were held against."""
    told = _map_in(place / "comparison.json").get("comparisons")
    pairs = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    first = str(pairs[0].get("a")) if pairs else ""
    inside = sorted(one.parent for one in place.glob("*/manifest.json"))[:RUNS_MOST]
    return sorted(filter(_is_run, inside), key=lambda one: one.name != first)


def _map_in(file: Path) -> dict[str, object]:
    """Read a file of JSON; an empty map if it is none, or holds something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
