"""Whole operating points with drafts: both clocks, energy, and what acceptance buys."""

from __future__ import annotations

import pytest

from factorysim.study.predict import predict

CASES = {
    "a draft LLM": {"llm": "llama_3_1_70b", "tp": 4, "draft": "llama_3_1_8b"},
    "MTP heads": {"llm": "deepseek_v3", "device": "h200_sxm", "tp": 8, "ep": 8, "draft": "mtp"},
    "sliding windows": {"llm": "gpt_oss_20b", "draft": "ngram"},
    "sliding windows in both": {"llm": "gpt_oss_120b", "tp": 2, "draft": "gpt_oss_20b"},
}


def point(draft_tokens=3, acceptance=0.7, overrides=(), **asked):
    asked = {"device": "h100_sxm", "isl": 300, "osl": 90, "concurrency": 24, "calls": 60,
             "spread": 0.5} | asked  # fmt: skip
    if asked["draft"] is not None:
        asked |= {"draft_tokens": draft_tokens, "acceptance": acceptance}
    return predict(**asked, overrides=overrides)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_walking_steps_gives_the_same_point(case):
    """To the femtosecond, and in joules to 1e-9; a tight cache preempts."""
    tight = ("serving.kv.blocks=500", "serving.token_budget=256")
    runs, steps = (
        point(**case, overrides=(*tight, f"run.clock={clock}"))
        for clock in ("run_length", "stepwise")
    )
    assert runs.preemptions_per_call > 0
    for name in ("ttft_s", "tpot_s", "latency_s", "calls_per_s", "output_tokens_per_s"):
        assert getattr(runs, name) == getattr(steps, name), name
    assert runs.itl_s == pytest.approx(steps.itl_s, nan_ok=True, rel=1e-12)
    assert runs.j_per_output_token == pytest.approx(steps.j_per_output_token, rel=1e-9)
    assert runs.mfu == pytest.approx(steps.mfu, rel=1e-9)


def test_no_drafts_are_no_speculation():
    """Not a bit of it: as if nothing were asked for."""
    case = CASES["a draft LLM"]
    none, plain = point(**case, draft_tokens=0), point(**(case | {"draft": None}))
    for name in ("ttft_s", "tpot_s", "itl_s", "latency_s", "kv", "j_per_output_token"):
        assert getattr(none, name) == getattr(plain, name), name


def test_speculation_pays_where_drafts_are_accepted_and_costs_where_they_are_not():
    case = CASES["a draft LLM"] | {"concurrency": 2, "spread": 0.0}
    plain = point(**(case | {"draft": None})).tpot_s.mean
    tpots = [point(**case, acceptance=a).tpot_s.mean for a in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert tpots == sorted(tpots, reverse=True)
    assert tpots[0] > 1.2 * plain
    assert tpots[-1] < 0.5 * plain
