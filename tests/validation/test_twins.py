"""Twins of the recorded traces against the traces, within what samples of their size vary by."""

from pathlib import Path

import pytest

from factorysim.workload.traces import read_trace
from factorysim.workload.twin.chain import all_single, chained
from factorysim.workload.twin.compare import compare_twin
from factorysim.workload.twin.fit import fit_twin

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
BEYOND = {
    "mooncake_conversation_trace.jsonl.gz": {"growth, tokens": 0.06, "prompt, tokens": 0.04},
    "AzureLLMInferenceTrace_conv.csv.gz": {},
    "weka_claude_code": {
        "prompt, tokens": 0.12,
        "calls a turn": 0.11,
        "sub-agents a session": 0.08,
    },
}
"""Distances that are known to be larger than noise, and how large: what `docs/twins.md` tells."""


@pytest.fixture(scope="module", params=list(BEYOND))
def compared(request):
    path = TRACES / request.param
    if not path.exists():
        pytest.skip(f"{path} is not here")
    sessions = list(read_trace(path))
    joined = all_single(sessions)
    if joined:
        sessions = chained(sessions)
    twin = fit_twin(sessions, path.name, "recorded", joined=joined)
    return request.param, twin, compare_twin(twin, sessions)


def test_distributions_are_within_noise_and_the_width_of_a_table(compared):
    """A table's pieces hold 2.5 % of the values each, so a distance below that means nothing."""
    name, _, likeness = compared
    for one in likeness.quantities:
        allowed = BEYOND[name].get(one.name, max(1.3 * one.noise, 0.03))
        assert one.distance <= allowed, one


def test_what_prompts_repeat_is_within_two_points(compared):
    ours, theirs = compared[2].prefix_share
    assert theirs == pytest.approx(ours, abs=0.02)


def test_totals_are_near(compared):
    """Means of heavy tails: within a quarter."""
    for one in compared[2].quantities:
        if one.name in ("prompt, tokens", "output, tokens", "calls a session"):
            assert one.twin_mean == pytest.approx(one.source_mean, rel=0.25), one


def test_mooncake_is_joined_to_conversations(compared):
    """12,031 calls in 7,373 sessions, all of which begin with one block of 512 tokens."""
    name, twin, _ = compared
    if not name.startswith("mooncake"):
        pytest.skip("of Mooncake's trace")
    assert twin.source.joined
    assert (twin.source.sessions, twin.source.llm_calls) == (7373, 12_031)
    assert twin.shared_tokens == 512
