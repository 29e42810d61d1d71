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
    other: bool = False
    """Whether it is cut in a way that is not modelled: over the tokens of a context."""

    @property
    def says_something(self) -> bool:
        """Whether a cut follows from it."""
        cuts = (self.tp, self.pp, self.ep, self.dp)
        return self.layers or any(one is not None for one in cuts)


_WORDS = {
    "tp": r"tp(?:[ _-]size)?|tensor[ _-]?parallel(?:ism)?(?:[ _-]?size)?",
    "pp": r"pp(?:[ _-]size)?|pipeline[ _-]?parallel(?:ism)?(?:[ _-]?size)?",
    "ep": r"ep(?:[ _-]size)?|expert[ _-]?parallel(?:ism)?(?:[ _-]?size)?",
    "dp": r"dp(?:[ _-]size)?|data[ _-]?parallel(?:ism)?(?:[ _-]?size)?",
    "dep": r"dep",
    "tep": r"tep",
    "dpa": r"dpa|dp[ _-]att(?:entio)?n|att(?:entio)?n[ _-]dp",
    "other": r"(?:d|p)?cp|sp|(?:context|sequence)[ _-]?parallel(?:ism)?(?:[ _-]?size)?",
}
_START = r"(?:(?<![a-z])|(?<=\dx))"
_ATTENTION_DP = re.compile(r"dp[ _-]att(?:entio)?n|att(?:entio)?n[ _-]dp|(?<![a-z])dpa(?![a-z])")
_WHOLE_EP = re.compile(
    r"(?<!no )(?<!no-)(?<!w/o )(?<!without )(?<![a-z])"
    r"(?:ep|expert[ _-]?parallel(?:ism)?)(?: on| enabled)?\s*$"
)
"""Experts over all devices of a replica, without a number."""
_REPLICAS = (
    re.compile(r"(\d{1,5})\s*replica"),
    re.compile(r"\d\s*x\s*(\d{1,5})\s*(?:\(|$)"),
    re.compile(r"^(\d{1,5})\s*x\s*[tp]p"),
)
_UNTOLD = re.compile(
    r"not (?:printed|stated|told|given|known|reported|specified)|unknown|unstated|unspecified"
    r"|^(?:n/?a|none|null|auto|default|-+|\?+)$"
)


def is_untold(text: str) -> bool:
    """Whether a cell says that the layout is not known, or is blank.

    Examples
    --------
    >>> is_untold("n/a"), is_untold("TP not printed"), is_untold("ring")
    (True, True, False)
    """
    return not text.strip() or bool(_UNTOLD.search(text.strip().lower()))


def read_layout(text: str) -> Told:
    """Read what a table says of parallelism.

    Examples
    --------
    >>> read_layout("TP2 x 4 replicas (NVIDIA reference config)")[:5]
    (2, None, None, None, 4)
    >>> read_layout("8-way TP").tp, read_layout("tensor parallel 8").tp, read_layout("8").tp
    (8, 8, 8)
    >>> read_layout("DEP8").dp, read_layout("DEP8").ep
    (8, 8)
    >>> read_layout("EP32 attention-DP prefill, 4 nodes").dp
    32
    """
    low = text.strip().lower()
    if bare := re.fullmatch(r"(\d{1,5})(?:\.0)?|(?:single|one) (?:gpu|device)", low):
        return Told(tp=int(bare[1] or 1) or None)
    tp, pp, ep, dp = (_size(low, word) for word in ("tp", "pp", "ep", "dp"))
    dep, tep = _size(low, "dep"), _size(low, "tep")
    attention_dp = dep is not None or bool(_ATTENTION_DP.search(low))
    if dep is not None:
        ep, dp = dep, dep
    elif tep is not None:
        tp, ep = tep, tep
    elif attention_dp:
        dp = _size(low, "dpa") or dp or ep or tp
    if ep is None and _WHOLE_EP.search(re.sub(r"\(.*?\)", "", low).strip()):
        ep = tp or dp
    found = (pattern.search(low) for pattern in _REPLICAS)
    replicas = next((int(one[1]) for one in found if one and int(one[1])), None)
    other = (_size(low, "other") or 1) > 1
    return Told(tp, pp, ep, dp, replicas, attention_dp, "layer split" in low, other)


def _size(low: str, word: str) -> int | None:
    """Over how many devices, before or after the word for it."""
    words = _WORDS[word]
    after = re.search(rf"{_START}(?:{words})\s*[=:_-]?\s*(\d{{1,5}})", low)
    before = re.search(rf"(?<!\d)(\d{{1,5}})[ -]?way[ -](?:{words})(?![a-z])", low)
    sizes = [int(found[1]) for found in (after, before) if found and int(found[1]) > 0]
    return sizes[0] if sizes else None
