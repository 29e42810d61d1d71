"""Prefill here, decode there: a call's prompt is computed on one replica, its tokens on another.

A call arrives where it will decode. Unless little of its prompt is missing there, a
*leg* of it goes to a prefill replica: a call of its own, that ends with the first
token. Then the KV that the decode replica does not hold moves, device to device,
through the fabric; the leg's blocks stay until it has landed, and the call decodes
from the next step on. Blocks at the destination are set aside before KV moves: after
the prefill, or before it where KV moves layer by layer as it is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.sim.call import GONE, UNNAMED, Call
from factorysim.sim.clock import S_PER_FS
from factorysim.sim.fabric import LATENCY_ONLY_BYTES
from factorysim.sim.ways import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from factorysim.graph.plan import FactoryPlan, ReplicaPlan
    from factorysim.physics.handoff import KvState
    from factorysim.sim.clock import Clock
    from factorysim.sim.deployment import Deployment
    from factorysim.sim.fabric import Fabric
    from factorysim.sim.replica import Replica
    from factorysim.sim.router import Landed, Router
    from factorysim.sim.session import Live
    from factorysim.spec.serving import DisaggregationSpec

_BITS = 1 << 20
"""Of a call's uniform, the leading ones choose its decode replica, the rest its prefill one."""


class Pairing:
    """The decode replicas of an LLM, and the prefill replicas that work for them.

    Parameters
    ----------
    on_row
        Takes a finished hand-off, to be written down.
    """

    def __init__(
        self,
        spec: DisaggregationSpec,
        fabric: Fabric,
        prefill: Router,
        places: dict[int, ReplicaPlan],
        on_row: Callable[[HandOff], None],
    ) -> None:
        self.early = spec.overlap == "layers"
        """Whether blocks are set aside before the prefill, and KV moves during it."""
        self.local_below = spec.local_prefill_below
        self.decode_first = spec.first_token_from == "decode"
        self.fabric = fabric
        self.prefill = prefill
        self.places = places
        """Of all replicas, by index."""
        self.on_row = on_row
        self.begun = 0
        self.under_way: dict[int, HandOff] = {}
        """All that have not come to their end, by call."""
        self.legs: dict[int, HandOff] = {}
        """Prompts that are being computed, by call."""
        self.discarded = 0
        """First tokens that prefill made and decode made again."""
        self.orphans: list[Call] = []
        """Legs that ended after their call had left."""

    def unwritten(self) -> Iterable[HandOff]:
        """Go through those that have not come to their end."""
        return self.under_way.values()

    def not_alone(self) -> int:
        """Count the legs whose call is elsewhere too, or has left."""
        return sum(
            one.reserved_fs is not None or one.call.state == GONE for one in self.legs.values()
        )


class Gate:
    """The door of a decode deployment: decides where each prompt is computed."""

    def __init__(self, pairing: Pairing, deployment: Deployment, kv: KvState) -> None:
        self.pairing = pairing
        self.deployment = deployment
        self.kv = kv

    def take(self, call: Call) -> None:
        """Hand a call that has landed to its replica, or its prompt to another first."""
        server, pairing = call.server, self.pairing
        assert server is not None
        limits = server.limits
        most = call.prompt_tokens + call.output_tokens - 1
        held = 0
        if call.content and limits.retain != "none":
            size = limits.block_tokens
            held = server.ledger.match(call.content, (call.prompt_tokens - 1) // size)[0] * size
        local = call.prompt_tokens - held < pairing.local_below
        if server.down or most > server.longest or local:
            self.deployment.take(call)
        else:
            HandOff(call, self).begin()


class HandOff:
    """One call on its way from the replica that computes its prompt to the one that decodes."""

    __slots__ = (
        "_flows",
        "_gate",
        "asked_fs",
        "call",
        "context",
        "done",
        "held_tokens",
        "joined_fs",
        "landed_fs",
        "leg",
        "moved_bytes",
        "reserved_fs",
    )

    def __init__(self, call: Call, gate: Gate) -> None:
        self.call = call
        self._gate = gate
        self.leg = leg = Call(
            call.number,
            call.session,
            call.prompt_tokens,
            1,
            call.prefix_tokens,
            call.priority,
            call.last,
            call.u,
            tag=self,
            content=call.content,
        )
        leg.image_tokens = call.image_tokens
        if call.run == UNNAMED:
            leg.run = UNNAMED
        # Decode computes the prompt's last token itself where it makes the first of its own.
        self.context = call.prompt_tokens - gate.pairing.decode_first
        """Tokens whose KV moves."""
        self.done = False
        """Whether the prompt is computed."""
        self.asked_fs: int | None = None
        """When the decode replica was asked for blocks."""
        self.reserved_fs: int | None = None
        self.landed_fs: int | None = None
        self.joined_fs: int | None = None
        self.held_tokens = 0
        """That the decode replica held already."""
        self.moved_bytes = 0
        self._flows = 0
        """Under way, and those of KV that is not computed yet."""

    @property
    def live(self) -> Live:
        """Whose it is."""
        live: Live = self.call.tag.live
        return live

    @property
    def alone(self) -> bool:
        """Whether the first token, which prefill makes, is all that is asked for."""
        return self.call.output_tokens == 1 and self.first_made

    @property
    def first_made(self) -> bool:
        """Whether prefill makes the first token."""
        return not self._gate.pairing.decode_first

    def begin(self) -> None:
        """Ask for blocks at the destination, or for the prompt, whichever comes first."""
        pairing = self._gate.pairing
        pairing.begun += 1
        pairing.under_way[self.call.number] = self
        if pairing.early and not self.alone:
            self._ask_decode()
        else:
            self._ask_prefill()

    def reserved(self, held_tokens: int) -> None:
        """Go on, now that the decode replica has blocks for what is to come."""
        self.reserved_fs = self._clock.now_fs
        self.held_tokens = held_tokens
        if self.done:
            self._move(self._missing_bytes())
        else:
            self._ask_prefill()

    def starts(self) -> None:
        """Let KV of all layers but the last go as it is computed: its prefill begins."""
        if self.reserved_fs is not None:
            size = self._missing_bytes()
            self._flows = 1  # the last layer's
            self._move(size - size // self._gate.kv.layers)

    def resume(self, leg: Call) -> None:
        """Go on, now that the leg is back from its prefill replica."""
        pairing, call = self._gate.pairing, self.call
        self.done = True
        del pairing.legs[call.number]
        if call.state == GONE:
            pairing.orphans.append(leg)
            self._let_go()
            self._end()
            return
        self.settle()
        if leg.outcome != "completed":
            self._give_up(leg.outcome)
            return
        if pairing.decode_first:
            pairing.discarded += 1
        else:
            call.output_made = 1
            call.first_token_fs = leg.first_token_fs
        call.emitted_fs = leg.emitted_fs
        if self.alone:
            self._let_go()
            self._end()
            call.last_token_fs = leg.last_token_fs
            self._leave("completed")
        elif self.reserved_fs is None:
            self._ask_decode()
        else:
            size = self._missing_bytes()
            self._flows -= 1
            self._move(size // self._gate.kv.layers)

    def settle(self) -> None:
        """Credit to the call what its leg has found and computed."""
        call, leg = self.call, self.leg
        call.hit_tokens = leg.hit_tokens
        call.computed_tokens = leg.computed_tokens
        call.recomputed_tokens = leg.recomputed_tokens
        call.stall_fs, call.first_stall_fs = leg.stall_fs, leg.first_stall_fs
        call.fetch_fs, call.fetch_stall_fs = leg.fetch_fs, leg.fetch_stall_fs
        call.scheduled_fs = leg.scheduled_fs
        if leg.held_fs > 0:
            call.held_fs += leg.held_fs

    def joins(self, now_fs: int) -> None:
        """Note that the call decodes from now on."""
        last = self.leg.last_token_fs
        assert last is not None
        self.joined_fs = now_fs
        self.call.kv_fs = now_fs - last
        self._end()

    def amiss(self) -> bool:
        """Tell whether a hand-off that has come to its end moved other bytes than it owed.

        Or waited for another time than its call was told.
        """
        last, call = self.leg.last_token_fs, self.call
        if self.joined_fs is None or last is None or call.server is None:
            return False
        devices = len(self._gate.pairing.places[call.server.index].devices)
        owed = self._missing_bytes() * devices
        return self.moved_bytes != owed or call.kv_fs != self.joined_fs - last

    def row(self) -> tuple[object, ...]:
        """Write it down, as a `records.HandOffRow`."""
        call, leg = self.call, self.leg
        prefill, decode = leg.server, call.server
        assert decode is not None
        instants = (
            leg.queued_fs,
            leg.scheduled_fs,
            leg.last_token_fs,
            self.asked_fs,
            self.reserved_fs,
            self.landed_fs,
            self.joined_fs,
        )
        return (
            call.number,
            "" if prefill is None else prefill.owner.plan.name,
            -1 if prefill is None else prefill.index,
            decode.owner.plan.name,
            decode.index,
            *(None if at is None else at * S_PER_FS for at in instants),
            self.context,
            self.held_tokens,
            self.moved_bytes,
            leg.preemptions,
        )

    @property
    def _clock(self) -> Clock:
        assert self.call.server is not None
        return self.call.server.clock

    def _ask_prefill(self) -> None:
        pairing, call = self._gate.pairing, self.call
        pairing.legs[call.number] = self
        router = pairing.prefill
        if router.draws:
            router.send(self.leg, call.route_u * _BITS % 1.0)
        else:
            router.send(self.leg)

    def _ask_decode(self) -> None:
        """Queue the call at its decode replica, for blocks."""
        call = self.call
        self.asked_fs = self._clock.now_fs
        call.handoff = self
        self._gate.deployment.take(call)
        if self.done:
            call.queued_fs = self.leg.queued_fs

    def _missing_bytes(self) -> int:
        """Bytes that each device of the destination lacks."""
        return self._gate.kv.moved(self.context, self.held_tokens)

    def _move(self, size_bytes: int) -> None:
        """Send so much to each device of the destination, from its like at the source."""
        pairing = self._gate.pairing
        prefill, decode = self.leg.server, self.call.server
        assert prefill is not None
        assert decode is not None
        sources = pairing.places[prefill.index].devices
        place = pairing.places[decode.index]
        targets = place.receivers or [(device, 1) for device in place.devices]
        self._flows += len(targets)
        self.moved_bytes += size_bytes * len(place.devices)
        for k, (target, devices) in enumerate(targets):
            source = sources[k * len(sources) // len(targets)]
            size = size_bytes * devices
            pairing.fabric.transfer(source, target, size, None, self._landed, kind="kv")

    def _landed(self) -> None:
        self._flows -= 1
        if not self._flows:
            self.landed_fs = self._clock.now_fs
            if self._let_go():
                assert self.call.server is not None
                self.call.server.land(self.call)
            elif self.call.state != GONE:  # the source failed while it sent
                self._give_up("failed")
            if self.call.state == GONE:
                self._end()

    def _end(self) -> None:
        """Write it down, once."""
        if self._gate.pairing.under_way.pop(self.call.number, None) is not None:
            self._gate.pairing.on_row(self)

    def _let_go(self) -> bool:
        """Free the blocks of the leg; tells whether they were there still."""
        server = self.leg.server
        assert server is not None
        return server.let_go(self.leg)

    def _give_up(self, outcome: str) -> None:
        """Send the call back without an answer."""
        call = self.call
        assert call.server is not None
        self._end()
        if call.handoff is None:
            self._leave(outcome)
        else:
            call.server.drop(call, outcome)

    def _leave(self, outcome: str) -> None:
        """Send a call back that never was at its decode replica."""
        call = self.call
        call.state = GONE
        call.outcome = outcome
        call.queued_fs = self.leg.queued_fs
        self._gate.deployment.bypass(call)


class LegWay:
    """Between a decode replica, where a call has landed, and a prefill replica."""

    def __init__(
        self, clock: Clock, fabric: Fabric, plan: FactoryPlan, places: dict[int, ReplicaPlan]
    ) -> None:
        self._clock = clock
        self._fabric = fabric
        self._plan = plan
        self._places = places

    def there(self, tokens: int, priority: int, landed: Landed, leg: Call) -> None:
        """Carry a prompt to the prefill replica."""
        src, dst = self._ends(leg)
        size = tokens * BYTES_PER_TOKEN
        if size < LATENCY_ONLY_BYTES:
            latency_fs = self._plan.routes(src, dst).latency_fs
            self._clock.at(self._clock.now_fs + latency_fs, priority, landed, leg)
        else:
            self._fabric.transfer(src, dst, size, None, lambda: landed(leg), kind="prompt")

    def back(self, tokens: int, priority: int, landed: Landed, leg: Call) -> None:
        """Tell at once that the prompt is computed: KV follows, or has gone already."""
        self._clock.at(self._clock.now_fs, priority, landed, leg)

    def _ends(self, leg: Call) -> tuple[int, int]:
        decode: Replica | None = leg.tag.call.server
        assert decode is not None
        assert leg.server is not None
        places = self._places
        return places[decode.index].devices[0], places[leg.server.index].devices[0]
