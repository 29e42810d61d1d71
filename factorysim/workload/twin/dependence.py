"""What quantities of a trace have to do with each other, in normal scores.

A quantity's values become scores by their rank. Least squares on the covariates
gives the slopes; of what is left, the variance that all calls of a session have in
common is that of sessions' means less what noise adds to it (unweighted means [1]_:
every session counts once, as it does when sessions are drawn). What sessions have in
common is correlated between quantities.

References
----------
.. [1] Searle, Casella, McCulloch, Variance Components, 1992, section 3.6 (unbalanced data).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from factorysim.spec.twin import SESSION_EFFECTS, Covariate, Dependence, Standard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

FEW = 30
"""Values below which nothing is said of a dependence."""
MOST = 0.95
"""Correlation that a correction may lead to."""
SHRINK = 10
"""Sessions that weigh as much as the belief that quantities have nothing to do with each other."""


class Fitted(NamedTuple):
    """A dependence, and what it leaves of each session."""

    dependence: Dependence
    effects: dict[int, float]
    """Of each session, the mean of its residuals."""
    reliability: float = 1.0
    """Of these: what sessions differ in, over that and the noise of short ones."""


def scores(values: npt.ArrayLike) -> Floats:
    """Turn values into standard normal scores by rank; ties share theirs.

    Examples
    --------
    >>> scores([5.0, 1.0, 9.0]).round(2).tolist()
    [0.0, -0.97, 0.97]
    """
    ranks = rankdata(np.asarray(values))
    result: Floats = ndtri((ranks - 0.5) / len(ranks))
    return result


def scores_within(values: Floats, groups: Ints) -> Floats:
    """Turn values into scores by their rank within their group."""
    made = np.zeros(len(values))
    for group in np.unique(groups):
        chosen = groups == group
        made[chosen] = scores(values[chosen])
    return made


def standard(values: Floats) -> Standard:
    """Measure a covariate.

    Examples
    --------
    >>> standard(np.array([1.0, 3.0]))
    Standard(mean=2.0, sd=1.0)
    """
    if not len(values):
        return Standard(mean=0.0, sd=1.0)
    return Standard(mean=float(values.mean()), sd=max(float(values.std()), 1e-6))


def fit_dependence(z: Floats, session: Ints, covariates: Mapping[Covariate, Floats]) -> Fitted:
    """Fit slopes and what sessions have in common.

    Parameters
    ----------
    z
        Shape ``(n,)``, normal scores.
    session
        Shape ``(n,)``.
    covariates
        Each of shape ``(n,)``, standardised.
    """
    if len(z) < FEW:
        return Fitted(Dependence(), {})
    slopes: dict[Covariate, float] = {}
    rest = z
    if covariates:
        names = list(covariates)
        design = np.column_stack([covariates[name] for name in names])
        found = np.linalg.lstsq(design, z, rcond=None)[0]
        rest = z - design @ found
        slopes = {
            name: float(np.clip(slope, -1.0, 1.0)) for name, slope in zip(names, found, strict=True)
        }
    found_effects = _effects(rest, session)
    on = {name: round(slope, 4) for name, slope in slopes.items()}
    dependence = Dependence(
        mean=round(float(np.clip(found_effects.mean, -3.0, 3.0)), 4),
        session=round(min(1.0, found_effects.variance**0.5), 4),
        on=on,
    )
    return Fitted(dependence, found_effects.of, found_effects.reliability)


class _Effects(NamedTuple):
    of: dict[int, float]
    """Of each session, the mean of its values."""
    mean: float
    """Of these, every session counting once."""
    variance: float
    """Of what they estimate."""
    reliability: float
    """That variance over theirs."""


def _effects(values: Floats, session: Ints) -> _Effects:
    places, inverse = np.unique(session, return_inverse=True)
    sizes = np.bincount(inverse).astype(np.float64)
    means = np.bincount(inverse, weights=values) / sizes
    of = dict(zip(places.tolist(), means.tolist(), strict=True))
    groups, total = len(sizes), float(len(values))
    if groups < 2 or total <= groups:
        return _Effects(of, float(means.mean()), 0.0, 1.0)
    within = float(((values - means[inverse]) ** 2).sum()) / (total - groups)
    seen = float(means.var(ddof=1))
    variance = max(0.0, seen - within * float((1.0 / sizes).mean()))
    return _Effects(of, float(means.mean()), variance, variance / seen if seen else 1.0)


def between(
    effects: Sequence[Mapping[int, float]], reliability: Sequence[float], sessions: int
) -> tuple[tuple[float, ...], ...]:
    """Correlate what sessions have in common, in the order of `SESSION_EFFECTS`.

    Pairs are correlated over the sessions that have both. The correlation is raised
    by what noise takes from it (Spearman's correction for attenuation), shrunk towards
    0 where sessions are few, and the whole brought to the nearest correlation matrix.
    """
    size = len(SESSION_EFFECTS)
    table = np.full((size, sessions), np.nan)
    for row, known in enumerate(effects):
        for place, value in known.items():
            table[row, place] = value
    made = np.eye(size)
    for i in range(size):
        for j in range(i):
            both = ~np.isnan(table[i]) & ~np.isnan(table[j])
            seen = _correlation(table[i, both], table[j, both])
            raised = seen / max(reliability[i] * reliability[j], 0.05) ** 0.5
            made[i, j] = made[j, i] = float(np.clip(raised, -MOST, MOST))
    return _nearest(made)


def _correlation(a: Floats, b: Floats) -> float:
    if len(a) < 3 or not a.std() or not b.std():
        return 0.0
    value = float(np.corrcoef(scores(a), scores(b))[0, 1])
    return value * len(a) / (len(a) + SHRINK)


def _nearest(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    """Lift eigenvalues to 0 and scale the diagonal back to 1."""
    values, vectors = np.linalg.eigh(matrix)
    lifted = vectors @ np.diag(np.maximum(values, 1e-6)) @ vectors.T
    scale = 1.0 / np.sqrt(np.diag(lifted))
    near = np.clip(np.round(lifted * scale[:, None] * scale, 4), -0.9999, 0.9999)
    near = 0.5 * (near + near.T)
    np.fill_diagonal(near, 1.0)
    return tuple(tuple(row) for row in near.tolist())
