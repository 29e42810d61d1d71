"""Windows, samples and speeds of a trace."""

import pytest

from factorysim.workload.cut import Cut, cut_sessions
from factorysim.workload.session import GapNode, LlmNode, Session

S = 10**9


def sessions(count: int = 10):
    return [Session(f"r{n}", n * S, [LlmNode(9, 1)]) for n in range(count)]


def ids(**cut):
    return [session.sid for session in cut_sessions(sessions(400), Cut(**cut))]


def test_a_window_holds_its_first_instant_and_not_its_last():
    kept = list(cut_sessions(sessions(), Cut(from_ns=3 * S, to_ns=6 * S)))
    assert [(one.sid, one.at_ns // S) for one in kept] == [("r3", 0), ("r4", 1), ("r5", 2)]


def test_samples_are_nested_and_do_not_depend_on_the_window():
    """Of 400 sessions, 10 % within three standard deviations: 40 +- 18."""
    small, large = ids(share=0.1), ids(share=0.2)
    assert set(small) < set(large)
    assert abs(len(small) - 40) < 18
    assert small != ids(share=0.1, seed=8)
    window = ids(share=0.1, from_ns=200 * S)
    assert window == [sid for sid in small if int(sid[1:]) >= 200]


def test_speed_brings_arrivals_and_recorded_starts_together_and_nothing_else():
    nodes = [LlmNode(9, 1), GapNode(4 * S, after=(0,)), LlmNode(9, 1, after=(1,), at_ns=4 * S)]
    [kept] = cut_sessions([Session("s", 8 * S, nodes)], Cut(speed=2.0))
    assert (kept.at_ns, kept.nodes[2].at_ns, kept.nodes[1].delay_ns) == (4 * S, 2 * S, 4 * S)


@pytest.mark.parametrize("limit", [1, 5])
def test_a_limit_is_of_what_is_kept(limit):
    assert ids(share=0.1, limit=limit) == ids(share=0.1)[:limit]


def test_a_sample_is_the_share_that_was_asked_for():
    """Of 20,000 sessions at 30 % within four standard deviations, which are 1.1 % of 6,000."""
    sessions = (Session(f"s{i}", i, [LlmNode(9, 1)]) for i in range(20_000))
    kept = sum(1 for _ in cut_sessions(sessions, Cut(share=0.3)))
    assert abs(kept - 6000) < 4 * (20_000 * 0.3 * 0.7) ** 0.5
