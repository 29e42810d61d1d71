"""From the sessions of a trace to a twin of it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from factorysim.errors import Fault, TraceError
from factorysim.spec.twin import (
    EARLY_CALLS,
    SESSION_EFFECTS,
    Covariate,
    Dependence,
    Dependent,
    Growth,
    Rewrites,
    Standard,
    Table,
    TwinArrivals,
    TwinSource,
    TwinSpec,
    TwinSubagents,
    TwinTool,
)
from factorysim.workload.twin.calls import calls_of
from factorysim.workload.twin.dependence import (
    Fitted,
    between,
    fit_dependence,
    scores,
    scores_within,
    standard,
)
from factorysim.workload.twin.features import features_of
from factorysim.workload.twin.limits import at_limit, session_limits
from factorysim.workload.twin.tables import fit_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from factorysim.workload.session import Session
    from factorysim.workload.twin.calls import Calls
    from factorysim.workload.twin.features import Features, Team, Waits

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

FEW_CALLS = 20
"""Of a class of tools: rarer ones are told together, so that none tells of a row."""
OTHER = "other"
CONTEXTS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
"""Of the calls' contexts, bounds between classes: closer where contexts end."""
FIRST_CLASSES = 10
CLASS_SESSIONS = 40
"""At least, of a class of first prompts."""
SHARED_BY = 0.5
"""Of the sessions: what so many begin with is their system prompt."""
SESSIONS_LEAST = 10
_NOTHING = Table(values=(0.0,), cdf=(1.0,))
_WHOLE = Table(values=(1.0,), cdf=(1.0,))


def fit_twin(
    sessions: Iterable[Session], name: str, trace_format: str, *, joined: bool = False
) -> TwinSpec:
    """Fit a twin in one pass over sessions.

    Parameters
    ----------
    name
        Of the trace; it goes into the file.
    joined
        Whether `chained` made the sessions: the file says so.

    Raises
    ------
    TraceError
        If there are fewer than ten sessions: statistics of less would tell its rows.

    Examples
    --------
    >>> from factorysim.workload.agents import AgentModel, load_agent
    >>> from factorysim.workload.draws import KeyedUniforms
    >>> from factorysim.workload.session import Session
    >>> model, uniforms = AgentModel(load_agent("chat")), KeyedUniforms(7, 0, "chat")
    >>> drawn = [Session(f"s{i}", i * 10**9, model.nodes(uniforms.at(i))) for i in range(40)]
    >>> twin = fit_twin(drawn, "chats", "fstrace")
    >>> twin.source.sessions, twin.shared_tokens
    (40, 500)
    """
    seen = features_of(sessions)
    if len(seen.turns) < SESSIONS_LEAST:
        found = f"{len(seen.turns)} sessions"
        cure = "take a longer trace: statistics of so few would tell its rows"
        raise TraceError(Fault(name, "", found, f"at least {SESSIONS_LEAST}", cure))
    calls = calls_of(seen.own)
    block = next(iter(seen.block_tokens)) if len(seen.block_tokens) == 1 else None
    grown, edited, compacted = _kinds(calls, block or 1)
    covariates = _covariates(calls)
    turns = np.array(seen.turns)
    bounds = _first_prompt_bounds(calls)
    repeated = _outputs_repeated(calls, grown, block or 1)
    more = calls.prompt - calls.before - (calls.answered if repeated else 0)
    kinds = grown, edited
    dependence, common = _dependences(seen, calls, kinds, more, covariates, bounds)
    classes = _classes(seen)
    return TwinSpec(
        schema="factorysim.twin/1",
        about=f"Sessions with the statistics of {name}, and none of its rows.",
        source=TwinSource(
            name=name,
            format=trace_format,
            sessions=len(seen.turns),
            llm_calls=len(calls.session) + sum(len(team.chain.session) for team in seen.teams),
            joined=joined,
        ),
        arrivals=_arrivals(seen),
        block_tokens=block,
        shared_tokens=_shared_tokens(seen, block),
        outputs_repeated=repeated,
        prompt_tokens_max=math.ceil(float(f"{calls.prompt.max():.2g}") * 1.05),
        first_prompt_bounds=bounds,
        turns=_turns(calls, turns, bounds),
        calls_per_turn=fit_table(seen.calls_per_turn.seconds),
        first_prompt_tokens=fit_table(calls.prompt[calls.first]),
        growth_tokens=_growth(calls, kinds, np.maximum(more, 0)),
        output_tokens=_outputs(calls),
        user_gap_s=fit_table(seen.gaps.seconds) if len(seen.gaps.seconds) else None,
        tool_share=_tool_share(seen),
        tools=classes,
        tools_per_batch=fit_table(seen.batches) if len(seen.batches) else None,
        delay_s=fit_table(seen.delays.seconds) if len(seen.delays.seconds) else None,
        rewrites=_rewrites(calls, edited, compacted),
        subagents=_subagents(seen),
        between=common,
        covariates=covariates,
        dependence=dependence,
    )


def _kinds(calls: Calls, block: int) -> tuple[Bools, Bools, Bools]:
    """Tell calls that go on, that change something in the middle, and that are shorter."""
    later = ~calls.first
    known = calls.before // block * block
    compacted = later & (calls.prompt < known)
    edited = later & ~compacted & (calls.prefix < known)
    return later & ~compacted & ~edited, edited, compacted


def _covariates(calls: Calls) -> dict[Covariate, Standard]:
    return {
        "index": standard(np.log1p(calls.position)),
        "length": standard(np.log(calls.length)),
        "context": standard(np.log(calls.prompt)),
        "output": standard(np.log(calls.output)),
    }


def _measured(values: Ints, by: Standard, *, plus: int = 0) -> Floats:
    result: Floats = (np.log(values + plus) - by.mean) / by.sd
    return result


def _dependences(
    seen: Features,
    calls: Calls,
    kinds: tuple[Bools, Bools],
    more: Ints,
    by: Mapping[Covariate, Standard],
    bounds: tuple[int, ...],
) -> tuple[dict[Dependent, Dependence], tuple[tuple[float, ...], ...]]:
    """Fit all dependences, and correlate what sessions have in common."""
    index = _measured(calls.position, by["index"], plus=1)
    length = _measured(calls.length, by["length"])
    output = fit_dependence(
        scores_within(calls.output.astype(float), calls.last.astype(np.int64)),
        calls.session,
        {"index": index, "length": length, "context": _measured(calls.prompt, by["context"])},
    )
    growing = kinds[0] | kinds[1]
    kind = _growth_kinds(calls, kinds[1])[growing]
    growth = fit_dependence(
        scores_within(more[growing].astype(float), kind),
        calls.session[growing],
        {
            "index": index[growing],
            "length": length[growing],
            "context": _measured(calls.before[growing], by["context"]),
            "output": _measured(calls.answered[growing], by["output"]),
        },
    )
    turn_calls, gap, tool = map(_wait_dependence, (seen.calls_per_turn, seen.gaps, _batches(seen)))
    first = calls.first
    begun = calls.prompt[first]
    turned = scores_within(
        np.array(seen.turns, dtype=np.float64), np.searchsorted(bounds, begun, side="right")
    )
    fitted: dict[str, Fitted] = {
        "turns": Fitted(Dependence(), dict(enumerate(turned.tolist()))),
        "calls": turn_calls,
        "first_prompt": Fitted(
            Dependence(),
            dict(zip(calls.session[first].tolist(), scores(begun).tolist(), strict=True)),
        ),
        "growth": growth,
        "output": output,
        "tool": tool,
        "gap": gap,
    }
    ordered = [fitted[name] for name in SESSION_EFFECTS]
    common = between(
        [one.effects for one in ordered], [one.reliability for one in ordered], len(seen.turns)
    )
    names: tuple[Dependent, ...] = ("calls", "growth", "output", "tool", "gap")
    return {name: fitted[name].dependence for name in names}, common


def _wait_dependence(waits: Waits) -> Fitted:
    if not len(waits.seconds):
        return Fitted(Dependence(), {})
    return fit_dependence(scores(waits.seconds), np.array(waits.session, dtype=np.int64), {})


def _batches(seen: Features) -> Waits:
    from factorysim.workload.twin.features import Waits

    return Waits(seen.batch_session, seen.batch_s)


def _arrivals(seen: Features) -> TwinArrivals | None:
    times = np.array(seen.arrivals_ns, dtype=np.float64) / 1e9
    gaps = np.diff(np.sort(times))
    if len(gaps) < 2 or not gaps.mean():
        return None
    cv = float(gaps.std(ddof=1) / gaps.mean())
    rate = float(f"{1.0 / gaps.mean():.4g}")
    return TwinArrivals(rate_per_s=rate, cv=float(f"{min(max(cv, 0.01), 100.0):.3g}"))


def _shared_tokens(seen: Features, block: int | None) -> int:
    """Find what most sessions begin with: by their blocks, or as they say."""
    if not seen.first_hashes or block is None:
        return int(np.quantile(np.array(seen.shared), SHARED_BY, method="lower"))
    shared = 0
    alive = seen.first_hashes
    while True:
        heads = Counter(
            head for head in (_block_at(hashes, shared) for hashes in alive) if head is not None
        )
        if not heads:
            return shared * block
        head, count = heads.most_common(1)[0]
        if count < SHARED_BY * len(seen.first_hashes):
            return shared * block
        alive = [hashes for hashes in alive if _block_at(hashes, shared) == head]
        shared += 1


def _block_at(hashes: tuple[tuple[int, int], ...], place: int) -> int | None:
    for first, count in hashes:
        if place < count:
            return first + place
        place -= count
    return None


def _outputs_repeated(calls: Calls, grown: Bools, block: int) -> bool:
    """Tell whether most prompts that could repeat an output of some blocks do."""
    could = grown & (calls.answered >= 2 * block)
    if not could.any():
        return False
    return bool((calls.prefix[could] > calls.before[could] + block).mean() > 0.5)


def _first_prompt_bounds(calls: Calls) -> tuple[int, ...]:
    """Part first prompts into classes of as many sessions each."""
    first = calls.prompt[calls.first]
    classes = min(FIRST_CLASSES, len(first) // CLASS_SESSIONS)
    if classes < 2:
        return ()
    cuts = np.quantile(first, np.linspace(0.0, 1.0, classes + 1)[1:-1])
    return tuple(sorted({round(float(f"{cut:.3g}")) for cut in cuts}))


def _turns(calls: Calls, turns: Ints, bounds: tuple[int, ...]) -> tuple[Table, ...]:
    classes = np.searchsorted(bounds, calls.prompt[calls.first], side="right")
    tables = []
    for place in range(len(bounds) + 1):
        chosen = turns[classes == place]
        tables.append(fit_table(chosen if len(chosen) else turns))
    return tuple(tables)


def _growth(calls: Calls, kinds: tuple[Bools, Bools], more: Ints) -> dict[Growth, Table]:
    growing = kinds[0] | kinds[1]
    whole = more[growing]
    kind = _growth_kinds(calls, kinds[1])
    tables: dict[Growth, Table] = {}
    for place, name in enumerate(get_args(Growth)):
        chosen = growing & (kind == place)
        values = more[chosen] if chosen.sum() >= FEW_CALLS else whole
        tables[name] = fit_table(values) if len(values) else _NOTHING
    return tables


def _growth_kinds(calls: Calls, edited: Bools) -> Ints:
    """Tell the kind of each call, by its place in `Growth`."""
    begin, user, tool, changed = range(4)
    kind = np.where(calls.user, user, tool)
    kind = np.where(calls.position <= EARLY_CALLS, begin, kind)
    return np.where(edited, changed, kind)


def _outputs(calls: Calls) -> dict[Literal["last", "within"], Table]:
    within = calls.output[~calls.last]
    return {
        "last": fit_table(calls.output[calls.last]),
        "within": fit_table(within if len(within) else calls.output),
    }


def _tool_share(seen: Features) -> float:
    batches = len(seen.batches) + seen.handed_over
    return round(min(1.0, batches / seen.transitions), 6) if seen.transitions else 0.0


def _classes(seen: Features) -> dict[str, TwinTool]:
    """Fit classes of tools; those that are rare, or have no name of ours, become one."""
    from re import fullmatch

    total = sum(len(kept.waits.seconds) for kept in seen.tools.values())
    groups: dict[str, list[str]] = {}
    for name in sorted(seen.tools):
        rare = len(seen.tools[name].waits.seconds) < FEW_CALLS and len(seen.tools) > 1
        named = fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name)
        groups.setdefault(name if named and not rare else OTHER, []).append(name)
    return {group: _class(seen, names, total) for group, names in groups.items()}


def _class(seen: Features, names: list[str], total: int) -> TwinTool:
    kept = [seen.tools[name] for name in names]
    seconds = [value for one in kept for value in one.waits.seconds]
    cores = [value for one in kept for value in one.cores]
    memory = [value for one in kept for value in one.memory_bytes]
    held = sum(one.core_s for one in kept)
    cpu = sum(one.cpu_s for one in kept)
    return TwinTool(
        share=len(seconds) / total,
        seconds=fit_table(seconds),
        cpu_share=round(min(1.0, cpu / held), 6) if held else 0.0,
        cores=float(np.median(cores)),
        memory_bytes=float(f"{np.mean(memory):.3g}"),
    )


def _rewrites(calls: Calls, edited: Bools, compacted: Bools) -> Rewrites:
    later = ~calls.first
    lengths = calls.before[later]
    bounds = sorted({int(f) for f in np.quantile(lengths, CONTEXTS)}) if len(lengths) else []
    classes = np.searchsorted(bounds, calls.before, side="right")
    full = compacted & at_limit(calls, compacted)
    limits, unlimited = session_limits(calls, full)
    return Rewrites(
        edited_user=_share(edited, later & calls.user),
        edited_tool=_share(edited, later & ~calls.user),
        edited_lost=_ratio_table(calls.before - calls.prefix, calls.before, edited),
        context_tokens=tuple(bounds),
        compacted=tuple(
            _share(compacted & ~full, later & (classes == place))
            for place in range(len(bounds) + 1)
        ),
        limit_tokens=limits,
        unlimited=unlimited,
        compacted_to=_ratio_table(calls.prompt, calls.before, compacted),
        compacted_kept=_ratio_table(calls.prefix, calls.prompt, compacted),
    )


def _share(of: Bools, among: Bools) -> float:
    return round(float((of & among).sum() / among.sum()), 6) if among.any() else 0.0


def _ratio_table(over: Ints, under: Ints, chosen: Bools) -> Table:
    return fit_table(over[chosen] / under[chosen]) if chosen.any() else _WHOLE


def _subagents(seen: Features) -> TwinSubagents | None:
    """Fit the sub-agents of sessions, and theirs, from the lowest level on."""
    fitted: TwinSubagents | None = None
    for level in range(len(seen.teams) - 1, -1, -1):
        places = len(seen.batches) + seen.handed_over
        if level:
            above = seen.teams[level - 1].chain
            places = len(above.index) - above.index.count(0)  # what follows a call of theirs
        fitted = _team(seen.teams[level], places, fitted)
    return fitted


def _team(team: Team, places: int, below: TwinSubagents | None) -> TwinSubagents:
    """Fit the sub-agents of one level, which stand at some of the places between calls."""
    subs = calls_of(team.chain)
    grown = np.maximum(subs.prompt - subs.before, 0)[~subs.first]
    return TwinSubagents(
        batch_share=round(min(1.0, len(team.at_once) / places), 6) if places else 1.0,
        at_once=fit_table(team.at_once),
        calls=fit_table(np.bincount(subs.session)),
        first_prompt_tokens=fit_table(subs.prompt[subs.first]),
        growth_tokens=fit_table(grown) if len(grown) else _NOTHING,
        output_tokens=fit_table(subs.output),
        subagents=below,
    )
