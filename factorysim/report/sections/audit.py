"""The audit: whether the books of the run balance, law by law."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.markup import join, tag
from factorysim.report.sections.section import Section, each, folded, table

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.report.sections.section import Shown, View


def audit(view: View) -> Section:
    """List the laws of conservation, and whether every replication kept them."""
    return Section("audit", "Audit", each(view, _of_run))


def _of_run(one: Shown) -> Markup:
    laws = one.run.audit
    kept = sum(laws.values())
    whole = kept == len(laws)
    told = f"{kept} of {len(laws)} laws of conservation hold in every replication."
    rows = [
        (name, "holds" if held else "broken", *_first(one, name)) for name, held in laws.items()
    ]
    caption = "What went in and what came out, in the first replication"
    return join(
        tag("p", tag("span", "✓ " if whole else "✗ ", aria_hidden="true"), told,
            class_="good" if whole else "bad"),
        folded("The laws", table(("law", "", "expected", "found"), rows, caption=caption, words=2)),
    )  # fmt: skip


def _first(one: Shown, name: str) -> tuple[str, str]:
    lines = one.run.manifest["replications"][0]["audit"]
    line = next(line for line in lines if line["name"] == name)
    return f"{line['expected']:.10g}", f"{line['got']:.10g}"
