"""Who counts: arrived in the window; where the time went; what the tokens were."""

import numpy as np
import pytest

from factorysim.metrics.demand import call_values, session_values
from factorysim.metrics.inputs import Window
from tests.unit.metrics.builders import call, flying, layout, reasons, session, tables, values

WINDOW = Window(10.0, 60.0)


def test_measured_are_those_that_arrived_between_the_edges():
    sessions = [
        session(0, arrived_s=9.999),
        session(1, arrived_s=10.0),
        session(2, arrived_s=59.999, finished_s=90.0),
        session(3, arrived_s=60.0, finished_s=61.0),
        session(4, arrived_s=20.0, outcome="censored"),
        session(5, arrived_s=20.0, outcome="failed"),
    ]
    found = values(session_values(tables(sessions), WINDOW))
    assert found["sessions.arrived"] == 4
    assert found["sessions.completed"] == 2
    assert found["sessions.censored"] == 1
    assert found["sessions.failed"] == 1
    # The clock's rate counts ends in the window, whoever they were: 0 and 1.
    assert found["sessions.completed_per_s"] == pytest.approx(2 / 50)


def test_durations_and_breakdown_by_stream():
    sessions = [session(i, finished_s=12.0 + (i % 2)) for i in range(100)]
    sessions += [session(100 + i, finished_s=20.0, stream="chat") for i in range(50)]
    found = session_values(tables(sessions), WINDOW)
    assert values(found)["session_s.mean"] == pytest.approx((100 * 2.5 + 50 * 10) / 150)
    assert values(found, "stream", "chat")["session_s.p50"] == pytest.approx(10.0)
    assert values(found, "stream", "code")["turn_s.mean"] == pytest.approx(2.5)
    assert "session_s.p99" in reasons(found)


def test_time_shares_add_up_and_follow_the_columns():
    row = session(0, arrived_s=10.0, finished_s=20.0)._replace(
        queue_s=1.0, prefill_s=2.0, decode_s=3.0, tool_s=4.0
    )
    found = values(session_values(tables([row, row._replace(session=1)]), WINDOW))
    shares = {n.partition(".")[2]: v for n, v in found.items() if n.startswith("time_share.")}
    assert shares["queue"] == pytest.approx(0.1)
    assert shares["decode"] == pytest.approx(0.3)
    assert shares["tool"] == pytest.approx(0.4)
    assert shares.pop("kv") is None  # not modelled is never 0
    assert sum(shares.values()) == pytest.approx(1.0)


def test_time_shares_are_told_by_stream():
    chat = session(0, arrived_s=10.0, finished_s=20.0)._replace(stream="chat", decode_s=8.0)
    code = chat._replace(session=1, stream="code", decode_s=2.0)
    found = session_values(tables([chat, code]), WINDOW)
    assert values(found)["time_share.decode"] == pytest.approx(0.5)
    assert values(found, "stream", "chat")["time_share.decode"] == pytest.approx(0.8)
    assert values(found, "stream", "code")["time_share.decode"] == pytest.approx(0.2)


def test_latencies_are_those_of_the_calls():
    calls = [call(i, arrived_s=10.0 + i / 100, ttft_s=0.5 + i / 1000) for i in range(100)]
    found = call_values(tables([], calls), WINDOW, layout())
    ttft = 0.5 + np.arange(100) / 1000
    assert values(found)["ttft_s.mean"] == pytest.approx(ttft.mean())
    assert values(found)["ttft_s.p50"] == pytest.approx(np.quantile(ttft, 0.5))
    assert values(found)["tpot_s.mean"] == pytest.approx(0.1)
    assert values(found, "llm", "coder")["ttft_s.mean"] == pytest.approx(ttft.mean())
    assert values(found, "deployment", "decode")["tokens.output"] == 1100


def test_one_token_has_no_tpot_and_a_flying_call_with_a_token_has_a_ttft():
    calls = [call(0, tokens=1), call(1, tpot_s=0.2)]
    found = values(call_values(tables([], calls), WINDOW, layout()))
    assert found["tpot_s.mean"] == pytest.approx(0.2)
    late = flying(2, first_token_s=13.0, scheduled_s=11.0)
    both = values(call_values(tables([], [call(0), late]), WINDOW, layout()))
    assert both["ttft_s.mean"] == pytest.approx((1.0 + 3.0) / 2)
    assert both["tpot_s.mean"] is None  # half of the TPOTs are not known yet


def test_rejected_calls_are_counted_and_not_timed():
    gone = call(1)._replace(
        outcome="rejected", scheduled_s=None, first_token_s=None, last_token_s=None,
        output_tokens=0, hit_tokens=0, computed_tokens=0,
    )  # fmt: skip
    found = values(call_values(tables([], [call(0), gone]), WINDOW, layout()))
    assert found["calls.rejected"] == 1
    assert found["ttft_s.mean"] == pytest.approx(1.0)
    assert found["kv.hit_rate"] == pytest.approx(0.4)
    assert found["tokens.prompt"] == 200
    assert found["tokens.prompt_hit"] == 40
    assert found["tokens.prompt_computed"] == 60
    assert found["tokens.output"] == 11


def test_nothing_measured_is_none_with_a_reason():
    found = session_values(tables([session(0, arrived_s=1.0)]), WINDOW)
    assert values(found)["sessions.arrived"] == 0
    assert reasons(found)["session_s.mean"] == "nothing was measured"
    assert reasons(found)["time_share.queue"] == "no measured session has ended"
    assert reasons(call_values(tables(), WINDOW, layout()))["kv.hit_rate"]
