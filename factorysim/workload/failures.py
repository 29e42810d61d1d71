"""Tools that fail: the attempts of the harness, and the loop of calls that looks for the cause.

An attempt fails with its class's probability, lasts as failures of the class do, and
is cut at the timeout. The harness tries again, transparently, as often as it may; what
fails to the end the LLM gets to read, and a loop of calls may follow.

All is drawn with the session, after everything else of it: an agent whose tools
never fail has the sessions that it had before.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from factorysim.workload.draws import packed
from factorysim.workload.session import Attempt
from factorysim.workload.tools import ToolDraws

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.spec.agent import ToolClassSpec

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

Status = Literal["ok", "failed", "timeout"]

Z95 = 1.6448536269514722
"""Standard normal at its 95th percentile."""


class Outcome(NamedTuple):
    """What became of a tool call whose first attempt failed."""

    failed: tuple[Attempt, ...]
    """Attempts before the last."""
    status: Status
    cpu_s: float
    """This and the next two: of the last attempt."""
    remote_ns: int
    result_tokens: int


class _Class(NamedTuple):
    """How one class fails."""

    share: float
    median_s: float
    """Of attempts that fail."""
    sigma: float
    most_s: float
    timeout_s: float
    attempts: int
    backoff_s: float
    growth: float
    cores: float
    remote_share: float
    tokens: tuple[float, float, int] | None
    """Median, sigma and maximum of what the LLM reads of a failure."""

    @classmethod
    def of(cls, spec: ToolClassSpec) -> _Class:
        failure, retry, told = spec.failure, spec.retry, spec.failed_tokens
        share, median, spread = 0.0, 1.0, 1.0
        if failure is not None:
            share, median = failure.share, failure.median_factor
            spread = failure.p95_factor / failure.median_factor
        return cls(
            share=share,
            median_s=spec.duration.p50 * median,
            sigma=spec.duration.sigma + float(np.log(spread)) / Z95,
            most_s=spec.duration.max,
            timeout_s=float("inf") if retry is None or retry.timeout is None else retry.timeout,
            attempts=1 if retry is None else retry.attempts,
            backoff_s=0.0 if retry is None else retry.backoff,
            growth=1.0 if retry is None else retry.growth,
            cores=spec.work.cores,
            remote_share=spec.work.remote_share,
            tokens=None if told is None else (told.p50, told.sigma, told.max),
        )

    def cut(self, seconds: float) -> float:
        """Seconds until the attempt ends or is cut."""
        return min(seconds, self.timeout_s)

    def fails_after(self, uniform: float) -> float:
        """Seconds that an attempt lasts which fails, before it is cut."""
        return min(self.median_s * float(np.exp(self.sigma * ndtri(uniform))), self.most_s)

    def work(self, seconds: float) -> tuple[float, int]:
        """Core-seconds, and nanoseconds elsewhere, of an attempt that lasts so long."""
        cpu_s = seconds * (1.0 - self.remote_share) * self.cores
        return cpu_s, round(seconds * self.remote_share * 1e9)

    def told(self, uniform: float, usual: int) -> int:
        """Tokens that the LLM reads of a failure, where a success would be of `usual`."""
        if self.tokens is None:
            return usual
        median, sigma, most = self.tokens
        return round(min(max(median * float(np.exp(sigma * ndtri(uniform))), 1.0), most))


class FailureTable:
    """How the classes of a `ToolTable` fail, in its order.

    Examples
    --------
    >>> from factorysim.rng import stream
    >>> from factorysim.workload.tools import ToolTable, load_tools
    >>> shell = load_tools().tools["shell"]
    >>> calls = ToolTable(["shell"], [shell]).draw(
    ...     np.zeros(1000, int), np.zeros(1000), np.ones(1000), np.zeros(1000)
    ... )
    >>> outcomes = FailureTable([shell]).draw(calls, stream(7, "doc"))
    >>> 40 < len(outcomes) < 120
    True
    """

    def __init__(self, classes: Sequence[ToolClassSpec]) -> None:
        self._classes = [_Class.of(spec) for spec in classes]
        self._share = np.array([c.share for c in self._classes])
        self._cores = np.array([c.cores for c in self._classes])
        self._timeout_s = np.array([c.timeout_s for c in self._classes])

    def draw(self, tools: ToolDraws, generator: np.random.Generator) -> dict[int, Outcome]:
        """Draw which calls do not go well at first, and what becomes of them, by their place."""
        cls = np.array(tools.cls, dtype=np.int64)
        if not len(cls):
            return {}
        seconds = np.array(tools.remote_ns) * 1e-9 + np.array(tools.cpu_s) / self._cores[cls]
        first = generator.random(len(cls))
        (amiss,) = np.nonzero((first < self._share[cls]) | (seconds > self._timeout_s[cls]))
        return {
            place: self._outcome(
                self._classes[cls[place]],
                float(first[place]),
                float(seconds[place]),
                tools.result_tokens[place],
                generator,
            )
            for place in amiss.tolist()
        }

    def _outcome(
        self,
        cls: _Class,
        first: float,
        seconds: float,
        tokens: int,
        generator: np.random.Generator,
    ) -> Outcome:
        """Follow the attempts at one call; `seconds` is what one that goes well lasts."""
        rows: list[list[float]] = generator.random((cls.attempts, 2)).tolist()
        told = cls.told(float(generator.random()), tokens)
        failed: list[Attempt] = []
        status: Status = "ok"
        spent = seconds
        for number, (uniform, lasts) in enumerate(rows):
            fails = (uniform if number else first) < cls.share
            spent = cls.fails_after(lasts) if fails else seconds
            status = "timeout" if spent > cls.timeout_s else "failed" if fails else "ok"
            if status == "ok" or number == cls.attempts - 1:
                break
            backoff_s = cls.backoff_s * cls.growth**number
            failed.append(Attempt(*cls.work(cls.cut(spent)), round(backoff_s * 1e9)))
        cpu_s, remote_ns = cls.work(cls.cut(spent))
        return Outcome(tuple(failed), status, cpu_s, remote_ns, tokens if status == "ok" else told)


def steps_that_fail(
    outcomes: Mapping[int, Outcome], widths: Sequence[int], without: Collection[int]
) -> list[int]:
    """Find the calls of a chain at least one of whose tools fails to the end, in order.

    Parameters
    ----------
    widths
        Tools after each call.
    without
        Calls whose tools are never used: sub-agents replace them.
    """
    ends = np.cumsum(np.array(widths, dtype=np.int64))
    bad = [place for place, outcome in outcomes.items() if outcome.status != "ok"]
    steps: list[int] = np.unique(ends.searchsorted(bad, side="right")).tolist()
    return [step for step in steps if step not in without]


class Chain(NamedTuple):
    """A chain of calls and their tools as columns."""

    outputs: array[int]
    widths: array[int]
    """Tools after each call."""
    tools: ToolDraws


class Loops(NamedTuple):
    """Loops of calls that are put into a chain."""

    after: Sequence[int]
    """Calls that they follow, ascending."""
    calls: Sequence[int]
    """Of each."""
    append: float
    """Factor on what their tools answer."""

    def moved(self, step: int) -> int:
        """Place of a call of the chain, once the loops are in it."""
        before = zip(self.after, self.calls, strict=True)
        return step + sum(calls for place, calls in before if place < step)


def put_in(chain: Chain, loops: Loops, extra: Chain) -> tuple[Chain, Ints]:
    """Put loops into a chain.

    Parameters
    ----------
    extra
        The loops' calls one after the other, each loop with a call more that has no
        tools, as the last of a turn; that call is left out.

    Returns
    -------
    The longer chain, and the new places of the old chain's tools.
    """
    sizes = np.array(loops.calls)
    keep = np.ones(len(extra.outputs), dtype=bool)
    keep[np.cumsum(sizes + 1) - 1] = False
    widths = np.array(extra.widths, dtype=np.int64)[keep]
    after = np.array(loops.after)
    ends = np.cumsum(np.array(chain.widths, dtype=np.int64))
    at = np.repeat(after + 1, sizes)
    many = np.add.reduceat(widths, np.cumsum(sizes) - sizes)
    at_tools = np.repeat(ends[after], many)
    outputs = np.insert(np.array(chain.outputs, dtype=np.int64), at, np.array(extra.outputs)[keep])
    whole = np.insert(np.array(chain.widths, dtype=np.int64), at, widths)
    longer = Chain(
        packed(outputs.tolist()),
        packed(whole.tolist()),
        _put_tools(chain.tools, extra.tools, at_tools, loops.append),
    )
    old = np.arange(len(chain.tools.cls))
    return longer, old + at_tools.searchsorted(old, side="right")


def _put_tools(tools: ToolDraws, extra: ToolDraws, at: Ints, append: float) -> ToolDraws:
    answers = np.maximum(1, np.rint(np.array(extra.result_tokens) * append)).astype(np.int64)
    theirs = extra._replace(result_tokens=packed(answers.tolist()))
    wide = [np.array(column, dtype=np.int64) for column in (tools.cls, tools[2], tools[3])]
    cls, remote_ns, tokens = (
        packed(np.insert(ours, at, np.array(new, dtype=np.int64)).tolist())
        for ours, new in zip(wide, (theirs.cls, theirs[2], theirs[3]), strict=True)
    )
    cpu_s = array("d", np.insert(np.array(tools.cpu_s), at, np.array(theirs.cpu_s)).tolist())
    return ToolDraws(cls, cpu_s, remote_ns, tokens)
