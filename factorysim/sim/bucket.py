"""A token bucket, exact: what it holds is a whole number, whenever it is asked."""

from __future__ import annotations

from fractions import Fraction

from factorysim.sim.clock import FS_PER_S


class TokenBucket:
    """Fills at a rate up to its burst; calls take their tokens out of it.

    It holds whole units, of which a femtosecond brings as many as make the rate
    exact, so it does not matter how often it is looked at. A call gets in if its
    tokens are there, or if the bucket is full: one of more tokens than the burst
    waits for a full bucket and leaves a debt. So over any time no more is let in
    than burst + rate x time, and what the last call took beyond it.

    Examples
    --------
    >>> bucket = TokenBucket(rate=10.0, burst=100)
    >>> bucket.take(70, 0), bucket.take(40, 0), bucket.take(40, FS_PER_S)
    (True, False, True)
    >>> bucket.tokens(2 * FS_PER_S)
    Fraction(10, 1)
    """

    __slots__ = ("_full", "_level", "_per_fs", "_seen_fs", "_unit", "spent", "spilled")

    def __init__(self, rate: float, burst: int) -> None:
        exact = Fraction(rate)
        self._per_fs = exact.numerator
        """Units that come in a femtosecond."""
        self._unit = exact.denominator * FS_PER_S
        """Units of a token."""
        self._full = self._level = burst * self._unit
        self._seen_fs = 0
        self.spent = 0
        """Tokens taken so far."""
        self.spilled = 0
        """Units that came while it was full."""

    def affords(self, tokens: int, now_fs: int) -> bool:
        """Whether a call of so many tokens would get in; takes nothing."""
        level = self._level + self._per_fs * (now_fs - self._seen_fs)
        self._seen_fs = now_fs
        if level > self._full:
            self.spilled += level - self._full
            level = self._full
        self._level = level
        return level >= min(tokens * self._unit, self._full)

    def take(self, tokens: int, now_fs: int) -> bool:
        """Let a call in if it gets in."""
        if not self.affords(tokens, now_fs):
            return False
        self.pay(tokens)
        return True

    def pay(self, tokens: int) -> None:
        """Take the tokens of a call that is let in."""
        self._level -= tokens * self._unit
        self.spent += tokens

    def tokens(self, now_fs: int) -> Fraction:
        """Tell what is in it, below zero if there is a debt."""
        self.affords(0, now_fs)
        return Fraction(self._level, self._unit)

    def error(self) -> int:
        """Units that came and are neither there, nor spent, nor spilled: 0."""
        came = self._full + self._per_fs * self._seen_fs
        return came - self._level - self.spilled - self.spent * self._unit
