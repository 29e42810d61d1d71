"""How a replica is cut, from the ways in which tables write it: ``TP2 x 4 replicas``, ``DEP8``."""

from __future__ import annotations

import re
from typing import NamedTuple


class Cut(NamedTuple):
    """Layout of one replica, and how many there are."""

    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    replicas: int = 1

    @property
    def devices(self) -> int:
        """Of one replica."""
        return self.tp * self.pp * self.dp


class Told(NamedTuple):
    """What a text says of a layout; None: nothing."""

    tp: int | None = None
    pp: int | None = None
    ep: int | None = None
    dp: int | None = None
    replicas: int | None = None
    attention_dp: bool = False
    layers: bool = False
    """Layers dealt over devices that work one after the other."""

    @property
    def says_something(self) -> bool:
        """Whether a cut follows from it."""
        cuts = (self.tp, self.pp, self.ep, self.dp)
        return self.layers or any(one is not None for one in cuts)


_WORD = r"(?<![a-z])"


def read_layout(text: str) -> Told:
    """Read what a table says of parallelism.

    Examples
    --------
    >>> read_layout("TP2 x 4 replicas (NVIDIA reference config)")[:5]
    (2, None, None, None, 4)
    >>> read_layout("DEP8").dp, read_layout("DEP8").ep
    (8, 8)
    >>> read_layout("EP32 attention-DP prefill, 4 nodes").dp
    32
    """
    low = text.lower()

    def number(word: str) -> int | None:
        found = re.search(rf"{_WORD}{word}\s*[=:_-]?\s*(\d{{1,5}})", low)
        return int(found[1]) if found and int(found[1]) > 0 else None

    tp, pp, ep, dp = number("tp"), number("pp"), number("ep"), number("dp")
    dep = number("dep")
    attention_dp = "attention-dp" in low or "dp-attention" in low or "dp attention" in low
    if dep is not None:
        ep, dp, attention_dp = dep, dep, True
    elif attention_dp and dp is None:
        dp = ep
    replicas = re.search(r"x\s*(\d{1,5})\s*replica", low)
    return Told(
        tp, pp, ep, dp,
        int(replicas[1]) if replicas else None,
        attention_dp,
        "layer split" in low,
    )  # fmt: skip
