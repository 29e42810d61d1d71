"""Tiers of the KV cache: where blocks go that HBM has no room for, and how they come back."""

from __future__ import annotations

from typing import Literal, get_args

from factorysim.spec.base import Bytes, BytesPerSecond, Seconds, Spec, refuse

Tier = Literal["hbm", "host", "nvme", "cmx", "storage"]
"""From the fastest to the slowest: memory of the devices, LPDDR or DDR of their host CPUs,
drives of their server, BlueField context memory (an STX rack), storage behind the door."""

TIERS: tuple[Tier, ...] = get_args(Tier)


class StoreSpec(Spec):
    """What a tier holds and how fast it is, where the catalog's figures are not meant.

    Of one server for `host` and `nvme`, of all for `cmx` and `storage`.
    """

    capacity: Bytes | None = None
    read: BytesPerSecond | None = None
    """Of the store itself; the links before it have their own bandwidth."""
    write: BytesPerSecond | None = None
    latency: Seconds | None = None
    """Of an access, beside that of the links."""


def check_order(tiers: tuple[Tier, ...]) -> None:
    """Refuse an order of tiers that makes no sense.

    Raises
    ------
    PydanticCustomError
        With the cure.
    """
    told = f"[{', '.join(tiers)}]"
    if not tiers or tiers[0] != "hbm":
        cure = "put hbm first: attention reads from there"
        raise refuse("tiers", told, "tiers that begin with hbm", cure)
    twice = [tier for tier in TIERS if tiers.count(tier) > 1]
    if twice:
        raise refuse("tiers", told, "each tier once", f"name {' and '.join(twice)} once")
    ordered = tuple(tier for tier in TIERS if tier in tiers)
    if tiers != ordered:
        cure = f"write [{', '.join(ordered)}]: what a tier has no room for goes to a slower one"
        raise refuse("tiers", told, "tiers from the fastest to the slowest", cure)
