"""Numbers and loads, from the ways in which tables spell them: ``1,024``, ``8 GPUs``, ``2 QPS``."""

from __future__ import annotations

import re
from typing import NamedTuple

DECIMAL = r"\d+(?:\.\d+)?"
"""A number in a text; the full stop after it ends the sentence."""
KIBI = 1024
"""Tokens in ``1k``: so are lengths that benchmarks name in thousands, such as InferenceX."""
_DIGITS_MOST = 15
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DEVICES = re.compile(r"x?\s*(\d{1,6})(?:\.0)?\s*(?:x|(?:gpu|device|card|accelerator)s?)?")
_RATE = re.compile(
    rf"({DECIMAL})\s*(?:qps|rps|(?:req|requests|queries|calls)(?:/s|/sec| per s| per second))"
)
_RATE_AFTER = re.compile(rf"(?:qps|rps|request[ _-]rate)\s*[=:]?\s*({DECIMAL})")
_CALLS_AFTER = re.compile(
    rf"(?:c|conc|(?:max[ _-])?concurrency|users|bs|batch|batch[ _-]?size)\s*[=:]?\s*({DECIMAL})"
)
_CALLS_BEFORE = re.compile(
    rf"({DECIMAL})\s*(?:(?:concurrent\s*)?(?:users|clients|requests|calls)|concurrent|concurrency)"
)
_SCENARIOS = dict.fromkeys(("online", "serving", "closed loop", "fixed concurrency"), "server")


_COUNT_BEFORE = re.compile(r"^(\d{1,5})\s*[x\u00d7]\s*(?=\S)")
_COUNT_AFTER = re.compile(r"(?:\s+|(?<=\d)|(?<=gb))[x\u00d7]\s*(\d{1,4})$")
_BOX = re.compile(r"^(?:nvidia[ -])?(?:dgx|hgx)[ -]+|^nvidia[ -]+")
_BARE = re.compile(r"([a-z]{1,2}\d{2,3})(?:[ -](\d+)\s*gb)?")
_SXM_GB = "80"
"""Memory of the SXM part, where a bare name and that word fit none: that of A100."""


class HardwareWords(NamedTuple):
    """What a cell says of devices besides a name that the catalog has."""

    plain: str
    """Without a count, a box that holds them or words in brackets."""
    sxm: tuple[str, ...]
    """What to try where a bare name fits several parts or none."""
    devices: int | None


class LoadWords(NamedTuple):
    """What a cell says of a load; None: nothing."""

    calls: float | None = None
    """In flight, in a batch or queued, as the scenario has it."""
    rate_per_s: float | None = None


def read_number(text: str) -> float | None:
    """Read a number of up to 15 digits; None if it is something else.

    Examples
    --------
    >>> read_number("1,024"), read_number("350.0"), read_number("1k")
    (1024.0, 350.0, None)
    """
    if len(text) > _DIGITS_MOST:
        return None
    plain = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    return float(plain) if re.fullmatch(DECIMAL, plain) else None


def read_kilo(text: str) -> float | None:
    """Read a length that is told in thousands of tokens.

    Examples
    --------
    >>> read_kilo("8K"), read_kilo("8192")
    (8192.0, None)
    """
    told = re.fullmatch(rf"({DECIMAL})\s*k", text.lower())
    number = read_number(told[1]) if told else None
    return None if number is None else number * KIBI


def read_devices(text: str) -> int | None:
    """Read a number of devices: ``8``, ``8.0``, ``8 GPUs``, ``8x``."""
    told = _DEVICES.fullmatch(text.lower())
    return int(told[1]) if told and int(told[1]) >= 1 else None


def read_hardware(text: str) -> HardwareWords:
    """Read a device that is told with a count or a box, or without its socket.

    Examples
    --------
    >>> read_hardware("8x H100")
    HardwareWords(plain='h100', sxm=('h100-sxm', 'h100-sxm-80gb'), devices=8)
    >>> read_hardware("DGX B200").plain, read_hardware("H100 PCIe").sxm
    ('b200', ())
    """
    low = text.lower()
    plain = re.sub(r"\s*\(.*?\)", "", low).strip()
    counts = [found for found in (_COUNT_BEFORE.search(plain), _COUNT_AFTER.search(plain)) if found]
    plain = _COUNT_AFTER.sub("", _COUNT_BEFORE.sub("", plain))
    plain = _BOX.sub("", plain)
    bare = None if re.search("pcie|nvl", low) else _BARE.fullmatch(plain)
    sxm: tuple[str, ...] = ()
    if bare:
        sizes = (bare[2],) if bare[2] else ("", _SXM_GB)
        sxm = tuple(f"{bare[1]}-sxm" + (f"-{size}gb" if size else "") for size in sizes)
    return HardwareWords(plain, sxm, (int(counts[0][1]) or None) if counts else None)


def read_scenario(text: str) -> str:
    """Name a scenario as the shipped table does.

    Examples
    --------
    >>> read_scenario("Closed-loop"), read_scenario("Offline")
    ('server', 'offline')
    """
    low = re.sub(r"[\s_-]+", " ", text.lower())
    return _SCENARIOS.get(low, low)


def read_load(text: str) -> LoadWords:
    """Read a number of calls, or a rate of them.

    Examples
    --------
    >>> read_load("c=64").calls, read_load("64 users").calls, read_load("2 req/s").rate_per_s
    (64.0, 64.0, 2.0)
    """
    number = read_number(text)
    if number is not None or len(text) > 100:
        return LoadWords(calls=number)
    low = text.lower()
    for pattern in (_RATE, _RATE_AFTER):
        if told := pattern.fullmatch(low):
            return LoadWords(rate_per_s=float(told[1]))
    for pattern in (_CALLS_AFTER, _CALLS_BEFORE):
        if told := pattern.fullmatch(low):
            return LoadWords(calls=float(told[1]))
    return LoadWords()
