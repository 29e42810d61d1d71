"""``calibrate --leave-out``: how far off predictions are where no fit has seen, and the bands.

The error of the model has two classes. `seen`: the catalog's factors on rows that they were
fitted to. Left out: rows predicted by a fit that knows nothing of their generation, or of
their family of LLMs. Residuals of each class give its bands (`measured.bands`), which the
catalog keeps (`catalog.residuals`). Whether bands hold is tested on residuals that they were
not made from: of other folds, or, for what only one fold has, of other sources.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast, get_args

import numpy as np

from factorysim.catalog.residuals import ALL, FITTED_LEAST, Quantity, family_of
from factorysim.errors import Fault, SpecError
from factorysim.study.measured.bands import Bounds, bounds, effects
from factorysim.study.measured.compare import open_table, run_all
from factorysim.study.measured.fit import usable
from factorysim.study.measured.leave_out import Refit, leave_out, prior
from factorysim.study.measured.metrics import OF_TIME, quantity_of
from factorysim.study.measured.ranks import rankings
from factorysim.study.measured.rows import source_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from factorysim.study.measured.compare import Compared, Experiment, Table
    from factorysim.study.measured.conditions import Understood
    from factorysim.study.measured.leave_out import By, Held
    from factorysim.study.measured.metrics import Quantity as Measured
    from factorysim.study.measured.ranks import Ranked

    OnPass = Callable[[str, int, int], None]
    """Told what is begun, how many passes are done, and of how many."""

LeaveOut: TypeAlias = Literal["generation", "family", "both"]
LOAD_ROWS, QUANTITY_ROWS = 8, 4
"""Residuals that a band of one load rests on at least, and one of all loads."""
LOAD_SOURCES, LOAD_FOLDS = 3, 2
"""Sources likewise, since two say next to nothing of how sources differ; and of rows left out
the folds, since one generation says nothing of how generations differ."""
SEEN = "seen"
"""Fold of rows that were not left out."""
CENTRED = False
"""Whether bands lie around the prediction, or where the residuals do. Left out by generation both
hold the same shares of rows (TPOT 0.88 and 0.89, throughput 0.79 and 0.80), and bands that
follow the bias are narrower for TPOT (high over low 1.94 and 2.06 in the median)."""
_AT_THE_LIMIT = ("offered", ("ttft", "tpot"))
"""Times at the highest rate that a system sustains: 5 % of a step is 50 % of a wait, so they
are kept apart from what is said of all loads."""


class Residual(NamedTuple):
    """One row, by how much it was missed."""

    id: str
    quantity: Quantity
    load: str
    source: str
    fold: str
    """What was left out when it was predicted; `SEEN` if nothing was."""
    log: float
    """Of measured over predicted; of a rate per user, of its time."""
    error: float
    """Predicted over measured, less 1."""


class Cell(NamedTuple):
    """Errors of one quantity under one load."""

    quantity: Quantity
    load: str
    rows: int
    predicted: int
    median: float | None
    mean: float | None
    """Absolute errors; a row that is not predicted counts as 100 % off."""
    bias: float | None
    """Median of the signed ones."""
    banded: int
    """Rows for which residuals that are not theirs make a band."""
    coverage: float | None
    """Of those, the share that is in its band."""
    width: float | None
    """Median of high over low."""


class Shipped(NamedTuple):
    """A band, as the catalog gets it."""

    quantity: Quantity
    load: str
    bounds: Bounds
    rows: int
    sources: tuple[str, ...]
    between: float
    within: float


class Scored(NamedTuple):
    """One class of error: rows seen, or left out by generation or by family."""

    name: str
    """`seen`, `generation` or `family`."""
    folds: tuple[str, ...]
    residuals: tuple[Residual, ...]
    unpredicted: tuple[Compared, ...]
    cells: tuple[Cell, ...]
    bands: tuple[Shipped, ...]
    ranked: tuple[Ranked, ...]


class CrossValidation(NamedTuple):
    """What leaving out says of a catalog and a file of measurements."""

    data: str
    classes: tuple[Scored, ...]
    fitted: dict[tuple[str, str], int]
    """Engine and generation -> rows of step times."""
    families: dict[str, int]
    """Family -> rows."""
    urls: dict[str, str]
    """Source -> where it is printed."""


def cross_validate(
    data: Path | str | None = None,
    by: LeaveOut = "generation",
    *,
    catalog: Path | str | None = None,
    workers: int = 1,
    on_pass: OnPass | None = None,
) -> CrossValidation:
    """Predict all rows as seen, and as left out, by generation, by family or by each in turn.

    Parameters
    ----------
    data
        A CSV file of measurements (docs/measurements.md); the shipped table if not given.
    catalog
        A file of facts over the shipped ones.

    Raises
    ------
    SpecError
        If a file is no good, or holds nothing that can be run.
    """
    table = open_table(data, catalog)
    told = [one._replace(rows=tuple(filter(_has_residual, one.rows))) for one in table.experiments]
    experiments = [one for one in told if one.rows]
    table = table._replace(experiments=experiments)
    if not experiments:
        expected = "rows of measurements that can be understood"
        raise SpecError(Fault(str(table.path), "", "no such row", expected))
    ways: tuple[By, ...] = ("generation", "family") if by == "both" else (by,)
    start = prior(table.overlay)
    refit = Refit(start)
    if on_pass is not None:
        on_pass(SEEN, 0, 1 + len(ways))
    seen = run_all(experiments, table.catalog, workers)
    classes = [_scored(SEEN, {SEEN: seen}, table)]
    for done, way in enumerate(ways, 1):
        if on_pass is not None:
            on_pass(way, done, 1 + len(ways))
        held = leave_out(experiments, start, way, workers, refit=refit)
        classes.append(_scored(way, _by_fold(held), table))
    rows = [row.row for one in experiments for row in one.rows]
    urls = {row.source_title: row.source_url for row in rows if row.source_title}
    return CrossValidation(str(table.path), tuple(classes), *_counts(table), urls)


def _by_fold(held: Sequence[Held]) -> dict[str, list[Compared]]:
    return {one.left_out: list(one.rows) for one in held}


def _counts(table: Table) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Count the rows of step times of engines on generations, and all rows of families."""
    fitted: dict[tuple[str, str], int] = {}
    families: dict[str, int] = {}
    for one in table.experiments:
        conditions = one.conditions
        key = conditions.engine, table.catalog.device(conditions.device).generation
        fitted[key] = fitted.get(key, 0) + sum(usable(row) for row in one.rows)
        family = family_of(table.catalog.llm(conditions.llm))
        families[family] = families.get(family, 0) + len(one.rows)
    return fitted, families


def _scored(name: str, folds: Mapping[str, Sequence[Compared]], table: Table) -> Scored:
    rows = [(fold, row) for fold, mine in folds.items() for row in mine]
    residuals = [_residual(fold, row) for fold, row in rows if _scorable(row)]
    unpredicted = [row for _, row in rows if not _scorable(row)]
    got = {row.id: row.got for _, row in rows if row.got is not None and _scorable(row)}
    return Scored(
        name,
        tuple(folds),
        tuple(residuals),
        tuple(unpredicted),
        tuple(cells_of(residuals, _missing(table.experiments, unpredicted))),
        tuple(bands_of(residuals)),
        tuple(rankings(table.experiments, got)),
    )


def _missing(
    experiments: Sequence[Experiment], unpredicted: Sequence[Compared]
) -> dict[tuple[Quantity, str], int]:
    """Count rows that were not predicted, by quantity and load."""
    told = {row.row.id: row for one in experiments for row in one.rows}
    found: dict[tuple[Quantity, str], int] = {}
    for row in unpredicted:
        mine = told[row.id]
        quantity = quantity_of(mine.metric.quantity, mine.metric.wall)
        assert quantity is not None  # `cross_validate` has looked
        key = quantity, mine.conditions.load.kind
        found[key] = found.get(key, 0) + 1
    return found


def _scorable(row: Compared) -> bool:
    """Whether a row has a residual: a prediction of which it is some multiple."""
    return row.got is not None and row.got > 0.0 and 0.0 < row.expected / row.got < math.inf


def _has_residual(row: Understood) -> bool:
    return quantity_of(row.metric.quantity, row.metric.wall) is not None


def _residual(fold: str, row: Compared) -> Residual:
    assert row.got is not None
    assert row.error is not None
    log = math.log(row.expected / row.got)
    if row.quantity == OF_TIME:
        log = -log
    quantity = quantity_of(cast("Measured", row.quantity), row.wall)
    assert quantity is not None  # `cross_validate` has looked
    return Residual(row.id, quantity, row.load, row.source, fold, log, row.error)


def bands_of(residuals: Sequence[Residual], centred: bool = CENTRED) -> list[Shipped]:
    """Bands of each quantity: under each load that enough rows tell of, and under all."""
    found: list[Shipped] = []
    for quantity in get_args(Quantity):
        mine = [one for one in residuals if one.quantity == quantity]
        for load in sorted({one.load for one in mine}):
            under = [one for one in mine if one.load == load]
            if _enough(under):
                found.append(_band(quantity, load, under, centred))
        usual = [one for one in mine if not _at_the_limit(one)]
        if len(usual) >= QUANTITY_ROWS:
            found.append(_band(quantity, ALL, usual, centred))
    return found


def _enough(under: Sequence[Residual]) -> bool:
    """Whether rows of one load make a band of their own."""
    sources, folds = {one.source for one in under}, {one.fold for one in under}
    if len(under) < LOAD_ROWS or len(sources) < LOAD_SOURCES:
        return False
    return folds == {SEEN} or len(folds) >= LOAD_FOLDS


def _at_the_limit(one: Residual) -> bool:
    load, quantities = _AT_THE_LIMIT
    return one.load == load and one.quantity in quantities


def _band(quantity: Quantity, load: str, mine: Sequence[Residual], centred: bool) -> Shipped:
    """Make a band; rows of one source in one fold go together."""
    logs = [one.log for one in mine]
    together = [f"{one.fold}: {one.source}" for one in mine]
    parts = effects(logs, together)
    return Shipped(
        quantity, load, bounds(logs, together, centred=centred), len(mine),
        tuple(sorted({one.source for one in mine})), parts.between, parts.within,
    )  # fmt: skip


def cells_of(
    residuals: Sequence[Residual],
    missing: Mapping[tuple[Quantity, str], int],
    centred: bool = CENTRED,
) -> list[Cell]:
    """Score each quantity under each load, and the bands that the other folds make."""
    held = honest_bounds(residuals, centred)
    keys = {(one.quantity, one.load) for one in residuals} | set(missing)
    order = {name: place for place, name in enumerate(get_args(Quantity))}
    cells: list[Cell] = []
    for quantity, load in sorted(keys, key=lambda key: (order[key[0]], key[1])):
        mine = [one for one in residuals if (one.quantity, one.load) == (quantity, load)]
        lost = missing.get((quantity, load), 0)
        size = np.array([abs(one.error) for one in mine] + [1.0] * lost)
        banded = [(one, held[one.id]) for one in mine if one.id in held]
        inside = [float(band.hold(np.array([one.log]))[0]) for one, band in banded]
        widths = [band.high / band.low for _, band in banded]
        cells.append(
            Cell(
                quantity,
                load,
                len(mine) + lost,
                len(mine),
                float(np.median(size)),
                float(size.mean()),
                float(np.median([one.error for one in mine])) if mine else None,
                len(banded),
                float(np.mean(inside)) if banded else None,
                float(np.median(widths)) if banded else None,
            )
        )
    return cells


def honest_bounds(residuals: Sequence[Residual], centred: bool = CENTRED) -> dict[str, Bounds]:
    """Band of each row from residuals that are not of its fold; else not of its source.

    What is measured on one generation alone has no other fold to learn from: then what other
    sources say of it is the next best, and the only thing of rows that are seen.
    """
    found: dict[str, Bounds] = {}
    for apart in ("fold", "source"):
        names = {getattr(one, apart) for one in residuals}
        if len(names) < 2:
            continue
        for name in sorted(names):
            others = [one for one in residuals if getattr(one, apart) != name]
            bands = {(one.quantity, one.load): one.bounds for one in bands_of(others, centred)}
            for one in residuals:
                if getattr(one, apart) != name or one.id in found:
                    continue
                band = bands.get((one.quantity, one.load)) or bands.get((one.quantity, ALL))
                if band is not None:
                    found[one.id] = band
    return found


def catalog_text(found: CrossValidation) -> str:
    """Write bands and counts as a catalog file: the shipped one's form, and an overlay's.

    Raises
    ------
    SpecError
        If no quantity has rows enough for a band.
    """
    bands = [(one.name, band) for one in found.classes for band in one.bands]
    if not bands:
        expected = f"{QUANTITY_ROWS} rows of one quantity"
        raise SpecError(Fault(found.data, "", "no band can be made", expected))
    titles = sorted({title for _, band in bands for title in band.sources})
    ids = {title: source_id("residuals", title) for title in titles}
    lines = [
        f"# Residuals of predictions of {Path(found.data).name}, written by `factorysim calibrate "
        "--leave-out`:",
        "# central 80 % of measured over predicted, by class, quantity and kind of load.",
        'schema: "factorysim.catalog/1"',
        "sources:",
        *(f"  {ids[title]}: {_source(title, found.urls.get(title, ''))}" for title in titles),
        "residuals:",
        *_class_lines(found.classes, ids),
        *_count_lines(found),
    ]
    return "".join(f"{line}\n" for line in lines)


def _source(title: str, url: str) -> str:
    words = {"title": title or "unnamed", **({"url": url} if url else {})}
    return "{" + ", ".join(f"{key}: {json.dumps(word)}" for key, word in words.items()) + "}"


def _class_lines(classes: Sequence[Scored], ids: Mapping[str, str]) -> Iterator[str]:
    for one in classes:
        if not one.bands:
            continue
        yield f"  {one.name}:"
        quantity = None
        for band in one.bands:
            if band.quantity != quantity:
                quantity = band.quantity
                yield f"    {quantity}:"
            yield f"      {band.load}:"
            value, low, high = band.bounds
            sources = ", ".join(f'"{ids[title]}"' for title in band.sources)
            yield (
                f"        ratio: {{value: {value:.4g}, low: {low:.4g}, high: {high:.4g}, "
                f'unit: "ratio", kind: "derived", source: [{sources}], note: "log standard '
                f'deviation {band.between:.3f} between sources, {band.within:.3f} within"}}'
            )
            yield f"        rows: {_count(band.rows)}"


def _count_lines(found: CrossValidation) -> Iterator[str]:
    fitted = [one for one in sorted(found.fitted.items()) if one[1] >= FITTED_LEAST]
    if fitted:
        yield "  fitted:"
    engine = None
    for (name, generation), rows in fitted:
        if name != engine:
            engine = name
            yield f"    {engine}:"
        yield f"      {generation}:"
        yield f"        rows: {_count(rows)}"
    yield "  families:"
    kind = None
    for family, rows in sorted(found.families.items()):
        own, _, shape = family.partition(".")
        if own != kind:
            kind = own
            yield f"    {kind}:"
        yield f"      {shape}:"
        yield f"        rows: {_count(rows)}"


def _count(rows: int) -> str:
    return f'{{value: {rows}, unit: "count", kind: "derived"}}'


def as_json(found: CrossValidation) -> dict[str, Any]:
    """Give a cross-validation as what JSON holds."""
    return {
        "data": found.data,
        "classes": {
            one.name: {
                "folds": list(one.folds),
                "scores": [cell._asdict() for cell in one.cells],
                "bands": [
                    {**band._asdict(), "bounds": band.bounds._asdict()} for band in one.bands
                ],
                "rankings": [ranked._asdict() for ranked in one.ranked],
                "residuals": [residual._asdict() for residual in one.residuals],
                "not_predicted": [{"id": row.id, "reason": row.reason} for row in one.unpredicted],
            }
            for one in found.classes
        },
        "fitted": {f"{engine}.{name}": rows for (engine, name), rows in found.fitted.items()},
        "families": dict(found.families),
    }
