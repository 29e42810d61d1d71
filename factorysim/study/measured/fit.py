"""Fitting efficiencies to measurements: per engine and generation, few of them, with intervals.

The law keeps its form; what is fitted are the factors of `catalog.efficiency` that kernel
tables cannot tell: what an engine does on the host, and how near its kernels come to those
tables. Each factor starts from its fact, whose band is its prior: where the measurements say
nothing, it stays. Errors count as logarithms, large ones less (pseudo-Huber). Simulation and
fit alternate, since the steps that come depend on the factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.catalog.efficiency import Efficiency, efficiency
from factorysim.study.measured.conditions import Offered, Static
from factorysim.study.measured.experiment import observe
from factorysim.study.measured.retime import scale_of, subject_of, walked

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.catalog import Catalog
    from factorysim.catalog.fact import Fact
    from factorysim.study.measured.compare import Experiment
    from factorysim.study.measured.conditions import Understood
    from factorysim.study.measured.retime import Walked

    Floats = npt.NDArray[np.float64]

FACTORS_MOST = 6
ROWS_LEAST, ROWS_PER_FACTOR = 8, 4
"""A group of fewer rows carries no factor; a larger one a factor for each four, six at most."""
NOISE = 0.1
"""Error at which a row begins to count less: three times what a repeated run differs by."""
ROUNDS = 3
"""Of simulation and fit."""
ENOUGH = 0.01
"""Change of a factor, relative, with which the rounds end."""
TINY = 1e-30
"""A measured value below this is none."""
CENTRAL = 1.2816
"""Standard deviations of a normal distribution that bound its central 80 %."""
CANDIDATES = (
    "sequence_s",
    "linear_compute",
    "weight_bandwidth",
    "expert_compute",
    "host_step_s",
    "block_s",
    "kv_bandwidth",
    "attention_compute",
    "collective_s",
)
"""Factors in the order in which they are taken up, where the rows of a group tell of them."""


class Factor(NamedTuple):
    """A factor of a group, as fitted."""

    engine: str
    generation: str
    name: str
    value: float
    low: float
    high: float
    """The central 80 %."""
    before: float
    unit: str
    rows: int
    """Of the group."""
    sources: tuple[str, ...]

    @property
    def fact(self) -> str:
        """Id of the fact."""
        return f"efficiency.{self.engine}.{self.generation}.{self.name}"


class Group(NamedTuple):
    """Experiments of one engine on one generation."""

    engine: str
    generation: str
    experiments: tuple[Experiment, ...]

    @property
    def rows(self) -> tuple[Understood, ...]:
        """Rows that the fit uses."""
        return tuple(row for one in self.experiments for row in one.rows if usable(row))


def usable(row: Understood) -> bool:
    """Whether a row says something of step times.

    Left out are loads at their limit, where a small error of a step is a large one of the
    wait, times to the first token under load, which queues decide, and powers.
    """
    quantity, load = row.metric.quantity, row.conditions.load
    if isinstance(load, Offered):
        return False
    if quantity == "ttft":
        return isinstance(load, Static)
    return quantity in ("tpot", "itl", "throughput", "tokens_per_s_per_user")


def groups_of(experiments: Sequence[Experiment], catalog: Catalog) -> list[Group]:
    """Sort experiments by engine and generation of their device."""
    found: dict[tuple[str, str], list[Experiment]] = {}
    for one in experiments:
        generation = catalog.device(one.conditions.device).generation
        found.setdefault((one.conditions.engine, generation), []).append(one)
    groups = [Group(*key, tuple(mine)) for key, mine in sorted(found.items())]
    return [group for group in groups if group.rows]


def factors_of(group: Group, catalog: Catalog) -> list[tuple[str, Fact]]:
    """Choose the factors that a group's rows can carry, with the facts that they start from."""
    rows = len(group.rows)
    most = min(FACTORS_MOST, rows // ROWS_PER_FACTOR) if rows >= ROWS_LEAST else 0
    names: list[str] = []
    for candidate in CANDIDATES:
        names += _told_of(candidate, group, catalog)
    return [(name, _fact(catalog, group, name)) for name in names[:most]]


def _told_of(candidate: str, group: Group, catalog: Catalog) -> Iterator[str]:
    """Names of a candidate that some experiment of the group depends on."""
    conditions = [one.conditions for one in group.experiments]
    if candidate in ("linear_compute", "expert_compute"):
        moe = candidate == "expert_compute"
        for form in sorted({c.compute for c in conditions}):
            mine = [c for c in conditions if c.compute == form]
            if not moe or any(catalog.llm(c.llm).ffn_kind == "moe" for c in mine):
                yield f"{candidate}_{form}"
    elif candidate == "collective_s":
        if any(c.cut.tp > 1 for c in conditions):
            yield candidate
    elif candidate == "sequence_s":
        if any(isinstance(c.load, Static) and c.load.batch == 1 for c in conditions):
            several = [c for c in conditions if getattr(c.load, "batch", 2) > 1]
            if not several:
                return
        yield candidate
    else:
        yield candidate


def _fact(catalog: Catalog, group: Group, name: str) -> Fact:
    """Fact that a factor starts from: that of the group, or the most particular there is."""
    for engine, generation in (
        (group.engine, group.generation),
        (group.engine, "neutral"),
        ("generic", group.generation),
        ("generic", "neutral"),
    ):
        fact = catalog.facts.get(f"efficiency.{engine}.{generation}.{name}")
        if fact is not None:
            return fact
    raise KeyError(name)


def with_factors(base: Efficiency, values: Mapping[str, float]) -> Efficiency:
    """Replace some factors, by their names in the catalog.

    Examples
    --------
    >>> changed = with_factors(efficiency(None, "hopper", "vllm"), {"linear_compute_fp8": 0.5})
    >>> changed.linear_compute["fp8"]
    0.5
    """
    changes: dict[str, object] = {}
    for name, value in values.items():
        for kind in ("linear_compute", "expert_compute"):
            if name.startswith(f"{kind}_"):
                rates = changes.setdefault(kind, dict(getattr(base, kind)))
                assert isinstance(rates, dict)
                rates[name.removeprefix(f"{kind}_")] = value
                break
        else:
            changes[name] = value
    return replace(base, **changes)  # type: ignore[arg-type]


def fit_group(group: Group, catalog: Catalog) -> list[Factor]:
    """Fit a group's factors.

    Raises
    ------
    UserError
        If an experiment cannot be run.
    """
    chosen = factors_of(group, catalog)
    if not chosen:
        return []
    names = [name for name, _ in chosen]
    start = np.array([_value(fact) for _, fact in chosen])
    widths = np.array([_width(fact) for _, fact in chosen])
    theta = np.zeros(len(names))
    for _ in range(ROUNDS):
        seen = _simulate(group, catalog, names, start * np.exp(theta))
        moved, jacobian, errors = _solve(seen, names, start, widths, theta)
        change = float(np.abs(moved - theta).max())
        theta = moved
        if change < ENOUGH:
            break
    spread = _spread(jacobian, errors, seen.clusters, widths)
    values = start * np.exp(theta)
    return [
        Factor(
            group.engine, group.generation, name, float(value),
            float(value * math.exp(-CENTRAL * s)), float(value * math.exp(CENTRAL * s)),
            float(before), fact.unit, len(group.rows), tuple(sorted(set(seen.clusters))),
        )
        for (name, fact), value, s, before in zip(chosen, values, spread, start, strict=True)
    ]  # fmt: skip


class _Seen(NamedTuple):
    """A group simulated: its rows, and what their metrics rest on."""

    base: Efficiency
    rows: tuple[tuple[Walked, Understood, float], ...]
    """Steps, row, and what was predicted for it."""
    clusters: tuple[str, ...]
    """Source of each row."""


def _simulate(group: Group, catalog: Catalog, names: Sequence[str], values: Floats) -> _Seen:
    now = {
        f"efficiency.{group.engine}.{group.generation}.{name}": float(value)
        for name, value in zip(names, values, strict=True)
    }
    changed = catalog.with_values(now)
    base = efficiency(changed, group.generation, group.engine)
    rows: list[tuple[Walked, Understood, float]] = []
    for one in group.experiments:
        mine = [row for row in one.rows if usable(row)]
        if not mine:
            continue
        seen = observe(one.conditions, changed)
        walk = walked(subject_of(seen.prepared, one.conditions.llm), seen.steps, base)
        read = [(walk, row, seen.read(row.metric)) for row in mine]
        rows += [one for one in read if math.isfinite(one[2]) and one[1].row.value > TINY]
    return _Seen(base, tuple(rows), tuple(row.row.source_title for _, row, _ in rows))


def _errors(seen: _Seen, names: Sequence[str], values: Floats) -> Floats:
    """Logarithm of predicted over measured, of each row, with other factors."""
    changed = with_factors(seen.base, dict(zip(names, values.tolist(), strict=True)))
    ratios: dict[int, Floats] = {}
    errors: list[float] = []
    for walk, row, predicted in seen.rows:
        if id(walk) not in ratios:
            ratios[id(walk)] = walk.ratio(changed)
        scale = scale_of(walk, ratios[id(walk)], row.metric, row.conditions)
        errors.append(math.log(predicted * scale / row.row.value))
    return np.array(errors)


def _solve(
    seen: _Seen, names: Sequence[str], start: Floats, widths: Floats, theta: Floats
) -> tuple[Floats, Floats, Floats]:
    """Move the factors to where the rows want them: their logs, the Jacobian, the errors."""
    from scipy.optimize import least_squares

    def residuals(at: Floats) -> Floats:
        errors = _errors(seen, names, start * np.exp(at)) / NOISE
        dull = np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0))
        return np.concatenate([dull, at / widths])

    found = least_squares(residuals, theta, diff_step=[0.02] * len(theta), max_nfev=12)
    rows, jacobian = len(seen.rows), np.asarray(found.jac)
    moved = np.asarray(found.x, dtype=np.float64)
    return moved, jacobian[:rows], _errors(seen, names, start * np.exp(moved)) / NOISE


def _spread(jacobian: Floats, errors: Floats, clusters: Sequence[str], widths: Floats) -> Floats:
    """Estimate standard errors of the logs; one source's go together (Liang and Zeger 1986)."""
    bread = np.linalg.inv(jacobian.T @ jacobian + np.diag(1.0 / widths**2))
    dull = np.sign(errors) * np.sqrt(2.0 * (np.sqrt(1.0 + errors**2) - 1.0))
    meat = np.diag(1.0 / widths**2)
    for cluster in sorted(set(clusters)):
        mine = np.array([name == cluster for name in clusters])
        score = jacobian[mine].T @ dull[mine]
        meat = meat + np.outer(score, score)
    within = np.sqrt(np.diag(bread))
    # With few sources the sandwich is too narrow as often as not: never below the plain error.
    spread: Floats = np.maximum(np.sqrt(np.diag(bread @ meat @ bread)), within)
    return spread


def _value(fact: Fact) -> float:
    assert isinstance(fact.value, int | float)
    return float(fact.value)


def _width(fact: Fact) -> float:
    """Find the standard deviation of the log of a fact, from its band."""
    if not fact.low or not fact.high or fact.high <= fact.low:
        return 0.3
    return max(0.05, math.log(fact.high / fact.low) / (2 * CENTRAL))
