"""The world of one replication: sessions, routing, closing, and the audit of leaks."""

from __future__ import annotations

import pytest

from factorysim.records import StepChunk
from factorysim.sim.call import Call
from factorysim.sim.decodes import Decodes
from factorysim.sim.kv import Ledger
from factorysim.sim.replica import Replica
from factorysim.sim.session import SHARES, Branch
from factorysim.sim.tools import ToolStation
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from tests.unit.sim.builders import MS, Listed, UnitLaw, calls, plan, run, scenario

CHAIN = [
    LlmNode(10, 5),
    ToolNode("shell", cpu_s=0.5, after=(0,)),
    LlmNode(20, 5, prefix_tokens=14, after=(1,)),
    GapNode(2_000_000_000, after=(2,)),
    LlmNode(40, 1, prefix_tokens=24, after=(3,)),
]


def test_one_call_takes_its_way_its_prompt_and_its_tokens():
    ran = run(scenario(), plan(latency_fs=3 * MS), [Listed("s", calls([7], prompt=10, output=4))])
    (call,) = ran.calls
    assert call.outcome == "completed"
    assert call.arrived_s == pytest.approx(0.007)
    assert call.queued_s == call.scheduled_s == pytest.approx(0.010)
    assert call.first_token_s == pytest.approx(0.020)
    assert call.last_token_s == pytest.approx(0.023)
    assert call.finished_s == pytest.approx(0.026)
    assert not ran.broken()


@pytest.mark.parametrize("prompt", [10, 20_000])
def test_the_door_takes_its_time_before_any_queue(prompt):
    spec = scenario(serving={"token_budget": 50_000})
    ran = [
        run(
            spec,
            plan(UnitLaw(token_fs=1), blocks=5000, door_fs=door),
            [Listed("s", calls([0], prompt=prompt))],
        ).calls[0]
        for door in (0, 5 * MS)
    ]
    assert ran[1].queued_s - ran[0].queued_s == pytest.approx(0.005)
    assert ran[1].finished_s - ran[0].finished_s == pytest.approx(0.005)


def test_a_session_walks_its_chain_and_its_shares_add_up():
    ran = run(scenario(), plan(hosts=1), [Listed("s", [Session("a", 0, list(CHAIN))])])
    (session,) = ran.sessions
    assert session.outcome == "completed"
    assert (session.calls, session.tools, session.turns) == (3, 1, 2)
    shares = {name: getattr(session, f"{name}_s") for name in SHARES}
    assert shares["tool"] == pytest.approx(0.5)
    assert shares["gap"] == pytest.approx(2.0)
    # 10 prompt tokens, then 20 of which 14 stay (16-token blocks: none), then 40 less 16
    assert shares["prefill"] == pytest.approx(0.010 + 0.020 + 0.024)
    assert shares["decode"] == pytest.approx(0.008)
    assert sum(shares.values()) == pytest.approx(session.finished_s - session.arrived_s, abs=1e-9)
    assert session.active_s == pytest.approx(session.finished_s - 2.0)
    assert session.turn_max_s == pytest.approx(0.010 + 0.004 + 0.5 + 0.020 + 0.004)
    assert not ran.broken()


def test_a_fork_runs_side_by_side_and_the_join_waits_for_the_slowest():
    nodes = [
        LlmNode(1, 1),
        ToolNode("a", cpu_s=1.0, after=(0,)),
        ToolNode("b", cpu_s=3.0, after=(0,)),
        ToolNode("c", remote_ns=2_000_000_000, after=(0,)),
        LlmNode(1, 1, after=(1, 2, 3)),
    ]
    ran = run(scenario(), plan(hosts=1), [Listed("s", [Session("a", 0, nodes)])])
    (session,) = ran.sessions
    assert session.finished_s == pytest.approx(3.002)
    assert session.tool_s == pytest.approx(3.0)
    assert session.tools == 3


def test_kv_stays_with_the_session_only_where_it_is_kept():
    nodes = [LlmNode(64, 1), LlmNode(128, 1, prefix_tokens=64, after=(0,))]
    for retain, hit in (("session", 64), ("none", 0)):
        spec = scenario(serving={"kv": {"retain": retain}})
        ran = run(spec, plan(), [Listed("s", [Session("a", 0, list(nodes))])])
        assert [call.hit_tokens for call in ran.calls] == [0, hit]


def test_fixed_concurrency_starts_the_next_when_one_ends():
    sessions = calls([0] * 10, prompt=100, output=1)
    spec = scenario(serving={"max_sequences": 1})
    ran = run(spec, plan(), [Listed("s", sessions, concurrency=2)], horizon_s=0.55)
    assert [s.outcome for s in ran.sessions] == ["completed"] * 5 + ["censored"] * 2
    assert [s.arrived_s for s in ran.sessions][:4] == pytest.approx([0, 0, 0.1, 0.2])


def test_what_is_in_flight_at_the_end_is_censored_and_balances():
    ran = run(
        scenario(),
        plan(hosts=1),
        [Listed("s", [Session(f"x{i}", i * 10**8, list(CHAIN)) for i in range(20)])],
        horizon_s=1.2034,
    )
    assert {s.outcome for s in ran.sessions} == {"censored"}
    assert {"completed", "censored"} == {c.outcome for c in ran.calls}
    assert len(ran.sessions) == 13
    assert not ran.broken()


def test_a_call_that_can_never_fit_fails_its_session():
    ran = run(scenario(), plan(blocks=4), [Listed("s", calls([0], prompt=65))])
    assert ran.calls[0].outcome == "rejected"
    assert ran.sessions[0].outcome == "failed"
    assert not ran.broken()


def test_a_tool_that_no_host_can_hold_fails_its_session():
    nodes = [LlmNode(1, 1), ToolNode("x", cpu_s=1.0, memory_bytes=1e12, after=(0,))]
    ran = run(scenario(), plan(hosts=1), [Listed("s", [Session("a", 0, nodes)])])
    assert ran.tools[0].outcome == "rejected"
    assert ran.sessions[0].outcome == "failed"
    assert not ran.broken()


def test_tools_that_end_together_resume_their_sessions_in_order():
    """Session 1 has asked for its cores first, and so is the first that the host tells of."""
    late = [ToolNode("x", cpu_s=0.5, remote_ns=500_000_000), LlmNode(1, 1, after=(0,))]
    early = [ToolNode("x", cpu_s=1.0), LlmNode(1, 1, after=(0,))]
    sessions = [Session("a", 0, late), Session("b", 0, early)]
    ran = run(scenario(), plan(hosts=1), [Listed("s", sessions)])
    assert [tool.finished_s for tool in ran.tools] == [1.0, 1.0]
    assert [tool.session for tool in ran.tools] == [0, 1]
    assert [call.session for call in sorted(ran.calls, key=lambda call: call.call)] == [0, 1]
    assert not ran.broken()


def test_without_tool_hosts_the_work_is_done_elsewhere():
    ran = run(scenario(), plan(), [Listed("s", [Session("a", 0, list(CHAIN))])])
    assert ran.sessions[0].tool_s == pytest.approx(0.5)
    assert ran.tools[0].deployment == "remote"
    assert not ran.broken()


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_kv", "sticky"])
def test_every_policy_spreads_calls_that_come_together(policy):
    spec = scenario(serving={"router": {"policy": policy}})
    ran = run(spec, plan(replicas=4), [Listed("s", calls([0] * 8))])
    assert sorted(call.replica for call in ran.calls) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_sticky_goes_back_to_where_the_cache_is():
    nodes = [LlmNode(64, 1), LlmNode(128, 1, prefix_tokens=64, after=(0,))]
    sessions = [Session(f"x{i}", 0, list(nodes)) for i in range(3)]
    spec = scenario(serving={"router": {"policy": "sticky"}})
    ran = run(spec, plan(replicas=3), [Listed("s", sessions)])
    assert all(call.hit_tokens == 64 for call in ran.calls[3:])


def test_a_stale_snapshot_sends_a_burst_to_one_replica():
    times = [500, 501, 502, 503, 1100]
    for snapshot, expected in (("0 s", {0, 1, 2, 3}), ("1 s", {0})):
        spec = scenario(serving={"router": {"policy": "least_outstanding", "snapshot": snapshot}})
        demand = [Listed("s", calls(times, prompt=100, output=5000))]
        ran = run(spec, plan(replicas=4), demand)
        assert {c.replica for c in ran.calls if c.arrived_s < 1} == expected
        late = next(c for c in ran.calls if c.arrived_s > 1)
        assert late.replica == (0 if snapshot == "0 s" else 1)


def burst_on(policy: str, snapshot: str) -> list[int]:
    """Calls per replica of 64 that come within one period of the snapshot."""
    spec = scenario(serving={"router": {"policy": policy, "snapshot": snapshot}})
    times = [500 + i for i in range(64)]
    ran = run(spec, plan(replicas=8), [Listed("s", calls(times, prompt=1000, output=1))])
    return [[c.replica for c in ran.calls].count(replica) for replica in range(8)]


def test_two_choices_spread_a_burst_that_the_least_of_a_stale_snapshot_herds():
    """Mitzenmacher, "How useful is old information?", IEEE TPDS 11(1), 2000."""
    assert burst_on("least_outstanding", "1 s") == [64, 0, 0, 0, 0, 0, 0, 0]
    assert max(burst_on("power_of_two", "1 s")) < 24
    assert max(burst_on("power_of_two", "0 s")) <= 10  # 8 each would be even
    assert burst_on("least_outstanding", "0 s") == [8] * 8


def test_a_draw_does_not_depend_on_what_else_is_routed():
    """Session b draws the same pair with and without a hundred others before it."""
    spec = scenario(serving={"router": {"policy": "power_of_two", "snapshot": "50 s"}})
    one = calls([900], prefix="b")
    alone = run(spec, plan(replicas=8), [Listed("s", one)])
    others = calls(list(range(100)), prefix="a")
    among = run(spec, plan(replicas=8), [Listed("s", [*others, *calls([900], prefix="b")])])
    assert among.calls[-1].replica == alone.calls[0].replica
    assert len({c.replica for c in among.calls}) > 4


def test_affinity_leaves_a_crowded_home_and_makes_another():
    chain = [LlmNode(64, 1)]
    chain += [LlmNode(64 * (n + 2), 1, prefix_tokens=64 * (n + 1), after=(n,)) for n in range(3)]
    for spill, moved in ((1, False), (0, True)):
        spec = scenario(serving={"router": {"policy": "affinity", "spill": spill}})
        sessions = [Session("a", 0, list(chain)), *calls([1, 2]), *calls([3], 5000, prefix="x")]
        ran = run(spec, plan(replicas=3), [Listed("s", sessions)])
        homes = [c.replica for c in ran.calls if c.session == 0]
        assert (len(set(homes)) > 1) is moved


def test_a_shared_queue_waits_where_no_replica_has_room():
    spec = scenario(
        serving={"max_sequences": 1, "router": {"policy": "shared_queue"}},
    )
    sessions = calls([0, 0, 0, 0], prompt=100)
    ran = run(spec, plan(replicas=2), [Listed("s", sessions)])
    assert sorted(c.finished_s for c in ran.calls) == pytest.approx([0.1, 0.1, 0.2, 0.2])
    assert [s.queue_s for s in ran.sessions] == pytest.approx([0, 0, 0.1, 0.1])
    assert sorted(c.held_s for c in ran.calls) == pytest.approx([0, 0, 0.1, 0.1])
    assert not ran.broken()


def test_a_call_that_the_router_holds_at_the_end_says_since_when():
    spec = scenario(serving={"max_sequences": 1, "router": {"policy": "shared_queue"}})
    ran = run(spec, plan(), [Listed("s", calls([0, 10], prompt=100))], horizon_s=0.05)
    last = ran.calls[-1]
    assert (last.outcome, last.replica, last.deployment) == ("censored", -1, "d")
    assert last.held_s == pytest.approx(0.04)
    assert not ran.broken()


def test_a_shared_queue_lets_go_of_the_urgent_first():
    spec = scenario(serving={"max_sequences": 1, "router": {"policy": "shared_queue"}})
    sessions = [
        Session(f"s{i}", i * 10**6, [LlmNode(100, 1)], priority=priority)
        for i, priority in enumerate((0, 5, 5, 1))
    ]
    ran = run(spec, plan(), [Listed("s", sessions)])
    order = sorted(ran.calls, key=lambda call: call.last_token_s)
    assert [call.session for call in order] == [0, 3, 1, 2]


def test_a_user_thinks_between_sessions_where_concurrency_is_fixed():
    demand = Listed("s", [Session(f"s{i}", 0, [LlmNode(10, 1)]) for i in range(3)], concurrency=1)
    demand.think_ns = 2 * 10**9
    ran = run(scenario(), plan(), [demand])
    assert [row.arrived_s for row in ran.sessions] == pytest.approx([0.0, 2.01, 4.02])


def test_a_node_that_waits_for_others_starts_by_its_delay_not_by_the_recorded_time():
    nodes = [
        LlmNode(10, 1, at_ns=3 * 10**9),
        LlmNode(10, 1, after=(0,), delay_ns=0, at_ns=50 * 10**9),
        LlmNode(10, 1, after=(1,), delay_ns=10**9, at_ns=70 * 10**9),
    ]
    ran = run(scenario(), plan(), [Listed("s", [Session("x", 0, nodes)])])
    assert [call.arrived_s for call in ran.calls] == pytest.approx([3.0, 3.01, 4.02])


def test_walking_every_step_gives_the_same_rows():
    sessions = [Session(f"x{i}", i * 3 * 10**6, list(CHAIN)) for i in range(40)]
    outcomes = [
        run(
            scenario(run={"clock": clock}, serving={"max_sequences": 8}),
            plan(replicas=2, blocks=30, hosts=1),
            [Listed("s", [Session(x.sid, x.at_ns, list(x.nodes)) for x in sessions])],
        )
        for clock in ("run_length", "stepwise")
    ]
    a, b = outcomes
    assert (a.calls, a.sessions, a.tools) == (b.calls, b.sessions, b.tools)
    assert sum(row.steps for row in a.steps) == len(b.steps)
    assert not a.broken()
    assert not b.broken()


# Planted leaks: the audit has to catch each of them.


def busy_run() -> list[str]:
    sessions = [Session(f"x{i}", i * 3 * 10**6, list(CHAIN)) for i in range(30)]
    factory = plan(replicas=2, blocks=30, hosts=1)
    return run(scenario(), factory, [Listed("s", sessions)], horizon_s=20.0).broken()


def test_nothing_is_broken_where_nothing_is_planted():
    assert busy_run() == []


def test_the_audit_catches_a_lost_block(monkeypatch):
    release = Ledger.release

    def forgetful(self: Ledger, call: Call, tokens: int) -> None:
        release(self, call, tokens)
        if call.number == 7:
            self.free -= 1

    monkeypatch.setattr(Ledger, "release", forgetful)
    assert "KV blocks: free + cached + private" in busy_run()


def test_the_audit_catches_an_extent_that_loses_a_block(monkeypatch):
    unlock = Ledger.unlock

    def careless(self: Ledger, call: Call) -> None:
        leaf = call.leaf
        unlock(self, call)
        if call.number == 87 and leaf is not None:
            leaf.count -= 1

    monkeypatch.setattr(Ledger, "unlock", careless)
    assert "KV blocks: free + cached + private" in busy_run()


def test_the_audit_catches_a_lock_that_is_never_released(monkeypatch):
    def possessive(self: Ledger, call: Call) -> None:
        """Keep the path locked."""

    monkeypatch.setattr(Ledger, "unlock", possessive)
    sessions = [Session("x", 0, list(CHAIN))]
    broken = run(scenario(), plan(hosts=1), [Listed("s", sessions)]).broken()
    assert broken == ["KV locks = paths of running calls"]


def test_the_audit_catches_a_path_that_is_cut_short(monkeypatch):
    register = Ledger.register

    def short(self: Ledger, call: Call, upto: int) -> int:
        copies = register(self, call, upto)
        if call.leaf is not None and call.leaf.parent is not None:
            call.leaf = call.leaf.parent
        return copies

    monkeypatch.setattr(Ledger, "register", short)
    sessions = [Session("x", 0, [LlmNode(64, 10**9), LlmNode(64, 1, after=(0,))])]
    spec = scenario(serving={"max_sequences": 1})
    broken = run(spec, plan(blocks=10**8), [Listed("s", sessions)], horizon_s=1.0).broken()
    assert "KV locks = paths of running calls" in broken


def test_the_audit_catches_a_token_counted_twice(monkeypatch):
    emit = Replica._emit

    def generous(self, call, now):
        if call.number == 5:
            call.computed_tokens += 1
        emit(self, call, now)

    monkeypatch.setattr(Replica, "_emit", generous)
    broken = busy_run()
    assert "prompt tokens of steps = computed + recomputed" in broken
    assert "calls: completed, prompt or output short" in broken


def test_the_audit_catches_an_output_token_too_many(monkeypatch):
    join = Decodes.join

    def generous(self, call):
        join(self, call)
        if call.number == 5:
            call.output_made += 1

    monkeypatch.setattr(Decodes, "join", generous)
    assert "tokens emitted by steps = output of calls + discarded" in busy_run()


def test_the_audit_catches_a_missing_joule(monkeypatch):
    from factorysim.sim.power import PowerMeter

    spread = PowerMeter._spread

    def leaky(self, place, start_s, stop_s, total_j, until_j):
        spread(self, place, start_s, stop_s, total_j * (1 - 1e-6), until_j)

    monkeypatch.setattr(PowerMeter, "_spread", leaky)
    assert "energy of parts = meter" in busy_run()


def test_the_audit_catches_a_session_that_nobody_wakes(monkeypatch):
    resume = Branch.resume

    def sleepy(self, event=None):
        if self.live.number != 3 or self.live.calls < 2:
            resume(self, event)

    monkeypatch.setattr(Branch, "resume", sleepy)
    assert busy_run()


def test_the_audit_catches_a_call_that_is_lost_on_its_way(monkeypatch):
    submit = Replica.submit

    def lossy(self, call):
        if call.number != 4:
            submit(self, call)

    monkeypatch.setattr(Replica, "submit", lossy)
    broken = busy_run()
    assert "calls: in flight = found" in broken


def test_the_audit_catches_time_that_no_share_holds(monkeypatch):
    from factorysim.sim import session

    monkeypatch.setattr(session, "QUEUE", session.KV)  # harmless: still a share
    assert busy_run() == []
    follow = Branch._pause

    def forgetful(self, delay_ns, share=session.GAP):
        follow(self, delay_ns, share)
        self.shares[share] -= 1

    monkeypatch.setattr(Branch, "_pause", forgetful)
    assert "time shares = duration (fs)" in busy_run()


def test_law_that_draws_gives_each_call_its_own_time_whatever_the_order():
    law = UnitLaw(token_fs=0, decode_fs=0, draw_s=0.1, exponential=True)
    times = []
    for order in ([0, 1000, 2000], [2000, 1000, 0]):
        sessions = sorted(
            (Session(f"x{i}", at * 10**6, [LlmNode(1, 1)]) for i, at in enumerate(order)),
            key=lambda s: s.at_ns,
        )
        ran = run(scenario(), plan(law), [Listed("s", sessions)])
        by_sid = {s.sid: s.finished_s - s.arrived_s for s in ran.sessions}
        times.append([by_sid[f"x{i}"] for i in range(3)])
    assert times[0] == pytest.approx(times[1])
    assert len(set(times[0])) == 3


def test_what_becomes_of_a_call_does_not_depend_on_whether_another_follows():
    """Three calls in a cache too small for them: preempted, each finds its own prompt again."""
    spec = scenario(serving={"token_budget": 64})
    law = UnitLaw(token_fs=MS, decode_fs=5 * MS)
    ends = []
    for more in ([], [LlmNode(1, 1, after=(0,), delay_ns=90 * 10**9)]):
        sessions = [Session(f"s{i}", i * 10**6, [LlmNode(160, 200), *more]) for i in range(3)]
        ran = run(spec, plan(law, blocks=40), [Listed("s", sessions)])
        first = [call for call in ran.calls if call.requested_tokens == 200]
        assert sum(call.preemptions for call in first) > 2
        assert not ran.broken()
        ends.append([(c.last_token_s, c.preemptions, c.recomputed_tokens) for c in first])
    assert ends[0] == ends[1]


def test_a_prompt_on_its_way_slows_the_steps_of_a_replica_that_straddles_servers():
    """Two ways of 0.4 GB/s on a link of 1 GB/s; a prompt that could fill it takes a third.

    Three equal claims, of which the collectives' are below their fair share of 0.33
    GB/s no more: each gets a third, 0.33 / 0.4 of what a step sends.
    """
    law = UnitLaw(link_token_bytes=0.8e9 * 1e-3)
    big = Session("big", 500 * 10**6, [LlmNode(10**8, 1)])
    small = calls([0], prompt=1, output=2000)
    spec = scenario(serving={"token_budget": 16})
    ran = run(spec, plan(law, blocks=1000, devices=2), [Listed("s", [*small, big])], horizon_s=3.0)
    assert not ran.broken()
    lengths = sorted({row.step_fs / MS for row in ran.steps if row.steps > 1})
    assert lengths == pytest.approx([1.0, 1.2])


def test_the_audit_catches_steps_that_the_meter_never_hears_of(monkeypatch):
    from factorysim.sim.power import PowerMeter

    add = PowerMeter.add_steps

    def deaf(self, number, rows):
        add(self, number, StepChunk({name: c[1:] for name, c in rows.columns.items()}))

    monkeypatch.setattr(PowerMeter, "add_steps", deaf)
    assert "metered seconds of steps = busy" in busy_run()


def test_the_audit_catches_busy_cores_that_are_not_written_down(monkeypatch):
    from factorysim.sim.power import PowerMeter

    add = PowerMeter.add_busy
    monkeypatch.setattr(PowerMeter, "add_busy", lambda self, n, rows: add(self, n, rows[1:]))
    assert "metered core-seconds = busy" in busy_run()


def test_the_audit_catches_a_transfer_that_never_lands(monkeypatch):
    from factorysim.sim.fabric import Fabric

    def sunk(self, src, dst, size_bytes, cap, on_landed, *, kind="message"):
        """Take the bytes and forget them."""

    monkeypatch.setattr(Fabric, "transfer", sunk)
    sessions = [Session("x", 0, [LlmNode(20_000, 1)])]
    broken = run(scenario(), plan(blocks=5000), [Listed("s", sessions)]).broken()
    assert "calls: in flight = found" in broken


def test_the_audit_catches_an_answer_that_never_comes_back(monkeypatch):
    from factorysim.sim.ways import FabricWay

    monkeypatch.setattr(FabricWay, "back", lambda *_: None)
    assert "calls: in flight = found" in busy_run()


def test_the_audit_catches_a_pause_without_an_end(monkeypatch):
    pause = Branch._pause

    def endless(self, delay_ns, *share):
        if self.live.number != 3:
            pause(self, delay_ns, *share)

    monkeypatch.setattr(Branch, "_pause", endless)
    assert "sessions: in flight and asleep for ever" in busy_run()


@pytest.mark.parametrize("table", ["calls", "sessions", "tools", "steps"])
@pytest.mark.parametrize("times", [0, 2])
def test_the_audit_catches_rows_lost_or_written_twice(monkeypatch, table, times):
    from factorysim.sim.book import Book

    hand = Book.rows

    def careless(self, name, rows):
        rows = list(rows)
        hand(self, name, rows + rows[:1] * (times - 1) if times else rows[1:])

    monkeypatch.setattr(
        Book,
        "rows",
        lambda self, name, rows: (careless if name == table else hand)(self, name, rows),
    )
    assert f"rows of {table} handed on = counted" in busy_run()


def test_the_audit_catches_a_transfer_that_is_not_written_down(monkeypatch):
    from factorysim.sim.book import Book

    def broken() -> list[str]:
        big = [Session("x", 0, [LlmNode(20_000, 1)])]
        return run(scenario(), plan(blocks=2000), [Listed("s", big)]).broken()

    assert broken() == []
    hand = Book.rows
    monkeypatch.setattr(
        Book, "rows", lambda self, name, rows: name == "transfers" or hand(self, name, rows)
    )
    assert broken() == ["rows of transfers handed on = counted"]


@pytest.mark.parametrize("table", ["calls", "sessions"])
def test_the_audit_catches_a_row_lost_and_another_written_twice(monkeypatch, table):
    from factorysim.sim.audit import Ledgers

    add = getattr(Ledgers, f"add_{table}")
    monkeypatch.setattr(
        Ledgers, f"add_{table}", lambda self, rows: add(self, [*rows[1:], rows[-1]])
    )
    assert f"{table}: each once" in busy_run()


def test_the_audit_catches_a_session_that_forgets_an_answer(monkeypatch):
    take = Branch._take_answer

    def forgetful(self, call):
        take(self, call)
        if call.number == 5:
            self.live.output_tokens -= 1

    monkeypatch.setattr(Branch, "_take_answer", forgetful)
    assert "tokens of calls = tokens of sessions" in busy_run()


@pytest.mark.parametrize("what", ["demand", "asked", "free_memory"])
def test_the_audit_catches_what_a_tool_host_never_gets_back(monkeypatch, what):
    finished = ToolStation._finished

    def greedy(self, host):
        before = getattr(host, what)
        done = finished(self, host)
        if any(job.number == 3 for job in done):
            setattr(host, what, before)
        return done

    monkeypatch.setattr(ToolStation, "_finished", greedy)
    sessions = [
        Session(f"x{i}", i * 10**6, [ToolNode("shell", cpu_s=0.5, memory_bytes=7.0)])
        for i in range(9)
    ]
    ran = run(scenario(), plan(hosts=1, cores=2), [Listed("s", sessions)], horizon_s=60.0)
    assert "tool hosts: cores and memory not held by jobs" in ran.broken()


def test_the_audit_catches_a_tool_that_does_half_its_work(monkeypatch):
    def ran(horizon_s):
        sessions = [Session(f"x{i}", i * 10**6, [ToolNode("shell", cpu_s=0.5)]) for i in range(9)]
        factory = plan(hosts=1, cores=2)
        return run(scenario(), factory, [Listed("s", sessions)], horizon_s=horizon_s).broken()

    start = ToolStation._start

    def lazy(self, host, job, now_fs):
        whole, job.cpu_s = job.cpu_s, job.cpu_s / (2 if job.number == 1 else 1)
        start(self, host, job, now_fs)
        job.cpu_s = whole

    assert not ran(1.0)  # while they work
    monkeypatch.setattr(ToolStation, "_start", lazy)
    assert ran(60.0) == ["core-seconds given = got by tools"]


def test_the_audit_catches_a_stay_that_the_replica_tells_otherwise(monkeypatch):
    leave = Replica._leave

    def early(self, call, outcome):
        if call.number == 5 and call.last_token_fs is not None:
            call.last_token_fs -= 1000 * MS
        leave(self, call, outcome)

    monkeypatch.setattr(Replica, "_leave", early)
    assert "Little's law: d" in busy_run()


def crowded():
    """Four prompts of 80,000 bytes at once over the plan's one link; names of broken laws."""
    sessions = calls([0] * 4, prompt=20_000)
    spec = scenario(serving={"token_budget": 100_000})
    return run(spec, plan(UnitLaw(token_fs=1), blocks=9000), [Listed("s", sessions)]).closing.audit


def broken_of(lines):
    return [line.name for line in lines if not line.ok]


def test_a_crowded_link_breaks_no_law_and_tells_for_how_long_it_was_full():
    lines = {line.name: line for line in crowded()}
    assert not broken_of(lines.values())
    told = lines["link seconds saturated"]
    assert told.got == pytest.approx(4 * 80e-6)
    assert told.detail.startswith("warning: 1 links slowed their flows, which asked for up to 4.00")
    assert lines["flow on a link <= capacity"].got == pytest.approx(1.0, abs=1e-5)


def test_crowded_links_give_both_clocks_the_same_instants():
    """Rates are floats, but what starts and ends flows comes in one order."""
    both = []
    for clock in ("run_length", "stepwise"):
        sessions = [Session(f"s{k}", k * 3 * 10**4, [LlmNode(20_000 + k, 3)]) for k in range(30)]
        spec = scenario(serving={"token_budget": 100_000}, run={"clock": clock})
        both.append(run(spec, plan(UnitLaw(token_fs=1), blocks=90_000), [Listed("s", sessions)]))
    assert both[0].calls == both[1].calls
    assert both[0].sessions == both[1].sessions
    told = {line.name: line.got for line in both[0].closing.audit}
    assert told["link seconds saturated"] > 1e-3


def test_the_audit_catches_a_link_over_its_capacity(monkeypatch):
    from factorysim.sim import traffic

    monkeypatch.setattr(traffic, "max_min", lambda classes, _: [0.9 * one.cap for one in classes])
    assert "flow on a link <= capacity" in broken_of(crowded())


def test_the_audit_catches_a_flow_that_loses_bytes(monkeypatch):
    from factorysim.sim.traffic import Traffic

    slow = Traffic._slow

    def lossy(self, one, now_fs):
        slow(self, one, now_fs)
        one.targets[:] = [(0.999 * target, *rest) for target, *rest in one.targets]

    monkeypatch.setattr(Traffic, "_slow", lossy)
    assert "slowed flows whose rates over time are not their bytes" in broken_of(crowded())


def test_the_audit_catches_a_slowed_flow_that_nothing_wakes(monkeypatch):
    from factorysim.sim.traffic import Traffic

    monkeypatch.setattr(Traffic, "_wake", lambda self, region: None)
    broken = broken_of(crowded())
    assert "bytes sent = landed + in flight" in broken
    assert "calls: in flight = found" in broken


def test_the_audit_catches_bytes_that_land_twice(monkeypatch):
    from factorysim.sim.fabric import Fabric

    land = Fabric._land

    def twice(self, flow):
        land(self, flow)
        self._landed_bytes += flow.size_bytes

    monkeypatch.setattr(Fabric, "_land", twice)
    assert "bytes sent = landed + in flight" in broken_of(crowded())
