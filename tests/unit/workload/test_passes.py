"""A trace again and again, and drawn anew by blocks of time."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from factorysim.errors import TraceError
from factorysim.rng import stream
from factorysim.spec.arrivals import PoissonArrivals
from factorysim.spec.stream import StreamSpec
from factorysim.workload.demand import build_demand
from factorysim.workload.passes import block_bootstrap
from factorysim.workload.session import LlmNode, Session

S = 10**9


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(
        "".join(
            f'{{"timestamp": {2000 * i}, "input_length": 600, "output_length": {1 + i},'
            f' "hash_ids": [0, {1 + i}]}}\n'
            for i in range(5)
        )
    )
    return path


def sessions(path, most=99, *, replication=0, **keys):
    spec = StreamSpec.model_validate({"llm": "l", "trace": str(path)} | keys)
    demand = build_demand("s", spec, seed=7, replication=replication, trace_path=path)
    return list(islice(demand.sessions(), most))


def test_a_loop_begins_again_an_average_gap_after_the_last_arrival(trace):
    seen = sessions(trace, loop={"times": 3})
    assert [one.at_ns for one in seen] == [2 * S * i for i in range(15)]
    assert [one.nodes[0].output_tokens for one in seen] == [1, 2, 3, 4, 5] * 3
    assert len({one.sid for one in seen}) == 15
    assert [one.sid for one in seen[:5]] == [one.sid for one in sessions(trace)]


def test_a_loop_without_an_end_goes_on_and_counts_its_period_on_the_trace_s_clock(trace):
    seen = sessions(trace, 23, loop={"period": "1 min"}, speed=2.0)
    assert [one.at_ns for one in seen[::5]] == [0, 30 * S, 60 * S, 90 * S, 120 * S]


def test_passes_ask_for_other_prompts_that_are_alike_among_each_other(trace):
    ids = [one.nodes[0].hashes[0][0] for one in sessions(trace, loop={"times": 2})]
    assert len(set(ids[:5])) == len(set(ids[5:])) == 1
    assert ids[0] != ids[5]
    same = sessions(trace, loop={"times": 2, "hashes": "same"})
    assert [one.nodes for one in same[:5]] == [one.nodes for one in same[5:]]


def test_a_limit_counts_the_sessions_of_each_pass(trace):
    assert len(sessions(trace, loop={"times": 4}, limit=2)) == 8


def test_a_period_that_is_too_short_or_unknown_is_refused(trace):
    with pytest.raises(TraceError, match=r"loop\.period: found 5 s, expected at least 8 s"):
        sessions(trace, loop={"times": 2, "period": "5 s"})
    trace.write_text('{"timestamp": 0, "input_length": 6, "output_length": 1}\n' * 3)
    with pytest.raises(TraceError, match=r"(?s)3 sessions, all at 0 s.*arrivals"):
        sessions(trace, loop={"times": 2})
    rated = PoissonArrivals(process="poisson", rate="2/s").model_dump(mode="json")
    assert len(sessions(trace, loop={"times": 2}, arrivals=rated)) == 6


def test_a_loop_draws_each_pass_anew(trace):
    seen = sessions(trace, loop={"times": 2}, replicate="resample_sessions")
    outputs = [one.nodes[0].output_tokens for one in seen]
    assert outputs[:5] != outputs[5:]
    assert outputs[:5] == [
        one.nodes[0].output_tokens for one in sessions(trace, replicate="resample_sessions")
    ]


def listed(times):
    return [Session(f"r{i}", t, [LlmNode(600, 1, hashes=((i, 2),))]) for i, t in enumerate(times)]


def test_blocks_keep_bursts_together_and_every_session_as_likely():
    """Three sessions within a second are drawn together, or cut by an end of a block."""
    at = [10 * S, 10 * S + 1, 10 * S + 2, 40 * S, 70 * S]
    drawn, together = Counter(), 0
    runs = 2000
    for run in range(runs):
        seen = list(block_bootstrap(listed(at), 20 * S, 100 * S, stream(1, run)))
        times = [one.at_ns for one in seen]
        assert times == sorted(times)
        assert not times or times[-1] < 100 * S
        names = Counter(one.sid.partition("~")[0] for one in seen)
        drawn.update(names)
        together += names["r0"] == names["r1"] == names["r2"]
    for count in drawn.values():
        # Five blocks, each with a chance of 1/5: variance 4/5 of the mean.
        assert abs(count - runs) < 4 * np.sqrt(0.8 * runs)
    assert together > 0.999 * runs


def test_a_session_drawn_again_belongs_to_another_copy_of_the_trace():
    seen = list(block_bootstrap(listed([5, 15, 25, 35]), 10, 40, stream(2)))
    by_session: dict[str, list] = {}
    for one in seen:
        by_session.setdefault(one.sid.partition("~")[0], []).append(one.nodes[0].hashes)
    assert all(len(set(ids)) == len(ids) for ids in by_session.values())
    assert len({one.sid for one in seen}) == len(seen)
    assert len(by_session) < len(seen)
    firsts = {name: ids[0] for name, ids in by_session.items()}
    assert firsts == {name: ((int(name[1:]), 2),) for name in firsts}


def test_replications_draw_other_blocks(trace):
    keys = {"replicate": "block_bootstrap", "block_length": "3 s"}
    a, b = (sessions(trace, replication=r, **keys) for r in (0, 1))
    assert [one.at_ns for one in a] != [one.at_ns for one in b]
    assert a == sessions(trace, **keys)
    fast = sessions(trace, speed=2.0, **keys)
    assert [one.sid for one in fast] == [one.sid for one in a]
    assert all(abs(2 * f.at_ns - o.at_ns) <= 2 for f, o in zip(fast, a, strict=True))


def test_each_copy_of_a_session_has_ids_of_its_own():
    trace = [
        Session(f"s{i}", i * S, [LlmNode(20, 1, hashes=((10 * i, 2),), block_tokens=10)])
        for i in range(100)
    ]
    drawn = list(block_bootstrap(trace, 5 * S, 100 * S, stream(3)))
    copies = Counter(again.sid.partition("~")[0] for again in drawn)
    assert max(copies.values()) > 2
    firsts = [again.nodes[0].hashes[0][0] for again in drawn]
    assert len(set(firsts)) == len(firsts)


def test_a_session_resampled_twice_does_not_find_its_own_prompt(trace):
    drawn = sessions(trace, replicate="resample_sessions", replication=1)
    seen = set()
    for one in drawn:
        first = one.sid.partition("~")[0]
        assert one.hash_scope == ("session" if first in seen else "global")
        seen.add(first)
    assert len(seen) < len(drawn)
