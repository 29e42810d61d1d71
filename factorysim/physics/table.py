"""The table law: step times from a user's profile, a CSV file.

Columns ``phase,tokens,context_tokens,step_s``, one measured step a row:

- ``decode``: `tokens` sequences, each with `context_tokens` in its cache (the
  mean, where they differ);
- ``prefill``: a chunk of `tokens` after `context_tokens` cached ones.

Between rows the law is linear: in context, with the profile's contexts as real
knots, and in tokens at equal context per sequence. Below the first row of a
kind it stays as there. Above the last it goes on, in context as the last
segment and in tokens in proportion, up to 1.25 times what the profile covers;
further it refuses. A step that holds decodes and chunks lasts the sum of them.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.physics.fixed import no_activity
from factorysim.physics.step import FS_PER_S, Activity, Piece

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.physics.step import StepRuns

BEYOND = 1.25
"""How far past the profile's last row the law goes."""
COLUMNS = ("phase", "tokens", "context_tokens", "step_s")
_PHASES = ("decode", "prefill")


class TableRow(NamedTuple):
    """One measured step."""

    phase: str
    tokens: int
    context_tokens: int
    step_s: float
    where: str
    """``path:line``."""


class Line(NamedTuple):
    """Femtoseconds over context: from `start` on, ``fs + slope * (context - start)``."""

    start: int
    fs: float
    slope: float


class Curve(NamedTuple):
    """Step times of one token count, over the context of a sequence."""

    contexts: tuple[int, ...]
    lines: tuple[Line, ...]

    def at(self, context: float) -> float:
        """Femtoseconds; flat below the first row."""
        line = self.lines[max(0, bisect_right(self.contexts, context) - 1)]
        return line.fs + line.slope * max(0.0, context - line.start)


class Profile:
    """Measured steps of one phase, between and a little beyond its rows."""

    def __init__(self, phase: str, rows: Sequence[TableRow]) -> None:
        self.phase = phase
        self.where = rows[0].where.rpartition(":")[0] if rows else ""
        self.sizes = sorted({row.tokens for row in rows})
        self.curves = {
            size: _curve([row for row in rows if row.tokens == size]) for size in self.sizes
        }

    def at(self, tokens: int, context: float) -> float:
        """Femtoseconds of a step; see the module for what happens between and beyond rows."""
        low, high, weight, scale = self._between(tokens)
        first, second = self.curves[low].at(context), self.curves[high].at(context)
        return scale * ((1.0 - weight) * first + weight * second)

    def contexts(self, tokens: int) -> list[int]:
        """Contexts at which the step times of `tokens` bend, rising."""
        low, high, _, _ = self._between(tokens)
        return sorted({*self.curves[low].contexts, *self.curves[high].contexts})

    def limit(self, tokens: int) -> int:
        """Largest context of a sequence that the profile answers for."""
        low, high, _, _ = self._between(tokens)
        last = min(self.curves[low].contexts[-1], self.curves[high].contexts[-1])
        return math.floor(BEYOND * last)

    def refuse(self, tokens: int, context: float) -> CapacityError:
        """Build the error for a step outside the profile."""
        if not self.sizes:
            expected, cure = f"rows of phase {self.phase}", "measure such steps, and add them"
        else:
            most = self.sizes[-1] if tokens > BEYOND * self.sizes[-1] else tokens
            reach = f"{BEYOND * self.sizes[-1]:.0f} tokens, of context up to {self.limit(most)}"
            expected, cure = f"at most {reach}", f"add rows: beyond {BEYOND} times is a guess"
        found = f"a step of {tokens} tokens at context {context:.0f}"
        return CapacityError(Fault(self.where, self.phase, found, expected, cure))

    def _between(self, tokens: int) -> tuple[int, int, float, float]:
        """Measured counts around `tokens`, weight of the upper one, factor past the last."""
        if not self.sizes or tokens > BEYOND * self.sizes[-1]:
            raise self.refuse(tokens, 0.0)
        last = self.sizes[-1]
        if tokens >= last:
            return last, last, 0.0, tokens / last
        upper = bisect_left(self.sizes, tokens)
        high, low = self.sizes[upper], self.sizes[max(0, upper - 1)]
        weight = (tokens - low) / (high - low) if high > low else 0.0
        return low, high, weight, 1.0


class ProfileLaw:
    """`StepLaw` of a user's profile; built by `table_law`."""

    window: int | None = None
    window_fs: int = 0
    draws: bool = False
    link_token_bytes: float = 0.0
    """A given time has its collectives in it."""

    def __init__(self, rows: Sequence[TableRow]) -> None:
        self._decode = Profile("decode", [row for row in rows if row.phase == "decode"])
        self._prefill = Profile("prefill", [row for row in rows if row.phase == "prefill"])
        self._pieces: dict[int, tuple[tuple[int, ...], tuple[Piece, ...], int]] = {}

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """All time is in `piece` and `chunk`, but no step is free."""
        return 1

    def piece(self, decodes: int, context: int) -> Piece:
        """Linear piece between the profile's contexts; see `StepLaw.piece`."""
        if decodes not in self._pieces:
            self._pieces[decodes] = self._lines(decodes)
        starts, pieces, limit = self._pieces[decodes]
        if context > limit:
            raise self._decode.refuse(decodes, context / decodes)
        return pieces[max(0, bisect_right(starts, context) - 1)]

    def chunk(self, tokens: int, prior: int) -> int:
        """Femtoseconds of a chunk; see `StepLaw.chunk`."""
        if prior > self._prefill.limit(tokens):
            raise self._prefill.refuse(tokens, prior)
        return round(self._prefill.at(tokens, prior))

    def chunk_slope(self, tokens: int) -> int | None:
        """Not linear, in general."""
        return None

    def prompt(self, u: float) -> int:
        """Nothing is drawn."""
        return 0

    def activity(self, runs: StepRuns) -> Activity:
        """Zeros: a profile tells times, not work."""
        return no_activity(runs)

    def _lines(self, decodes: int) -> tuple[tuple[int, ...], tuple[Piece, ...], int]:
        """Pieces over total context: flat below the first row, then one a segment."""
        last = self._decode.limit(decodes)
        contexts = [at for at in self._decode.contexts(decodes) if at <= last]
        starts: list[int] = [0]
        pieces: list[Piece] = []
        for context in contexts:
            start, time = decodes * context, self._decode.at(decodes, context)
            if not pieces:
                pieces.append(Piece(round(time), 0, start))
            slope = round((self._decode.at(decodes, context + 1) - time) / decodes)
            starts.append(start)
            pieces.append(Piece(round(time) - slope * start, slope, None))
        limit = decodes * last
        ends = [*starts[1:], limit + 1]
        known = [piece._replace(knot=end) for piece, end in zip(pieces, ends, strict=True)]
        return tuple(starts), tuple(known), limit


def table_law(rows: Sequence[TableRow]) -> ProfileLaw:
    r"""Law of a parsed profile.

    Examples
    --------
    >>> text = "phase,tokens,context_tokens,step_s\ndecode,1,0,0.010\ndecode,1,1000,0.012\n"
    >>> law = table_law(parse_table(text, "mine.csv"))
    >>> piece = law.piece(1, 500)
    >>> (piece.fixed_fs + piece.slope_fs * 500) / 1e15
    0.011
    """
    return ProfileLaw(rows)


def parse_table(text: str, where: str) -> tuple[TableRow, ...]:
    """Read the rows of a profile.

    Parameters
    ----------
    where
        Path of the file, for messages.

    Raises
    ------
    SpecError
        With every fault of the file: header, numbers, order, a time that falls
        as context grows.
    """
    reader = csv.reader(text.splitlines())
    header = tuple(name.strip() for name in next(reader, [""]))
    if header != COLUMNS:
        found = ",".join(header) or "an empty file"
        raise SpecError(Fault(f"{where}:1", "", found, f"the header {','.join(COLUMNS)}"))
    faults: list[Fault] = []
    try:
        rows = [_row(cells, f"{where}:{reader.line_num}", faults) for cells in reader if cells]
    except csv.Error as error:
        line = f"{where}:{reader.line_num}"
        raise SpecError(*faults, Fault(line, "", str(error), "comma-separated values")) from None
    parsed = [row for row in rows if row is not None]
    faults += _order_faults(parsed)
    if not parsed and not faults:
        faults.append(Fault(f"{where}:1", "", "no rows", "at least one measured step"))
    if faults:
        raise SpecError(*faults)
    return tuple(parsed)


def _row(cells: list[str], where: str, faults: list[Fault]) -> TableRow | None:
    if len(cells) != len(COLUMNS):
        faults.append(Fault(where, "", f"{len(cells)} cells", f"{len(COLUMNS)}"))
        return None
    before = len(faults)
    phase = cells[0].strip()
    if phase not in _PHASES:
        faults.append(Fault(where, "phase", f'"{phase}"', "decode or prefill"))
    tokens = _whole(cells[1], 1, where, "tokens", faults)
    context = _whole(cells[2], 0, where, "context_tokens", faults)
    step_s = _seconds(cells[3], where, faults)
    if len(faults) > before:
        return None
    return TableRow(phase, tokens, context, step_s, where)


def _whole(cell: str, least: int, where: str, key: str, faults: list[Fault]) -> int:
    text = cell.strip()
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 13 else -1
    if value < least:
        faults.append(Fault(where, key, f'"{cell}"', f"a whole number, {least} or more"))
    return value


def _seconds(cell: str, where: str, faults: list[Fault]) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 1e-12 <= value <= 1e6:
        faults.append(Fault(where, "step_s", f'"{cell}"', "seconds between 1e-12 and 1e6"))
    return value


def _order_faults(rows: Sequence[TableRow]) -> list[Fault]:
    """Find rows given twice, and times that fall as context grows."""
    faults: list[Fault] = []
    ordered = sorted(rows, key=lambda row: row[:3])
    for one, other in pairwise(ordered):
        if one[:2] != other[:2]:
            continue
        if one.context_tokens == other.context_tokens:
            expected = f"one row for these counts; see {one.where}"
            faults.append(Fault(other.where, "context_tokens", f"{other.context_tokens}", expected))
        elif other.step_s < one.step_s:
            expected = (
                f"at least the {one.step_s} of {one.where}: steps do not shorten with context"
            )
            cure = "average out the noise of the profile"
            faults.append(Fault(other.where, "step_s", f"{other.step_s}", expected, cure))
    return faults


def _curve(rows: Sequence[TableRow]) -> Curve:
    ordered = sorted(rows, key=lambda row: row.context_tokens)
    contexts = tuple(row.context_tokens for row in ordered)
    times = [row.step_s * FS_PER_S for row in ordered]
    slopes = [
        (times[i + 1] - times[i]) / (contexts[i + 1] - contexts[i]) for i in range(len(times) - 1)
    ]
    slopes.append(slopes[-1] if slopes else 0.0)
    lines = tuple(Line(*line) for line in zip(contexts, times, slopes, strict=True))
    return Curve(contexts, lines)
