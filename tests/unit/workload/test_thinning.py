"""Shares of a stream, and pauses between the sessions of a closed loop."""

from itertools import islice

import numpy as np
import pytest
from scipy import stats

from factorysim.spec.arrivals import FixedConcurrency, PoissonArrivals
from factorysim.spec.stream import StreamSpec
from factorysim.workload.demand import build_demand
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.thinning import kept, think_times
from tests.unit.sim.builders import Listed, plan, run, scenario

N = 20_000


def test_a_share_keeps_so_many_and_a_larger_one_keeps_them_too():
    few, more = (np.array(list(islice(kept(share, 5, "s"), N))) for share in (0.3, 0.6))
    assert abs(few.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / N)
    assert np.all(more[few])
    assert all(islice(kept(1.0, 5, "s"), 100))


def test_a_share_of_a_trace_is_the_same_in_all_replications(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = (f'{{"timestamp": {i}, "input_length": 9, "output_length": 1}}\n' for i in range(50))
    path.write_text("".join(rows))
    spec = StreamSpec(llm="l", trace=str(path), share="40 %")
    a, b = (
        [
            one.sid
            for one in build_demand("s", spec, seed=1, replication=r, trace_path=path).sessions()
        ]
        for r in (0, 3)
    )
    assert a == b
    assert 8 < len(a) < 32


@pytest.mark.parametrize(
    ("kind", "cv", "law"),
    [
        ("exponential", None, stats.expon(scale=4.0)),
        ("lognormal", 2.0, stats.lognorm(np.sqrt(np.log(5.0)), scale=4.0 / np.sqrt(5.0))),
        ("uniform", 0.5, stats.uniform(4.0 - 2.0 * np.sqrt(3), 4.0 * np.sqrt(3))),
    ],
)
def test_pauses_have_their_law(kind, cv, law):
    spec = FixedConcurrency.model_validate(
        {
            "process": "fixed_concurrency",
            "concurrency": 2,
            "think": {"kind": kind, "mean": "4 s", "cv": cv},
        }
    )
    seen = np.array(list(islice(think_times(spec, 1, 0, "s"), N))) / 1e9
    assert stats.kstest(seen, law.cdf).pvalue > 1e-4
    assert spec.think_s == 4.0


def test_a_fixed_pause_is_the_demand_s_and_not_the_session_s():
    spec = FixedConcurrency(process="fixed_concurrency", concurrency=1, think="2 s")
    assert next(think_times(spec, 1, 0, "s")) is None
    assert next(think_times(PoissonArrivals(process="poisson", rate="1/s"), 1, 0, "s")) is None


def test_the_next_session_waits_for_the_pause_of_the_one_that_ended():
    sessions = [Session(f"s{i}", 0, [LlmNode(10, 1)], think_ns=i * 10**9) for i in range(3)]
    ran = run(scenario(), plan(), [Listed("s", sessions, concurrency=1)])
    assert [row.arrived_s for row in ran.sessions] == pytest.approx([0.0, 0.01, 1.02])
