"""What tables say of KV tiers: hits and bytes, in all and by tier, and the laws that they keep."""

from typing import get_type_hints

import pytest

from factorysim.metrics.audit import audit_tables
from factorysim.metrics.inputs import Value, Window
from factorysim.metrics.tiers import ONE_TIER, STAYS, kv_moves, tier_values
from factorysim.records import HandOffRow, TierRow
from tests.unit.metrics.builders import call, flying, layout, reasons, tables, values

WINDOW = Window(0.0, 100.0)
LAYOUT = layout(tiers=("hbm", "host", "nvme"))


def row(event, tier, *, call=-1, at_s=10.0, size_bytes=0.0, hit_tokens=0):
    return TierRow(at_s - 1.0, at_s, tier, event, 0, call, 1, size_bytes, hit_tokens)


def hits(*found):
    """Of call, tier and tokens."""
    return [row("hit", tier, call=number, hit_tokens=tokens) for number, tier, tokens in found]


def told(data, window=WINDOW, apart=()):
    return tier_values(data, window, LAYOUT, apart)


def broken(data, found=None):
    """Of hit rates that the calls bear out, if no others are given."""
    total = Value("kv.hit_rate", 0.4)
    shares = [total, *told(data)] if found is None else found
    return {line.name for line in audit_tables(data, LAYOUT, shares) if not line.ok}


def test_each_tier_has_its_share_of_the_prompts_and_hbm_the_rest():
    """Two calls of 100 tokens each, 40 of them found."""
    found = told(tables((), [call(0), call(1)], tiers=hits((0, "host", 30), (1, "nvme", 6))))
    rates = {v.key: (v.value, v.n) for v in found if v.name == "kv.hit_rate"}
    assert rates == {"hbm": (0.22, 2), "host": (0.15, 2), "nvme": (0.03, 2)}


def test_only_measured_calls_that_were_scheduled_count():
    others = [call(1, arrived_s=99.9), flying(2), call(3, arrived_s=20.0)]
    found = hits((0, "host", 30), (1, "host", 40), (2, "host", 40), (3, "host", 10))
    data = tables((), [call(0), *others], tiers=found)
    rates = {v.key: v.value for v in told(data, Window(0.0, 50.0)) if v.by == "tier"
             and v.name == "kv.hit_rate"}  # fmt: skip
    assert rates == {"hbm": 0.2, "host": 0.2, "nvme": 0.0}
    nobody = told(tables((), [flying(0)], tiers=[]))
    assert [v for v in nobody if v.name == "kv.hit_rate"] == []


def test_bytes_count_where_they_end_inside_the_window():
    moved = [
        row("store", "host", size_bytes=8.0),
        row("fetch", "host", size_bytes=4.0),
        row("fetch", "nvme", size_bytes=2.0, at_s=100.5),  # begun inside
        row("store", "nvme", size_bytes=1.0),
        row("evict", "hbm", size_bytes=16.0),
        row("evict", "host", size_bytes=32.0),
        row("evict", "host", size_bytes=64.0, at_s=200.0),
    ]
    apart = [Value("kv.moved_bytes", 100.0), Value("handoffs", 3.0)]
    found = told(tables(tiers=moved), apart=apart)
    assert values(found)["kv.moved_bytes"] == 113.0  # hand-offs among them
    assert values(found)["kv.evicted_bytes"] == 48.0
    assert values(found)["handoffs"] == 3.0
    for tier, bytes_moved, evicted, count in (
        ("hbm", 0.0, 16.0, 0), ("host", 12.0, 32.0, 2), ("nvme", 1.0, 0.0, 1),
    ):  # fmt: skip
        mine = values(found, by="tier", key=tier)
        assert (mine["kv.moved_bytes"], mine["kv.evicted_bytes"]) == (bytes_moved, evicted)
        [moves] = [v for v in found if (v.name, v.key) == ("kv.moved_bytes", tier)]
        assert moves.n == count


def test_hbm_alone_says_why_there_is_nothing():
    apart = [Value("kv.moved_bytes", None, reason="together"), Value("other", None, reason="so")]
    found = tier_values(tables(), WINDOW, LAYOUT, apart)
    assert reasons(found) == {
        "kv.moved_bytes": STAYS, "kv.evicted_bytes": ONE_TIER, "other": "so",
    }  # fmt: skip
    kept = tier_values(tables(), WINDOW, LAYOUT, [Value("kv.moved_bytes", 5.0)])
    assert values(kept)["kv.moved_bytes"] == 5.0
    assert not kv_moves(tables())
    assert kv_moves(tables(tiers=[]))
    empty = {int: 0, str: "", float: 0.0}
    one = HandOffRow(*(empty.get(hint) for hint in get_type_hints(HandOffRow).values()))
    assert kv_moves(tables(handoffs=[one]))


def test_a_call_that_was_scheduled_as_the_run_began_counts():
    first = call(0, arrived_s=0.0, queued_s=0.0, scheduled_s=0.0)
    found = told(tables((), [first], tiers=hits((0, "host", 30))))
    rates = {v.key: v.value for v in found if v.name == "kv.hit_rate"}
    assert rates == {"hbm": 0.1, "host": 0.3, "nvme": 0.0}


# The laws.


def test_sound_hits_pass():
    assert broken(tables()) == set()  # without tiers there is nothing to tell
    assert broken(tables((), [call(0)], tiers=hits((0, "host", 30), (0, "nvme", 10)))) == set()
    assert broken(tables(tiers=[]), []) == set()


@pytest.mark.parametrize(
    "found",
    [
        ((0, "host", 41),),
        ((0, "host", 30), (0, "nvme", 11)),
        ((7, "host", 1),),
        ((0, "host", 41), (7, "host", 1)),
    ],
)
def test_a_call_that_tiers_gave_more_than_it_found_is_seen(found):
    """Over all calls the rates would still be between 0 and 1."""
    data = tables((), [call(0), *(call(n) for n in range(1, 4))], tiers=hits(*found))
    assert broken(data) == {"tier_hits"}


def test_hits_of_a_tier_that_rates_leave_out_are_seen():
    data = tables((), [call(0)], tiers=hits((0, "host", 30)))
    some = [v for v in told(data) if v.key != "host"]
    assert broken(data, [Value("kv.hit_rate", 0.4), *some]) == {"hit_rates_sum"}
