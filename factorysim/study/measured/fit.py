"""Fitting efficiencies to measurements: per engine and generation, few of them, with intervals.

The law keeps its form; what is fitted are the factors of `catalog.efficiency` that kernel
tables cannot tell: what an engine does on the host, and how near its kernels come to those
tables. Each factor starts from its fact, whose band is its prior: where the measurements say
nothing, it stays. Errors count as logarithms, large ones less (pseudo-Huber). Simulation and
fit alternate, since the steps that come depend on the factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.catalog.efficiency import Efficiency, efficiency
from factorysim.physics.precision import UNPACKED
from factorysim.study.measured.conditions import Offered, Static
from factorysim.study.measured.experiment import observe
from factorysim.study.measured.retime import scale_of, subject_of, walked
from factorysim.study.measured.solve import CENTRAL, NOISE, Solved, derivatives, solve, told_most

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.catalog import Catalog
    from factorysim.catalog.fact import Fact
    from factorysim.study.measured.compare import Experiment
    from factorysim.study.measured.conditions import Conditions, Understood
    from factorysim.study.measured.retime import Walked

    Floats = npt.NDArray[np.float64]

FACTORS_MOST = 6
ROWS_LEAST, ROWS_PER_FACTOR = 8, 4
"""A group of fewer rows carries no factor; a larger one a factor for each four, six at most."""
ROUNDS = 3
"""Of simulation and fit."""
ENOUGH = 0.01
"""Change of a factor, relative, with which the rounds end."""
TINY = 1e-30
"""A measured value below this is none."""
FITTED_NOTE = "fitted to"
"""With which the note of a fact begins that a fit wrote."""
UNSTATED = 0.25
"""Standard deviation of the log of a factor whose band no fact states."""
BY_FORMAT = ("linear_compute", "expert_compute")
"""Factors of which there is one for each format of arithmetic."""
CANDIDATES = (
    "sequence_s",
    "linear_compute",
    "weight_bandwidth",
    "expert_compute",
    "unpack_compute",
    "host_step_s",
    "block_s",
    "moe_s",
    "kv_bandwidth",
    "attention_compute",
    "collective_s",
)
"""Factors that are fitted where the rows of a group say most of them."""


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

    @property
    def told(self) -> int:
        """Different numbers among them: a run that is measured again is no further one."""
        return len({(row.conditions, row.metric) for row in self.rows})


def usable(row: Understood) -> bool:
    """Whether a row says something of step times.

    Left out are loads at their limit, where a small error of a step is a large one of the
    wait, times to the first token under load, which queues decide, and powers; and
    attention-DP, whose exchanges with experts engines hide behind another batch, which is
    not modelled: a fit would lay that to kernels.
    """
    quantity, load = row.metric.quantity, row.conditions.load
    if isinstance(load, Offered) or row.conditions.cut.dp > 1:
        return False
    if quantity == "ttft":
        return isinstance(load, Static)
    return quantity in ("tpot", "itl", "throughput", "tokens_per_s_per_user")


def experiments_by(
    experiments: Sequence[Experiment],
    tells: Callable[[Understood], bool],
    key: Callable[[Conditions], str],
) -> dict[str, tuple[Experiment, ...]]:
    """Sort experiments by a key, in its order, each with the rows that tell of something."""
    found: dict[str, list[Experiment]] = {}
    for one in experiments:
        rows = tuple(row for row in one.rows if tells(row))
        if rows:
            found.setdefault(key(one.conditions), []).append(one._replace(rows=rows))
    return {name: tuple(mine) for name, mine in sorted(found.items())}


def groups_of(experiments: Sequence[Experiment], catalog: Catalog) -> list[Group]:
    """Sort experiments by engine and generation of their device."""
    found: dict[tuple[str, str], list[Experiment]] = {}
    for one in experiments:
        generation = catalog.device(one.conditions.device).generation
        found.setdefault((one.conditions.engine, generation), []).append(one)
    groups = [Group(*key, tuple(mine)) for key, mine in sorted(found.items())]
    return [group for group in groups if group.rows]


def factors_of(group: Group, catalog: Catalog) -> list[str]:
    """Name the factors that a group's rows may tell of."""
    names: list[str] = []
    for candidate in CANDIDATES:
        names += _told_of(candidate, group, catalog)
    return names


def most_factors(rows: int) -> int:
    """Tell how many factors so many rows can carry.

    Examples
    --------
    >>> most_factors(7), most_factors(12), most_factors(100)
    (0, 3, 6)
    """
    return min(FACTORS_MOST, rows // ROWS_PER_FACTOR) if rows >= ROWS_LEAST else 0


def _told_of(candidate: str, group: Group, catalog: Catalog) -> Iterator[str]:
    """Names of a candidate that some experiment of the group depends on."""
    conditions = [one.conditions for one in group.experiments]
    if candidate in BY_FORMAT:
        for form in sorted({c.compute for c in conditions}):
            mine = [c for c in conditions if c.compute == form]
            if candidate == "linear_compute" or any(_moe(c, catalog) for c in mine):
                yield f"{candidate}_{form}"
    elif candidate == "moe_s":
        if any(_moe(c, catalog) for c in conditions):
            yield candidate
    elif candidate == "unpack_compute":
        if any(c.weights in UNPACKED for c in conditions):
            yield candidate
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


def _moe(conditions: Conditions, catalog: Catalog) -> bool:
    return catalog.llm(conditions.llm).ffn_kind == "moe"


def prior_width(catalog: Catalog, group: Group, name: str) -> float:
    """Tell how well a factor is known before the fit: standard deviation of its log.

    From the band of the most particular fact that states it; where that is one of kernels,
    what the engine makes of them comes on top.
    """
    facts = catalog.facts
    for engine, generation in ((group.engine, group.generation), (group.engine, "neutral")):
        own = facts.get(f"efficiency.{engine}.{generation}.{name}")
        if own is not None:
            return _width(own)
    kernels = facts.get(f"efficiency.generic.{group.generation}.{name}") or facts.get(
        f"efficiency.generic.neutral.{name}"
    )
    ratio = facts.get(f"efficiency.generic.neutral.{kind_of(name)}_ratio")
    widths = [UNSTATED if fact is None else _width(fact) for fact in (kernels, ratio)]
    return math.hypot(*widths) if ratio is not None else widths[0]


def kind_of(name: str) -> str:
    """Strip the format of arithmetic from the name of a factor.

    Examples
    --------
    >>> kind_of("linear_compute_fp8"), kind_of("block_s")
    ('linear_compute', 'block_s')
    """
    for kind in BY_FORMAT:
        if name.startswith(f"{kind}_"):
            return kind
    return name


def factor_value(base: Efficiency, name: str) -> float:
    """Read a factor by its name in the catalog.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> catalog = load_catalog()
    >>> base = efficiency(catalog, catalog.device("rtx_4090"), "generic")
    >>> factor_value(base, "linear_compute_bf16") == base.linear_compute["bf16"]
    True
    """
    kind = kind_of(name)
    value = getattr(base, kind)
    found: float = value if kind == name else value[name.removeprefix(f"{kind}_")]
    return found


def with_factors(base: Efficiency, values: Mapping[str, float]) -> Efficiency:
    """Replace some factors, by their names in the catalog.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> catalog = load_catalog()
    >>> base = efficiency(catalog, catalog.device("h100_sxm"), "vllm")
    >>> with_factors(base, {"linear_compute_fp8": 0.5}).linear_compute["fp8"]
    0.5
    """
    changes: dict[str, object] = {}
    for name, value in values.items():
        kind = kind_of(name)
        if kind == name:
            changes[name] = value
        else:
            rates = changes.setdefault(kind, dict(getattr(base, kind)))
            assert isinstance(rates, dict)
            rates[name.removeprefix(f"{kind}_")] = value
    return replace(base, **changes)  # type: ignore[arg-type]


def fit_group(group: Group, catalog: Catalog) -> list[Factor]:
    """Fit a group's factors.

    Raises
    ------
    UserError
        If an experiment cannot be run.
    """
    most = most_factors(group.told)
    if not most:
        return []
    seen = _simulate(group, catalog, (), np.empty(0))
    names = _chosen(seen, group, catalog, most)
    start = np.array([seen.value(name) for name in names])
    widths = np.array([prior_width(catalog, group, name) for name in names])
    most = np.array([math.inf if is_time(name) else 0.0 for name in names]) - np.log(start)
    found = Solved(np.zeros(len(names)), widths)
    for done in range(ROUNDS):
        if done:
            seen = _simulate(group, catalog, names, start * np.exp(found.logs))
        errors_of = partial(_errors_at, seen, names, start)
        before, found = found, solve(errors_of, widths, seen.clusters, found.logs, most)
        if float(np.abs(found.logs - before.logs).max()) < ENOUGH:
            break
    rows, sources = len(group.rows), tuple(sorted(set(seen.clusters)))
    return factors_at(group.engine, group.generation, names, start, found, rows, sources)


def factors_at(
    engine: str,
    generation: str,
    names: Sequence[str],
    start: Floats,
    found: Solved,
    rows: int,
    sources: tuple[str, ...],
) -> list[Factor]:
    """Give the factors of a group where they came to, each with its band; no share above 1."""
    factors: list[Factor] = []
    for name, before, log, spread in zip(names, start, *found, strict=True):
        value, wide = float(before * math.exp(log)), math.exp(CENTRAL * spread)
        most = math.inf if is_time(name) else 1.0
        unit = "s" if is_time(name) else "ratio"
        factors.append(
            Factor(
                engine, generation, name, value, value / wide, min(most, value * wide),
                float(before), unit, rows, sources,
            )
        )  # fmt: skip
    return factors


def is_time(name: str) -> bool:
    """Whether a factor is a time; others are shares of a peak."""
    return name.endswith("_s")


def _chosen(seen: _Seen, group: Group, catalog: Catalog, most: int) -> list[str]:
    """Choose factors by what the rows say of them, before any is fitted."""
    names = factors_of(group, catalog)
    start = np.array([seen.value(name) for name in names])
    widths = np.array([prior_width(catalog, group, name) for name in names])
    slopes = derivatives(partial(_errors_at, seen, names, start), np.zeros(len(names)), widths / 2)
    return [names[k] for k in told_most(slopes * widths / NOISE, most)]


class _Seen(NamedTuple):
    """A group simulated: its rows, and what their metrics rest on."""

    bases: Mapping[str, Efficiency]
    """Of each device."""
    rows: tuple[tuple[Walked, Understood, float], ...]
    """Steps, row, and what was predicted for it."""
    clusters: tuple[str, ...]
    """Source of each row."""

    def value(self, name: str) -> float:
        """Value of a factor: the geometric mean over the devices."""
        logs = [math.log(factor_value(base, name)) for base in self.bases.values()]
        return math.exp(sum(logs) / len(logs))


def _simulate(group: Group, catalog: Catalog, names: Sequence[str], values: Floats) -> _Seen:
    now = {
        f"efficiency.{group.engine}.{group.generation}.{name}": float(value)
        for name, value in zip(names, values, strict=True)
    }
    changed = catalog.with_values(now)
    bases: dict[str, Efficiency] = {}
    rows: list[tuple[Walked, Understood, float]] = []
    for one in group.experiments:
        mine = [row for row in one.rows if usable(row)]
        if not mine:
            continue
        seen = observe(one.conditions, changed)
        subject = subject_of(seen.prepared, one.conditions.llm)
        base = efficiency(changed, subject.device, group.engine)
        bases[subject.device.id] = base
        walk = walked(subject, seen.steps, base)
        read = [(walk, row, seen.read(row.metric)) for row in mine]
        rows += [one for one in read if math.isfinite(one[2]) and one[1].row.value > TINY]
    return _Seen(bases, tuple(rows), tuple(row.row.source_title for _, row, _ in rows))


def _errors_at(seen: _Seen, names: Sequence[str], start: Floats, logs: Floats) -> Floats:
    """Logarithm of predicted over measured, of each row, with factors moved from `start`."""
    factors = dict(zip(names, (start * np.exp(logs)).tolist(), strict=True))
    changed = {name: with_factors(base, factors) for name, base in seen.bases.items()}
    ratios: dict[int, Floats] = {}
    errors: list[float] = []
    for walk, row, predicted in seen.rows:
        if id(walk) not in ratios:
            ratios[id(walk)] = walk.ratio(changed[walk.subject.device.id])
        scale = scale_of(walk, ratios[id(walk)], row.metric, row.conditions)
        errors.append(math.log(predicted * scale / row.row.value))
    return np.array(errors)


def _width(fact: Fact) -> float:
    """Find the standard deviation of the log of a fact, from its band."""
    if not fact.low or not fact.high or fact.high <= fact.low:
        return 0.3
    return max(0.05, math.log(fact.high / fact.low) / (2 * CENTRAL))
