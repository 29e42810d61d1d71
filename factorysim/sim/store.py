"""A store of KV blocks below HBM: which blocks it has, and which it parts with first.

A block is known by its id and by all ids before it, as in HBM (`prefix`). Ids mostly
count up, so a block is an offset in its *line*: the run of consecutive ids that it
stands in, after all runs before that. What a store holds of a line are pieces, and
a prompt costs as many operations as it has pieces, however many blocks these are.

Whoever uses a block uses all before it on its path. So the order of use is also an
order from the tails of paths to their heads, and the least recently used block has
nothing after it that was used later.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from factorysim.sim.prefix import Extent
    from factorysim.workload.runs import Runs

Line: TypeAlias = "tuple[Runs, int]"
"""All runs of ids before it, and its own first id."""


class Span(NamedTuple):
    """Blocks of one line, from offset `low` to before `high`."""

    line: Line
    low: int
    high: int


class Piece:
    """Blocks that a store holds, or that are on their way there."""

    __slots__ = ("high", "landed", "line", "low", "used_fs")

    def __init__(self, line: Line, low: int, high: int, used_fs: int, *, landed: bool) -> None:
        self.line = line
        self.low = low
        self.high = high
        self.used_fs = used_fs
        """When it was last used, or sent here."""
        self.landed = landed
        """Blocks on their way have their room, but can be neither found nor evicted."""


def lines_of(content: Runs, start: int, stop: int) -> Iterator[Span]:
    """Walk over the blocks of a content from one to another, line by line.

    Examples
    --------
    >>> [tuple(span) for span in lines_of(((4, 3), (9, 4)), 2, 5)]
    [(((), 4), 2, 3), ((((4, 3),), 9), 0, 2)]
    """
    begin = 0
    for number, (first, count) in enumerate(content):
        end = begin + count
        if end > start:
            yield Span((content[:number], first), max(start - begin, 0), min(stop - begin, count))
        if end >= stop:
            return
        begin = end


def joined(spans: Iterable[Span]) -> list[Span]:
    """Join spans of one line that follow each other from its end to its beginning.

    Examples
    --------
    >>> joined([Span(((), 0), 6, 8), Span(((), 0), 2, 6), Span(((), 9), 0, 1)])
    [Span(line=((), 0), low=2, high=8), Span(line=((), 9), low=0, high=1)]
    """
    whole: list[Span] = []
    for span in spans:
        if whole and whole[-1].low == span.high and whole[-1].line == span.line:
            whole[-1] = Span(span.line, span.low, whole[-1].high)
        else:
            whole.append(span)
    return whole


def span_of(extent: Extent, blocks: int) -> Span:
    """Name the last blocks of an extent of the prefix cache by their line."""
    first, count = extent.first, extent.count
    before: list[tuple[int, int]] = []
    above = extent.parent
    while above is not None and above.parent is not None:
        if above.first + above.count == first:
            first, count = above.first, count + above.count
        else:
            before.append((first, count))
            first, count = above.first, above.count
        above = above.parent
    before.append((first, count))
    *runs, (first, count) = reversed(before)
    return Span((tuple(runs), first), count - blocks, count)


class Store:
    """Blocks by line, least recently used first to go.

    Examples
    --------
    >>> store = Store(10)
    >>> line = ((), 0)
    >>> store.reserve(Span(line, 0, 8), 0)
    >>> store.land(Span(line, 0, 8))
    >>> store.reach(line, 0, 20)
    8
    >>> store.make_room(4, 0)
    [Span(line=((), 0), low=6, high=8)]
    """

    __slots__ = (
        "_lines",
        "_order",
        "blocks",
        "evicted",
        "keep",
        "landing",
        "stored",
        "used",
    )

    def __init__(self, blocks: int, keep: dict[Line, int] | None = None) -> None:
        self.blocks = blocks
        self.keep = keep
        """Until when blocks of a line are better kept, under `tool_ttl`."""
        self.used = 0
        """Blocks here or on their way."""
        self.landing = 0
        """Those of them on their way."""
        self.stored = 0
        """Blocks sent here so far."""
        self.evicted = 0
        self._lines: dict[Line, list[Piece]] = {}
        """Pieces by offset; they do not overlap."""
        self._order: OrderedDict[Piece, None] = OrderedDict()
        """Least recently used first."""

    def pieces(self) -> Iterator[Piece]:
        """Walk over what is here or on its way."""
        yield from self._order

    def reach(self, line: Line, low: int, stop: int) -> int:
        """Find the first block from `low` on that is not here; `stop` at the latest."""
        for piece in self._lines.get(line, ()):
            if piece.low > low:
                break
            if low < piece.high and piece.landed:
                low = piece.high
                if low >= stop:
                    return stop
        return low

    def missing(self, span: Span) -> list[Span]:
        """List what of a span is neither here nor on its way."""
        line, low, high = span
        gaps = []
        for piece in self._lines.get(line, ()):
            if piece.low >= high:
                break
            if piece.high > low:
                if piece.low > low:
                    gaps.append(Span(line, low, piece.low))
                low = piece.high
        if low < high:
            gaps.append(Span(line, low, high))
        return gaps

    def held(self, span: Span) -> int:
        """Count the blocks of a span that are here or on their way."""
        line, low, high = span
        overlaps = (
            min(piece.high, high) - max(piece.low, low) for piece in self._lines.get(line, ())
        )
        return sum(blocks for blocks in overlaps if blocks > 0)

    def begins(self, line: Line, low: int, stop: int) -> int:
        """Find the first block from `low` on that is here; `stop` if none is before that."""
        for piece in self._lines.get(line, ()):
            if piece.low >= stop:
                break
            if low < piece.high and piece.landed:
                return max(low, piece.low)
        return stop

    def touch(self, span: Span, now_fs: int) -> None:
        """Note a use of a span's last block: of all that is here of the path up to it.

        What comes first on the path is the youngest then.
        """
        (runs, first), _, high = span
        self._touch_line((runs, first), high, now_fs)
        for number in range(len(runs) - 1, -1, -1):
            first, count = runs[number]
            self._touch_line((runs[:number], first), count, now_fs)

    def _touch_line(self, line: Line, high: int, now_fs: int) -> None:
        """Note a use of a line's blocks before `high`, the last of them first."""
        pieces = self._lines.get(line)
        if pieces is None:
            return
        after: Piece | None = None
        for piece in [piece for piece in reversed(pieces) if piece.low < high]:
            used = piece
            if piece.high > high:  # its tail stays as old as it is
                used = Piece(line, piece.low, high, now_fs, landed=piece.landed)
                pieces.insert(pieces.index(piece), used)
                piece.low = high
            self._order[used] = None
            self._order.move_to_end(used)
            used.used_fs = now_fs
            if after is not None and used.high == after.low and used.landed and after.landed:
                used.high = after.high
                self._remove(after)
            after = used

    def reserve(self, span: Span, now_fs: int) -> None:
        """Set room aside for blocks that are sent here; there must be enough."""
        line, low, high = span
        piece = Piece(line, low, high, now_fs, landed=False)
        pieces = self._lines.setdefault(line, [])
        at = len(pieces)
        while at and pieces[at - 1].low > low:
            at -= 1
        pieces.insert(at, piece)
        self._order[piece] = None
        blocks = high - low
        self.used += blocks
        self.landing += blocks
        self.stored += blocks

    def land(self, span: Span) -> None:
        """Let blocks that were on their way be found."""
        line, low, high = span
        for piece in self._lines[line]:
            if low <= piece.low < high:
                piece.landed = True
        self.landing -= high - low

    def make_room(self, blocks: int, now_fs: int) -> list[Span]:
        """Part with blocks until so many are free, or all that are left are on their way."""
        gone = []
        while (short := self.used + blocks - self.blocks) > 0:
            victim = self._victim(now_fs)
            if victim is None:
                break
            gone.append(self._cut(victim, min(short, victim.high - victim.low)))
        return gone

    def expire(self, before_fs: int) -> list[Span]:
        """Part with what was last used at or before an instant."""
        gone = []
        for piece in list(self._order):
            if piece.used_fs > before_fs:
                break
            if piece.landed:
                gone.append(self._cut(piece, piece.high - piece.low))
        return gone

    def oldest_fs(self) -> int | None:
        """When the least recently used piece here was last used."""
        return next((piece.used_fs for piece in self._order if piece.landed), None)

    def _victim(self, now_fs: int) -> Piece | None:
        """Choose the piece to go: with `keep`, of those that are not better kept if any is."""
        here = (piece for piece in self._order if piece.landed)
        oldest = next(here, None)
        keep = self.keep
        if oldest is None or not keep or keep.get(oldest.line, 0) <= now_fs:
            return oldest
        return next((piece for piece in here if keep.get(piece.line, 0) <= now_fs), oldest)

    def _cut(self, piece: Piece, blocks: int) -> Span:
        """Part with the tail of a piece."""
        high = piece.high
        piece.high -= blocks
        self.used -= blocks
        self.evicted += blocks
        if piece.high == piece.low:
            self._remove(piece)
        return Span(piece.line, high - blocks, high)

    def _remove(self, piece: Piece) -> None:
        del self._order[piece]
        pieces = self._lines[piece.line]
        pieces.remove(piece)
        if not pieces:
            del self._lines[piece.line]
