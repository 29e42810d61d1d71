"""Reading what a row of measurements says of its experiment, and what it leaves unsaid.

Tables leave much unsaid. What has to be assumed is written down with each row, so that an
error can be traced to the assumption; what cannot be understood sets the row aside.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from factorysim.errors import UserError
from factorysim.spec.stream import LengthSpec
from factorysim.study.measured.conditions import (
    Closed,
    Conditions,
    Load,
    Offered,
    Queued,
    Recorded,
    Settings,
    Static,
    Steady,
    Understood,
)
from factorysim.study.measured.formats import formats_in_name, kv_format, read_formats
from factorysim.study.measured.layout import Cut, Told, is_untold, read_layout
from factorysim.study.measured.metrics import read_metric
from factorysim.study.measured.rows import NotUnderstoodError
from factorysim.study.measured.words import (
    DECIMAL,
    read_devices,
    read_hardware,
    read_kilo,
    read_load,
    read_number,
    read_scenario,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.catalog import Catalog, Device, Llm
    from factorysim.study.measured.rows import Row


_ENGINES = (
    ("splitwise", "splitwise_2023"),
    ("tensorrt", "trtllm"),
    ("trt", "trtllm"),
    ("sglang", "sglang"),
    ("vllm", "vllm"),
    ("llama.cpp", "llama_cpp"),
    ("llama_cpp", "llama_cpp"),
)
"""Words in the name of an engine, and the family that they tell."""


_FLASH_ATTENTION = "2025"
"""Date from which llama.cpp is taken to attend with flash attention: assumed. Its rows of
2024 read the KV cache at a tenth to a third of the bandwidth that those of 2025 do."""


class Defaults(NamedTuple):
    """What an engine does where nobody says otherwise."""

    max_sequences: int
    token_budget: int
    memory_fraction: float
    kv_fp8: bool
    """Whether the KV cache is in FP8 beside FP8 arithmetic."""


_DEFAULTS = {
    "vllm": Defaults(1024, 8192, 0.9, False),
    "sglang": Defaults(1024, 8192, 0.88, False),
    "trtllm": Defaults(2048, 8192, 0.9, True),
    "llama_cpp": Defaults(64, 2048, 1.0, False),
    "llama_cpp_2024": Defaults(64, 2048, 1.0, False),
    "splitwise_2023": Defaults(256, 1 << 20, 0.9, False),
    "generic": Defaults(1024, 8192, 0.9, False),
}

_DATASETS = {
    "openorca": 294.0,
    "openorca+gsm8k+mbxp": 300.0,
    "lm-arena-chat": 100.0,
}
"""Mean prompt of a dataset in tokens, assumed."""
_SPREAD = 0.95
"""Of lengths of which only a mean is stated, uniform around it: assumed. Longest outputs are
bounded in benchmarks, so a distribution with a long tail would overstate how a run ends."""

_CLOCKS = {"cts": 1.08, "maxq": 0.80}
"""Operating points that a table names beside a device: assumed."""

_LIMITED = re.compile(r"\bmax(?:imum)?\b.*\b(?:qps|rps|rate)\b")
"""A load that is the highest within limits."""
_LIMITS = {"server": (2.0, 0.2), "interactive": (0.45, 0.04)}
"""p99 of TTFT and TPOT in MLPerf Inference for Llama-2-70B and Mixtral, s."""
_SEQUENCES = re.compile(
    r"max[ _-](?:batch(?:[ _-]size)?|num[ _-]seqs)\s*[=:]?\s*(\d{1,3}(?:,\d{3})+|\d+)"
)
_IGNORED = re.compile(
    r"(?<!no )(?<!without )(?<![a-z])(?:eagle(?:[ -]?\d)?|mtp|medusa|speculati(?:ve|on)|draft model"
    r"|(?:pd[ -])?disagg(?:regat(?:ed|ion))?)(?![a-z])(?![ =:]*(?:off|disabled|0)\b)"
)
"""Words for what changes the numbers, and is not read into an experiment."""
_JITTER = 0.1
"""Of fixed output lengths in a closed loop: calls of a real engine do not end together for
ever, as those of a simulated one would."""
_DECODED = 512.0
"""Output tokens of decodes that a table gives without any, computed apart from their prompts:
assumed. Most are made when all prompts of the batch are done, so the median gap tells."""
_CALLS_QUEUED = 3000
_CALLS_OF_DATASET = {"openorca": 24_576, "openorca+gsm8k+mbxp": 15_000}
"""Samples of a dataset in MLPerf Inference, all of which an offline run serves."""
WEIGHTS_SHARE = 0.6
"""Of memory that weights may take, where nobody says over how many devices they are cut."""


def understand(row: Row, catalog: Catalog, others: Sequence[Row] = ()) -> Understood:
    """Turn a row into the experiment that it was.

    Parameters
    ----------
    others
        Rows of the same experiment, which may tell what this one does not.

    Raises
    ------
    NotUnderstoodError
        With the reason.
    """
    with _none_made():
        return _Reader(row, catalog, others).read()


def understand_log(
    row: Row, catalog: Catalog, load: Recorded, settings: Settings
) -> tuple[Conditions, tuple[str, ...]]:
    """Turn what is told of a log of calls into the experiment that it was.

    Parameters
    ----------
    row
        Tells the LLM, the devices, the engine and the formats.

    Returns
    -------
    The experiment, and what had to be assumed.

    Raises
    ------
    NotUnderstoodError
        With the reason.
    """
    with _none_made():
        return _Reader(row, catalog, ()).read_log(load, settings)


@contextmanager
def _none_made() -> Iterator[None]:
    """Set a row aside whose numbers no experiment can have: never end the whole check."""
    try:
        yield
    except ValidationError as error:
        told = error.errors()[0]
        why = f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
        raise NotUnderstoodError(f"its numbers make no experiment: {why}") from None
    except (ValueError, OverflowError) as error:
        raise NotUnderstoodError(f"its numbers make no experiment: {error}") from None


class _Replica(NamedTuple):
    """What serves, whatever the load."""

    llm: Llm
    device: Device
    clock: float
    cut: Cut
    formats: tuple[str, str, str]
    """Of weights, arithmetic and KV."""
    engine: str


class _Reader:
    """Reads one row; collects what it has to assume."""

    def __init__(self, row: Row, catalog: Catalog, others: Sequence[Row]) -> None:
        self._row = row
        self._catalog = catalog
        self._others = others
        self._assumed: list[str] = []
        self._notes = row.notes.lower()
        self._scenario = read_scenario(row.scenario)

    def read(self) -> Understood:
        row = self._row
        metric = read_metric(row)
        replica = self._replica()
        llm, usual = replica.llm, _DEFAULTS[replica.engine]
        load, prompt, output, most = self._load(replica.cut, usual)
        if isinstance(load, Offered) and metric.quantity == "throughput":
            if "max" in row.concurrency_or_batch.lower():
                load = load._replace(rate_per_s=None)
            else:
                self._assumed.append("the rate is told: a throughput below capacity follows it")
        if metric.counts == "calls" and isinstance(load, Static):
            raise NotUnderstoodError(f'metric "{row.metric}" of one batch: its two parts are apart')
        self._check_length(llm, prompt.mean + output.mean)
        budget = max(usual.token_budget, most)
        conditions = self._conditions(
            replica, load, prompt, output, most, budget, usual.memory_fraction
        )
        return Understood(row, conditions, metric, tuple(self._assumed))

    def read_log(self, load: Recorded, told: Settings) -> tuple[Conditions, tuple[str, ...]]:
        replica = self._replica()
        usual = _DEFAULTS[replica.engine]
        most = self._setting("max_sequences", told.max_sequences, usual.max_sequences)
        budget = self._setting(
            "token_budget", told.token_budget, max(usual.token_budget, int(most))
        )
        if budget < most:
            raise NotUnderstoodError(f"its token_budget {budget:g} is below {most:g} sequences")
        fraction = usual.memory_fraction
        if load.kv_tokens is None:
            fraction = self._setting("memory_fraction", told.memory_fraction, fraction)
        prompts = [call.prompt_tokens for call in load.calls]
        outputs = [call.output_tokens for call in load.calls]
        longest = max(map(sum, zip(prompts, outputs, strict=True)))
        self._check_length(replica.llm, longest)
        self._assumed.append("no prompt begins like another: the log tells no content")
        prompt, output = (LengthSpec(mean=sum(one) / len(one)) for one in (prompts, outputs))
        conditions = self._conditions(
            replica, load, prompt, output, int(most), int(budget), fraction
        )
        return conditions, tuple(self._assumed)

    def _setting(self, name: str, told: float | None, usual: float) -> float:
        if told is None:
            self._assumed.append(f"{name} {usual:g}")
        return usual if told is None else told

    def _check_length(self, llm: Llm, tokens: float) -> None:
        if tokens > llm.context_length:
            self._assumed.append(f"longer than the {llm.context_length:,} tokens of {llm.id}")

    def _conditions(
        self, replica: _Replica, load: Load, prompt: LengthSpec, output: LengthSpec,
        most: int, budget: int, fraction: float,
    ) -> Conditions:  # fmt: skip
        return Conditions(
            replica.llm.id, replica.device.id, replica.clock, replica.cut, *replica.formats,
            replica.engine, self._row.date, load, prompt, output, most, budget, fraction,
        )  # fmt: skip

    def _replica(self) -> _Replica:
        told = "; ".join((self._row.notes, self._row.engine, self._row.parallelism)).lower()
        self._assumed += (f"ignored: {word}" for word in dict.fromkeys(_IGNORED.findall(told)))
        llm = self._llm()
        device, clock = self._device()
        engine = self._engine()
        formats = self._precision(llm, device, _DEFAULTS[engine])
        cut = self._cut(llm, device, *formats)
        return _Replica(llm, device, clock, cut, formats, engine)

    def _llm(self) -> Llm:
        name = self._row.model
        for text in (name, re.sub(r"\.(?=w\d+a\d+\b)", "-", name)):
            try:
                return self._catalog.llm(text)
            except UserError as error:
                failed = error
        raise NotUnderstoodError(_first(failed, f'LLM "{name}"'))

    def _device(self) -> tuple[Device, float]:
        """Find the device; words in brackets may tell an operating point."""
        name, clock = self._row.hardware, 1.0
        for word, factor in _CLOCKS.items():
            if re.search(rf"\b{word}\b", name.lower()):
                clock = factor
                self._assumed.append(f"clock {factor:g} of the usual one ({word})")
        for text in (name, re.sub(r"\s*\(.*?\)", "", name), re.sub(r"\s.*", "", name)):
            try:
                return self._catalog.device(text), clock
            except UserError as error:
                failed = error
        words = read_hardware(name)
        for text in (words.plain, *words.sxm):
            try:
                device = self._catalog.device(text)
            except UserError:
                continue
            if text in words.sxm:
                self._assumed.append(f'"{name}" is {device.id}')
            return device, clock
        raise NotUnderstoodError(_first(failed, f'device "{name}"'))

    def _engine(self) -> str:
        low = self._row.engine.lower()
        for word, family in _ENGINES:
            if word in low:
                return self._era(family)
        self._assumed.append(f'engine "{self._row.engine}": generic overheads')
        return "generic"

    def _era(self, family: str) -> str:
        """Tell builds apart that kernels of another kind came between."""
        old = self._row.date and self._row.date < _FLASH_ATTENTION
        if family == "llama_cpp" and old and "fa on" not in self._notes:
            return "llama_cpp_2024"
        return family

    def _precision(self, llm: Llm, device: Device, usual: Defaults) -> tuple[str, str, str]:
        """Read formats of weights, arithmetic and KV."""
        weights, compute, stands_for = read_formats(self._precision_words(llm))
        if stands_for:
            self._assumed.append(f"{stands_for} as {weights}")
        if compute not in device.flops:
            if weights == "fp8" and "bf16" in device.flops:
                compute = "bf16"
            elif compute == "fp4":
                compute = "fp8" if "fp8" in device.flops and weights != "mxfp4" else "bf16"
            if compute not in device.flops:
                raise NotUnderstoodError(f"{device.id} does not compute in {compute}")
        kv = "fp8" if usual.kv_fp8 and compute in ("fp8", "fp4") else "bf16"
        told = kv_format(self._row.precision) or kv_format(self._notes)
        if told:
            kv = told
        elif compute in ("fp8", "fp4"):
            self._assumed.append(f"KV cache in {kv}")
        return weights, compute, kv

    def _precision_words(self, llm: Llm) -> str:
        """Words of the cell; if it is blank, of the LLM's name; at last, as it was published."""
        told = self._row.precision
        if re.search("[a-z0-9]", told.lower()):
            return told
        if named := formats_in_name(self._row.model):
            self._assumed.append(f"precision {named}, from the LLM's name")
            return named
        self._assumed.append(f"precision {llm.native_precision}, as published")
        return llm.native_precision

    def _cut(self, llm: Llm, device: Device, weights: str, compute: str, kv: str) -> Cut:
        """Layout, from `parallelism` and the number of devices."""
        row = self._row
        told = read_layout(row.parallelism)
        says = told.says_something or told.attention_dp or told.replicas is not None
        if told.other or not (says or is_untold(row.parallelism)):
            raise NotUnderstoodError(f'parallelism "{row.parallelism}"')
        devices = self._count()
        if told.layers:
            return Cut(pp=devices or 1)
        if self._is_ranked(llm, told, devices):
            return self._ranked(llm, told.dp or devices or 1, devices)
        if told.says_something:
            cut = self._told_cut(llm, told)
        else:
            counted = row.n_gpus or read_hardware(row.hardware).devices
            inferred = not counted and devices is not None
            cut = (
                Cut(tp=devices or 1)
                if inferred
                else Cut(tp=self._smallest_tp(llm, device, weights, compute, kv, devices))
            )
        replicas = told.replicas or max(cut.replicas, 1)
        if devices is not None:
            if devices % cut.devices:
                raise NotUnderstoodError(
                    f"{devices} devices are no whole replicas of {cut.devices}"
                )
            replicas = devices // cut.devices
        return cut._replace(replicas=replicas)

    def _is_ranked(self, llm: Llm, told: Told, devices: int | None) -> bool:
        """Whether attention is replicated and experts are spread over the same devices."""
        if llm.ffn_kind != "moe":
            if told.attention_dp:
                raise NotUnderstoodError(f"attention-DP, but {llm.id} has no experts")
            return False
        tp, ep, dp, pp = told.tp or 1, told.ep or 1, told.dp or 1, told.pp or 1
        if not told.attention_dp or told.dp == 1:
            return pp == 1 and dp == ep > 1 and (tp == 1 or tp == dp == devices)
        if told.dp and (tp not in (1, dp) or told.ep not in (None, dp) or pp > 1):
            raise NotUnderstoodError(f"attention-DP over {dp} with tp {tp}, ep {ep}, pp {pp}")
        return True

    def _told_cut(self, llm: Llm, told: Told) -> Cut:
        tp, pp, ep, dp = (one or 1 for one in (told.tp, told.pp, told.ep, told.dp))
        alone = told.tp is None and told.dp is None and ep > 1
        if llm.ffn_kind != "moe":
            if alone and told.pp is None:
                raise NotUnderstoodError(f"EP{ep} alone, but {llm.id} has no experts")
            return Cut(tp=tp, pp=pp, replicas=dp)
        if alone:
            tp = ep
            self._assumed.append(f"tp {tp}, over which its experts are spread")
        if ep > tp:
            raise NotUnderstoodError(f"experts over {ep} devices, attention over tp {tp}, dp {dp}")
        if dp > 1:
            self._assumed.append(f"DP{dp}: whole replicas")
        return Cut(tp=tp, pp=pp, ep=ep, replicas=dp)

    def _ranked(self, llm: Llm, dp: int, devices: int | None) -> Cut:
        """Attention-DP with as many experts on each device: spare copies are not modelled."""
        if devices is not None and devices % dp:
            raise NotUnderstoodError(f"{devices} devices are no whole replicas of {dp}")
        experts = llm.experts or 1
        even = max(size for size in range(1, dp + 1) if experts % size == 0)
        if even != dp:
            self._assumed.append(f"{even} ranks for {dp}: as many as divide {experts} experts")
        return Cut(ep=even, dp=even, replicas=max(1, (devices or dp) // dp))

    def _count(self) -> int | None:
        """Devices in all; from Little's law where only a rate per device is told."""
        text = self._row.n_gpus
        if text:
            devices = read_devices(text)
            if devices is None:
                raise NotUnderstoodError(f'n_gpus is "{text}"')
            return devices
        return read_hardware(self._row.hardware).devices or self._by_littles_law()

    def _by_littles_law(self) -> int | None:
        """Devices = tokens in flight / latency / rate of a device, rounded."""
        values = {other.metric: other.value for other in (*self._others, self._row)}
        numbers = [self._length(text) for text in (self._row.isl, self._row.osl)]
        concurrency = read_load(self._row.concurrency_or_batch).calls
        rate = values.get("total_tokens_per_s_per_gpu")
        if rate is None or concurrency is None or None in numbers:
            return None
        if not {"ttft_ms", "tpot_ms"} <= values.keys():
            return None
        isl, osl = (0.9 * (number or 0.0) for number in numbers)
        latency_s = (values["ttft_ms"] + values["tpot_ms"] * (osl - 1)) / 1e3
        devices = max(1, round(concurrency * (isl + osl) / latency_s / rate))
        self._assumed.append(f"{devices} devices, by Little's law")
        return devices

    def _smallest_tp(
        self, llm: Llm, device: Device, weights: str, compute: str, kv: str, devices: int | None
    ) -> int:
        from factorysim.physics.memory import weight_bytes
        from factorysim.spec.llm import PrecisionSpec

        precision = PrecisionSpec.model_validate({"weights": weights, "compute": compute, "kv": kv})
        held = weight_bytes(llm, precision).total
        tp = 1
        while held > WEIGHTS_SHARE * tp * device.capacity_bytes and tp < (devices or 8):
            tp *= 2
        if devices is not None and devices > 1:
            self._assumed.append(f"tp {tp}: the weights take at most {WEIGHTS_SHARE:.0%} then")
        elif self._row.n_gpus == "":
            self._assumed.append(f"tp {tp}")
        return tp

    def _load(self, cut: Cut, usual: Defaults) -> tuple[Load, LengthSpec, LengthSpec, int]:
        """Arrivals, both lengths, and how many sequences a step may hold."""
        row = self._row
        prompt, output = self._lengths()
        most = usual.max_sequences
        told = _SEQUENCES.search(self._notes)
        if told and "exist for" not in self._notes:
            most = int(told[1].replace(",", ""))
        words = row.concurrency_or_batch.lower()
        number, rate_per_s = read_load(row.concurrency_or_batch)
        per_device = re.search(r"(\d+)\s*(seqs|tokens)/gpu", words)
        if per_device and per_device[2] == "seqs":
            batch = int(per_device[1]) * cut.devices
            return Static(batch), prompt, output, max(most, batch)
        if per_device:  # prompts alone, so many tokens of them at a time
            batch = max(1, int(per_device[1]) * cut.dp // round(prompt.mean))
            return Queued(20 * batch), prompt, output, max(most, batch)
        if number is not None:
            if number < 1 or (number != int(number) and "steady state" not in self._notes):
                raise NotUnderstoodError(f'"{row.concurrency_or_batch}" calls at a time')
            share = max(1, round(number / cut.replicas))
            if self._scenario == "static":
                return Static(share), prompt, output, max(most, share)
            if "steady state" in self._notes:
                return Steady(share), prompt, output, most
            if self._scenario == "server":
                return Closed(share, 10 * share), prompt, output, most
            if self._scenario == "offline":
                self._assumed.append(f"{number:g} calls, all queued at once")
                return Queued(share), prompt, output, most
        if self._scenario == "offline" and rate_per_s is None:
            return Queued(self._queued() // cut.replicas), prompt, output, most
        if self._scenario == "server" and (rate_per_s is not None or _LIMITED.search(words)):
            return self._offered(words, rate_per_s), prompt, output, most
        what = f'scenario "{row.scenario}" with load "{row.concurrency_or_batch}"'
        raise NotUnderstoodError(what)

    def _queued(self) -> int:
        """Count the calls of an offline run, as the notes tell for these lengths."""
        pair = f"{self._row.isl}/{self._row.osl}"
        for calls, pairs in re.findall(r"(\d+)(?: requests)?(?: for)? ((?:\d+/\d+(?:,| and )?)+)",
                                       self._notes):  # fmt: skip
            if pair in re.split(r",| and ", pairs):
                return int(calls)
        calls = _CALLS_OF_DATASET.get(_dataset(self._row.isl), _CALLS_QUEUED)
        self._assumed.append(f"{calls:,} calls")
        return calls

    def _offered(self, words: str, rate_per_s: float | None) -> Offered:
        """Poisson arrivals; a rate that the cell tells goes before one in the notes."""
        label = "interactive" if "interactive" in words else "server"
        ttft_s, tpot_s = _LIMITS[label]
        limits = re.search(rf"ttft ({DECIMAL}) ms tpot ({DECIMAL}) ms", self._notes)
        if limits:
            ttft_s, tpot_s = (float(one) / 1e3 for one in limits.groups())
        rate = re.search(rf"({DECIMAL}) samples/s", self._notes)
        if rate_per_s is None and rate:
            rate_per_s = float(rate[1])
        if rate_per_s is not None and rate_per_s <= 0:
            raise NotUnderstoodError(f"{rate_per_s:g} calls per second")
        return Offered(rate_per_s, ttft_s, tpot_s)

    def _length(self, text: str) -> float | None:
        """Read tokens; those of a thousand are assumed."""
        plain = re.sub(r"\s*tokens$", "", text)
        number, told = read_number(plain), read_kilo(plain)
        if told is not None:
            words = f"{text} is {told:,.0f} tokens"
            if words not in self._assumed:
                self._assumed.append(words)
        return number if told is None else told

    def _lengths(self) -> tuple[LengthSpec, LengthSpec]:
        """Lengths of prompts and outputs; those of a nominal range are drawn from it."""
        row = self._row
        drawn = re.search(
            rf"lengths (?:uniform in )?({DECIMAL})-({DECIMAL}) x nominal", self._notes
        )
        told = re.search(r"lengths ([^;,]*) x nominal", self._notes)
        if told and not drawn:
            raise NotUnderstoodError(f'lengths "{told[1]}" x nominal')
        low, high = (float(one) for one in drawn.groups()) if drawn else (1.0, 1.0)
        if not 0.0 < low <= high:
            raise NotUnderstoodError(f"lengths from {low:g} to {high:g} of nominal")
        mean, spread = (low + high) / 2, (high - low) / (high + low)
        isl, osl = self._length(row.isl), self._length(row.osl)
        told = re.search(rf"mean osl\s*[=:]?\s*({DECIMAL})", self._notes)
        if isl is not None and (osl is not None or row.osl == ""):
            pair = (max(1.0, isl), max(1.0, osl if osl is not None else 1.0))
            if row.osl == "" and "decode-only" in self._notes:
                pair = (pair[0], _DECODED)
                self._assumed.append(f"{_DECODED:g} tokens of output")
            prompt, output = (
                LengthSpec(kind="uniform", mean=mean * one, spread=spread)
                if drawn
                else LengthSpec(mean=one)
                for one in pair
            )
            if not drawn and self._scenario == "server" and osl is not None and osl > 1:
                output = LengthSpec(kind="uniform", mean=osl, spread=_JITTER)
                self._assumed.append(f"outputs spread by {_JITTER:.0%}, lest they stay in step")
            return prompt, output
        name = _dataset(row.isl)
        if name not in _DATASETS:
            raise NotUnderstoodError(f'prompt lengths "{row.isl}"')
        size = _DATASETS[name]
        self._assumed.append(f"prompts of {size:g} tokens on average ({row.isl})")
        if told:
            osl = float(told[1])
        elif osl is None:
            osl = 146.0 if "mbxp" in name else 294.0
            self._assumed.append(f"outputs of {osl:g} tokens on average")
        prompt, output = (
            LengthSpec(kind="uniform", mean=one, spread=_SPREAD) for one in (size, osl)
        )
        return prompt, output


def _dataset(text: str) -> str:
    return re.sub(r"<=.*|^var\(|\)$", "", text.lower())


def _first(error: UserError, what: str) -> str:
    fault = error.faults[0]
    return f"{what}: {fault.found}; {fault.cure or fault.expected}"
