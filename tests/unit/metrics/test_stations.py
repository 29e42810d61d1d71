"""Pools: what steps add up to inside the window, and what queues do."""

import numpy as np
import pytest

from factorysim.metrics.activity import activities
from factorysim.metrics.inputs import Partner, Window
from factorysim.metrics.stations import pool_values
from factorysim.physics.speculation import Pace
from factorysim.records import SampleRow
from tests.unit.metrics.builders import (
    TOOLS,
    call,
    flying,
    layout,
    reasons,
    station,
    step,
    tables,
    tool,
    values,
)

WINDOW = Window(10.0, 60.0)


def pools(data, plan=None):
    plan = plan or layout()
    found, _ = activities(data, WINDOW, plan.serving())
    return pool_values(data, WINDOW, plan, found)


def test_time_in_steps_is_cut_by_the_window_and_what_they_do_counts_where_they_end():
    """Five steps of 1 s end after 10 s and until 15 s; two of 2 s after 55 s until 60 s."""
    steps = [step(5.0, 15.0), step(20.0, 30.0, replica=1), step(55.0, 75.0), step(80.0, 90.0)]
    extra = {"flops": [1e12] * 4, "bytes_moved": [2e12] * 4, "active_j": [8.0] * 4}
    data = tables(steps=steps, extra=extra)
    totals = activities(data, WINDOW, layout().serving())[0]["decode"]
    assert totals.busy_s == pytest.approx((5 + 10 + 5) * 4)
    assert totals.emitted_tokens == 4 * (5 + 10 + 2)
    assert totals.active_j == pytest.approx(8 * 1.7)
    found = values(pools(data))
    assert found["utilization.nvl72"] == pytest.approx(80 / (8 * 50))
    assert found["mfu.nvl72"] == pytest.approx(1.7e12 / (8 * 1e12 * 50))
    assert found["mbu.nvl72"] == pytest.approx(3.4e12 / (8 * 1e12 * 50))


def test_steps_belong_to_the_deployment_of_their_replica():
    plan = layout(station("a"), station("b", first_replica=2, pool="hgx", llm="chat"))
    data = tables(steps=[step(10.0, 20.0, replica=1), step(10.0, 40.0, replica=2)])
    found = values(pools(data, plan))
    assert found["utilization.nvl72"] == pytest.approx(10 * 4 / (8 * 50))
    assert found["utilization.hgx"] == pytest.approx(30 * 4 / (8 * 50))


def test_each_replica_is_as_busy_as_its_own_steps():
    plan = layout(station("a"), station("b", first_replica=2, replicas=3, llm="chat"))
    steps = [step(10.0, 20.0, replica=1), step(0.0, 40.0, replica=4), step(50.0, 99.0, replica=4)]
    found = pools(tables(steps=steps), plan)
    told = {v.key: v.value for v in found if v.by == "replica"}
    shares = {"a/0": 0, "a/1": 0.2, "b/0": 0, "b/1": 0, "b/2": 0.8}
    assert told == pytest.approx(shares)
    alone = pools(tables(steps=steps[:1]), layout(station("a", replicas=2), TOOLS))
    assert {v.name for v in alone if v.by == "replica"} == {"utilization.nvl72"}
    one = pools(tables(steps=[step(10.0, 20.0)]), layout(station("a", replicas=1), TOOLS))
    assert not [v for v in one if v.by == "replica"]


def test_replicas_add_up_over_groups_of_rows():
    first = tables(steps=[step(10.0, 20.0), step(10.0, 15.0, replica=1)])
    second = tables(steps=[step(20.0, 45.0)])
    both = first._replace(steps=[*first.steps, *second.steps])
    told = {v.key: v.value for v in pools(both) if v.by == "replica"}
    assert told == pytest.approx({"decode/0": 0.7, "decode/1": 0.1})


def test_load_is_that_of_the_fullest_limit_and_names_the_bottleneck():
    half_full = [
        step(10.0, 60.0, steps=1, decodes=4, kv_blocks=90),
        step(10.0, 60.0, steps=1, replica=1, kv_blocks=70),
    ]
    found = values(pools(tables(steps=half_full)))
    assert found["saturation.nvl72"] == pytest.approx(0.8)
    assert found["bottleneck"] == "nvl72: KV cache"
    budget = [step(10.0, 60.0, steps=1, decodes=4, prompts=1, prompt_tokens=60, kv_blocks=10)]
    found = values(pools(tables(steps=budget)))
    assert found["saturation"] == pytest.approx(0.5)  # one of two replicas
    assert found["bottleneck"] == "nvl72: tokens of a step"


def test_a_run_holds_the_blocks_of_its_middle():
    """Ten steps of four decodes: 18 tokens more by the middle, in blocks of 16."""
    plan = layout(station(replicas=1))
    found = values(pools(tables(steps=[step(10.0, 60.0, kv_blocks=60)]), plan))
    assert found["saturation"] == pytest.approx((60 + 18 / 16) / 100)
    plan = layout(station(replicas=1, pace=Pace(5, 2, 3)))
    found = values(pools(tables(steps=[step(10.0, 60.0, kv_blocks=60)]), plan))
    assert found["saturation"] == pytest.approx((60 + 2.5 * 18 / 16) / 100)


def test_one_sequence_at_a_time_makes_load_the_traffic_intensity():
    plan = layout(station(replicas=1, max_sequences=1, kv_blocks=10**6, token_budget=10**6))
    data = tables(steps=[step(10.0, 40.0, decodes=1, kv_blocks=1)])
    assert values(pools(data, plan))["saturation"] == pytest.approx(30 / 50)


def test_a_step_that_leaves_a_call_waiting_is_full():
    steps = [step(10.0, 60.0, kv_blocks=40, waiting=1), step(10.0, 60.0, replica=1, kv_blocks=40)]
    found = values(pools(tables(steps=steps)))
    assert found["saturation.nvl72"] == pytest.approx((1.0 + 0.5) / 2)


def test_tools_are_busy_by_the_series_of_their_cores():
    tools = [tool(0, 5.0, 5.0, 15.0), tool(1, 20.0, 30.0, 50.0)]
    # bins of 20 s over 100 s, the window from 10 s to 60 s: half of the first bin counts
    cores = [3.0, 1.0, 2.0, 4.0, 4.0]
    series = [SampleRow(10 + 20 * i, "busy_cores", "tools", c) for i, c in enumerate(cores)]
    found = values(pools(tables(tools=tools, series=series)))
    assert found["utilization.cpu"] == pytest.approx((10 * 3 + 20 * 1 + 20 * 2) / (4 * 50))
    assert found["queue.cpu.mean"] == pytest.approx(10 / 50)
    assert found["queue.cpu.max"] == 1
    assert found["bottleneck"] == "cpu: cores"


def test_a_pool_of_both_tells_them_apart():
    plan = layout(station(), TOOLS._replace(pool="nvl72"))
    found = values(pools(tables(steps=[step(10.0, 20.0)]), plan))
    assert {"utilization.nvl72", "utilization.nvl72.tools"} <= found.keys()


def test_queue_is_the_time_average_of_who_waits():
    calls = [
        call(0, queued_s=5.0, scheduled_s=15.0),  # 5 s inside
        call(1, queued_s=12.0, scheduled_s=14.0),
        call(2, queued_s=20.0, scheduled_s=20.0),
        flying(3, arrived_s=50.0, queued_s=50.0),  # waits on past the window
        call(4, queued_s=58.0, scheduled_s=61.0),
    ]
    found = values(pools(tables(calls=calls)))
    assert found["queue.nvl72.mean"] == pytest.approx((5 + 2 + 10 + 2) / 50)
    assert found["queue.nvl72.max"] == 2


def test_queue_ends_come_before_starts_of_the_same_instant():
    calls = [call(0, queued_s=20.0, scheduled_s=30.0), call(1, queued_s=30.0, scheduled_s=40.0)]
    assert values(pools(tables(calls=calls)))["queue.nvl72.max"] == 1


def test_what_a_law_does_not_tell_is_none():
    data = tables(steps=[step(10.0, 20.0)])
    assert reasons(pools(data))["mfu.nvl72"] == "the law of this pool gives times only"
    plan = layout(station(peak_flops=None))
    data = tables(steps=[step(10.0, 20.0)], extra={"flops": [1.0], "bytes_moved": [1.0]})
    assert reasons(pools(data, plan))["mfu.nvl72"] == "a device of this pool has no published peak"


def test_gaps_belong_to_the_window_in_which_they_end():
    """A run of 1.6 s steps from 59 s and one from 60 s have none; the first run has five steps."""
    steps = [step(5.0, 15.0), step(20.0, 30.0), step(59.0, 75.0), step(60.0, 70.0)]
    _, gaps = activities(tables(steps=steps), WINDOW, layout().serving())
    assert gaps.total() == (5 + 10) * 4
    assert np.unique(gaps.first).tolist() == [10**15]


def test_what_belongs_to_a_first_step_goes_with_it():
    """A run that began before the window: its stalled decodes had their long gap outside."""
    stalled = {"survivors": 3, "stall_fs": 5 * 10**15, "apart": 1}
    steps = [step(5.0, 15.0, **stalled), step(59.0, 69.0, **stalled)]
    _, gaps = activities(tables(steps=steps), WINDOW, layout().serving())
    assert gaps.total() == 5 * 4 + 3
    assert sorted(zip(gaps.first.tolist(), gaps.weight.tolist(), strict=True)) == [
        (10**15, 4),
        (6 * 10**15, 3),
    ]


def test_what_a_router_holds_waits_too():
    held = call(0, arrived_s=20.0)._replace(
        held_s=8.0, queued_s=28.0, scheduled_s=28.0, deployment="decode"
    )
    found = values(pools(tables(calls=[held])))
    assert found["queue.nvl72.mean"] == pytest.approx(8 / 50)
    assert found["queue.nvl72.max"] == 1


def test_a_pool_without_steps_did_nothing_rather_than_something_unknown():
    found = values(pools(tables()))
    assert (found["utilization.nvl72"], found["mfu.nvl72"], found["mbu.nvl72"]) == (0.0, 0.0, 0.0)


def test_both_pools_of_a_split_are_busy_in_its_steps():
    """Ten replica-seconds of 50: 16 devices each there, 40 in all; FLOP and bytes of each side."""
    other = Partner("lpx", 16, 40.0, 2e12, 4e12, 5.0)
    plan = layout(station(partner=other))
    extra = {
        "flops": [1e12], "bytes_moved": [2e12], "active_j": [8.0],
        "partner_flops": [6e12], "partner_bytes_moved": [3e12], "partner_active_j": [2.0],
    }  # fmt: skip
    data = tables(steps=[step(10.0, 20.0)], extra=extra)
    total = activities(data, WINDOW, plan.serving())[0]["decode"]
    assert (total.active_j, total.partner_s) == (10.0, 160.0)
    found = values(pools(data, plan))
    assert found["utilization.nvl72"] == pytest.approx(40 / (8 * 50))
    assert found["utilization.lpx"] == pytest.approx(160 / (40 * 50))
    assert found["mfu.nvl72"] == pytest.approx(1e12 / (8 * 1e12 * 50))
    assert found["mfu.lpx"] == pytest.approx(6e12 / (40 * 2e12 * 50))
    assert found["mbu.lpx"] == pytest.approx(3e12 / (40 * 4e12 * 50))


def test_imbalance_of_experts_is_a_mean_over_time_in_steps():
    steps = [step(10.0, 20.0), step(20.0, 50.0)]
    data = tables(steps=steps, extra={"expert_imbalance": [1.0, 3.0]})
    assert values(pools(data))["expert_imbalance.nvl72"] == pytest.approx(2.5)
    assert "EP" in reasons(pools(tables(steps=steps)))["expert_imbalance.nvl72"]


def test_imbalance_is_told_of_the_pool_that_holds_the_experts():
    steps, here = [step(10.0, 20.0)], "expert_imbalance.nvl72"
    data = tables(steps=steps, extra={"expert_imbalance": [2.0]})
    other = Partner("lpx", 16, 40.0, 2e12, 4e12, 5.0)
    drafting = pools(data, layout(station(partner=other)))
    assert values(drafting)[here] == pytest.approx(2.0)
    assert "expert_imbalance.lpx" not in values(drafting)
    apart = pools(data, layout(station(partner=other._replace(experts=True))))
    assert values(apart)["expert_imbalance.lpx"] == pytest.approx(2.0)
    assert "EP" in reasons(apart)[here]
