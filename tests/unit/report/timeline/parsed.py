"""A Perfetto trace read back as its rules say, by nothing that wrote it."""

from collections import defaultdict
from typing import NamedTuple

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

CLEARED, NEEDED = 1, 2
WORDS = (
    ("event_names", "name"),
    ("event_categories", "name"),
    ("debug_annotation_names", "name"),
    ("debug_annotation_string_values", "str"),
)


class Slice(NamedTuple):
    track: int
    category: str
    name: str
    start_ns: int
    end_ns: int
    depth: int
    args: dict
    flows: tuple


class Parsed:
    """Tracks, slices, instants, counter values and metadata; asserts what Perfetto demands."""

    def __init__(self, data: bytes) -> None:
        self.tracks = {}
        self.slices, self.instants = [], []
        self.counters = defaultdict(list)
        self.metadata = {}
        self.packets = 0
        self._words = {}
        self._open = defaultdict(list)
        self._latest = {}
        trace = Trace()
        trace.ParseFromString(data)
        for packet in trace.packet:
            self._take(packet)
        assert not any(self._open.values()), "every begin has its end"

    def _take(self, packet):
        self.packets += 1
        sequence = packet.trusted_packet_sequence_id
        assert sequence > 0
        assert packet.sequence_flags & NEEDED
        if sequence not in self._words:
            assert packet.sequence_flags & CLEARED
            assert packet.first_packet_on_sequence
            self._words[sequence] = defaultdict(dict)
        else:
            assert not packet.sequence_flags & CLEARED
        for table, field in WORDS:
            for entry in getattr(packet.interned_data, table):
                known = self._words[sequence][table]
                assert entry.iid > 0
                assert entry.iid not in known
                known[entry.iid] = getattr(entry, field)
        for one in packet.trace_attributes.attribute:
            self.metadata[one.key] = one.string_value or one.long_value
        if packet.HasField("track_descriptor"):
            self._describe(packet.track_descriptor)
        if packet.HasField("track_event"):
            assert packet.HasField("timestamp")
            assert packet.timestamp >= self._latest.get(sequence, 0), "a sequence is in order"
            self._latest[sequence] = packet.timestamp
            self._event(packet.timestamp, packet.track_event, self._words[sequence])

    def _describe(self, track):
        assert track.uuid > 0
        assert track.uuid not in self.tracks
        assert not track.parent_uuid or track.parent_uuid in self.tracks
        self.tracks[track.uuid] = track

    def _event(self, at_ns, event, words):
        track = self.tracks[event.track_uuid]
        assert track.HasField("counter") == (event.type == TrackEvent.TYPE_COUNTER)
        if event.type == TrackEvent.TYPE_COUNTER:
            values = self.counters[self.path(event.track_uuid)]
            assert not values or values[-1][0] < at_ns, "one value at an instant"
            values.append((at_ns, event.double_counter_value))
            return
        stack = self._open[event.track_uuid]
        if event.type == TrackEvent.TYPE_SLICE_END:
            begun = stack.pop()
            self.slices.append(begun._replace(end_ns=at_ns))
            return
        (category,) = event.category_iids
        args = {}
        for one in event.debug_annotations:
            args[words["debug_annotation_names"][one.name_iid]] = self._value(one, words)
        begun = Slice(
            event.track_uuid,
            words["event_categories"][category],
            words["event_names"][event.name_iid],
            at_ns,
            at_ns,
            len(stack),
            args,
            tuple(event.flow_ids),
        )
        if event.type == TrackEvent.TYPE_INSTANT:
            self.instants.append(begun)
        else:
            assert event.type == TrackEvent.TYPE_SLICE_BEGIN
            stack.append(begun)

    @staticmethod
    def _value(one, words):
        match one.WhichOneof("value"):
            case "int_value":
                return one.int_value
            case "double_value":
                return one.double_value
            case "string_value_iid":
                text = words["debug_annotation_string_values"][one.string_value_iid]
                return text if isinstance(text, str) else text.decode()
            case other:
                raise AssertionError(other)

    def path(self, track):
        """Names of a track and of those above it, from the top."""
        one = self.tracks[track]
        above = self.path(one.parent_uuid) if one.parent_uuid else ()
        return (*above, one.name)

    def of(self, category):
        return [one for one in self.slices if one.category == category]

    def names(self):
        """Paths of all tracks."""
        return [self.path(track) for track in self.tracks]
