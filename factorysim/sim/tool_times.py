"""What a serving engine knows of tools, and how long it pays to keep KV for one."""

from __future__ import annotations

from math import log


class ToolTimes:
    """What an engine has seen of tools: mean durations by class, of those that have ended.

    Examples
    --------
    >>> seen = ToolTimes()
    >>> seen.ended("shell", 4)
    >>> seen.ended("shell", 8)
    >>> seen.mean_fs("shell"), seen.mean_fs("build")
    (6, None)
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}

    def ended(self, cls: str, took_fs: int) -> None:
        """Learn from a tool that has ended."""
        count, total = self._seen.get(cls, (0, 0))
        self._seen[cls] = count + 1, total + took_fs

    def mean_fs(self, cls: str) -> int | None:
        """Mean duration of a class; None before the first one has ended."""
        count, total = self._seen.get(cls, (0, 0))
        return total // count if count else None


def keep_fs(mean_fs: int | None, refill_fs: int, share: float) -> int:
    """How long it pays to keep KV in a store for a tool that takes `mean_fs`.

    To keep it for t takes `share` of the store for t; to have it is worth the time to
    refill, if the tool is back by then: ``P(return < t) * refill - share * t``. With
    exponential durations that is largest at ``mean * ln(refill / (share * mean))``, and
    never worth anything where a store's share for the mean costs more than the refill.
    With a share of 1 it is the rule by which Continuum keeps KV in HBM [1]_.

    References
    ----------
    .. [1] Continuum, arXiv:2511.02230: its time to live, for durations of Exp(1 / mean).

    Examples
    --------
    >>> keep_fs(100, 1000, 1.0), keep_fs(1000, 1000, 1.0), keep_fs(1000, 1000, 0.1)
    (230, 0, 2302)
    >>> keep_fs(None, 1000, 0.1)
    0
    """
    if mean_fs is None or not mean_fs or share * mean_fs >= refill_fs:
        return 0
    return int(mean_fs * log(refill_fs / (share * mean_fs)))
