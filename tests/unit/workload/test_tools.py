"""Tool classes against the table they are taken from, and the split into wait and work."""

import numpy as np
import pytest
from scipy.stats import norm

from factorysim.workload.tools import ToolTable, load_tools

N = 200_000

# Class -> median s, sigma, median of the answer's tokens, its sigma (of logarithms).
TABLE = {
    "file_read": (0.036, 1.2, np.exp(6.6), 1.2),
    "search_local": (0.036, 1.2, np.exp(6.6), 1.2),
    "file_edit": (0.095, 1.0, 100, np.log(2) / norm.ppf(0.9)),
    "shell": (0.85, 2.42, np.exp(6.0), 1.5),
    "code_exec": (0.23, 1.66, np.exp(6.0), 1.5),
    "test_run": (4.0, 1.6, np.exp(7.0), 1.2),
    "build": (6.0, 1.1, np.exp(6.5), 1.0),
    "web_search": (0.6, 0.75, np.exp(7.3), 0.8),
    "web_search_agent": (1.29, 0.90, np.exp(7.3), 0.8),
    "web_fetch": (3.0, 1.0, np.exp(8.3), 0.9),
    "api_call": (0.12, 1.0, np.exp(5.1), 0.7),
    "sql_oltp": (0.03, 1.0, np.exp(6.0), 1.0),
    "sql_olap": (1.5, 1.3, np.exp(6.0), 1.0),
    "sandbox_start_microvm": (0.44, 0.45, None, None),
    "sandbox_start_container": (23.0, 0.4, None, None),
    "calculate": (0.001, 0.5, 20, 0.5),
    "transfer_to_human": (0.12, 1.0, 20, 0.5),
    "vector_search": (0.02, 0.5, 7.5 * 300, 0.3),
    "vector_search_exact": (np.sqrt(2 * 10), 0.6, 7.5 * 300, 0.3),
    "ci_pipeline": (480.0, 0.5, 1097, 1.2),
    "batch_job": (3600.0, 0.5, 403, 1.0),
}


def table_of(name: str) -> ToolTable:
    return ToolTable([name], [load_tools().tools[name]])


def normals(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(N)


@pytest.mark.parametrize("name", TABLE)
def test_body_of_durations_is_the_lognormal_of_the_table(name):
    p50, sigma, _, _ = TABLE[name]
    cls = np.zeros(N, dtype=np.int64)
    logs = np.log(table_of(name).durations(cls, normals(1), np.ones(N)))
    half_width = 4 * sigma / np.sqrt(N) + 0.007  # rounded medians, a cut at the maximum
    assert abs(logs.mean() - np.log(p50)) < half_width
    assert half_width < np.log(1.05)  # else 5 % could not be seen
    assert logs.std() == pytest.approx(sigma, rel=0.015)


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name][2]])
def test_answers_have_the_tokens_of_the_table(name):
    _, _, p50, sigma = TABLE[name]
    draws = table_of(name).draw(np.zeros(N, dtype=np.int64), normals(1), np.ones(N), normals(2))
    tokens = np.array(draws.result_tokens)
    assert np.median(tokens) == pytest.approx(p50, rel=0.04 if p50 < 150 else 0.03)
    spread = np.log(np.quantile(tokens, 0.8) / np.quantile(tokens, 0.2)) / (2 * norm.ppf(0.8))
    assert spread == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize(
    ("name", "share", "low", "high", "alpha"),
    [
        ("file_read", 0.005, 5.0, 3600.0, 1.2),
        ("search_local", 0.005, 5.0, 3600.0, 1.2),
        ("web_fetch", 0.08, 30.0, 150.0, 1.0),
    ],
)
def test_tail_is_a_pareto_law_between_its_bounds(name, share, low, high, alpha):
    uniforms = (np.arange(N) + 0.5) / N * share
    seconds = table_of(name).durations(np.zeros(N, dtype=np.int64), np.zeros(N), uniforms)
    assert low <= seconds.min()
    assert seconds.max() <= high
    for x in (1.2 * low, 2 * low, 4 * low):
        above = ((low / x) ** alpha - (low / high) ** alpha) / (1 - (low / high) ** alpha)
        assert (seconds > x).mean() == pytest.approx(above, rel=0.001)


@pytest.mark.parametrize(
    ("name", "share"), [("file_read", 0.005), ("search_local", 0.005), ("web_fetch", 0.08)]
)
def test_tail_is_drawn_with_its_share(name, share):
    uniforms = (np.arange(N) + 0.5) / N
    seconds = table_of(name).durations(np.zeros(N, dtype=np.int64), np.zeros(N), uniforms)
    body = load_tools().tools[name].duration.p50
    assert (seconds > 1.001 * body).mean() == pytest.approx(share, rel=0.01)


def test_an_idle_reference_host_gives_back_the_duration():
    tools = load_tools().tools
    table = ToolTable(list(tools), list(tools.values()))
    rng = np.random.default_rng(3)
    cls = rng.integers(len(tools), size=5000)
    body, tail, tokens = rng.standard_normal(5000), rng.random(5000), rng.standard_normal(5000)
    draws = table.draw(cls, body, tail, tokens)
    cores = np.array(table.cores)[cls]
    elapsed = np.array(draws.cpu_s) / cores + np.array(draws.remote_ns) / 1e9
    np.testing.assert_allclose(elapsed, table.durations(cls, body, tail), rtol=0, atol=1e-9)


def test_local_tools_never_wait_elsewhere_and_remote_ones_take_a_twentieth_of_a_core():
    for name, remote in [("shell", 0.0), ("test_run", 0.0), ("api_call", 0.95)]:
        draws = table_of(name).draw(
            np.zeros(1, dtype=np.int64), np.zeros(1), np.ones(1), np.zeros(1)
        )
        p50 = TABLE[name][0]
        cores = table_of(name).cores[0]
        assert draws.remote_ns[0] == pytest.approx(remote * p50 * 1e9, abs=1)
        assert draws.cpu_s[0] == pytest.approx((1 - remote) * p50 * cores)


# Class -> cores while busy, memory bytes, share of its duration spent waiting elsewhere.
WORK = {
    "file_read": (0.3, 5e6, 0.0),
    "search_local": (0.3, 5e6, 0.0),
    "file_edit": (0.3, 5e6, 0.0),
    "shell": (1, 14e6, 0.0),
    "code_exec": (1, 14e6, 0.0),
    "test_run": (2, 300e6, 0.0),
    "build": (1.5, 233e6, 0.0),
    "web_search": (1, 5e6, 0.95),
    "web_search_agent": (1, 5e6, 0.95),
    "web_fetch": (1, 400e6, 0.7),
    "api_call": (1, 5e6, 0.95),
    "calculate": (1, 5e6, 0.0),
    "transfer_to_human": (1, 5e6, 0.95),
    "sql_oltp": (1, 14e6, 0.0),
    "sql_olap": (6, 1e9, 0.0),
    "vector_search": (1, 14e6, 0.0),
    "vector_search_exact": (64, 200e9, 0.0),
    "sandbox_start_microvm": (1, 185e6, 0.0),
    "sandbox_start_container": (1, 185e6, 0.0),
    "ci_pipeline": (1, 5e6, 0.999),
    "batch_job": (1, 5e6, 0.9999),
}


@pytest.mark.parametrize("name", WORK)
def test_work_is_that_of_the_table(name):
    """0.05 core is a twentieth of the time on one core."""
    work = load_tools().tools[name].work
    assert (work.cores, work.memory, work.remote_share) == WORK[name]


def test_every_class_is_tested_here():
    assert set(TABLE) == set(WORK) == set(load_tools().tools)


def test_every_number_of_the_catalog_names_a_source():
    from factorysim.spec.agent import evidence_of

    tools = load_tools()
    entries = evidence_of(tools)
    assert len(entries) > 3 * len(tools.tools) - 1
    assert {entry.source for _, entry in entries} <= set(tools.sources)
