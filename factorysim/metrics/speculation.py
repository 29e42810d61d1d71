"""What became of drafts, where decodes speculate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Value

if TYPE_CHECKING:
    from factorysim.metrics.activity import Activity
    from factorysim.metrics.inputs import Layout

RATE, LENGTH = "speculation.acceptance_rate", "speculation.acceptance_length"
NOBODY = "no deployment speculates"
NO_VERIFY = "no verify ended in the window"


def speculation_values(layout: Layout, activity: dict[str, Activity]) -> list[Value]:
    """Tell acceptance rate and length of all deployments that speculate, and of each.

    Of the verifies that ended in the window, each of one sequence. Drafts that a call did not
    want any more are not accepted, so both are a little below what drafter and LLM agree on.
    """
    parts: list[tuple[str, int, int, int]] = []
    for station in layout.serving():
        if station.pace is not None:
            done = activity[station.name]
            drafts = done.verifies * station.pace.draft_tokens
            parts.append((station.name, done.verifies, drafts, done.accepted_tokens))
    if not parts:
        return [Value(name, None, reason=NOBODY) for name in (RATE, LENGTH)]
    values = _values(*(sum(column) for column in list(zip(*parts, strict=True))[1:]))
    for name, *counts in parts:
        values += [v._replace(by="deployment", key=name) for v in _values(*counts)]
    return values


def _values(verifies: int, drafts: int, accepted: int) -> list[Value]:
    if not verifies:
        return [Value(name, None, reason=NO_VERIFY) for name in (RATE, LENGTH)]
    return [
        Value(RATE, accepted / drafts, drafts),
        Value(LENGTH, (verifies + accepted) / verifies, verifies),
    ]
