"""Where the run comes from: how to have it again, and every metric that it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.names import metric
from factorysim.report.markup import join, tag
from factorysim.report.numbers import of_unit, seconds
from factorysim.report.sections.section import Section, each, folded, interval, note, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

    from factorysim.metrics.summary import Line
    from factorysim.report.sections.section import Shown, View


def origin(view: View) -> Section:
    """Say what made the run, with seed, versions and hashes, and the command to repeat it."""
    return Section("manifest", "Manifest", each(view, _of_run))


def _of_run(one: Shown) -> Markup:
    rows = [(key, tag("span", text, class_="hash")) for key, text in _rows(one)]
    hashes = [
        (key, tag("span", text, class_="hash"))
        for key, text in {
            "manifest": one.run.manifest.get("manifest_sha256", "none"),
            "summary": one.run.manifest["summary_sha256"],
            **one.run.manifest["outputs"],
        }.items()
    ]
    return join(
        note("The same bytes again, in the directory of the run:"),
        tag("pre", tag("code", "factorysim run scenario.resolved.yaml --out again"), tabindex="0"),
        table(("", ""), rows, caption="What made the run", words=2),
        folded("Hashes of its files (SHA-256)",
               table(("", ""), hashes, caption="SHA-256, of tables over their content", words=2)),
    )  # fmt: skip


def _rows(one: Shown) -> Iterator[tuple[str, str]]:
    manifest = one.run.manifest
    window = manifest["window"]
    yield "scenario", manifest["scenario"]["name"]
    yield "SHA-256 of the resolved scenario", manifest["scenario"]["sha256"]
    yield "SHA-256 of the catalog's facts", manifest["catalog_sha256"]
    for file in manifest["inputs"]:
        yield f"SHA-256 of {file['path']}", file["sha256"]
    yield "seed", str(manifest["seed"])
    yield "replications", f"{len(manifest['replications'])} of {manifest['replications_asked']}"
    yield "kind", manifest["kind"].replace("_", " ")
    yield "warm-up", f"{seconds(window['start_s'])} ({manifest['warmup']['note']})"
    yield "measured", seconds(window["end_s"] - window["start_s"])
    for name, digest in manifest["policies"].items():
        yield f"SHA-256 of the source of policy {name}", digest
    yield "factorysim", manifest["factorysim"]
    yield "Python", manifest["python"]
    yield "system", f"{manifest['os']}, {manifest['cpu']}"
    yield "events", f"{manifest['events']:,} in {seconds(manifest['wall_s'])} of wall time"


def every_metric(view: View) -> Section:
    """List every metric with its unit, interval and meaning, in a table to search."""
    return Section("metrics", "All metrics", each(view, _metrics))


def _metrics(one: Shown) -> Markup:
    summary = one.run.summary
    key = f"all{one.letter}"
    rows = [
        (tag("code", name), metric(name).formula, _value(name, line), _between(name, line))
        for name, line in summary.items()
    ]
    find = tag(
        "div",
        tag("label", "Find", tag("input", type="search", name="text", autocomplete="off")),
        tag("span", role="status", class_="note"),
        class_="find", data_table=key, hidden=True,
    )  # fmt: skip
    listed = table(
        ("metric", "what it is", "value", "95 % interval, or why there is none"),
        rows, caption="Means over replications", words=2, id_=key,
    )  # fmt: skip
    return folded(f"All {len(rows)} metrics of summary.json", find, listed)


def _value(name: str, line: Line) -> str:
    if line.value is None:
        return "withheld"
    return line.value if isinstance(line.value, str) else of_unit(line.value, metric(name).unit)


def _between(name: str, line: Line) -> Markup:
    text = interval(name, line) or line.reason or ""
    return tag("span", text, class_="long")
