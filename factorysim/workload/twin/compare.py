"""How like its source a twin is: quantiles, distances, hit rates, correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import rankdata

from factorysim.rng import stream
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.twin.calls import calls_of
from factorysim.workload.twin.features import features_of
from factorysim.workload.twin.model import TwinModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from factorysim.spec.twin import TwinSpec
    from factorysim.workload.twin.features import Features

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

QUANTILES = (0.1, 0.5, 0.9, 0.99)
RESAMPLES = 200
CALLS_LEAST = 40_000
"""Drawn from the twin, so that its own noise hardly counts."""
SESSIONS = 500, 5000
"""Drawn at least, and at most unless the source has more."""


class Likeness(NamedTuple):
    """One quantity of the source beside that of the twin."""

    name: str
    source: tuple[float, ...]
    """At `QUANTILES`."""
    twin: tuple[float, ...]
    source_mean: float
    twin_mean: float
    distance: float
    """Kolmogorov-Smirnov: the largest difference between the two shares of values."""
    noise: float
    """What 95 % of samples of as many sessions of the source's own kind stay below."""


class Comparison(NamedTuple):
    """A twin held against its source."""

    sessions: int
    """Of the source."""
    drawn: int
    quantities: tuple[Likeness, ...]
    prefix_share: tuple[float, float]
    """Of the prompt tokens, those that repeat the session's own context: source and twin."""
    correlations: dict[str, tuple[float, float]]
    """Spearman's, between positions, contexts, outputs and growth: source and twin."""


def compare_twin(twin: TwinSpec, sessions: Iterable[Session], seed: int = 7) -> Comparison:
    """Draw from a twin and hold it against the sessions that it was fitted to.

    Repeated tokens are counted in the blocks of the source, so that both know them
    equally well.

    Parameters
    ----------
    sessions
        Read once; joined as they were when the twin was fitted.

    Examples
    --------
    >>> from factorysim.workload.agents import AgentModel, load_agent
    >>> from factorysim.workload.twin.fit import fit_twin
    >>> model, keyed = AgentModel(load_agent("chat")), KeyedUniforms(7, 0, "chat")
    >>> source = [Session(f"s{i}", i, model.nodes(keyed.at(i))) for i in range(200)]
    >>> compared = compare_twin(fit_twin(source, "chats", "fstrace"), source)
    >>> all(one.distance < 0.2 for one in compared.quantities)
    True
    """
    source = features_of(sessions)
    wanted = CALLS_LEAST * len(source.turns) // len(source.own.prompt)
    least, most = SESSIONS
    count = max(len(source.turns), min(max(wanted, least), most))
    drawn = features_of(_drawn(twin, count, seed))
    ours, theirs = _quantities(source), _quantities(drawn)
    generator = stream(seed, 0, "twin", "bootstrap")
    likenesses = tuple(
        _likeness(name, *ours[name], theirs[name][0], generator)
        for name in ours
        if len(ours[name][0]) and len(theirs[name][0])
    )
    return Comparison(
        len(source.turns),
        count,
        likenesses,
        (_prefix_share(source), _prefix_share(drawn)),
        _correlations(source, drawn),
    )


def _drawn(twin: TwinSpec, count: int, seed: int) -> Iterator[Session]:
    model, keyed = TwinModel(twin), KeyedUniforms(seed, 0, "twin")
    block = twin.block_tokens or 1
    for ordinal in range(count):
        nodes = model.nodes(keyed.at("session", ordinal))
        for node in nodes:
            if isinstance(node, LlmNode):
                node.prefix_tokens -= node.prefix_tokens % block
        yield Session(f"s{ordinal}", 0, nodes)


def _quantities(seen: Features) -> dict[str, tuple[Floats, Ints]]:
    """Name values, and the session of each."""
    calls = calls_of(seen.own)
    later = ~calls.first
    each = np.arange(len(seen.turns))

    def of(values: npt.ArrayLike, session: npt.ArrayLike) -> tuple[Floats, Ints]:
        return np.array(values, dtype=np.float64), np.array(session, dtype=np.int64)

    return {
        "turns a session": of(seen.turns, each),
        "calls a turn": of(seen.calls_per_turn.seconds, seen.calls_per_turn.session),
        "calls a session": of(np.bincount(calls.session), each),
        "first prompt, tokens": of(calls.prompt[calls.first], each),
        "prompt, tokens": of(calls.prompt, calls.session),
        "growth, tokens": of((calls.prompt - calls.before)[later], calls.session[later]),
        "new tokens": of(calls.prompt - calls.prefix, calls.session),
        "output, tokens": of(calls.output, calls.session),
        "prompts, tokens a session": of(np.bincount(calls.session, weights=calls.prompt), each),
        "user gap, s": of(seen.gaps.seconds, seen.gaps.session),
        "tools a batch": of(seen.batches, seen.batch_session),
        "batch of tools, s": of(seen.batch_s, seen.batch_session),
        "sub-agents a session": of(*((seen.delegates, each) if seen.teams else ((), ()))),
    }


def _likeness(
    name: str, ours: Floats, session: Ints, theirs: Floats, generator: np.random.Generator
) -> Likeness:
    def points(values: Floats) -> tuple[float, ...]:
        return tuple(np.quantile(values, QUANTILES).tolist())

    return Likeness(
        name,
        points(ours),
        points(theirs),
        float(ours.mean()),
        float(theirs.mean()),
        ks_distance(ours, theirs),
        _noise(ours, session, generator),
    )


def ks_distance(a: Floats, b: Floats) -> float:
    """Largest difference between two empirical distributions.

    Examples
    --------
    >>> ks_distance(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    points = np.concatenate((a, b))
    shares = [np.searchsorted(np.sort(one), points, side="right") / len(one) for one in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def _noise(values: Floats, session: Ints, generator: np.random.Generator) -> float:
    """Distance of resampled sessions from all of them, which 95 % stay below."""
    order = values.argsort()
    _, places = np.unique(session, return_inverse=True)
    ordered, places = values[order], places[order]
    ends = np.append(np.nonzero(np.diff(ordered))[0], len(ordered) - 1)
    whole = (ends + 1) / len(ordered)
    count = int(places.max()) + 1
    found = []
    for _ in range(RESAMPLES):
        weights = np.bincount(generator.integers(0, count, count), minlength=count)[places]
        shares = np.cumsum(weights)[ends] / max(1, weights.sum())
        found.append(float(np.abs(shares - whole).max()))
    return float(np.quantile(found, 0.95))


def _prefix_share(seen: Features) -> float:
    return float(sum(seen.own.prefix) / sum(seen.own.prompt))


def _correlations(source: Features, drawn: Features) -> dict[str, tuple[float, float]]:
    ours, theirs = _ranked(source), _ranked(drawn)
    return {name: (ours[name], theirs[name]) for name in ours if name in theirs}


def _ranked(seen: Features) -> dict[str, float]:
    calls = calls_of(seen.own)
    later = ~calls.first
    made = {"context, output": _spearman(calls.prompt, calls.output)}
    if later.sum() < 3:
        return made
    index, prompt, output = calls.position[later], calls.prompt[later], calls.output[later]
    return made | {
        "position, context": _spearman(index, prompt),
        "position, output": _spearman(index, output),
        "output before, growth": _spearman(calls.answered[later], prompt - calls.before[later]),
    }


def _spearman(a: Ints, b: Ints) -> float:
    if a.min() == a.max() or b.min() == b.max():
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
