"""The tables' own laws: a planted leak is seen."""

import pytest

from factorysim.metrics.audit import audit_tables
from factorysim.metrics.inputs import Value
from tests.unit.metrics.builders import call, layout, session, tables


def broken(data, values=()):
    return {line.name for line in audit_tables(data, layout(), list(values)) if not line.ok}


def test_sound_tables_pass():
    assert broken(tables([session(0)], [call(0)])) == set()
    assert broken(tables()) == set()


@pytest.mark.parametrize(
    ("sessions", "calls", "law"),
    [
        ([session(0, decode_s=3.99999)], [], "time_shares"),
        ([], [call(0, output_tokens=10)], "output_tokens"),
        ([], [call(0, computed_tokens=61)], "prompt_tokens"),
        ([], [call(0, scheduled_s=9.0)], "instants"),
        ([], [call(0, first_token_s=13.0)], "instants"),
    ],
)
def test_a_leak_is_seen(sessions, calls, law):
    assert broken(tables(sessions, calls)) == {law}


def test_nothing_is_busier_than_always():
    assert broken(tables(), [Value("utilization.a", 1.0)]) == set()
    assert broken(tables(), [Value("utilization.a", 1.01)]) == {"utilization"}


def test_hits_credited_twice_are_found():
    shares = [
        Value("kv.hit_rate", value, by="tier", key=key)
        for key, value in (("hbm", -0.2), ("host", 1.1))
    ]
    lines = {line.name: line.ok for line in audit_tables(tables(), layout(), shares)}
    assert not lines["hit_rates"]
    assert {line.name: line.ok for line in audit_tables(tables(), layout(), [])}["hit_rates"]
