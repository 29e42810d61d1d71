"""Prompts computed apart: when KV moves, how much of it, who waits for whom, what failures do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from factorysim.graph.factory import LinkTable, Path
from factorysim.graph.plan import FactoryPlan, RackPlan, ReplicaPlan, ServePlan
from factorysim.physics.handoff import KvState
from factorysim.physics.power import PowerModel, Weights
from factorysim.physics.speculation import Pace, pace, speculative_law
from factorysim.physics.vision import Encoder
from factorysim.sim.factory import FactoryWorld
from factorysim.sim.handoff import HandOff, Pairing
from factorysim.sim.replica import Replica
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import FS, Listed, Rows, UnitLaw, calls, scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

MB = 1e6
KV = KvState(token_bytes=MB, window_bytes=0.0, window=0, state_bytes=0.0, layers=10)
DEPLOYMENTS = {
    "p": {"pool": "gpu", "llm": "m", "role": "prefill"},
    "d": {"pool": "gpu", "llm": "m", "role": "decode"},
}


def plan(
    *,
    prefill: int = 1,
    decode: int = 1,
    p_blocks: int = 1000,
    d_blocks: int = 1000,
    kv: KvState = KV,
    pace: Pace | None = None,
) -> FactoryPlan:
    """Replicas of one device; 1 GB/s from each prefill device to each decode device, no latency.

    Those that decode verify drafts where a pace is given.
    """
    law = UnitLaw()
    decoding = law if pace is None else speculative_law(law, None, pace)

    def side(name: str, role: Any, first: int, count: int, blocks: int) -> ServePlan:
        places = tuple(ReplicaPlan((first + i,), 0, 0, 1e9) for i in range(count))
        return ServePlan(
            name, "m", "gpu", None, decoding if role == "decode" else law,
            PowerModel(1.0, 2.0, Weights(0.75, 0.5, 0.1, 0.15)),
            blocks, places, 1, role, kv if role == "decode" else None,
        )  # type: ignore[arg-type]  # fmt: skip

    nodes = 1 + prefill + decode
    links = [(a, b) for a in range(nodes) for b in range(nodes)]
    return FactoryPlan(
        serve=(
            side("d", "decode", 1 + prefill, decode, d_blocks),
            side("p", "prefill", 1, prefill, p_blocks),
        ),
        tools=(),
        racks=(RackPlan("r0", "gpu", 10.0),),
        links=LinkTable(
            tuple(f"{a}->{b}" for a, b in links), np.full(len(links), 1e9), np.zeros(len(links))
        ),
        routes=lambda a, b: Path((a * nodes + b,), 0, 1e9),  # type: ignore[arg-type]
        pue=1.0,
        facts=(),
    )


def simulate(
    sessions: Sequence[Session],
    factory: FactoryPlan | None = None,
    *,
    how: dict[str, Any] | None = None,
    disturb: Any = None,
    horizon_s: float = 100.0,
    **serving: Any,
) -> dict[str, Any]:
    """Run sessions through a factory; `disturb` is called with the world before they arrive."""
    clock = serving.pop("clock", "run_length")
    serving = {"kv": {"block_tokens": 1}, **serving}
    if how is not None:
        serving["disaggregation"] = how
    spec = scenario(
        deployments=DEPLOYMENTS, serving=serving, run={"window": f"{horizon_s} s", "clock": clock}
    )
    sink = Rows()
    world = FactoryWorld(spec, factory or plan(), 0, horizon_s, horizon_s, sink, None, {})
    if disturb is not None:
        disturb(world)
    world.open_stream(0, Listed("s", [replace(session) for session in sessions]))
    world.clock.run_until(round(horizon_s * FS))
    closing = world.close()
    return {**sink.tables, "broken": [line.name for line in closing.audit if not line.ok]}


def times(row: Any) -> tuple[float, float]:
    """First and last token of a call in milliseconds."""
    return round(row.first_token_s * 1e3, 6), round(row.last_token_s * 1e3, 6)


def test_kv_moves_once_the_prompt_is_computed():
    """10 tokens take 10 ms to compute and 10 MB take 10 ms to move; then 1 ms a token."""
    ran = simulate(calls([0], prompt=10, output=3))
    (call,) = ran["calls"]
    assert times(call) == (10.0, 22.0)
    (moved,) = ran["handoffs"]
    assert moved.moved_bytes == 10 * MB
    assert (moved.prefilled_s, moved.landed_s, moved.joined_s) == (0.010, 0.020, 0.020)
    assert not ran["broken"]


@pytest.mark.parametrize("first", ["prefill", "decode"])
def test_decodes_that_were_handed_off_speculate(first):
    """2.5 tokens a verify.

    Prefill has made one of the 6 tokens, and 5 take two verifies. Or decode makes all: 2 after
    the first verify, 5 after the second, and the last is cut from the third.
    """
    at = Pace(5, 2, 3)
    how = {"first_token_from": first}
    ran = simulate(calls([0], prompt=10, output=6), plan(pace=at), how=how)
    (call,) = ran["calls"]
    assert not ran["broken"]
    verifies = sum(row.decodes * row.steps for row in ran["steps"])
    assert verifies == (2 if first == "prefill" else 3)
    assert call.output_tokens == 6
    assert sum(row.accepted_tokens for row in ran["steps"]) == 3


def test_what_lacks_blocks_for_drafts_is_rejected_before_its_prompt_is_computed():
    """10 + 3 - 1 tokens in 12 blocks of one; with 3 drafts they would need 15."""
    sessions = calls([0], prompt=10, output=3)
    outcomes = []
    for blocks in (12, 14, 15):
        ran = simulate(sessions, plan(d_blocks=blocks, pace=pace(3, 0.5)))
        outcomes.append(ran["calls"][0].outcome)
        assert not ran["broken"]
    assert outcomes == ["rejected", "rejected", "completed"]


def test_decode_makes_the_first_token_itself():
    """It computes the prompt's last token, so the KV of nine moves, and the first comes late."""
    ran = simulate(calls([0], prompt=10, output=3), how={"first_token_from": "decode"})
    (call,) = ran["calls"]
    assert times(call) == (20.0, 22.0)
    assert ran["handoffs"][0].moved_bytes == 9 * MB
    assert not ran["broken"]


def test_layers_go_as_they_are_computed():
    """Nine of ten layers leave during the prefill, the last one after it."""
    ran = simulate(calls([0], prompt=10, output=3), how={"overlap": "layers"})
    (moved,) = ran["handoffs"]
    assert moved.landed_s == pytest.approx(0.011)
    assert moved.moved_bytes == 10 * MB
    assert times(ran["calls"][0]) == (10.0, 13.0)
    assert not ran["broken"]


def test_slow_links_stay_exposed_under_overlap():
    """40 MB take 40 ms: what the prefill's 10 ms do not hide of nine layers, and the last."""
    slow = KV._replace(token_bytes=4 * MB)
    ran = simulate(calls([0], prompt=10, output=3), plan(kv=slow), how={"overlap": "layers"})
    assert ran["handoffs"][0].landed_s == pytest.approx(0.040)


def test_only_what_the_destination_lacks_moves():
    """The second call repeats 12 tokens that its decode replica holds."""
    nodes = [LlmNode(10, 3), LlmNode(20, 2, prefix_tokens=12, after=(0,))]
    ran = simulate([Session("s0", 0, nodes)])
    first, second = ran["handoffs"]
    assert (first.held_tokens, second.held_tokens) == (0, 12)
    assert second.moved_bytes == 8 * MB
    # The prefill replica has never seen the tokens that were made: it holds ten.
    assert ran["calls"][1].hit_tokens == 10
    assert not ran["broken"]


def test_short_prompts_are_computed_where_they_decode():
    """What is cached there does not count: 8 tokens of the second prompt are missing."""
    nodes = [LlmNode(10, 3), LlmNode(20, 2, prefix_tokens=12, after=(0,))]
    ran = simulate([Session("s0", 0, nodes)], how={"local_prefill_below": 9})
    assert [row.call for row in ran["handoffs"]] == [0]
    assert ran["calls"][1].hit_tokens == 12
    assert not ran["broken"]


def test_a_call_of_one_token_ends_where_its_prompt_was_computed():
    ran = simulate(calls([0], prompt=10, output=1))
    assert times(ran["calls"][0]) == (10.0, 10.0)
    assert ran["handoffs"][0].moved_bytes == 0
    assert not ran["broken"]


def test_blocks_are_set_aside_before_kv_moves():
    """Decode holds 12 tokens: the second call's KV leaves when the first has ended."""
    ran = simulate(calls([0, 0], prompt=10, output=3), plan(prefill=2, d_blocks=12))
    first, second = sorted(ran["handoffs"], key=lambda row: row.reserved_s)
    assert first.reserved_s == 0.010
    assert second.reserved_s == pytest.approx(first.joined_s + 0.002)
    assert second.landed_s == pytest.approx(second.reserved_s + 0.010)
    assert not ran["broken"]


def test_prefill_keeps_blocks_until_they_have_left():
    """Its cache holds one prompt, so the next is computed when the first has landed."""
    ran = simulate(calls([0, 0], prompt=10, output=3), plan(p_blocks=10))
    first, second = ran["handoffs"]
    assert second.scheduled_s == first.landed_s == 0.020
    assert not ran["broken"]


def test_what_is_under_way_at_the_end_is_written_down():
    """At 5 ms one prompt is half computed; at 15 ms its KV is on the way."""
    for horizon_s, joined in ((0.005, None), (0.015, None), (0.0205, 0.020)):
        ran = simulate(calls([0, 1], prompt=10, output=3), horizon_s=horizon_s)
        assert not ran["broken"]
        assert [row.outcome for row in ran["calls"]] == ["censored"] * 2
        assert sorted((r.call, r.joined_s) for r in ran["handoffs"])[0] == (0, joined)


@pytest.mark.parametrize("how", [{}, {"overlap": "layers"}, {"first_token_from": "decode"}])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("at_ms", [4, 10.5, 14, 21.5])
def test_a_failed_replica_fails_its_calls_and_no_law(how, side, at_ms):
    """On either side, while the prompt is computed, while KV moves, while tokens are made."""

    def disturb(world: FactoryWorld) -> None:
        replica = world.serving.replicas[side]
        world.clock.at(int(at_ms * FS / 1000), 0, lambda _: replica.fail(), None)

    whole = simulate(calls([0, 0.5], prompt=10, output=8), how=how)
    ended = {row.call: row.last_token_s for row in whole["calls"]}
    ran = simulate(calls([0, 0.5], prompt=10, output=8), disturb=disturb, how=how)
    decoding = {row.call: row.joined_s for row in ran["handoffs"]}
    for row in ran["calls"]:
        joined = decoding.get(row.call)
        decodes = side == 1 and joined is not None and joined < at_ms / 1e3
        safe = decodes or ended[row.call] < at_ms / 1e3
        assert row.outcome == ("completed" if safe else "failed")
    assert not ran["broken"]


@pytest.mark.parametrize("at_ms", [4, 14, 21.5])
def test_a_cancelled_call_leaves_no_blocks_behind(at_ms):
    def disturb(world: FactoryWorld) -> None:
        def cancel(_: object) -> None:
            call = world._flying[0]
            if call.handoff is not None:
                world.serving.replicas[0].cancel(call)

        world.clock.at(int(at_ms * FS / 1000), 0, cancel, None)

    ran = simulate(calls([0, 0.5], prompt=10, output=8), disturb=disturb)
    assert not ran["broken"]


def test_time_while_kv_moves_is_a_share_of_its_own():
    (session,) = simulate(calls([0], prompt=10, output=3))["sessions"]
    assert session.prefill_s == pytest.approx(0.010)
    assert session.kv_s == pytest.approx(0.010)
    assert session.decode_s == pytest.approx(0.002)
    late = simulate(calls([0], prompt=10, output=3), how={"first_token_from": "decode"})
    (session,) = late["sessions"]
    assert session.kv_s == pytest.approx(0.009)
    assert session.prefill_s == pytest.approx(0.011)


def test_gaps_of_a_hand_off_are_rows_of_their_own():
    ran = simulate(calls([0], prompt=10, output=3))
    (gap,) = ran["gaps"]
    assert (gap.cause, round(gap.gap_s, 6)) == ("hand_off", 0.011)
    assert [row.apart for row in ran["steps"] if row.decodes] == [1]
    assert "gaps" not in simulate(
        calls([0], prompt=10, output=3), how={"first_token_from": "decode"}
    )


def test_every_device_of_the_destination_takes_its_part():
    """Of four devices from two: pairs share a source, and 1 GB/s of its own link each."""
    factory = plan()
    wide = [
        one._replace(replicas=(one.replicas[0]._replace(devices=devices),))
        for one, devices in zip(factory.serve, ((3, 4, 5, 6), (1, 2)), strict=True)
    ]
    nodes = 7
    factory = factory._replace(
        serve=tuple(wide),
        links=LinkTable(tuple(map(str, range(49))), np.full(49, 1e9), np.zeros(49)),
        routes=lambda a, b: Path((a * nodes + b,), 0, 1e9),
    )
    ran = simulate(calls([0], prompt=10, output=3), factory)
    ways = [(row.src, row.dst, row.size_bytes) for row in ran["transfers"] if row.kind == "kv"]
    assert sorted(ways) == [(1, 3, 10**7), (1, 4, 10**7), (2, 5, 10**7), (2, 6, 10**7)]
    assert ran["handoffs"][0].moved_bytes == 4 * 10**7


class TestPlantedLeaks:
    """The audit fails where a part of the hand-off forgets what it owes."""

    def broken(self, **changes: Any) -> list[str]:
        return simulate(calls([0, 5, 9], prompt=10, output=3), **changes)["broken"]

    def test_blocks_that_never_come_back(self, monkeypatch):
        monkeypatch.setattr(
            Replica, "let_go", lambda self, call: bool(self.dock.kept.pop(call.number))
        )
        assert "KV blocks: free + cached + private" in self.broken()

    def test_tokens_of_a_leg_that_nobody_gets(self, monkeypatch):
        settle = HandOff.settle

        def short(self):
            settle(self)
            self.call.computed_tokens -= 1

        monkeypatch.setattr(HandOff, "settle", short)
        assert "prompt tokens of steps = computed + recomputed" in self.broken()

    def test_discarded_tokens_not_counted(self, monkeypatch):
        resume = HandOff.resume

        def forget(self, leg):
            resume(self, leg)
            self._gate.pairing.discarded = 0

        monkeypatch.setattr(HandOff, "resume", forget)
        broken = self.broken(how={"first_token_from": "decode"})
        assert "tokens emitted by steps = output of calls + discarded" in broken

    def test_kv_that_never_lands(self, monkeypatch):
        monkeypatch.setattr(Replica, "land", lambda self, call: None)
        assert "calls whose KV never comes" in self.broken()

    def test_a_row_that_is_not_written(self, monkeypatch):
        monkeypatch.setattr(HandOff, "_end", lambda self: None)
        monkeypatch.setattr(Pairing, "unwritten", lambda self: ())
        assert "hand-offs begun = written" in self.broken()


def shaped(factory: FactoryPlan, **fields: Any) -> FactoryPlan:
    """Give every deployment of a plan some fields."""
    return factory._replace(serve=tuple(serve._replace(**fields) for serve in factory.serve))


@pytest.mark.parametrize("how", [{}, {"overlap": "layers"}, {"first_token_from": "decode"}])
def test_images_are_encoded_where_the_prompt_is_computed(how):
    """4 image tokens at 2 ms: the prefill takes 8 ms longer, the decode no time more."""
    factory = shaped(plan(), encoder=Encoder(round(2e-3 * FS), 0))
    (plain,) = simulate(calls([0], prompt=10, output=3), factory, how=how)["calls"]
    pictured = [Session("s0", 0, [LlmNode(10, 3, image_tokens=4)])]
    ran = simulate(pictured, factory, how=how)
    (call,) = ran["calls"]
    assert times(call) == tuple(round(at + 8.0, 6) for at in times(plain))
    assert not ran["broken"]


def test_a_call_beyond_the_context_is_turned_away_before_its_prompt_is_computed():
    factory = shaped(plan(), context_tokens=12)
    made = [Session("a", 0, [LlmNode(10, 3)]), Session("b", 0, [LlmNode(9, 3)])]
    ran = simulate(made, factory)
    assert {call.outcome for call in ran["calls"]} == {"rejected", "completed"}
    assert len(ran["handoffs"]) == 1
    assert sum(call.computed_tokens for call in ran["calls"]) == 9
    assert not ran["broken"]

    def test_bytes_that_do_not_move(self, monkeypatch):
        move = HandOff._move
        monkeypatch.setattr(HandOff, "_move", lambda self, size: move(self, size * 19 // 20))
        assert "hand-offs of other bytes or waits than owed" in self.broken()

    def test_a_last_layer_that_is_never_sent(self, monkeypatch):
        move = HandOff._move
        monkeypatch.setattr(
            HandOff, "_move", lambda self, size: move(self, 0 if self.done else size)
        )
        broken = self.broken(how={"overlap": "layers"})
        assert "hand-offs of other bytes or waits than owed" in broken

    def test_rows_that_say_more_than_was_sent(self, monkeypatch):
        move = HandOff._move

        def boast(self, size):
            move(self, size)
            self.moved_bytes *= 2

        monkeypatch.setattr(HandOff, "_move", boast)
        assert "bytes handed off = sent" in self.broken()

    def test_a_wait_for_kv_that_the_call_is_not_told_of(self, monkeypatch):
        monkeypatch.setattr(HandOff, "_end", _forgetful(HandOff._end))
        assert "hand-offs of other bytes or waits than owed" in self.broken()


def _forgetful(end):
    def forget(self):
        self.call.kv_fs = 0
        end(self)

    return forget


def test_as_many_tokens_as_the_threshold_are_computed_elsewhere():
    """`local_prefill_below` is what it says: fewer."""
    ran = simulate(calls([0], prompt=10, output=3), how={"local_prefill_below": 10})
    assert len(ran["handoffs"]) == 1
    ran = simulate(calls([0], prompt=10, output=3), how={"local_prefill_below": 11})
    assert "handoffs" not in ran
