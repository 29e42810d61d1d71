"""What the run rests on: facts that nobody has published, and the model's own error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.names import metric
from factorysim.report.markup import join, tag
from factorysim.report.numbers import amount, of_unit, seconds
from factorysim.report.sections.section import Section, between, each, folded, note, table
from factorysim.report.terminal import MODEL_ERROR

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.catalog import Catalog
    from factorysim.report.sections.section import Shown, View

OPEN_MOST = 12
"""Facts that are listed in sight; more are folded."""


def model_error(view: View) -> Section:
    """Say where measurements would lie, as far as the model's own error is known."""
    return Section("error", "Model error", each(view, _error))


def _error(one: Shown) -> Markup:
    found = one.run.manifest["model_error"]
    never = found["never_compared"]
    unlike = (
        note(f"Nothing that was measured did what this scenario does: {', '.join(never)}.")
        if never
        else None
    )
    if found["reason"] is not None:
        return join(tag("p", f"Withheld: {found['reason']}."), unlike)
    rows = [
        (text, of_unit(line.value, metric(name).unit), _band(name, line.model_low, line.model_high))
        for name, text in MODEL_ERROR.items()
        if (line := one.run.summary.get(name)) is not None and isinstance(line.value, float)
    ]
    return join(
        tag("p", _class(found["class"])),
        table(("", "predicted", "80 % of measurements"), rows,
              caption="Apart from the intervals between replications, which tell of chance alone"),
        unlike,
    )  # fmt: skip


def _class(known: str) -> str:
    """Say what the bounds come from: one class, or that of each LLM on its device.

    Examples
    --------
    >>> _class("unseen engine and family of LLMs")[:64]
    'No fit has seen this engine and family of LLMs: the bounds come '
    >>> _class("a on x: seen, b on x: unseen family of LLMs")[:64]
    'Fits and what runs here: a on x: seen, b on x: unseen family of '
    """
    if known == "seen":
        return "Measurements of this engine, generation of GPUs and family of LLMs were fitted."
    told = "come from measurements that were left out of a fit in the same way."
    if not known.startswith("unseen "):
        return f"Fits and what runs here: {known}. Bounds of what is unseen {told}"
    return f"No fit has seen this {known.removeprefix('unseen ')}: the bounds {told}"


def _band(name: str, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "not known"
    return between(low, high, metric(name).unit)


def assumed(view: View) -> Section:
    """List the assumed facts with their bands, as the catalog has them."""
    return Section("assumed", "Assumed facts", each(view, _facts))


def _facts(one: Shown) -> Markup:
    names = one.run.manifest["assumed_facts"]
    if not names:
        return tag("p", "None: every fact that the run rests on has been published.")
    told = tag("p", f"{len(names)} facts that the run rests on have never been published.")
    catalog = catalog_of(one)
    if catalog is None:
        ids = tag("ul", [tag("li", tag("code", name)) for name in names])
        why = (
            "Their values are not listed: the run was made with another catalog than the one "
            "that is installed here."
        )
        return join(told, note(why), folded("Their names", ids))
    rows = [_fact(catalog, name) for name in names]
    head = ("fact", "kind", "source", "value", "low", "high")
    caption = "Low and high bound the central 80 % of what the fact may be"
    listed = table(head, rows, caption=caption, words=3)
    return join(told, listed if len(names) <= OPEN_MOST else folded("The facts", listed))


def _fact(catalog: Catalog, name: str) -> tuple[Markup, ...]:
    fact = catalog.facts[name]
    titles = [catalog.sources[one].title for one in fact.source if one in catalog.sources]
    source = "; ".join(titles) or fact.note or "our guess"
    numbers = (_number(value, fact.unit) for value in (fact.value, fact.low, fact.high))
    return (
        tag("code", name),
        tag("span", fact.kind.replace("_", " ")),
        tag("span", source, class_="long"),
        *(tag("span", text) for text in numbers),
    )


def _number(value: float | str | bool | None, unit: str) -> str:
    """Write a value of a fact with its unit.

    Examples
    --------
    >>> _number(1.51e11, "B"), _number(6e-7, "s"), _number(64, "count"), _number(None, "W")
    ('151 GB', '600 ns', '64', 'unknown')
    """
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if unit == "s":
        return seconds(value)
    if unit in ("count", "ratio", "1", ""):
        return f"{value:.6g}"
    return amount(value, unit)


def catalog_of(one: Shown) -> Catalog | None:
    """Load the catalog that a run was made with; None: it is not to be had here."""
    from pathlib import Path

    from factorysim.catalog import load_catalog
    from factorysim.errors import UserError
    from factorysim.run.publish import catalog_hash
    from factorysim.yaml_reader import read_yaml

    wanted = one.run.manifest["catalog_sha256"]
    scenario = read_yaml(one.run.path / "scenario.resolved.yaml").plain()
    named = scenario.get("catalog") if isinstance(scenario, dict) else None
    try:
        catalog = load_catalog(Path(named) if named else None)
    except UserError:
        return None
    return catalog if catalog_hash(catalog) == wanted else None
