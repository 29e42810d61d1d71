"""Calls drawn from published pools of clients, against the pools' own files."""

import gzip
from itertools import takewhile
from math import gamma
from pathlib import Path

import numpy as np
import pytest

from factorysim.spec.stream import ClientsSpec
from factorysim.workload.clients import client_sessions
from factorysim.workload.servegen import read_pool

POOLS = Path(__file__).resolve().parents[3] / "shared" / "traces" / "servegen"
FOLDER = POOLS / "deepseek-r1"

pytestmark = pytest.mark.skipif(not POOLS.exists(), reason=f"{POOLS} is not here")


@pytest.fixture(scope="module")
def pool():
    return read_pool(FOLDER)


@pytest.fixture(scope="module")
def drawn(pool):
    """An hour from 15 h on, four times: of each client its instants and calls by replication."""
    spec = ClientsSpec(folder=str(FOLDER), start="15 h")
    runs = []
    for replication in range(4):
        mine = {client.name: [] for client in pool.clients}
        sessions = client_sessions(pool, spec, 1, replication, "s")
        for one in takewhile(lambda one: one.at_ns < 3600e9, sessions):
            mine[one.client].append((one.at_ns / 1e9, one.nodes[0]))
        runs.append(mine)
    return runs


def windows(pool, cv, calls):
    """Windows of that hour with a cv and so many calls, by client and place."""
    for client in pool.clients:
        for place in range(6):
            window = client.windows[15 * 6 + place]
            if window.cv <= cv and window.rate * 600.0 >= calls:
                yield client.name, place, window


def instants(run, name, place):
    times = np.array([at for at, _ in run[name]])
    return times[(times >= 600 * place) & (times < 600 * (place + 1))]


def test_the_published_pool_is_read_whole(pool):
    """20 of 73 clients, 144 windows of 600 s."""
    assert len(pool.clients) == 20
    assert (pool.window_s, pool.length_s) == (600.0, 86_400.0)
    assert pool.without_lengths == []


def test_clients_send_at_the_rates_of_their_windows(pool, drawn):
    """The variance of a count is cv^2 times its mean; 5 errors for the largest of many windows.

    Of very bursty windows the counts are far from normal, hence cv up to 3.
    """
    spread = []
    for name, place, window in windows(pool, 3.0, 60):
        mean = window.rate * 600.0
        seen = np.mean([len(instants(run, name, place)) for run in drawn])
        spread.append((seen - mean) / (window.cv * np.sqrt(mean / len(drawn))))
    assert len(spread) > 30
    assert np.max(np.abs(spread)) < 5
    assert abs(np.mean(spread)) < 4 / np.sqrt(len(spread))
    assert 0.6 < np.std(spread) < 1.4


def test_gaps_of_a_client_have_the_cv_of_their_window(pool, drawn):
    ratios = []
    for name, place, window in windows(pool, 2.0, 100):
        gaps = np.concatenate([np.diff(instants(run, name, place)) for run in drawn])
        ratios.append(gaps.std() / gaps.mean() / window.cv)
    half_width = 4 * np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    assert len(ratios) > 30
    assert abs(np.mean(ratios) - 1.0) < half_width + 0.01
    assert half_width < 0.08


@pytest.mark.parametrize("key", ["prompt", "output"])
def test_lengths_have_the_quantiles_of_their_client(pool, drawn, key):
    """By the binomial error of the share below a quantile of the file."""
    checked = 0
    for client in pool.clients:
        seen = np.array(
            [getattr(node, f"{key}_tokens") for run in drawn for _, node in run[client.name]]
        )
        # From 15 h to 16 h: the lengths from 12 h on, or the last before.
        before = [one for one in client.datasets if one.start_s <= 15 * 3600]
        if len(seen) < 300 or not before:
            continue
        lengths = getattr(before[-1], key)
        for share in (0.1, 0.5, 0.9, 0.99):
            place = int(np.searchsorted(lengths.upto, share))
            below = np.mean(seen <= lengths.tokens[place])
            truth = lengths.upto[place]
            assert abs(below - truth) < 4 * np.sqrt(truth * (1 - truth) / len(seen)) + 1e-9
            checked += 1
    assert checked > 30


def test_the_family_s_parameters_in_the_files_miss_the_rates_beside_them():
    """Why rate and cv are taken: the mean gap of a fitted law should be one over the rate."""
    worst = 0.0
    for path in (POOLS / "m-large").glob("*-trace.csv.gz"):
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            cells = line.split(",")
            if cells[3] == "Weibull":
                shape, scale = map(float, cells[4:])
                worst = max(worst, scale * gamma(1 + 1 / shape) * float(cells[1]))
    assert worst > 8
