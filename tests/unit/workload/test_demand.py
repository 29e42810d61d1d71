"""Demand of a stream: the same sessions whatever the rate, the order or the factory."""

from itertools import islice

import pytest
from pydantic import ValidationError

from factorysim.errors import SpecError, TraceError
from factorysim.spec.arrivals import FixedConcurrency, GammaArrivals, PoissonArrivals
from factorysim.spec.stream import CallsSpec, ImagesSpec, LengthSpec, StreamSpec
from factorysim.workload.demand import build_demand
from factorysim.workload.session import LlmNode

ROWS = "".join(
    f'{{"timestamp": {1000 * i}, "input_length": {100 + i}, "output_length": {10 + i}}}\n'
    for i in range(40)
)


def poisson(rate: str) -> PoissonArrivals:
    return PoissonArrivals(process="poisson", rate=rate)


def first(spec: StreamSpec, n: int, *, seed: int = 7, replication: int = 0, name="s", path=None):
    demand = build_demand(name, spec, seed=seed, replication=replication, trace_path=path)
    return list(islice(demand.sessions(), n))


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(ROWS)
    return path


def test_sessions_are_the_same_at_any_rate():
    slow = first(StreamSpec(llm="l", agent="code_analysis", arrivals=poisson("1/s")), 30)
    fast = first(StreamSpec(llm="l", agent="code_analysis", arrivals=poisson("4/s")), 30)
    assert [s.nodes for s in slow] == [s.nodes for s in fast]
    assert all(abs(a.at_ns - 4 * b.at_ns) <= 2 for a, b in zip(slow, fast, strict=True))


def test_sessions_can_be_drawn_again_and_differ_between_replications():
    spec = StreamSpec(llm="l", agent="chat", arrivals=poisson("1/s"))
    demand = build_demand("s", spec, seed=7, replication=0)
    once = list(islice(demand.sessions(), 20))
    assert list(islice(demand.sessions(), 20)) == once
    assert first(spec, 20, replication=1) != once
    assert first(spec, 20, seed=8) != once
    assert [s.nodes for s in first(spec, 20, name="other")] != [s.nodes for s in once]


def test_two_streams_drawn_in_turns_do_not_disturb_each_other():
    spec = StreamSpec(llm="l", agent="chat", arrivals=poisson("1/s"))
    a = build_demand("a", spec, seed=7, replication=0).sessions()
    b = build_demand("b", spec, seed=7, replication=0).sessions()
    mixed = [next(s) for _ in range(10) for s in (a, b)]
    assert mixed[::2] == first(spec, 10, name="a")
    assert mixed[1::2] == first(spec, 10, name="b")


def test_calls_are_sessions_of_one_call_in_order_of_time():
    calls = CallsSpec(
        prompt_tokens=LengthSpec(mean=512),
        output_tokens=LengthSpec(kind="uniform", mean=128, spread=0.5),
    )
    arrivals = GammaArrivals(process="gamma", rate="9/s", cv=2.0)
    spec = StreamSpec(llm="l", calls=calls, arrivals=arrivals, priority=3)
    sessions = first(spec, 9000)
    assert all(len(s.nodes) == 1 and s.nodes[0].prompt_tokens == 512 for s in sessions)
    assert {64, 192} <= {s.nodes[0].output_tokens for s in sessions} <= set(range(64, 193))
    assert [s.at_ns for s in sessions] == sorted(s.at_ns for s in sessions)
    assert sessions[0].priority == 3
    assert len({s.sid for s in sessions}) == 9000


def test_fixed_concurrency_is_told_with_its_think_time():
    arrivals = FixedConcurrency(process="fixed_concurrency", concurrency=5, think="2 s")
    spec = StreamSpec(llm="l", agent="chat", arrivals=arrivals, limit=7)
    demand = build_demand("s", spec, seed=1, replication=0)
    assert (demand.concurrency, demand.think_ns) == (5, 2_000_000_000)
    assert [s.at_ns for s in demand.sessions()] == [0] * 7


def test_limit_ends_a_stream(trace):
    assert len(first(StreamSpec(llm="l", agent="chat", arrivals=poisson("1/s"), limit=3), 9)) == 3
    assert len(first(StreamSpec(llm="l", trace="t", limit=3), 9, path=trace)) == 3


def test_speed_compresses_a_trace_s_clock(trace):
    sessions = first(StreamSpec(llm="l", trace="t", speed=20.0), 99, path=trace)
    assert [s.at_ns for s in sessions] == [50_000_000 * i for i in range(40)]


def test_a_trace_can_be_given_another_arrival_process(trace):
    spec = StreamSpec(llm="l", trace="t", arrivals=poisson("2/s"))
    sessions = first(spec, 99, path=trace)
    assert [s.nodes[0].prompt_tokens for s in sessions] == list(range(100, 140))
    calls = StreamSpec(llm="l", agent="chat", arrivals=poisson("2/s"))
    assert [s.at_ns for s in sessions] == [s.at_ns for s in first(calls, 40)]


def test_resampling_draws_sessions_with_replacement_at_the_recorded_times(trace):
    spec = StreamSpec(llm="l", trace="t", replicate="resample_sessions")
    a, b = (first(spec, 99, path=trace, replication=r) for r in (0, 1))
    assert [s.at_ns for s in a] == [10**9 * i for i in range(40)]
    prompts = [s.nodes[0].prompt_tokens for s in a]
    assert set(prompts) < set(range(100, 140))
    assert len({s.sid for s in a}) == 40
    assert prompts != [s.nodes[0].prompt_tokens for s in b]
    assert a == first(spec, 99, path=trace)


def test_a_trace_without_resampling_is_itself_in_every_replication(trace):
    spec = StreamSpec(llm="l", trace="t")
    assert first(spec, 99, path=trace, replication=0) == first(spec, 99, path=trace, replication=4)


def test_unknown_agents_are_refused():
    spec = StreamSpec(llm="l", agent="chatt", arrivals=poisson("1/s"))
    with pytest.raises(SpecError, match='did you mean "chat"'):
        build_demand("s", spec, seed=1, replication=0)


def test_a_bad_trace_tells_its_faults_when_it_is_read(trace):
    trace.write_text(ROWS + "junk\n")
    with pytest.raises(TraceError, match=r"t\.jsonl:41"):
        first(StreamSpec(llm="l", trace="t"), 99, path=trace)
    with pytest.raises(TraceError, match="no path"):
        first(StreamSpec(llm="l", trace="t"), 99)


LENGTHS = CallsSpec(
    prompt_tokens=LengthSpec(kind="lognormal", mean=200, spread=1.0),
    output_tokens=LengthSpec(kind="lognormal", mean=100, spread=0.8),
)
IMAGES = ImagesSpec(share="40 %", count=LengthSpec(kind="uniform", mean=2, spread=0.5), tokens=700)


def calls_of(**more):
    spec = StreamSpec(llm="l", calls=LENGTHS, arrivals=poisson("1/s"), **more)
    return [session.nodes[0] for session in first(spec, 3000)]


@pytest.mark.parametrize(
    ("effort", "factor"), [("none", 0.6), ("low", 1.0), ("medium", 2.0), ("high", 4.5)]
)
def test_effort_scales_the_outputs_of_plain_calls(effort, factor):
    """One output longer does not change another, nor any prompt."""
    plain, scaled = calls_of(), calls_of(reasoning_effort=effort)
    assert [call.prompt_tokens for call in plain] == [call.prompt_tokens for call in scaled]
    for a, b in zip(plain, scaled, strict=True):
        assert abs(b.output_tokens - factor * a.output_tokens) <= 0.5 + factor / 2


def test_images_add_to_prompts_of_plain_calls():
    plain, pictured = calls_of(), calls_of(images=IMAGES)
    assert [call.output_tokens for call in plain] == [call.output_tokens for call in pictured]
    shown = [call.image_tokens for call in pictured]
    assert set(shown) == {0, 700, 1400, 2100}
    assert sum(map(bool, shown)) / len(shown) == pytest.approx(0.4, abs=0.03)
    for a, b in zip(plain, pictured, strict=True):
        assert b.prompt_tokens == a.prompt_tokens + b.image_tokens
    assert not any(call.image_tokens for call in plain)


@pytest.mark.parametrize("agent", ["chat", "customer_service", "code_analysis"])
def test_images_stay_in_the_history_of_an_agent(agent):
    """Same calls, same outputs; each prompt is longer by all images so far, until a summary."""
    spec = StreamSpec(llm="l", agent=agent, arrivals=poisson("1/s"))
    pictured = spec.model_copy(update={"images": IMAGES})
    seen = 0
    for a, b in zip(first(spec, 40), first(pictured, 40), strict=True):
        plain = [node for node in a.nodes if isinstance(node, LlmNode)]
        shown = [node for node in b.nodes if isinstance(node, LlmNode)]
        assert [node.output_tokens for node in plain] == [node.output_tokens for node in shown]
        so_far = 0
        for one, other in zip(plain, shown, strict=True):
            if one.initiator == "agent" or other.prompt_tokens > 150_000:
                break  # a sub-agent's own context, or a summary
            so_far += other.image_tokens
            seen += bool(other.image_tokens)
            assert other.prompt_tokens == one.prompt_tokens + so_far
            assert other.prefix_tokens + other.image_tokens <= other.prompt_tokens
    assert seen > 10


@pytest.mark.parametrize(
    ("key", "value"), [("reasoning_effort", "high"), ("images", {"tokens": 5})]
)
def test_what_a_trace_has_settled_is_refused_with_the_reason(key, value):
    with pytest.raises(ValidationError, match="none on a trace") as refused:
        StreamSpec.model_validate({"llm": "l", "trace": "t.jsonl", key: value})
    assert "recorded" in str(refused.value.errors()[0]["ctx"])
