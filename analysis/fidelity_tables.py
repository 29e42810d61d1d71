"""The tables of docs/fidelity.md: errors by kind of load, and what nobody has published.

factorysim check --json > check.json                 # minutes
python analysis/fidelity_tables.py check.json        # both tables
python analysis/fidelity_tables.py                   # facts alone
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from factorysim.catalog import load_catalog
from factorysim.catalog.fact import Fact, is_number
from factorysim.report.check_page import LOADS, signed
from factorysim.report.numbers import amount, percent, seconds
from factorysim.spec.agent import assumed_parameters
from factorysim.study.check import CLASSES, THEORY
from factorysim.workload.agents import agent_names, find_agent

PAGE = Path(__file__).parent.parent / "docs" / "fidelity.md"
SECTIONS = {
    "accelerators": "Accelerators",
    "cpus": "CPUs",
    "network": "Network",
    "racks": "Racks and servers",
    "llms": "LLMs",
    "efficiency": "Efficiencies and overheads",
    "sites": "Sites",
    "runtimes": "Agent runtimes",
    "facility": "Facilities",
    "rules": "Rules, where a device says nothing of its own",
}
Row = dict[str, Any]


def main() -> None:
    """Write the tables into the page."""
    page = PAGE.read_text(encoding="utf-8")
    if len(sys.argv) > 1:
        found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        page = replaced(page, "errors", errors(found))
    page = replaced(page, "assumed", assumed())
    PAGE.write_text(page, encoding="utf-8")


def replaced(page: str, block: str, text: str) -> str:
    """Put a text between the two marks of a block."""
    before, rest = page.split(f"<!-- {block} -->\n")
    _, after = rest.split(f"<!-- end of {block} -->\n")
    return f"{before}<!-- {block} -->\n\n{text}\n<!-- end of {block} -->\n{after}"


def errors(found: Mapping[str, Any]) -> str:
    """Tell what `check --json` says: theory, errors by load, by engine and device, bands."""
    theory = [row for row in found["rows"] if row["id"].startswith(THEORY)]
    measured = [row for row in found["rows"] if not row["id"].startswith(THEORY)]
    predicted = [row for row in measured if row["error"] is not None]
    held = sum(row["holds"] for row in theory)
    total = len(measured) + len(found["skipped"])
    parts = [
        f"{held} of {len(theory)} rows of theory and conservation hold. {len(predicted)} of "
        f"{total} rows of measurements are predicted; a row that is not counts as 100 % off.",
        _by_load(found["scores"]),
        _by_group(predicted),
        _bands(predicted),
    ]
    return "\n".join(part for part in parts if part)


def _by_load(scores: Iterable[Row]) -> str:
    head = ("error of", "load", "rows", "predicted", "median", "mean", "90 % below", "bias")
    rows = [
        (
            one["quantity"],
            LOADS.get(one["load"], one["load"] or "-"),
            str(one["rows"]),
            str(one["predicted"]),
            *("-" if one[key] is None else percent(one[key]) for key in ("median", "mean", "p90")),
            signed(one["bias"]) or "-",
        )
        for one in scores
    ]
    return _table(head, rows)


def _by_group(predicted: Iterable[Row]) -> str:
    """Score engines on generations of devices; loads at a system's limit apart."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in predicted:
        limit = ", at its limit" if row["load"] == "offered" else ""
        key = f"{row['engine']} on {row['generation']}{limit}", CLASSES[row["quantity"]]
        groups.setdefault(key, []).append(row["error"])
    head = ("engine and devices", "error of", "rows", "median", "mean", "bias")
    rows = [
        (
            *key,
            str(len(off)),
            percent(median(map(abs, off))),
            percent(mean(map(abs, off))),
            signed(median(off)),
        )
        for key, off in sorted(groups.items())
    ]
    return _table(head, rows)


def _bands(predicted: Iterable[Row]) -> str:
    """Tell how many measurements lie in their 80 % bands, and how wide these are."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in predicted:
        if row["low"] is not None and row["high"] is not None:
            key = CLASSES[row["quantity"]], LOADS.get(row["load"], row["load"])
            groups.setdefault(key, []).append(row)
    if not groups:
        return ""
    rows = [
        (
            *key,
            str(len(mine)),
            percent(mean(row["low"] <= row["expected"] <= row["high"] for row in mine)),
            f"{median(_width(row) for row in mine):.2f}",
        )
        for key, mine in sorted(groups.items())
    ]
    return _table(("80 % bands of", "load", "rows", "measured inside", "high / low, median"), rows)


def _width(row: Row) -> float:
    return float(row["high"] / row["low"]) if row["low"] > 0.0 else float("inf")


def assumed() -> str:
    """List every fact that is assumed or unknown, what is alike together."""
    facts = load_catalog().facts.values()
    parts: list[str] = []
    for section, title in SECTIONS.items():
        mine = [fact for fact in facts if fact.id.split(".")[0] == section]
        guessed = [fact for fact in mine if fact.kind == "assumed"]
        unknown = [fact for fact in mine if fact.kind == "unknown"]
        if guessed or unknown:
            parts.append(f"### {title}: {len(guessed)} assumed, {len(unknown)} unknown\n")
            parts += [_guesses(guessed), _fixed(guessed), _unknown(unknown)]
    parts += ["### Agents: entries that are assumed\n", _agents()]
    return "\n".join(part for part in parts if part)


def _guesses(facts: Iterable[Fact]) -> str:
    """Lay out assumed facts that have a band."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for fact in facts:
        if _is_wide(fact):
            owner, name = _split(fact.id)
            band = f"{_quantity(fact.low, fact.unit)} to {_quantity(fact.high, fact.unit)}"
            told = (name, _quantity(fact.value, fact.unit), band, fact.note)
            alike.setdefault(told, []).append(owner)
    rows = [(", ".join(filter(None, owners)) or "-", *told) for told, owners in alike.items()]
    return _table(("of", "fact", "value", "80 % band", "note"), rows) if rows else ""


def _fixed(facts: Iterable[Fact]) -> str:
    """List assumed facts without a band: counts, mostly."""
    by_owner: dict[str, list[str]] = {}
    for fact in facts:
        if not _is_wide(fact):
            owner, name = _split(fact.id)
            note = f" ({fact.note})" if fact.note else ""
            told = f"{name} {_quantity(fact.value, fact.unit)}{note}"
            by_owner.setdefault(owner, []).append(told)
    if not by_owner:
        return ""
    lines = [f"- {owner}: {'; '.join(told)}" for owner, told in by_owner.items()]
    return "Assumed, without a band:\n\n" + "\n".join(lines) + "\n"


def _unknown(facts: Iterable[Fact]) -> str:
    """List facts that nobody knows: a run that needs one asks for it, or takes a rule."""
    by_name: dict[str, list[str]] = {}
    for fact in facts:
        owner, name = _split(fact.id)
        by_name.setdefault(name, []).append(f"{owner} ({fact.note})" if fact.note else owner)
    if not by_name:
        return ""
    lines = [f"- {name}: {', '.join(owners)}" for name, owners in by_name.items()]
    return "Unknown:\n\n" + "\n".join(lines) + "\n"


def _agents() -> str:
    lines = [
        f"- {name}: {', '.join(entries)}\n"
        for name in agent_names()
        if (entries := assumed_parameters(find_agent(name)))
    ]
    return "".join(lines)


def _is_wide(fact: Fact) -> bool:
    return fact.low is not None and fact.low != fact.high


def _split(identity: str) -> tuple[str, str]:
    """Part an id into whose fact it is and which; of efficiencies whose is two words."""
    section, *rest = identity.split(".")
    words = 2 if section == "efficiency" else min(1, len(rest) - 1)
    return ".".join(rest[:words]), ".".join(rest[words:])


def _quantity(value: object, unit: str) -> str:
    if not is_number(value):
        return str(value)
    match unit:
        case "s":
            return seconds(value)
        case "ratio" | "count" if abs(value) < 1e6:
            return f"{value:g}"
        case "ratio" | "count":
            return amount(value)
        case _:
            return amount(value, unit)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
