"""The pools of an operating point, as an option writes them: ``3xtp4,ep2@h200_sxm``.

Without such options there is one pool, of one replica. With them prompts are computed
on one pool and tokens are made on another; a split adds a third, of LPUs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, cast

from factorysim.errors import Fault, SpecError, UserError
from factorysim.marked import Mark, Marked, shown
from factorysim.spec.layout import ParallelSpec

POOL_FORM = "replicas of a layout, like 3xtp4,ep2 or 1xtp8@h200_sxm"
SPLIT_FORM = "a kind, a layout and a device, like afd=tp64,ep64@groq3_lpu"
SPLITS = {"afd": "ffn", "draft": "draft"}
"""Kinds of a split, and how the pool of LPUs is called."""
_POOL = re.compile(r"(?:(?P<replicas>\d{1,7})x)?(?P<sizes>[^@]+?)(?:@(?P<device>[^@]+))?")
_SIZE = re.compile(r"(?P<name>[a-z]+)=?(?P<number>\d{1,7})")
_CUTS = ("tp", "ep")


class PoolAsk(NamedTuple):
    """Replicas of one layout on one kind of device."""

    name: str
    """Of the pool and of its deployment."""
    role: str
    option: str
    """That names the device."""
    device: str
    replicas: int
    parallel: dict[str, int]


class SplitAsk(NamedTuple):
    """The FFN and the experts, or an LLM that drafts, on LPUs of their own."""

    kind: str
    device: str
    parallel: dict[str, int]

    @property
    def pool(self) -> str:
        """Name of the pool of LPUs."""
        return SPLITS[self.kind]


class Wanted(NamedTuple):
    """What the options say of pools."""

    prefill: str | None = None
    decode: str | None = None
    split: str | None = None
    first_token_from: str | None = None
    overlap: str | None = None


class Asked(NamedTuple):
    """Pools that are asked for: one that does both, or one of either role."""

    pools: tuple[PoolAsk, ...]
    split: SplitAsk | None
    disaggregation: dict[str, str] | None
    """`serving.disaggregation`; None: one pool does both."""


def read_pools(wanted: Wanted, device: str, parallel: dict[str, int]) -> Asked:
    """Read the options of pools.

    Parameters
    ----------
    device
        Where an option names none.
    parallel
        Of the one replica, if there are no pools.

    Raises
    ------
    SpecError
        With every fault: an option that cannot be read, or that another needs or forbids.

    Examples
    --------
    >>> asked = read_pools(Wanted("3xtp4", "tp8@h200_sxm"), "h100_sxm", {"tp": 1})
    >>> [(pool.role, pool.replicas, pool.parallel["tp"], pool.device) for pool in asked.pools]
    [('prefill', 3, 4, 'h100_sxm'), ('decode', 1, 8, 'h200_sxm')]
    """
    faults = _pairing_faults(wanted, parallel)
    pools: list[PoolAsk] = []
    split: SplitAsk | None = None
    for role, text in (("prefill", wanted.prefill), ("decode", wanted.decode)):
        if text is not None:
            try:
                pools.append(_read_pool(role, text, device))
            except SpecError as error:
                faults += error.faults
    if wanted.split is not None:
        try:
            split = _read_split(wanted.split)
        except SpecError as error:
            faults += error.faults
    if not pools and wanted.prefill is None and wanted.decode is None:
        pools = [PoolAsk("devices", "serve", "--device", device, 1, parallel)]
    if split is not None and split.kind == "afd" and pools:
        faults += _attention_faults(pools[-1])
    if faults:
        raise SpecError(*faults)
    if pools[0].role == "serve":
        return Asked(tuple(pools), split, None)
    told = {"first_token_from": wanted.first_token_from, "overlap": wanted.overlap}
    return Asked(tuple(pools), split, {key: word for key, word in told.items() if word is not None})


def as_marked(value: object, mark: Mark) -> Marked:
    """Mark plain data as written on the command line."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, object]", value)
        return Marked({key: as_marked(inner, mark) for key, inner in entries.items()}, mark)
    if value is None or isinstance(value, str | int | float):
        return Marked(value, mark)
    raise TypeError(f"no data of a file: {value!r}")


def _pairing_faults(wanted: Wanted, parallel: dict[str, int]) -> list[Fault]:
    """Tell of options that do not go together."""
    faults: list[Fault] = []
    given = {"--prefill-pool": wanted.prefill, "--decode-pool": wanted.decode}
    there = [option for option, text in given.items() if text is not None]
    if len(there) == 1:
        (missing,) = given.keys() - set(there)
        expected = f"replicas too, since {there[0]} is given"
        faults.append(Fault(missing, "", "nothing", expected, f"like {missing} 1xtp8, or neither"))
    if there:
        for key, size in parallel.items():
            if size > 1:
                expected = f"nothing, since {there[0]} is given"
                cure = f"write it in the pools, like {there[0]} 1x{key}{size}"
                faults.append(Fault(f"--{key}", "", f"{size}", expected, cure))
    else:
        for option, word in (
            ("--first-token-from", wanted.first_token_from),
            ("--overlap", wanted.overlap),
        ):
            if word is not None:
                expected = "nothing, since one pool does both"
                cure = "give --prefill-pool and --decode-pool"
                faults.append(Fault(option, "", word, expected, cure))
    return faults


def _attention_faults(pool: PoolAsk) -> list[Fault]:
    """Tell of sizes that the attention of a split does not have."""
    faults: list[Fault] = []
    for key, size in pool.parallel.items():
        if key != "tp" and size > 1 and pool.role in ("serve", "decode"):
            option = f"--{key}" if pool.role == "serve" else "--decode-pool"
            found = f"{size}" if pool.role == "serve" else f"{key}{size}"
            cure = "write it in --split: the experts are there" if key == "ep" else "take more tp"
            faults.append(Fault(option, "", found, "tp alone, since --split is given", cure))
    return faults


def _read_pool(role: str, text: str, device: str) -> PoolAsk:
    option = f"--{role}-pool"
    found = _POOL.fullmatch(text.strip())
    if found is None or found["replicas"] == "0":
        raise SpecError(Fault(option, "", shown(text), POOL_FORM))
    parallel = _read_layout(option, text, found["sizes"], POOL_FORM)
    where = option if found["device"] else "--device"
    return PoolAsk(
        role, role, where, found["device"] or device, int(found["replicas"] or 1), parallel
    )


def _read_split(text: str) -> SplitAsk:
    option = "--split"
    kind, equals, rest = text.partition("=")
    kind = kind.strip()
    if not equals:
        raise SpecError(Fault(option, "", shown(text), SPLIT_FORM))
    if kind not in SPLITS:
        expected = f"one of {', '.join(SPLITS)}"
        cure = "FFN and experts, or the draft LLM, on LPUs; for full decode there --decode-pool"
        raise SpecError(Fault(option, "", shown(kind), expected, cure))
    found = _POOL.fullmatch(rest.strip())
    if found is None or found["replicas"] is not None:
        cure = "it takes as many of the devices as what is on them needs"
        raise SpecError(Fault(option, "", shown(text), SPLIT_FORM, cure))
    if found["device"] is None:
        cure = "name the LPUs, like @groq3_lpu"
        raise SpecError(Fault(option, "", f"{shown(text)}, without a device", SPLIT_FORM, cure))
    return SplitAsk(kind, found["device"], _read_layout(option, text, found["sizes"], SPLIT_FORM))


def _read_layout(option: str, text: str, sizes: str, form: str) -> dict[str, int]:
    """Read ``tp4,ep2``, and check it as a layout of the scenario is checked."""
    from factorysim.spec.faults import read_spec

    pairs = [_SIZE.fullmatch(word.strip()) for word in sizes.split(",")]
    named = [(pair["name"], int(pair["number"])) for pair in pairs if pair is not None]
    parallel = dict(named)
    if len(parallel) < len(pairs):
        raise SpecError(Fault(option, "", shown(text), form))
    for name in parallel:
        if name in ("pp", "dp"):
            expected = "tp and ep: stages and ranks are of replicas that do both parts"
            raise SpecError(Fault(option, name, f"{parallel[name]}", expected, f"remove {name}"))
        if name not in _CUTS:
            raise SpecError(Fault(option, "", shown(name), form, "sizes are tp and ep"))
    try:
        read_spec(ParallelSpec, as_marked(parallel, Mark(option)))
    except UserError as error:
        raise SpecError(*(fault._replace(where=option) for fault in error.faults)) from None
    return {"tp": 1, "ep": 1} | parallel
