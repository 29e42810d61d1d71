"""The calls of chains as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.workload.twin.features import Chain

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


class Calls(NamedTuple):
    """The calls of the sessions' own chains, as arrays of equal length."""

    session: Ints
    position: Ints
    """In its session, from 0 on."""
    user: Bools
    last: Bools
    """Of its turn."""
    prompt: Ints
    output: Ints
    prefix: Ints
    before: Ints
    answered: Ints
    length: Ints
    """Calls of its session."""

    @property
    def first(self) -> Bools:
        """Which are the first of their session."""
        first: Bools = self.position == 0
        return first


def calls_of(own: Chain) -> Calls:
    """Turn a chain's columns into arrays, and tell which calls end a turn."""
    columns = {
        key: np.array(getattr(own, key), dtype=np.int64)
        for key in ("session", "prompt", "output", "prefix", "before", "answered")
    }
    position = np.array(own.index, dtype=np.int64)
    user = np.array(own.user, dtype=np.int64) == 1
    last = np.append(user[1:] | (columns["session"][1:] != columns["session"][:-1]), True)
    length = np.bincount(columns["session"])[columns["session"]]
    return Calls(position=position, user=user, last=last, length=length, **columns)
