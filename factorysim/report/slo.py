"""SLOs in words: who met theirs, who did not, and where the run cannot tell."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from factorysim.metrics.in_slo import THRESHOLDS, Judgement, Verdict, verdicts
from factorysim.report.numbers import apart, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

State = Literal["good", "bad", "unknown", "plain"]
STATES: dict[Judgement, State] = {
    "met": "good",
    "missed": "bad",
    "so_far": "unknown",
    "undecided": "unknown",
    "unknown": "unknown",
}
HEADS: dict[Judgement, str] = {
    "met": "SLO met",
    "missed": "SLO missed",
    "so_far": "SLO met so far",
    "undecided": "SLO not decided",
    "unknown": "SLO unknown",
}
WORDS: dict[Judgement, str] = {
    "missed": "missed",
    "undecided": "not decided",
    "so_far": "met so far",
    "unknown": "unknown",
    "met": "met",
}
"""In the order in which they matter."""
OPEN: tuple[Judgement, ...] = ("undecided", "so_far")
"""Where sessions that were still under way could turn it."""
ALL, WORST = 6, 5
"""Streams that are told one by one; of more, so many that miss by most or have least room."""
SHOWN = 5e-4
"""Share of sessions under way from which on it is told where it turns nothing."""


class Said(NamedTuple):
    """A line of a verdict."""

    head: str
    text: str
    state: State


def slo_limits(slo: Mapping[str, Any]) -> str:
    """Write the thresholds of a stream; empty: it has none."""
    return ", ".join(
        f"{threshold(key)} {seconds(slo[key])}" for key in THRESHOLDS if slo[key] is not None
    )


def threshold(key: str) -> str:
    """Write what an SLO limits: `ttft` and `tpot` as the field writes them."""
    return key.upper() if key in ("ttft", "tpot") else key


def told_apart(slos: Mapping[str, Any]) -> tuple[list[Said], list[Said]]:
    """Say of each stream whether its SLO is met: those that are told first, and the rest.

    A few streams come as in the scenario. Many come by what matters: missed, not decided,
    met; and among those by how much is lacking, or how little room is left.
    """
    found = verdicts(slos)
    ordered = found if len(found) <= ALL else sorted(found, key=_weight)
    lines = [_line(one, slos[one.stream]) for one in ordered]
    shown = len(lines) if len(lines) <= ALL else WORST
    return lines[:shown], lines[shown:]


def slo_lines(slos: Mapping[str, Any]) -> list[Said]:
    """Say whether SLOs are met in a few lines, however many streams there are."""
    shown, rest = told_apart(slos)
    if not shown:
        return [Said("SLO", "no stream asks for any", "plain")]
    return [*shown, _others(rest)] if rest else shown


def _others(rest: Sequence[Said]) -> Said:
    """Count the streams that are not told one by one."""
    heads = Counter(one.head for one in rest)
    counts = [f"{heads[HEADS[one]]:,} {word}" for one, word in WORDS.items() if heads[HEADS[one]]]
    state = next(one.state for one in rest)
    return Said("SLOs", f"of {len(rest):,} more streams: {', '.join(counts)}", state)


def badge(slos: Mapping[str, Any]) -> tuple[str, State]:
    """Say in a few words whether all is met that was asked for."""
    found = verdicts(slos)
    asked, judged = len(found), Counter(one.judgement for one in found)
    if not asked:
        return "No SLO was asked for", "plain"
    if judged["missed"]:
        told = "The SLO is missed" if asked == 1 else f"{judged['missed']} of {asked} SLOs missed"
        return told, "bad"
    for which in (one for one in OPEN if judged[one]):
        open_ = percent(max(one.found.open for one in found if one.judgement in OPEN))
        if asked == 1:
            word = WORDS[which]
            told = f"{word[0].upper()}{word[1:]}: {open_} of the sessions were still under way"
        else:
            told = f"{judged[which]} of {asked} SLOs {WORDS[which]}"
            told += f": up to {open_} of sessions were still under way"
        return told, "unknown"
    if judged["unknown"] == asked:
        return "No session came that has an SLO", "unknown"
    if judged["unknown"]:
        told = f"{judged['met']} of {asked} SLOs met"
        return f"{told}; of the other streams no session came", "good"
    return "The SLO is met" if asked == 1 else f"All {asked} SLOs met", "good"


def _weight(one: Verdict) -> tuple[int, float]:
    return list(WORDS).index(one.judgement), one.margin


def _line(one: Verdict, slo: Mapping[str, Any]) -> Said:
    limits, judgement, found = slo_limits(slo), one.judgement, one.found
    wanted = f"{percent(one.attain)} wanted ({limits})"
    if judgement == "unknown":
        text = f"no session of {one.stream} arrived ({limits})"
    elif judgement == "so_far":
        assert found.share is not None
        text = f"{percent(found.share)} of {one.stream} sessions with a verdict; "
        text += f"{percent(found.open)} were still under way; {wanted}"
    elif judgement == "undecided":
        assert found.least is not None
        assert found.most is not None
        between = f"{percent(found.least)} to {percent(found.most)}"
        text = f"{between} of {one.stream} sessions, as {percent(found.open)} were still under way"
        text += f"; {wanted}"
    else:
        share = found.share if found.share is not None else found.least
        assert share is not None
        met = "" if judgement == "met" else " met it"
        got, asked = apart(share, one.attain)
        text = f"{got} of {one.stream} sessions{met}, {asked} wanted ({limits})"
        if found.open >= SHOWN:
            text += f"; {percent(found.open)} were still under way, which cannot turn it"
    return Said(HEADS[judgement], text, STATES[judgement])
