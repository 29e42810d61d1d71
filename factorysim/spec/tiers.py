"""Tiers of the KV cache: where blocks go that HBM has no room for, and how they come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from factorysim.spec.base import Bytes, BytesPerSecond, Seconds, Spec, refuse

if TYPE_CHECKING:
    from factorysim.spec.scenario import KvSpec

Tier = Literal["hbm", "host", "nvme", "cmx", "storage"]
"""From the fastest to the slowest: memory of the devices, LPDDR or DDR of their host CPUs,
drives of their server, BlueField context memory (an STX rack), storage behind the door."""

TIERS: tuple[Tier, ...] = get_args(Tier)
_NEEDS_TIERS: dict[str, object] = {
    "offload": "evict",
    "fetch": "cheaper",
    "eviction": "lru",
    "ttl": None,
    "stores": {},
}
"""Keys that say something of tiers below HBM, by what they are where there are none."""


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


def check_tiers(kv: KvSpec) -> None:
    """Refuse an order of tiers, or rules of them, that make no sense.

    Raises
    ------
    PydanticCustomError
        With the cure.
    """
    _check_order(kv.tiers)
    if len(kv.tiers) == 1:
        for key, default in _NEEDS_TIERS.items():
            if getattr(kv, key) != default:
                cure = "remove it, or add tiers: for example `tiers: [hbm, host]`"
                raise refuse(key, "rules for tiers", "none, since HBM is the only one", cure)
        return
    if kv.retain == "none":
        cure = "remove the tiers, or `retain: none`"
        raise refuse("tiers", "tiers below hbm", "none, since nothing is retained", cure)
    if kv.ttl is None and kv.eviction == "ttl":
        raise refuse("ttl", "nothing", "a time, since eviction is ttl", "for example `ttl: 10 min`")
    if kv.ttl is not None and kv.eviction != "ttl":
        cure = "remove it, or take `eviction: ttl`"
        raise refuse("ttl", f"{kv.ttl:g} s", f"nothing, since eviction is {kv.eviction}", cure)
    for tier in kv.stores:
        if tier not in kv.tiers or tier == "hbm":
            below = ", ".join(kv.tiers[1:])
            cure = "remove it, or add the tier; HBM is set by memory_fraction or blocks"
            raise refuse(f"stores.{tier}", tier, f"one of the tiers below HBM: {below}", cure)


def _check_order(tiers: tuple[Tier, ...]) -> None:
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
