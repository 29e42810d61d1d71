"""Sweeps over sessions in flight: against `predict`, over layouts, workers and seeds."""

import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.load import override
from factorysim.spec.scenario import ScenarioSpec
from factorysim.study import sweep as sweeps
from factorysim.study.pareto import Stopped, as_json, layouts_asked, pareto
from factorysim.study.predict import predict

LENGTHS = {"prompt_tokens": {"mean": 256}, "output_tokens": {"mean": 32}}
DRAWN = {key: {"mean": 64, "kind": "uniform", "spread": 0.5} for key in LENGTHS}


def small(calls=None, count=2, **more):
    """A small LLM on two GPUs, a replica each."""
    stream = {"llm": "m", "calls": calls or LENGTHS}
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "How quick, and how much?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"gpu": {"rack": "h100_sxm", "count": count}},
                "fabric": {"kind": "none" if count == 1 else "single_switch", **FABRIC[count]},
            },
            "llms": {"m": {"llm": "llama_3_1_8b"}},
            "deployments": {"serve": {"llm": "m", "pool": "gpu"}},
            "streams": {"s": {**stream, "arrivals": {"process": "poisson", "rate": "1 /s"}}},
            "serving": {"max_sequences": 8, "token_budget": 1024},
            "run": {"replications": 5, "seed": 3, "bins": 20},
            **more,
        }
    )


FABRIC = {1: {}, 2: {"leaf": "ethernet_51t"}}


def swept(scenario, **options):
    return pareto([scenario], workers=1, **{"concurrency": [2, 8], "calls": 40} | options)


def test_a_point_is_what_predict_says_of_it():
    point = swept(small(count=1), concurrency=[4], calls=400).points[0]
    other = predict(
        "llama_3_1_8b", "h100_sxm", isl=256, osl=32, concurrency=4, precision="bf16",
        overrides=("serving.token_budget=1024", "serving.max_sequences=8"),
    )  # fmt: skip
    assert point.tokens_per_s_per_user.value == pytest.approx(1 / other.tpot_s.p50, rel=0.01)
    assert point.output_tokens_per_s.value == pytest.approx(other.output_tokens_per_s, rel=0.02)
    assert point.tokens_per_s_per_gpu.value == point.output_tokens_per_s.value


def test_a_point_adds_up():
    found = swept(small())
    for point in found.points:
        made = point.output_tokens_per_s.value
        assert (point.devices, point.replicas) == (2, 2)
        assert point.tokens_per_s_per_gpu.value == made / 2
        watts = point.power_facility_w.value
        assert point.tokens_per_s_per_mw.value == pytest.approx(made / watts * 1e6)
        assert point.j_per_output_token.value == pytest.approx(watts / made, rel=1e-6)
        assert watts == pytest.approx(1.1 * point.power_it_w.value)
        assert point.tokens_per_s_per_user.value == 1 / point.tpot_p50_s.value
        assert point.calls >= 40
    few, many = found.points
    assert many.tokens_per_s_per_mw.value > few.tokens_per_s_per_mw.value
    assert many.tokens_per_s_per_user.value < few.tokens_per_s_per_user.value


def test_doubling_goes_from_one_a_replica_until_nothing_is_gained():
    found = swept(small(), concurrency=None)
    counts = [point.concurrency for point in found.points]
    assert counts == [2 << doubling for doubling in range(len(counts))]
    rates = [point.output_tokens_per_s.value for point in found.points]
    assert rates[-1] < sweeps.GAIN_LEAST * rates[-2], "16 sequences fit on two replicas"
    assert counts[-1] in (32, 64)


def test_doubling_ends_where_a_simulation_would_be_too_long(monkeypatch):
    monkeypatch.setattr(sweeps, "CALLS_MOST", 200)
    found = swept(small(), concurrency=None)
    assert [point.concurrency for point in found.points] == [2, 4, 8]
    assert "still gains at 8 in flight" in found.notes[0]


def test_replications_make_intervals_and_workers_make_no_difference():
    options = {"replications": 3, "layouts": ["tp=1"], "concurrency": [2, 6]}
    found = swept(small(DRAWN), **options)
    for point in found.points:
        assert point.replications == 3
        speed = point.tokens_per_s_per_user
        assert speed.low < speed.value < speed.high
    apart = pareto([small(DRAWN)], calls=40, workers=2, **options)
    assert as_json(apart) == as_json(found)


def test_where_nothing_is_drawn_one_replication_says_all():
    found = swept(small(), replications=3, concurrency=[2])
    assert found.replications == found.points[0].replications == 1
    assert found.points[0].tokens_per_s_per_user.low is None
    assert "one replication instead of 3" in found.notes[0]


def test_factories_meet_the_same_sessions():
    other = override(small(DRAWN), {"run.seed": 9})
    found = pareto([small(DRAWN), other], concurrency=[2], calls=40, workers=1)
    first, second = found.points
    assert found.seed == 3
    assert second == first._replace(scenario="scenario-1")


def test_a_layout_that_does_not_fit_is_told_and_the_others_measured():
    found = swept(small(), layouts=["tp=1", "tp=4"], concurrency=[2])
    assert [point.layout for point in found.points] == ["tp 1"]
    (refused,) = found.refused
    assert (refused.layout, refused.concurrency) == ("tp 4", None)
    assert refused.reason
    with pytest.raises(CapacityError):
        swept(small(), layouts=["tp=4"])


def test_layouts_that_make_no_scenario_are_told_and_the_others_measured():
    """One is refused by its spec, one by its bounds, one by the plan."""
    layouts = ["tp=1", "tp=1,ep=3", "tp=5000", "tp=4"]
    found = swept(small(), layouts=layouts, concurrency=[2])
    assert [point.layout for point in found.points] == ["tp 1"]
    told = {one.layout: one.reason for one in found.refused}
    assert list(told) == ["tp 1, ep 3", "tp 5000", "tp 4"]
    assert "a divisor of tp" in told["tp 1, ep 3"]
    assert "from 1 to 4096" in told["tp 5000"]
    assert layouts_asked(found) == (4, 3)
    data = as_json(found)
    assert (data["layouts"], data["layouts_not_measured"]) == (4, 3)
    with pytest.raises(CapacityError) as caught:
        swept(small(), layouts=layouts[1:])
    assert [fault.where for fault in caught.value.faults] == [
        "scenario-0 tp 1, ep 3",
        "scenario-0 tp 5000",
        "scenario-0 tp 4",
    ]


def test_one_reason_is_told_once():
    """Of points and of layouts; with nothing measured at all, in the error as well."""
    tight = override(small(), {"serving.kv.blocks": 10})
    with pytest.raises(CapacityError) as caught:
        swept(tight, layouts=["tp=1", "dp=1"], concurrency=[1, 2, 4])
    (fault,) = caught.value.faults
    where = "scenario-0 tp 1 at 1, 2 and 4; scenario-0 dp 1 at 1, 2 and 4: calls of s do not fit"
    assert fault.cure.startswith(where)
    assert fault.cure.count("tokens of context") == 1


def test_calls_that_no_replica_holds_are_told_before_anything_turns_without_time():
    tight = override(small(), {"serving.kv.blocks": 10})
    with pytest.raises(CapacityError, match=r"287 tokens of context.* takes 160"):
        swept(tight)


def test_calls_of_which_some_do_not_fit_make_no_point():
    tight = override(small(DRAWN), {"serving.kv.blocks": 8})
    with pytest.raises(CapacityError, match="% of calls are longer than the KV cache"):
        swept(tight)


def test_calls_of_one_token_have_no_speed_for_a_user():
    one = {**LENGTHS, "output_tokens": {"mean": 1}}
    with pytest.raises(CapacityError, match=r"no tpot_s\.p50"):
        swept(small(one))


def test_a_trace_that_runs_out_says_how_many_sessions_it_takes(tmp_path):
    row = '{{"timestamp": {}, "input_length": 100, "output_length": 9, "hash_ids": []}}\n'
    (tmp_path / "t.jsonl").write_text("".join(row.format(n) for n in range(300)))
    stream = {"llm": "m", "trace": str(tmp_path / "t.jsonl")}
    found = swept(small(streams={"s": stream}), concurrency=[2, 64])
    assert [point.concurrency for point in found.points] == [2]
    assert found.refused[0].concurrency == 64
    assert "the sessions of s run out" in found.refused[0].reason


def test_one_stream_may_be_kept():
    two = {"llm": "m", "calls": LENGTHS, "arrivals": {"process": "poisson", "rate": "1 /s"}}
    both = small(streams={"a": two, "b": {**two, "calls": DRAWN}})
    assert swept(both, stream="b", concurrency=[1]).factories[0].streams == ("b",)
    assert swept(both, concurrency=[2]).factories[0].streams == ("a", "b")
    with pytest.raises(SpecError, match="at least 2, one for each stream"):
        swept(both, concurrency=[1])


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"concurrency": [0]}, "--concurrency"),
        ({"concurrency": []}, "--concurrency"),
        ({"concurrency": [10**7]}, "--concurrency"),
        ({"calls": 0}, "--calls"),
        ({"replications": 0}, "--reps"),
        ({"stream": "x"}, "--stream"),
        ({"layouts": ["x"]}, "--layout"),
    ],
)
def test_bad_options_are_told_by_name(options, where):
    with pytest.raises(SpecError) as caught:
        swept(small(), **options)
    assert caught.value.faults[0].where == where


def test_what_was_done_is_kept_when_the_user_stops_it(monkeypatch):
    measure = sweeps.Sweep._measure

    def struck(self, level, outcome):
        if level.concurrency == 8:
            raise KeyboardInterrupt
        return measure(self, level, outcome)

    monkeypatch.setattr(sweeps.Sweep, "_measure", struck)
    with pytest.raises(Stopped) as caught:
        swept(small())
    found = caught.value.found
    assert found.interrupted
    assert [point.concurrency for point in found.points] == [2]
    assert str(caught.value) == "interrupted: 1 points were done"
