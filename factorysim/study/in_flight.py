"""A scenario's demand as a closed loop: so many sessions at any time, and when it is steady.

`closed_loop` does this for the single calls of `predict`. Here sessions may be of
agents and traces, and of several streams at once: a wave is as many sessions as a
stream has in flight, and steady are all streams from where the last of them is.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.metrics.inputs import Window
from factorysim.spec.arrivals import FixedConcurrency
from factorysim.study.closed_loop import WAVES_BEFORE, start_of_steady, whole_waves
from factorysim.study.scaling import scaling_of
from factorysim.workload.session import LlmNode, ToolNode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.graph.plan import ServePlan
    from factorysim.metrics.inputs import Tables
    from factorysim.run.prepare import Prepared
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.stream import StreamSpec
    from factorysim.workload.session import Session

    Floats = npt.NDArray[np.float64]

CALLS_LEAST = 400
"""Calls measured, unless asked otherwise: as many as a p95 needs."""
LOOK_CALLS, LOOK_WAVES = 4000, (8, 30)
"""Calls in which the start-up is looked for, and bounds on them in waves of sessions."""
WAVES_MEASURED, WAVES_AFTER = 4, 2
"""At least; and behind them, so that what they left in flight is back."""
SEVERAL_CALLS = 2.0
"""Of a session: from here on half of the waves do, since sessions differ, and soon mix."""
SAMPLE = 64
"""Sessions looked at before anything is simulated: how long they are, and whether they fit."""
FS_PER_S = 1e15


class Shares(NamedTuple):
    """How sessions in flight are shared between streams."""

    weights: dict[str, float]

    def of(self, concurrency: int) -> dict[str, int]:
        """Split by largest remainder, with one for each stream at least.

        Examples
        --------
        >>> Shares({"a": 3.0, "b": 1.0, "c": 0.001}).of(9)
        {'a': 6, 'b': 2, 'c': 1}
        """
        total = sum(self.weights.values())
        exact = {name: concurrency * weight / total for name, weight in self.weights.items()}
        counts = {name: max(1, int(share)) for name, share in exact.items()}
        while sum(counts.values()) < concurrency:
            short = max(counts, key=lambda name: exact[name] - counts[name])
            counts[short] += 1
        while sum(counts.values()) > concurrency:
            over = max(counts, key=lambda name: (counts[name] > 1, counts[name] - exact[name]))
            counts[over] -= 1
        return counts


def shares_of(scenario: ScenarioSpec) -> Shares:
    """Share sessions in flight as the scenario's sessions come: by rate, or by their numbers.

    Raises
    ------
    SpecError
        If some streams have a rate and others a number of sessions, or a trace's
        sessions all come at once beside another stream.
    """
    if len(scenario.streams) == 1:
        return Shares(dict.fromkeys(scenario.streams, 1.0))
    fixed = {n for n, s in scenario.streams.items() if isinstance(s.arrivals, FixedConcurrency)}
    if fixed and len(fixed) < len(scenario.streams):
        found = f"{', '.join(sorted(fixed))} of fixed concurrency beside streams with rates"
        expected = "streams of one kind, to share the sessions in flight"
        cure = "take one of them: --stream NAME"
        raise SpecError(Fault("scenario", "streams", found, expected, cure))
    return Shares({name: scaling_of(scenario, name).rate for name in scenario.streams})


def only_stream(scenario: ScenarioSpec, name: str) -> ScenarioSpec:
    """Leave one stream.

    Raises
    ------
    SpecError
        If there is no such stream.
    """
    if name not in scenario.streams:
        known = ", ".join(sorted(scenario.streams))
        fault = Fault("--stream", "", f'"{name}"', "a stream of the scenario", f"it has {known}")
        raise SpecError(fault)
    return scenario.model_copy(update={"streams": {name: scenario.streams[name]}})


def in_flight(scenario: ScenarioSpec, counts: dict[str, int]) -> ScenarioSpec:
    """Keep so many sessions of each stream in flight, for as long as the run lasts."""
    streams = {name: _closed(stream, counts[name]) for name, stream in scenario.streams.items()}
    return scenario.model_copy(update={"streams": streams})


def _closed(stream: StreamSpec, count: int) -> StreamSpec:
    arrivals = FixedConcurrency(process="fixed_concurrency", concurrency=count)
    if isinstance(stream.arrivals, FixedConcurrency):  # keeps its users' pause
        arrivals = stream.arrivals.model_copy(update={"concurrency": count})
    limit = stream.limit if stream.trace is not None else None
    return stream.model_copy(update={"arrivals": arrivals, "limit": limit})


class Sampled(NamedTuple):
    """What the first sessions of a stream are like."""

    calls: float
    """Of a session, on average."""
    output_tokens: float
    new_tokens: float
    """Of prompts, what repeats the call before left out."""
    context_tokens: float
    """Of a call half way through its output."""
    paused_s: float
    """In tools and gaps."""
    shortest: int
    """Tokens of the longest call of the session whose longest call is shortest."""


def sample(prepared: Prepared, name: str) -> Sampled:
    """Look at the first sessions of a stream."""
    from factorysim.workload.demand import build_demand

    scenario = prepared.scenario
    stream = scenario.streams[name]
    path = Path(stream.trace) if stream.trace else None
    demand = build_demand(name, stream, seed=scenario.run.seed, replication=0, trace_path=path)
    told = [_told(session) for session in islice(demand.sessions(), SAMPLE)]
    sums = [sum(column) for column in zip(*told, strict=True)]
    calls = max(1.0, sums[0])
    return Sampled(
        sums[0] / len(told),
        sums[1] / len(told),
        sums[2] / len(told),
        sums[3] / calls,
        sums[4] / len(told),
        round(min(one[5] for one in told)),
    )


def _told(session: Session) -> tuple[float, ...]:
    """Give calls, outputs, new prompt tokens, contexts, pauses and the longest call of one."""
    calls = [node for node in session.nodes if isinstance(node, LlmNode)]
    pauses = 0.0
    for node in session.nodes:
        pauses += node.delay_ns
        if isinstance(node, ToolNode):
            pauses += node.remote_ns + 1e9 * node.cpu_s / node.cores
    return (
        len(calls),
        sum(call.output_tokens for call in calls),
        sum(call.prompt_tokens - call.prefix_tokens for call in calls),
        sum(call.prompt_tokens + call.output_tokens / 2 for call in calls),
        pauses / 1e9,
        max((call.prompt_tokens + call.output_tokens - 1 for call in calls), default=0),
    )


def expected_s(serve: ServePlan, sampled: Sampled, sequences: int, most: int) -> float:
    """Guess how long a session takes with so many sequences on a replica: only a first guess."""
    decodes = max(1, min(sequences, most))
    law, context = serve.law, round(decodes * sampled.context_tokens)
    piece = law.piece(decodes, context)
    step_fs = law.base(decodes, 0, 0, decodes) + piece.fixed_fs + piece.slope_fs * context
    prompt = max(1, round(sampled.new_tokens))
    prefill_fs = law.base(0, prompt, 1, 1) + law.chunk(prompt, 0) + law.prompt(0.4)
    waiting = max(1, sequences) * prefill_fs + sampled.output_tokens * step_fs
    return waiting / FS_PER_S + sampled.paused_s


class Need(NamedTuple):
    """Sessions of a stream that a point asks for."""

    concurrency: int
    look: int
    """First sessions, in which the start-up is looked for."""
    measured: int
    behind: int
    """After them."""

    @property
    def most(self) -> int:
        """Sessions after which a point is done, wherever its start-up ends."""
        steady = max(self.look // 2, WAVES_BEFORE * self.concurrency)
        return steady + self.measured + self.behind


def need_of(concurrency: int, calls_per_session: float, calls: int) -> Need:
    """Ask for whole waves: few of many sessions, more of few.

    Parameters
    ----------
    calls
        To measure, at least.

    Examples
    --------
    >>> need_of(1, 1.0, 400)
    Need(concurrency=1, look=400, measured=400, behind=2)
    >>> need_of(1024, 1.0, 400)
    Need(concurrency=1024, look=8192, measured=4096, behind=2048)
    >>> need_of(8, 40.0, 400)
    Need(concurrency=8, look=32, measured=16, behind=8)
    """
    least = -(-calls // max(1, round(calls_per_session)))
    if calls_per_session < SEVERAL_CALLS:
        waves = min(max(LOOK_CALLS // concurrency, LOOK_WAVES[0]), LOOK_WAVES[1])
        look, measured, behind = max(waves * concurrency, least), WAVES_MEASURED, WAVES_AFTER
    else:
        look = LOOK_WAVES[0] // 2 * concurrency
        measured, behind = WAVES_MEASURED // 2, WAVES_AFTER // 2
    wanted = whole_waves(max(measured * concurrency, least), concurrency)
    return Need(concurrency, look, wanted, behind * concurrency)


class Progress(NamedTuple):
    """How far a run has got towards what a point needs."""

    window: Window | None
    """None: it must go on for longer."""
    share: float
    """Of the sessions needed, by the stream that is furthest from them."""
    drifts: bool
    """Whether a stream has found no steady state."""
    ran_out: str
    """Stream whose sessions have all come, if one has none left."""


def look(tables: Tables, needs: dict[str, Need]) -> Progress:
    """Find the window in which every stream is steady, if the run is long enough."""
    import numpy as np

    finished: dict[str, Floats] = {}
    share, ran_out = 1.0, ""
    for name, need in needs.items():
        mine = tables.sessions["stream"].equal(name)
        ended = tables.sessions["finished_s"][mine]
        finished[name] = np.sort(ended[np.isfinite(ended)])
        done = len(finished[name])
        if done < need.most:
            share = min(share, done / need.most)
            ran_out = name if int(mine.sum()) - done < need.concurrency else ran_out
    if share < 1.0:
        return Progress(None, share, False, ran_out)
    start_s, end_s, drifts = 0.0, 0.0, False
    for name, need in needs.items():
        left_out, wanders = start_of_steady(_waits(tables, name, need.look), need.concurrency)
        start_s = max(start_s, float(finished[name][left_out - 1]))
        drifts = drifts or wanders
    for name, need in needs.items():
        behind = int(np.searchsorted(finished[name], start_s, side="right"))
        last = behind + need.measured - 1
        wanted = last + need.behind + 1
        if wanted > len(finished[name]):
            return Progress(None, len(finished[name]) / wanted, False, "")
        end_s = max(end_s, float(finished[name][last]))
    return Progress(Window(start_s, end_s), 1.0, drifts, "")


def _waits(tables: Tables, stream: str, first: int) -> Floats:
    """Mean TTFT of the calls of each of a stream's first sessions."""
    import numpy as np

    calls = tables.calls
    mine = calls["stream"].equal(stream) & np.isfinite(calls["first_token_s"])
    ttft = (calls["first_token_s"] - calls["arrived_s"])[mine]
    _, places = np.unique(calls["session"][mine], return_inverse=True)
    means: Floats = np.bincount(places, ttft) / np.bincount(places)
    return means[:first]
