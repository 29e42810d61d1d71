"""Windows cut runs between two steps: runs of steps and single steps measure the same."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from factorysim.metrics.activity import activities
from factorysim.metrics.inputs import Tables, Window
from factorysim.metrics.quantiles import QUANTILES, gap_quantile
from factorysim.run.activity import step_columns
from factorysim.run.prepare import build_demands, prepare
from factorysim.sim.factory import run_replication
from factorysim.spec.scenario import ScenarioSpec
from factorysim.store import MemorySink

HORIZON_S = 3.0
FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}
SUMS = (
    "flops", "bytes_moved", "active_j", "partner_flops", "partner_bytes_moved", "busy_s",
)  # fmt: skip
NGRAM = {"method": "ngram", "draft_tokens": 3, "acceptance": 0.6}
CASES = {
    # KV for a few calls only, so that some are preempted; prompts in several chunks.
    "preempting": {
        "serving": {"kv": {"blocks": 60}, "token_budget": 64, "max_sequences": 24},
        "chat": {"replicas": 1},
    },
    "speculating": {
        "serving": {"max_sequences": 64, "token_budget": 256},
        "chat": {"speculation": NGRAM},
    },
    # Every step takes 10 ms: edges of windows and ends of steps meet.
    "fixed": {"chat": {"law": {"kind": "fixed", "decode": "10 ms"}}},
    "ranks": {
        "chat": {"parallel": {"tp": 1, "dp": 4, "ep": 4}, "replicas": 1},
        "llm": "mistral_small_4",
    },
    "split": {
        "topology": {"lpx": {"rack": "groq3_lpx", "count": 2}},
        "chat": {"parallel": {"tp": 8}, "replicas": 1, "split": {"kind": "afd", "pool": "lpx"}},
        "llm": "mistral_small_4",
    },
}


def scenario(case, clock):
    given = CASES[case]
    racks = {"gpu": {"rack": "hgx_h200"}} | given.get("topology", {})
    chat = {"llm": "chat", "pool": "gpu", "parallel": {"tp": 1}, "replicas": 3}
    output = {"kind": "uniform", "mean": 150, "spread": 0.9}
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "Do windows cut alike?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": racks,
                "fabric": {"kind": "leaf_spine", "leaf": "spectrum6", "spine": "spectrum6"},
            },
            "llms": {"chat": {"llm": given.get("llm", "llama_3_1_8b"), "precision": FP8}},
            "deployments": {"chat": chat | given.get("chat", {})},
            "streams": {
                "all": {
                    "llm": "chat",
                    "calls": {
                        "prompt_tokens": {"kind": "uniform", "mean": 150, "spread": 0.9},
                        "output_tokens": output,
                    },
                    "arrivals": {"process": "poisson", "rate": "12/s"},
                }
            },
            "serving": given.get("serving", {}),
            "run": {"clock": clock, "bins": 20},
        }
    )


@cache
def ran(case, clock):
    """Tables and stations of a run, its steps in groups of 50."""
    spec = scenario(case, clock)
    prepared, sink = prepare(spec), MemorySink()
    closing = run_replication(
        spec,
        prepared.plan,
        build_demands(spec, 0),
        replication=0,
        horizon_s=HORIZON_S,
        arrivals_end_s=HORIZON_S,
        sink=sink,
    )
    derive = step_columns(prepared.plan).compute
    steps = dict(sink.columns("steps"))
    steps |= derive(steps)
    many = len(steps["steps"])
    groups = [{k: v[i : i + 50] for k, v in steps.items()} for i in range(0, many, 50)]
    names = ("sessions", "calls", "tools")
    tables = Tables(
        *map(sink.columns, names),
        groups,
        *map(sink.columns, ("gaps", "handoffs", "timeseries")),
        closing,
        derive,
    )
    return tables, prepared.layout.serving(), steps


def written_out(gaps):
    rows = zip(*gaps, strict=True)
    return np.sort(np.concatenate([np.repeat(a + s * np.arange(n), w) for a, s, n, w in rows]))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_both_clocks_measure_the_same(case, data):
    single, stations, steps = ran(case, "stepwise")
    runs, *_, whole = ran(case, "run_length")
    assert len(whole["steps"]) < 0.8 * len(steps["steps"])
    assert case != "preempting" or len(runs.gaps["at_s"]) > 5
    ends = steps["finished_s"].tolist()
    edge = st.one_of(
        st.floats(0.0, HORIZON_S), st.sampled_from(ends), st.integers(0, 300).map(lambda k: k / 100)
    )
    window = Window(*sorted((data.draw(edge), data.draw(edge))))
    assume(window.length_s > 0.001)
    (one, gaps), (other, others) = (activities(t, window, stations) for t in (runs, single))
    for station in stations:
        a, b = one[station.name], other[station.name]
        assert a.emitted_tokens == b.emitted_tokens
        assert (a.verifies, a.accepted_tokens) == (b.verifies, b.accepted_tokens)
        for name in SUMS:
            of_runs, of_steps = (getattr(total, name) or 0.0 for total in (a, b))
            assert of_runs == pytest.approx(of_steps, rel=1e-12, abs=1e-12)
    assert gaps.total() == others.total()
    if gaps.total():
        assert np.array_equal(written_out(gaps), written_out(others))
        for q in QUANTILES.values():
            assert gap_quantile(gaps, q) == gap_quantile(others, q)


@pytest.mark.parametrize("case", ["fixed", "speculating"])
def test_windows_that_meet_share_nothing_and_lose_nothing(case):
    """Cut at every 10 ms, where steps end on purpose: parts add up to the whole."""
    tables, stations, _ = ran(case, "run_length")
    edges = [k / 100 for k in range(0, 301, 5)]
    parts = [activities(tables, Window(a, b), stations)[0]["chat"] for a, b in pairwise(edges)]
    whole = activities(tables, Window(0.0, HORIZON_S), stations)[0]["chat"]
    assert whole.emitted_tokens > 1000
    assert sum(part.emitted_tokens for part in parts) == whole.emitted_tokens
    assert sum(part.accepted_tokens for part in parts) == whole.accepted_tokens
    for name in ("flops", "active_j"):
        total = sum(getattr(part, name) or 0.0 for part in parts)
        assert total == pytest.approx(getattr(whole, name) or 0.0, rel=1e-12)
