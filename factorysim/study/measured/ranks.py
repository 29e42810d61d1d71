"""Whether predictions rank devices as measurements do: same LLM, same load, other device."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.study.measured.conditions import Closed, Offered, Static, Steady

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from factorysim.study.measured.compare import Experiment
    from factorysim.study.measured.conditions import Understood

SPEARMAN_LEAST = 3
"""Devices of a set that has a rank correlation; two agree or do not."""


class Ranked(NamedTuple):
    """Devices under one load, by what was measured and what was predicted."""

    quantity: str
    """`throughput`, per device, or `tpot`."""
    what: str
    """LLM, load and lengths, in words."""
    devices: tuple[str, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    spearman: float | None
    """Of the two; None with two devices."""
    pairs: int
    agree: int
    """Pairs of devices that both put in the same order."""


def rankings(experiments: Sequence[Experiment], got: Mapping[str, float]) -> list[Ranked]:
    """Rank the devices of each set of rows that differ in the device alone.

    Throughputs are compared per device, TPOT in one layout; of several rows of a device the
    geometric mean counts.

    Parameters
    ----------
    got
        What was predicted, by the id of the row; rows without are left out.
    """
    sets: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for one in experiments:
        for row in one.rows:
            if not _ranks(row) or row.row.id not in got:
                continue
            key = row.metric.quantity, _what(row)
            scale = _per_device(row) if row.metric.quantity == "throughput" else 1.0
            pair = row.row.value * scale, got[row.row.id] * scale
            sets.setdefault(key, {}).setdefault(_device(row), []).append(pair)
    return [_ranked(*key, mine) for key, mine in sorted(sets.items()) if len(mine) > 1]


def _ranks(row: Understood) -> bool:
    """Whether a row ranks its device; TPOT at the highest rate of each is not at one load."""
    quantity, load = row.metric.quantity, row.conditions.load
    return quantity == "throughput" or (quantity == "tpot" and not isinstance(load, Offered))


def spearman(measured: Sequence[float], predicted: Sequence[float]) -> float:
    """Rank correlation, ties at their mean rank.

    Examples
    --------
    >>> spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    from scipy.stats import rankdata

    ranks = rankdata(measured), rankdata(predicted)
    return round(float(np.corrcoef(*ranks)[0, 1]), 12)


def _ranked(quantity: str, what: str, mine: Mapping[str, list[tuple[float, float]]]) -> Ranked:
    devices = tuple(mine)
    means = np.array([np.exp(np.log(pairs).mean(axis=0)) for pairs in mine.values()])
    measured, predicted = means.T
    first, second = np.triu_indices(len(devices), 1)
    order = [np.sign(column[first] - column[second]) for column in (measured, predicted)]
    rho = spearman(measured, predicted) if len(devices) >= SPEARMAN_LEAST else None
    return Ranked(
        quantity, what, devices, tuple(measured.tolist()), tuple(predicted.tolist()), rho,
        len(first), int((order[0] == order[1]).sum()),
    )  # fmt: skip


def _what(row: Understood) -> str:
    c = row.conditions
    load = c.load
    many = ""
    if isinstance(load, Closed):
        many = f" {load.concurrency * c.cut.replicas}"
    elif isinstance(load, Static | Steady):
        many = f" {load.batch * c.cut.replicas}"
    words = f"{c.llm} in {c.compute}, {load.kind}{many}, {row.row.isl}/{row.row.osl}"
    if row.metric.quantity == "tpot":
        cut = c.cut
        return f"{words}, TP{cut.tp} PP{cut.pp} EP{cut.ep} DP{cut.dp}"
    return f"{words}, {row.metric.counts} tokens"


def _device(row: Understood) -> str:
    clock = row.conditions.clock
    return row.conditions.device + ("" if clock == 1.0 else f" at {clock:g} of its clock")


def _per_device(row: Understood) -> float:
    metric, cut = row.metric, row.conditions.cut
    if metric.per == "device":
        return 1.0
    if metric.per == "node":
        return 1.0 / (metric.per_node or 1)
    return 1.0 / (cut.devices * cut.replicas)
