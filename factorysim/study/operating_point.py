"""From a question about one operating point to the scenario that answers it.

The factory is one kind of device: a server of one where one device is enough, else
the smallest rack of the catalog whose scale-up domain holds all of them. Where it knows
none, as many racks as it takes, and collectives cross the network: a note says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from factorysim.errors import CapacityError, Fault, SpecError, UserError
from factorysim.marked import Mark, Marked
from factorysim.spec.scenario import FixedConcurrency, PrecisionSpec, ScenarioSpec

if TYPE_CHECKING:
    from factorysim.catalog import Catalog, Device, Llm, Rack
    from factorysim.spec.scenario import StreamSpec

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

    @property
    def devices(self) -> int:
        """Of the replica."""
        return self.tp * self.pp * self.dp


class Setting(NamedTuple):
    """The scenario of an operating point, and how it came about."""

    scenario: ScenarioSpec
    llm: Llm
    rack: str
    racks: int
    crosses: bool
    """Whether collectives cross the network: no scale-up domain holds the replica."""
    precision_note: str
    notes: tuple[str, ...]


def set_up(ask: Ask, overrides: Sequence[str], catalog: Catalog, overlay: Path | None) -> Setting:
    """Make the scenario of an operating point.

    Parameters
    ----------
    overrides
        Like ``serving.token_budget=2048``: keys of the scenario.
    overlay
        The user's file that `catalog` was loaded with.

    Raises
    ------
    SpecError
        If a name is unknown or a number or an override is no good.
    CapacityError
        If the LLM or the device has unknown facts, or a context longer than the
        LLM takes is asked for.
    """
    llm, device = _find(ask, catalog)
    _check_context(ask, llm)
    rack, racks, notes = _factory(catalog, device, ask)
    precision, note = choose_precision(ask.precision, llm, device)
    speculation = _speculation(ask, catalog, device)
    tree = _marked(
        {
            "schema": "factorysim.scenario/1",
            "question": f"What does {llm.name} do on {ask.devices} x {device.name}?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"devices": {"rack": rack, "count": racks}},
                "fabric": {"kind": "none" if racks == 1 else "leaf_spine"},
            },
            "llms": {"llm": {"llm": llm.id, "precision": precision.model_dump()}},
            "deployments": {
                "serve": {
                    "llm": "llm",
                    "pool": "devices",
                    "replicas": 1,
                    "parallel": {"tp": ask.tp, "ep": ask.ep, "pp": ask.pp, "dp": ask.dp},
                    "speculation": speculation,
                }
            },
            "streams": {"calls": _calls(ask)},
            "serving": {"max_sequences": max(1, min(ask.concurrency, SEQUENCES_MOST))},
            "catalog": None if overlay is None else str(overlay.resolve()),
        }
    )
    return Setting(_read(tree, overrides), llm, rack, racks, bool(notes), note, notes)


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
    return read_spec(PrecisionSpec, _marked(parts, mark))


def _find(ask: Ask, catalog: Catalog) -> tuple[Llm, Device]:
    """Look both names up, and tell of both if both are wrong."""
    faults: list[Fault] = []
    llm: Llm | None = None
    device: Device | None = None
    sized = True
    for option in ("llm", "device"):
        try:
            if option == "llm":
                llm = catalog.llm(ask.llm)
            else:
                device = catalog.device(ask.device)
        except UserError as error:
            sized = sized and isinstance(error, CapacityError)
            faults += [fault._replace(where=f"--{option}") for fault in error.faults]
    if llm is None or device is None:
        raise CapacityError(*faults) if sized else SpecError(*faults)
    return llm, device


def _speculation(ask: Ask, catalog: Catalog, device: Device) -> dict[str, object] | None:
    """Give the deployment's `speculation`: what is asked for goes together, or not at all."""
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
        precision, _ = choose_precision(None, draft, device)
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


def _factory(catalog: Catalog, device: Device, ask: Ask) -> tuple[str, int, tuple[str, ...]]:
    """Choose the rack, how many of it, and what to say of the choice."""
    size = ask.devices
    if size <= 1:
        return device.id, 1, ()
    racks = _racks_of(catalog, device)
    whole = [rack for rack in racks if rack.scale_up_domain >= size]
    if whole:
        return min(whole, key=_size).id, 1, ()
    if not racks:
        note = (
            f"the catalog knows no server of several {device.id}: {size} servers of one, and "
            "their collectives cross the network; a `racks:` record of your own (--catalog) "
            "tells what joins them"
        )
        return device.id, size, (note,)
    rack = max(racks, key=lambda one: (one.scale_up_domain, -_size(one)))
    joined = f"at most {rack.scale_up_domain}" if rack.scale_up_domain > 1 else "none"
    what = f"tp {ask.tp}" + (f" x dp {ask.dp}" if ask.dp > 1 else "")
    count = -(-size // _size(rack))
    if ask.pp > 1 and ask.tp <= rack.scale_up_domain:
        what = f"pp {ask.pp}"
        count = -(-ask.pp // (rack.scale_up_domain // ask.tp))
    note = f"{what} crosses the network: scale-up links join {joined} of {device.id} ({rack.id})"
    return rack.id, count, (note,)


def _racks_of(catalog: Catalog, device: Device) -> list[Rack]:
    """Racks and servers that are bought for this device."""
    racks: list[Rack] = []
    for name in catalog.ids("racks"):
        try:
            rack = catalog.rack(name)
        except CapacityError:
            continue  # a count of it is unknown: nothing can stand in it
        bought = rack.kind in ("gpu_rack", "lpu_rack", "cpu_rack", "server")
        if bought and rack.main is not None and rack.main.id == device.id:
            racks.append(rack)
    return racks


def _size(rack: Rack) -> int:
    return rack.main.count if rack.main else 0


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
    from factorysim.load.merge import merge, read_override
    from factorysim.spec.faults import read_spec

    for text in overrides:
        _, over = read_override(text, ScenarioSpec, tree)
        tree = merge(tree, over)
    return read_spec(ScenarioSpec, tree)


def _marked(value: object, mark: Mark = COMMAND) -> Marked:
    """Mark plain data as written on the command line."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, object]", value)
        return Marked({key: _marked(inner, mark) for key, inner in entries.items()}, mark)
    if value is None or isinstance(value, str | int | float):
        return Marked(value, mark)
    raise TypeError(f"no data of a file: {value!r}")
