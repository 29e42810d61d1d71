"""Perfetto packets: tracks, slices, counters, and the words that they share.

A trace is a list of packets. Each belongs to a sequence, and a sequence interns its
words: its first packet brings them along, each with a number, and later ones give the
numbers. The first packet also says that nothing was interned before, all say that they
need what was [1]_. Within a sequence packets are in order of time.

.. [1] Perfetto, "Synthetic track event", perfetto.dev/docs/reference/synthetic-track-event
   and perfetto/trace/trace_packet.proto, `SequenceFlags`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from factorysim.report.timeline.events import NOTE, Fill, Words, label
from factorysim.report.timeline.slices import Slices, edges

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

CHUNK = 8_192
"""Packets that are built, and become bytes, at a time."""


class Tape:
    """Makes the packets of a trace, and counts them.

    Examples
    --------
    >>> import numpy as np
    >>> from factorysim.report.timeline.slices import one_name
    >>> tape = Tape()
    >>> track = np.full(1, tape.track("replica 0"))
    >>> run = Slices("run", one_name("decode", 1), track, np.array([5]), np.array([7]), 0)
    >>> data = b"".join([*tape.tracks(), *tape.slices([run])])
    >>> tape.packets  # a track, the words, and the two ends of a slice
    4
    """

    def __init__(self) -> None:
        self.packets = 0
        self._tracks: list[dict[str, Any]] = []
        self._sequences = 0

    def track(
        self,
        name: str,
        parent: int = 0,
        *,
        note: str = "",
        unit: str | None = None,
        lane: bool = False,
    ) -> int:
        """Add a track below another (0: at the top), in the order in which they are added.

        Parameters
        ----------
        note
            Shown as what the track means.
        unit
            Makes it the track of a counter.
        lane
            Tracks of one name below the same parent are shown as one.

        Returns
        -------
        Its number.
        """
        number = len(self._tracks) + 1
        self._tracks.append(
            {"name": name, "parent": parent, "note": note, "unit": unit, "lane": lane}
        )
        return number

    def attributes(self, told: Mapping[str, str | int]) -> Iterator[bytes]:
        """Write what the trace says about itself: its metadata."""
        from perfetto.trace_builder.proto_builder import TraceProtoBuilder

        builder = TraceProtoBuilder()
        packet = self._packet(builder, self._sequence(), first=True)
        for key, value in told.items():
            entry = packet.trace_attributes.attribute.add()
            entry.key = key
            if isinstance(value, int):
                entry.long_value = value
            else:
                entry.string_value = label(value, NOTE)
        yield builder.serialize()

    def tracks(self) -> Iterator[bytes]:
        """Write the tracks that were added; before any slice on them."""
        from perfetto.trace_builder.proto_builder import TraceProtoBuilder

        sequence = self._sequence()
        for since in range(0, len(self._tracks), CHUNK):
            builder = TraceProtoBuilder()
            for number in range(since, min(since + CHUNK, len(self._tracks))):
                packet = self._packet(builder, sequence, first=number == 0)
                self._describe(packet.track_descriptor, number)
            yield builder.serialize()

    def _describe(self, told: Any, number: int) -> None:  # noqa: ANN401 - a TrackDescriptor
        track = self._tracks[number]
        told.uuid = number + 1
        told.name = label(track["name"])
        if track["parent"]:
            told.parent_uuid = track["parent"]
        told.child_ordering = told.EXPLICIT
        told.sibling_order_rank = number
        by_name, apart = "SIBLING_MERGE_BEHAVIOR_BY_TRACK_NAME", "SIBLING_MERGE_BEHAVIOR_NONE"
        told.sibling_merge_behavior = getattr(told, by_name if track["lane"] else apart)
        if track["note"]:
            told.description = label(track["note"], NOTE)
        if track["unit"] is not None:
            told.counter.unit_name = track["unit"]

    def slices(
        self, batches: Sequence[Slices], kind: Literal["slice", "instant"] = "slice"
    ) -> Iterator[bytes]:
        """Write slices, or instants where they start, as one sequence."""
        from perfetto.trace_builder.proto_builder import TraceProtoBuilder

        batches = [batch for batch in batches if batch.size]
        if not batches:
            return
        sequence, words = self._sequence(), Words()
        fills = [Fill(batch, words, kind) for batch in batches]
        builder = TraceProtoBuilder()
        words.tell(self._packet(builder, sequence, first=True))
        yield builder.serialize()
        ends = edges(batches)
        for since in range(0, len(ends), CHUNK):
            builder = TraceProtoBuilder()
            for at_ns, batch, row, begins in ends[since : since + CHUNK]:
                if begins or kind == "slice":
                    packet = self._packet(builder, sequence)
                    packet.timestamp = at_ns
                    fills[batch].fill(packet.track_event, row, begins)
            yield builder.serialize()

    def counters(self, tracks: Sequence[tuple[int, Ints, Floats]]) -> Iterator[bytes]:
        """Write counters, as (track, instants in ns, value from then on), as one sequence."""
        import numpy as np
        from perfetto.trace_builder.proto_builder import TraceProtoBuilder

        if not tracks:
            return
        number = np.concatenate([np.full(len(at), track) for track, at, _ in tracks])
        at = np.concatenate([at for _, at, _ in tracks])
        value = np.concatenate([value for _, _, value in tracks])
        order = np.argsort(at, kind="stable")
        rows = list(
            zip(at[order].tolist(), number[order].tolist(), value[order].tolist(), strict=True)
        )
        sequence = self._sequence()
        for since in range(0, len(rows), CHUNK):
            builder = TraceProtoBuilder()
            for place, (at_ns, track, height) in enumerate(rows[since : since + CHUNK], since):
                packet = self._packet(builder, sequence, first=place == 0)
                packet.timestamp = at_ns
                event = packet.track_event
                event.type = event.TYPE_COUNTER
                event.track_uuid = track
                event.double_counter_value = height
            yield builder.serialize()

    def _sequence(self) -> int:
        self._sequences += 1
        return self._sequences

    def _packet(self, builder: Any, sequence: int, *, first: bool = False) -> TracePacket:  # noqa: ANN401
        """Begin a packet of a sequence."""
        packet: TracePacket = builder.add_packet()
        packet.trusted_packet_sequence_id = sequence
        packet.sequence_flags = packet.SEQ_NEEDS_INCREMENTAL_STATE
        if first:
            packet.sequence_flags |= packet.SEQ_INCREMENTAL_STATE_CLEARED
            packet.first_packet_on_sequence = True
        self.packets += 1
        return packet
