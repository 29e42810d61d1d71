"""From replications to ``summary.json``: one value a name, its interval, or why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from factorysim.metrics.in_slo import InSlo, Verdict, met_or_why
from factorysim.metrics.names import METRICS
from factorysim.metrics.overload import Overload
from factorysim.metrics.replication import Replication
from factorysim.metrics.statistics import t_interval

STEADY = ("ttft_s.", "tpot_s.", "itl_s.", "turn_s.", "session_s.", "session_active_s.", "queue.",
          "time_share.", "sandbox_wait_s.", "sandbox_start_s.", "sandboxes.held")  # fmt: skip
"""Names that have no steady value while the backlog grows."""
ONE_REPLICATION = "one replication: nothing tells how another would differ"


class Line(NamedTuple):
    """A metric over all replications."""

    value: float | str | None
    ci_low: float | None
    ci_high: float | None
    n: int
    """Replications behind the value."""
    reason: str | None
    """Why the value, or its interval, is missing."""
    model_low: float | None = None
    """`model_low` and `model_high` bound what would be measured, by the model's own error; None
    where no residuals speak of it (`run.model_error`)."""
    model_high: float | None = None


Summary: TypeAlias = dict[str, Line]


def summarise(
    replications: Sequence[Replication],
    overload: Overload | None,
    assumed_facts: int,
    conditional: str = "",
) -> Summary:
    """Mean over replications of every metric, with a t-interval between them.

    Parameters
    ----------
    overload
        Withholds steady-state values where it says so; None: not a steady state.
    conditional
        Why there is no interval for the demand; ``""`` where there is one.
    """
    by_name: dict[str, list[tuple[float | str | None, str]]] = {}
    for replication in replications:
        for value in replication.values:
            if value.by == "all":
                by_name.setdefault(value.name, []).append((value.value, value.reason))
    lines = {name: _line(values, conditional) for name, values in by_name.items()}
    if overload is not None and overload.state != "steady":
        lines |= {
            name: Line(None, None, None, 0, f"{overload.state}: {overload}")
            for name in lines
            if name.startswith(STEADY)
        }
    lines["assumed_facts"] = Line(float(assumed_facts), None, None, 1, None)
    return dict(sorted(lines.items(), key=lambda item: _order(item[0])))


def _line(values: list[tuple[float | str | None, str]], conditional: str) -> Line:
    missing = [(i, reason) for i, (value, reason) in enumerate(values) if value is None]
    if missing:
        index, reason = missing[0]
        where = f"replication {index}: " if len(missing) < len(values) else ""
        return Line(None, None, None, len(values) - len(missing), where + reason)
    words = [value for value, _ in values if isinstance(value, str)]
    if words:
        word, votes = Counter(words).most_common(1)[0]
        return Line(word, None, None, votes, None)
    numbers = [float(value) for value, _ in values if value is not None]
    mean = sum(numbers) / len(numbers)
    if conditional or len(numbers) < 2:
        return Line(mean, None, None, len(numbers), conditional or ONE_REPLICATION)
    interval = t_interval(numbers)
    return Line(mean, interval.low, interval.high, len(numbers), None)


def with_verdict(summary: Summary, found: Sequence[Verdict]) -> Summary:
    """Judge all replications together, as the page and the terminal do: `slo.met` of the run.

    Parameters
    ----------
    found
        Of the streams that ask for something; where none does, nothing is changed.
    """
    if not found:
        return summary
    met, why = met_or_why([(one.found, one.judgement) for one in found])
    told = why or "of all replications together"
    return summary | {"slo.met": Line(met, None, None, int(met is not None), told)}


def shares_in_slo(replications: Sequence[Replication]) -> dict[str, list[InSlo]]:
    """Share of each stream's sessions in SLO, and what it can still become, by replication."""
    found: dict[str, list[dict[str, float | None]]] = {}
    for number, replication in enumerate(replications):
        for value in replication.values:
            if value.by == "stream" and value.name in SHARES:
                shares = found.setdefault(value.key, [{} for _ in replications])
                known = None if value.value is None else float(value.value)
                shares[number][SHARES[value.name]] = known
    return {
        stream: [InSlo(*(one.get(field) for field in InSlo._fields)) for one in shares]
        for stream, shares in found.items()
    }


SHARES = {"slo.sessions": "share", "slo.least": "least", "slo.most": "most"}
"""Metric by stream -> what it is of `InSlo`."""


def _order(name: str) -> tuple[int, str]:
    """Place in the table of names; names with a pool come with their family."""
    families = _FAMILIES
    return families.get(name, families.get(name.partition(".")[0], len(families))), name


_FAMILIES: Mapping[str, int] = {
    key: place
    for place, name in reversed(list(enumerate(METRICS)))
    for key in (name, name.partition(".")[0])
}


def as_json(summary: Summary) -> dict[str, dict[str, object]]:
    """Give the content of ``summary.json``."""
    return {name: line._asdict() for name, line in summary.items()}
