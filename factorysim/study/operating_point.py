"""From a question about one operating point to the scenario that answers it.

One replica on one kind of device (a pool `devices`), or replicas that compute prompts and
others that make tokens (pools `prefill` and `decode`), over a leaf-spine network; and the
FFN on LPUs (a pool `ffn`) where the layers are split, or an LLM that drafts (a pool `draft`).
`standing` chooses the racks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault, SpecError, UserError
from factorysim.marked import Mark
from factorysim.spec.arrivals import FixedConcurrency
from factorysim.spec.layout import SramSpec
from factorysim.spec.llm import PrecisionSpec
from factorysim.spec.scenario import ScenarioSpec
from factorysim.study.pools import Wanted, as_marked, read_pools
from factorysim.study.standing import Standing, stand, stand_chips

if TYPE_CHECKING:
    from factorysim.catalog import Catalog, Device, Llm
    from factorysim.marked import Marked
    from factorysim.spec.deployment import DeploymentSpec
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import LlmUse
    from factorysim.spec.split import Split
    from factorysim.spec.stream import StreamSpec
    from factorysim.study.pools import Asked, PoolAsk, SplitAsk

WHERE = "predict"
COMMAND = Mark(WHERE)
SEQUENCES_MOST = 1024
"""Of a step, whatever the concurrency: the default of `serving.max_sequences`."""

_OWN_COMPUTE = {"fp8": "fp8", "mxfp4": "fp4"}
"""Format of a published checkpoint -> arithmetic that takes it as it is."""
_WHOLE = {
    **{word: (word, word, word) for word in ("fp32", "bf16", "fp8", "int8", "fp4")},
    **{word: (word, "bf16", "bf16") for word in ("w4a16", "q4_k_m", "q8_0")},
    **{word: (word, "fp4", "fp8") for word in ("mxfp4", "nvfp4")},
}
"""What one word stands for: weights, compute, KV."""


class Ask(NamedTuple):
    """One operating point, as it is asked for."""

    llm: str
    device: str
    tp: int
    ep: int
    isl: int
    """Prompt tokens of each call."""
    osl: int
    """Output tokens of each call."""
    concurrency: int
    spread: float
    """Half width of both lengths over their means; 0: all alike."""
    precision: str | None
    """`fp8`, or ``weights=w4a16,compute=bf16``; None: chosen here."""
    draft: str | None = None
    """Who drafts: an LLM of the catalog, `mtp` or `ngram`; None: nobody."""
    draft_tokens: int | None = None
    acceptance: float | None = None
    pp: int = 1
    dp: int = 1
    wanted: Wanted = Wanted()
    """Pools, and what is split over them."""

    @property
    def parallel(self) -> dict[str, int]:
        """Of the one replica, where there are no pools of either role."""
        return {"tp": self.tp, "ep": self.ep, "pp": self.pp, "dp": self.dp}

    @property
    def longest(self) -> int:
        """Tokens of the longest call."""
        return math.ceil((self.isl + self.osl) * (1 + self.spread))


class Setting(NamedTuple):
    """The scenario of an operating point, and how it came about."""

    scenario: ScenarioSpec
    llm: Llm
    standings: dict[str, Standing]
    """Racks of each pool."""
    crosses: bool
    """Whether bytes cross the network: no scale-up domain holds the replica, or there are
    several pools."""
    precision_note: str
    notes: tuple[str, ...]


def set_up(ask: Ask, overrides: Sequence[str], catalog: Catalog, overlay: Path | None) -> Setting:
    """Make the scenario of an operating point.

    How many racks there are follows from the keys of the scenario, overrides among them: it
    is read once with one rack a pool, then with as many as it takes.

    Parameters
    ----------
    overrides
        Like ``serving.token_budget=2048``: keys of the scenario.
    overlay
        The user's file that `catalog` was loaded with.

    Raises
    ------
    SpecError
        If a name is unknown or a number, a pool or an override is no good.
    CapacityError
        If the LLM or the device has unknown facts, or a context longer than the
        LLM takes is asked for.
    """
    asked = read_pools(ask.wanted, ask.device, ask.parallel)
    llm, devices = _find(ask, asked, catalog)
    _check_context(ask, llm)
    precision, note = _precision(ask.precision, llm, _of_llm(asked, devices))
    speculation = _speculation(ask, asked, catalog, devices)
    one = {name: Standing(device.id, 1) for name, device in devices.items()}

    def read(standings: Mapping[str, Standing], srams: Mapping[str, SramSpec]) -> ScenarioSpec:
        tree = _tree(ask, asked, llm, precision, speculation, standings, srams)
        tree["catalog"] = None if overlay is None else str(overlay.resolve())
        return _read(as_marked(tree, COMMAND), overrides)

    scenario = read(one, {})
    srams = _srams(ask, asked, devices, scenario)
    standings = _standings(asked, catalog, devices, scenario, srams)
    notes = tuple(note for standing in standings.values() for note in standing.notes)
    crosses = bool(notes) or len(standings) > 1
    return Setting(read(standings, srams), llm, standings, crosses, note, notes)


def _tree(
    ask: Ask,
    asked: Asked,
    llm: Llm,
    precision: PrecisionSpec,
    speculation: dict[str, object] | None,
    standings: Mapping[str, Standing],
    srams: Mapping[str, SramSpec],
) -> dict[str, object]:
    """Write the scenario, as a user would."""
    racks = {
        name: {"rack": standing.rack, "count": standing.number}
        for name, standing in standings.items()
    }
    alone = sum(standing.number for standing in standings.values()) == 1
    deployments: dict[str, object] = {}
    for pool in asked.pools:
        makes_tokens = pool is asked.pools[-1]
        split = asked.split if makes_tokens else None
        sram = srams.get(pool.name)
        deployments[deployment_of(pool)] = {
            "llm": "llm",
            "role": pool.role,
            "pool": pool.name,
            "replicas": pool.replicas,
            "parallel": pool.parallel,
            "speculation": speculation if makes_tokens else None,
            "sram": None if sram is None else {"kv_tokens": sram.kv_tokens},
            "split": None if split is None else _split_of(split, srams),
        }
    serving: dict[str, object] = {"max_sequences": max(1, min(ask.concurrency, SEQUENCES_MOST))}
    if asked.disaggregation is not None:
        serving["disaggregation"] = asked.disaggregation
    return {
        "schema": "factorysim.scenario/1",
        "question": f"What does {llm.name} do at {ask.concurrency:,} calls at any time?",
        "topology": {
            "schema": "factorysim.topology/1",
            "racks": racks,
            "fabric": {"kind": "none" if alone else "leaf_spine"},
        },
        "llms": {"llm": {"llm": llm.id, "precision": precision.model_dump()}},
        "deployments": deployments,
        "streams": {"calls": _calls(ask)},
        "serving": serving,
    }


def _split_of(split: SplitAsk, srams: Mapping[str, SramSpec]) -> dict[str, object]:
    told: dict[str, object] = {"kind": split.kind, "pool": split.pool, "parallel": split.parallel}
    if split.pool in srams:
        told["sram"] = {"kv_tokens": srams[split.pool].kv_tokens}
    return told


def deployment_of(pool: PoolAsk) -> str:
    """Name the deployment on a pool: `serve`, or the role."""
    return pool.role


def _spec_of(scenario: ScenarioSpec, pool: PoolAsk) -> DeploymentSpec:
    """Find the deployment on a pool, unless an override has taken it away."""
    name = deployment_of(pool)
    if name in scenario.deployments:
        return scenario.deployments[name]
    found = ", ".join(scenario.deployments)
    raise SpecError(Fault("--set", "deployments", found, f"`{name}` among them", "use `run`"))


def _srams(
    ask: Ask, asked: Asked, devices: Mapping[str, Device], scenario: ScenarioSpec
) -> dict[str, SramSpec]:
    """Say how many tokens of KV pools of LPUs hold, where the scenario does not: all calls'."""
    srams: dict[str, SramSpec] = {}
    size = scenario.serving.kv.block_tokens
    for pool in asked.pools:
        spec = _spec_of(scenario, pool)
        calls = -(-ask.concurrency // (spec.replicas or 1))
        if pool.role != "serve" and devices[pool.name].sram is not None:
            if spec.sram is None or spec.sram == SramSpec():
                srams[pool.name] = SramSpec(kv_tokens=calls * -(-ask.longest // size) * size)
        elif spec.split is not None and spec.split.kind == "draft":
            longest = ask.longest + (ask.draft_tokens or 0)
            if spec.split.sram == SramSpec():
                kv_tokens = calls * -(-longest // size) * size
                srams[spec.split.pool] = SramSpec(kv_tokens=kv_tokens)
    return srams


def _standings(
    asked: Asked,
    catalog: Catalog,
    devices: Mapping[str, Device],
    scenario: ScenarioSpec,
    srams: Mapping[str, SramSpec],
) -> dict[str, Standing]:
    """Choose the racks of every pool for what its deployment takes."""
    standings: dict[str, Standing] = {}
    for pool in asked.pools:
        spec, device = _spec_of(scenario, pool), devices[pool.name]
        replicas = spec.replicas or 1
        if device.sram is None:
            standings[pool.name] = stand(catalog, device, spec.parallel, replicas)
        else:
            use = scenario.llms[spec.llm or "llm"]
            sram = srams.get(pool.name) or spec.sram or SramSpec()
            chips = _chips(use, catalog, device, spec.parallel, sram, scenario)
            standings[pool.name] = stand_chips(catalog, device, chips, replicas)
        split = spec.split
        if split is not None and split.pool in devices:
            lpu = devices[split.pool]
            chips = _chips_of_split(spec, split, catalog, lpu, scenario, srams)
            standings[split.pool] = stand_chips(catalog, lpu, chips, replicas)
    return standings


def _chips(
    use: LlmUse,
    catalog: Catalog,
    device: Device,
    parallel: ParallelSpec,
    sram: SramSpec,
    scenario: ScenarioSpec,
) -> int:
    """Count the LPUs that hold an LLM and its KV."""
    from factorysim.physics.sram import sram_stages

    kv, sequences, llm = scenario.serving.kv, scenario.serving.max_sequences, catalog.llm(use.llm)
    return parallel.tp * sram_stages(llm, device, use.precision, parallel, sram, kv, sequences)


def _chips_of_split(
    spec: DeploymentSpec,
    split: Split,
    catalog: Catalog,
    lpu: Device,
    scenario: ScenarioSpec,
    srams: Mapping[str, SramSpec],
) -> int:
    """Count the LPUs of a split: for the FFN and the experts, or for the LLM that drafts."""
    from factorysim.physics.afd import ffn_groups

    if split.kind == "afd":
        use, fraction = scenario.llms[spec.llm or "llm"], scenario.serving.kv.memory_fraction
        llm = catalog.llm(use.llm)
        return split.parallel.tp * ffn_groups(llm, lpu, use.precision, split, fraction)
    assert spec.speculation is not None
    assert spec.speculation.draft is not None  # as the spec says of such a split
    sram = srams.get(split.pool) or split.sram
    return _chips(spec.speculation.draft, catalog, lpu, split.parallel, sram, scenario)


def stream_of(scenario: ScenarioSpec) -> tuple[StreamSpec, FixedConcurrency]:
    """Give the stream of an operating point, and what keeps it full.

    Raises
    ------
    SpecError
        If an override has made it something else.
    """
    stream = scenario.streams.get("calls")
    arrivals = None if stream is None else stream.arrivals
    if len(scenario.streams) != 1 or stream is None or stream.calls is None:
        expected = "the one stream `calls`"
        raise SpecError(Fault("--set", "streams", "other streams", expected, "use `run`"))
    if not isinstance(arrivals, FixedConcurrency):
        expected = "fixed_concurrency"
        key = "streams.calls.arrivals"
        raise SpecError(Fault("--set", key, "arrivals by the clock", expected, "use `run`"))
    return stream, arrivals


def choose_precision(text: str | None, llm: Llm, device: Device) -> tuple[PrecisionSpec, str]:
    """Read a precision, or take the published one with the best native arithmetic.

    Weights keep the format of the published checkpoint. Arithmetic is in that
    format where the device has it, else in BF16. The KV cache is in FP8 beside FP8
    arithmetic, else in BF16. A device without BF16 takes what it has in FP8.

    Returns
    -------
    The precision, and a line that says where it comes from.

    Raises
    ------
    SpecError
        If the text is neither a format nor formats by part.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> catalog = load_catalog()
    >>> llm, a100 = catalog.llm("deepseek_v3"), catalog.device("a100_sxm_80gb")
    >>> choose_precision(None, llm, a100)[0]
    PrecisionSpec(weights='fp8', compute='bf16', kv='bf16')
    >>> choose_precision("weights=w4a16,kv=fp8", llm, a100)[0]
    PrecisionSpec(weights='w4a16', compute='bf16', kv='fp8')
    """
    if text is not None:
        return _read_precision(text), "as given"
    native = llm.native_precision
    weights = {"fp16": "bf16", "int4": "w4a16"}.get(native, native)
    own = _OWN_COMPUTE.get(native, "bf16")
    if own in device.flops:
        compute = own
        why = f"published in {native}, which {device.id} computes in"
    elif "bf16" in device.flops:
        compute = "bf16"
        why = f"published in {native}; {device.id} computes in bf16"
    else:
        weights = compute = "fp8" if "fp8" in device.flops else min(device.flops)
        why = f"published in {native}; {device.id} computes in {compute} only"
    kv = "fp8" if compute == "fp8" else "bf16"
    words = {"weights": weights, "compute": compute, "kv": kv}
    return PrecisionSpec.model_validate(words), f"chosen: {why}"


def _read_precision(text: str) -> PrecisionSpec:
    from factorysim.spec.faults import read_spec

    mark = Mark("--precision")
    parts: dict[str, str]
    if text in _WHOLE:
        parts = dict(zip(("weights", "compute", "kv"), _WHOLE[text], strict=True))
    elif "=" in text:
        pairs = [part.partition("=") for part in text.split(",")]
        parts = {key.strip(): value.strip() for key, _, value in pairs}
    else:
        from factorysim.spec.shape import nearest

        expected = "a format, or weights=..,compute=..,kv=.."
        cure = nearest(text, tuple(_WHOLE)) or f"formats: {', '.join(_WHOLE)}"
        raise SpecError(Fault("--precision", "", f'"{text}"', expected, cure))
    return read_spec(PrecisionSpec, as_marked(parts, mark))


def _find(ask: Ask, asked: Asked, catalog: Catalog) -> tuple[Llm, dict[str, Device]]:
    """Look all names up, devices by pool, and tell of all that are wrong."""
    faults: list[Fault] = []
    llm: Llm | None = None
    devices: dict[str, Device] = {}
    sized = True
    places = [(pool.option, pool.name, pool.device) for pool in asked.pools]
    if asked.split is not None:
        places.append(("--split", asked.split.pool, asked.split.device))
    for option, pool, name in [("--llm", "", ask.llm), *places]:
        try:
            if option == "--llm":
                llm = catalog.llm(name)
            else:
                devices[pool] = catalog.device(name)
        except UserError as error:
            sized = sized and isinstance(error, CapacityError)
            faults += [fault._replace(where=option) for fault in error.faults]
    of_split = [] if asked.split is None else _split_faults(ask, asked, asked.split, devices)
    sized = sized and not of_split
    faults += of_split
    if llm is None or faults:
        faults = list(dict.fromkeys(faults))
        raise CapacityError(*faults) if sized else SpecError(*faults)
    return llm, devices


def _split_faults(
    ask: Ask, asked: Asked, split: SplitAsk, devices: Mapping[str, Device]
) -> list[Fault]:
    """Tell of sides of a split that are on the wrong kind of device, or have nothing to do."""
    faults: list[Fault] = []
    if split.kind == "draft" and (ask.draft in (None, "mtp", "ngram") or not ask.draft_tokens):
        found = "nothing" if ask.draft is None else f"{ask.draft}, {ask.draft_tokens or 0} drafts"
        expected = "an LLM of the catalog, and drafts to make, since --split draft is given"
        cure = "like --draft llama_3_1_8b --draft-tokens 4 --acceptance 0.7"
        faults.append(Fault("--draft", "", found, expected, cure))
    if split.kind == "afd" and ask.draft is not None:
        cure = "leave one out; --split draft=tp8@groq3_lpu puts the draft LLM on LPUs"
        faults.append(Fault("--draft", "", ask.draft, "nothing, since --split afd is given", cure))
    if split.pool in devices and devices[split.pool].sram is None:
        cure = "@groq3_lpu; a scenario's own `split` takes other devices too"
        expected = "LPUs, whose memory is SRAM"
        faults.append(Fault("--split", "", devices[split.pool].id, expected, cure))
    pool = asked.pools[-1]
    if pool.name in devices and devices[pool.name].sram is not None:
        expected = "a device with DRAM, since --split is given"
        cure = "leave --split out: these LPUs hold all of the LLM"
        option = "--decode-pool" if pool.role == "decode" else "--device"
        faults.append(Fault(option, "", pool.device, expected, cure))
    return faults


def _of_llm(asked: Asked, devices: Mapping[str, Device]) -> dict[str, Device]:
    """Take the devices that the LLM itself is on: not those that draft."""
    drafting = asked.split is not None and asked.split.kind == "draft"
    return {pool: device for pool, device in devices.items()
            if not (drafting and asked.split is not None and pool == asked.split.pool)}  # fmt: skip


def _precision(
    text: str | None, llm: Llm, devices: Mapping[str, Device]
) -> tuple[PrecisionSpec, str]:
    """Choose one precision for all pools: KV moves between them as it is.

    Raises
    ------
    SpecError
        If a pool does not compute in what is asked for, or none goes with all of them.
    """
    if len(devices) == 1:
        return choose_precision(text, llm, *devices.values())
    lpus = [device for device in devices.values() if device.sram is not None]
    if lpus:
        return _precision_of_lpus(text, lpus[0], devices)
    if text is not None:
        return _read_precision(text), "as given"
    for device in reversed(list(devices.values())):
        chosen, note = choose_precision(None, llm, device)
        if all(chosen.compute in other.flops for other in devices.values()):
            return chosen, note
    found = "; ".join(f"{one.id} computes in {', '.join(sorted(one.flops))}"
                      for one in devices.values())  # fmt: skip
    expected = "a precision that all pools compute in"
    raise SpecError(Fault("--precision", "", found, expected, "give one, or other devices"))


def _precision_of_lpus(
    text: str | None, lpu: Device, devices: Mapping[str, Device]
) -> tuple[PrecisionSpec, str]:
    """Choose what LPUs compute in, and see that the other pools do too."""
    words = ", ".join(sorted(lpu.flops))
    chosen = _read_precision(min(lpu.flops) if text is None else text)
    faults: list[Fault] = []
    if not set(chosen.model_dump().values()) <= set(lpu.flops):
        expected = f"{words} throughout, since {lpu.id} computes in nothing else"
        cure = "leave --precision out, or take pools without LPUs"
        faults.append(Fault("--precision", "", f'"{text}"', expected, cure))
    for pool, device in devices.items():
        if not set(device.flops) & set(lpu.flops):
            option = "--device" if pool == "devices" else f"--{pool}-pool"
            found = f"{device.id}, which computes in {', '.join(sorted(device.flops))}"
            expected = f"a device that computes in {words}, as {lpu.id} does"
            faults.append(Fault(option, "", found, expected, "for example h200_sxm"))
    if faults:
        raise SpecError(*faults)
    note = f"chosen: {lpu.id} computes in {words} only"
    return chosen, note if text is None else "as given"


def _speculation(
    ask: Ask, asked: Asked, catalog: Catalog, devices: Mapping[str, Device]
) -> dict[str, object] | None:
    """Give the deployment's `speculation`: what is asked for goes together, or not at all."""
    apart = asked.split is not None and asked.split.kind == "draft"
    on = asked.split.pool if asked.split is not None and apart else asked.pools[-1].name
    given = {
        "--draft": ask.draft,
        "--draft-tokens": ask.draft_tokens,
        "--acceptance": ask.acceptance,
    }
    missing = [option for option, value in given.items() if value is None]
    if len(missing) == len(given):
        return None
    if missing:
        there = " and ".join(option for option in given if option not in missing)
        expected = f"it too, since {there} is given"
        faults = [Fault(option, "", "nothing", expected, "see docs/speculation.md")
                  for option in missing]  # fmt: skip
        raise SpecError(*faults)
    told: dict[str, object] = {
        "method": ask.draft,
        "draft_tokens": ask.draft_tokens,
        "acceptance": ask.acceptance,
    }
    if ask.draft not in {"mtp", "ngram"}:
        assert ask.draft is not None  # none is missing
        try:
            draft = catalog.llm(ask.draft)
        except UserError as error:
            raise type(error)(*(f._replace(where="--draft") for f in error.faults)) from error
        precision, _ = choose_precision(None, draft, devices[on])
        told |= {
            "method": "draft_model",
            "draft": {"llm": draft.id, "precision": precision.model_dump()},
        }
    return told


def _check_context(ask: Ask, llm: Llm) -> None:
    longest = (ask.isl + ask.osl) * (1 + ask.spread)
    if longest > llm.context_length:
        times = f" x {1 + ask.spread:g}" if ask.spread else ""
        total = f"({ask.isl:,} + {ask.osl:,}){times} = {longest:,.0f} tokens"
        expected = f"at most {llm.context_length:,}, the context of {llm.id}"
        raise CapacityError(Fault(WHERE, "isl + osl", total, expected, "shorten the calls"))


def _calls(ask: Ask) -> dict[str, object]:
    spread = {"kind": "uniform", "spread": ask.spread} if ask.spread else {}
    return {
        "llm": "llm",
        "calls": {
            "prompt_tokens": {"mean": ask.isl, **spread},
            "output_tokens": {"mean": ask.osl, **spread},
        },
        "arrivals": {"process": "fixed_concurrency", "concurrency": ask.concurrency},
    }


def _read(tree: Marked, overrides: Sequence[str]) -> ScenarioSpec:
    from factorysim.load.merge import lay_override
    from factorysim.spec.faults import read_spec

    for text in overrides:
        tree, _ = lay_override(text, ScenarioSpec, tree)
    return read_spec(ScenarioSpec, tree)
