"""Moving factors to where measurements want them: least squares with priors, and bands.

Factors are fitted as logarithms. Each starts from what is known of it, with that knowledge's
spread as its prior; errors are logarithms too, in units of their noise, and count less and less
beyond it (pseudo-Huber).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Errors = Callable[[Floats], Floats]
    """Logarithms of predicted over measured, from logarithms of factors over their start."""

NOISE = 0.1
"""Error at which a row begins to count less: three times what a repeated run differs by."""
STEP = 0.01
"""Of a factor's logarithm, for derivatives."""
EVALUATIONS = 12
CENTRAL = 1.2816
"""Standard deviations of a normal distribution that bound its central 80 %."""


class Solved(NamedTuple):
    """Where factors came to."""

    logs: Floats
    """Shape ``(factors,)``: over their start."""
    spread: Floats
    """Shape ``(factors,)``: standard errors."""


def solve(
    errors_of: Errors,
    widths: Floats,
    clusters: Sequence[str],
    start: Floats,
    most: Floats | None = None,
    noise: float = NOISE,
) -> Solved:
    """Move factors from their priors to where the rows want them.

    Parameters
    ----------
    widths
        Shape ``(factors,)``: standard deviations of the priors, which lie at 0.
    clusters
        Source of each row: errors of one source are taken as going together.
    start
        Shape ``(factors,)``: where to begin.
    most
        Shape ``(factors,)``: what none may exceed.
    noise
        Error at which a row begins to count less.

    Examples
    --------
    >>> rows = np.array([0.2, 0.2, 0.2, 0.2])  # each predicted 22 % too long
    >>> found = solve(lambda at: rows + at[0], np.array([1.0]), list("abcd"), np.zeros(1))
    >>> round(float(found.logs[0]), 2)
    -0.2
    """
    from scipy.optimize import least_squares

    def residuals(at: Floats) -> Floats:
        return np.concatenate([_dulled(errors_of(at) / noise), at / widths])

    def jacobian(at: Floats) -> Floats:
        return derivatives(residuals, at, np.full(len(at), STEP))

    top = np.full(len(widths), np.inf) if most is None else np.maximum(most, 1e-9)
    bounds = (np.full(len(widths), -np.inf), top)
    first = np.minimum(start, top - 1e-9)
    found = least_squares(residuals, first, jac=jacobian, bounds=bounds, max_nfev=EVALUATIONS)
    logs = np.asarray(found.x, dtype=np.float64)
    rows = len(clusters)
    slopes = jacobian(logs)[:rows]
    return Solved(logs, _spread(slopes, residuals(logs)[:rows], clusters, widths))


def derivatives(of: Errors, at: Floats, steps: Floats) -> Floats:
    """Differences of a function for a step of each factor, over the step; ``(rows, factors)``."""
    here = of(at)
    columns = np.empty((len(here), len(at)))
    for k, step in enumerate(steps):
        moved = at.copy()
        moved[k] += step
        columns[:, k] = (of(moved) - here) / step
    return columns


def told_most(jacobian: Floats, most: int) -> list[int]:
    """Choose the factors of which measurements say most beyond what is known, one by one.

    What each adds is what the factors chosen before it do not explain as well. One of which
    the measurements say less than its prior is not chosen.

    Parameters
    ----------
    jacobian
        Shape ``(rows, factors)``: change of the errors, in units of their noise, by one
        standard deviation of each factor's prior.

    Returns
    -------
    Columns, at most `most`, in their order.

    Examples
    --------
    >>> told_most(np.array([[3.0, 3.1, 0.0], [0.0, 0.1, 0.5], [0.0, 0.0, 2.0]]), 2)
    [1, 2]
    """
    left, chosen = np.array(jacobian, dtype=np.float64), list[int]()
    while len(chosen) < most:
        said = (left**2).sum(axis=0)
        best = int(np.argmax(said))
        if said[best] < 1.0:
            break
        chosen.append(best)
        along = left[:, best] / math.sqrt(said[best])
        left -= np.outer(along, along @ left)
    return sorted(chosen)


def _dulled(errors: Floats) -> Floats:
    """Make large errors count less: half their square is the pseudo-Huber loss."""
    dulled: Floats = np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0))
    return dulled


def _spread(jacobian: Floats, errors: Floats, clusters: Sequence[str], widths: Floats) -> Floats:
    """Estimate standard errors of the logs; one source's go together (Liang and Zeger 1986)."""
    prior = np.diag(1.0 / widths**2)
    bread = np.linalg.inv(jacobian.T @ jacobian + prior)
    meat = prior
    for cluster in sorted(set(clusters)):
        mine = np.array([name == cluster for name in clusters])
        score = jacobian[mine].T @ errors[mine]
        meat = meat + np.outer(score, score)
    within = np.sqrt(np.diag(bread))
    # With few sources the sandwich is too narrow as often as not: never below the plain error.
    spread: Floats = np.maximum(np.sqrt(np.diag(bread @ meat @ bread)), within)
    return spread
