"""What a share in SLO decides while some sessions have no verdict yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any, Literal, NamedTuple, TypeAlias

Judgement: TypeAlias = Literal["met", "missed", "so_far", "undecided", "unknown"]


ROUNDING = 1e-9
"""By which a mean of shares may fall short of one that each of them reaches."""


class InSlo(NamedTuple):
    """A share of sessions that met their SLO, and what it can still become.

    A session in flight that is not past a threshold has no verdict. It is left out of
    `share`, which is all that is known; `least` counts each such as a miss, `most` as
    one that met its SLO. Where all have ended the three are the same.
    """

    share: float | None
    """Of those with a verdict; None: none has one."""
    least: float | None
    """Of all, at the least; None: none arrived."""
    most: float | None

    def judged(self, attain: float) -> Judgement:
        """Say whether a share that was asked for is reached, whatever becomes of the rest.

        `so_far`: of those with a verdict enough met their SLO, but the rest could turn it. A
        miss is known at once and a success only at the end, so that share is rather too low.

        Examples
        --------
        >>> InSlo(1.0, 0.34, 1.0).judged(0.95)  # 66 of 100 are still under way
        'so_far'
        >>> InSlo(0.9, 0.34, 0.97).judged(0.95)
        'undecided'
        >>> InSlo(0.98, 0.96, 0.98).judged(0.95), InSlo(0.5, 0.45, 0.55).judged(0.95)
        ('met', 'missed')
        """
        if self.least is None or self.most is None:
            return "unknown"
        wanted = attain - ROUNDING
        if self.least >= wanted:
            return "met"
        if self.most < wanted:
            return "missed"
        return "so_far" if self.share is not None and self.share >= wanted else "undecided"

    @property
    def open(self) -> float:
        """Share of all that has no verdict."""
        return 0.0 if self.least is None or self.most is None else self.most - self.least


NOBODY = InSlo(None, None, None)


def counted(met: int, known: int, total: int) -> InSlo:
    """Count from so many that met, of so many with a verdict, of so many in all.

    Examples
    --------
    >>> counted(19, 20, 25)
    InSlo(share=0.95, least=0.76, most=0.96)
    """
    if total == 0:
        return NOBODY
    share = met / known if known else None
    return InSlo(share, met / total, (met + total - known) / total)


def pooled(replications: Sequence[InSlo]) -> InSlo:
    """Mean over the replications in which any arrived, by which a run is judged."""
    return InSlo(
        _mean(one.share for one in replications),
        _mean(one.least for one in replications),
        _mean(one.most for one in replications),
    )


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fsum(known) / len(known) if known else None


class Verdict(NamedTuple):
    """What a run says of the SLO of a stream."""

    stream: str
    attain: float
    """Share that was asked for."""
    found: InSlo

    @property
    def judgement(self) -> Judgement:
        """Whether it is reached."""
        return self.found.judged(self.attain)

    @property
    def margin(self) -> float:
        """How much more than was asked for is sure; below 0: how much is lacking."""
        share = self.found.most if self.judgement == "missed" else self.found.least
        return 0.0 if share is None else share - self.attain


def verdicts(slos: Mapping[str, Mapping[str, Any]]) -> list[Verdict]:
    """Judge the streams of a manifest that ask for something, in the order of the scenario."""
    return [
        Verdict(stream, slo["attain"], InSlo(slo["share"], slo["least"], slo["most"]))
        for stream, slo in slos.items()
        if any(slo[name] is not None for name in THRESHOLDS)
    ]


THRESHOLDS = ("ttft", "tpot", "turn", "session")


def met_or_why(judged: Sequence[tuple[InSlo, Judgement]]) -> tuple[float | None, str]:
    """Tell whether all is met that streams ask for, 1 or 0; None where it is open, and why.

    Examples
    --------
    >>> met_or_why([(InSlo(1.0, 0.34, 1.0), "so_far"), (InSlo(1.0, 1.0, 1.0), "met")])
    (None, "not decided: 66.0% of a stream's sessions were still under way")
    """
    verdict = worst(judgement for _, judgement in judged)
    if verdict == "unknown":
        return None, "no session has a verdict"
    if verdict in ("undecided", "so_far"):
        open_ = max(found.open for found, judgement in judged if judgement == verdict)
        return None, f"not decided: {open_:.1%} of a stream's sessions were still under way"
    return float(verdict == "met"), ""


def worst(judgements: Iterable[Judgement]) -> Judgement:
    """Take what several streams say together: one that is missed decides, then what is open.

    Examples
    --------
    >>> worst(["met", "so_far"]), worst(["met", "unknown"]), worst([])
    ('so_far', 'met', 'unknown')
    """
    found = set(judgements)
    order: tuple[Judgement, ...] = ("missed", "undecided", "so_far", "met")
    return next((one for one in order if one in found), "unknown")
