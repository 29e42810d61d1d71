"""From a ``vllm serve`` command line to a scenario, or to the part of one that it tells.

The command tells the LLM, the layout and the engine's settings. On what it runs and what is asked
of it are the user's to say: with a device or a rack, and a closed loop of calls, the scenario is
whole. What the command leaves to vLLM takes the defaults of vLLM 0.11 (V1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from factorysim.errors import Fault, SpecError, UserError
from factorysim.load.dump import dump_tree
from factorysim.load.vllm_command import WHERE, ServeCommand
from factorysim.marked import Mark, printable, shown
from factorysim.spec.faults import read_spec
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.scenario import ScenarioSpec
from factorysim.study.operating_point import choose_precision
from factorysim.study.pools import as_marked
from factorysim.study.standing import Standing, stand

if TYPE_CHECKING:
    from factorysim.catalog import Catalog, Device, Llm, Rack
    from factorysim.spec.llm import PrecisionSpec

T = TypeVar("T")

_LARGE = 70e9
"""Bytes of memory from which vLLM takes its larger defaults, on all but the A100
(`EngineArgs.get_batch_defaults`)."""
_BATCH = {True: (8192, 1024), False: (2048, 256)}
"""Whether the device is large -> tokens and sequences of a step, of its OpenAI server."""
_QUANTIZED = {
    "fp8": "fp8", "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8", "modelopt": "fp8",
    "modelopt_fp4": "nvfp4", "mxfp4": "mxfp4", "awq": "w4a16", "awq_marlin": "w4a16",
    "gptq": "w4a16", "gptq_marlin": "w4a16", "bitsandbytes": "w4a16",
}  # fmt: skip
"""`--quantization` -> weights; of GPTQ and bitsandbytes the usual 4 bits."""
_WORDS = (
    ("nvfp4", "nvfp4"), ("mxfp4", "mxfp4"), ("fp4", "nvfp4"), ("fp8", "fp8"), ("w4a16", "w4a16"),
    ("awq", "w4a16"), ("gptq", "w4a16"), ("int4", "w4a16"), ("w8a8", "int8"), ("bf16", "bf16"),
)  # fmt: skip
"""Words in the name of a checkpoint -> weights."""
_COMPUTE = {"fp8": "fp8", "int8": "int8", "nvfp4": "fp4", "mxfp4": "fp4", "fp32": "fp32"}
"""Weights -> arithmetic, where the device has it; BF16 else."""
_KV = {
    "auto": "bf16", "bfloat16": "bf16", "float16": "bf16", "fp8": "fp8", "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8", "fp8_inc": "fp8", "fp8_ds_mla": "fp8",
}  # fmt: skip
_DTYPES = ("auto", "bfloat16", "float16", "half", "float", "float32")
_MTP = ("mtp", "deepseek_mtp", "qwen3_next_mtp", "glm4_moe_mtp", "ernie_mtp", "mimo_mtp")
_POOL = "gpus"


class Site(NamedTuple):
    """What a command does not say: on what it runs, and what is asked of it."""

    device: str | None = None
    rack: str | None = None
    racks: int | None = None
    """As few as hold the replicas, if not given."""
    replicas: int = 1
    """So many servers of this command."""
    precision: str | None = None
    acceptance: float | None = None
    """Of a draft, where the command speculates."""
    isl: int = 1024
    osl: int = 256
    concurrency: int = 32
    catalog: str | None = None
    """The user's file of facts, as the scenario names it."""


class Made(NamedTuple):
    """A scenario, or a part of one."""

    text: str
    whole: bool
    notes: tuple[str, ...]


def scenario_of(command: ServeCommand, site: Site, catalog: Catalog) -> Made:
    """Write what a command says as a scenario; without a device or a rack, as a part of one.

    Raises
    ------
    SpecError
        With what cannot be written: an LLM that the catalog does not know, a format without
        a law, drafts of a kind that is not modelled, a layout that is none.
    """
    return _Writer(command, site, catalog).write()


class _Writer:
    """Turns one command into the tree of a scenario, and gathers notes on the way."""

    def __init__(self, command: ServeCommand, site: Site, catalog: Catalog) -> None:
        self._command = command
        self._site = site
        self._catalog = catalog
        self._notes: list[str] = []
        self._llm: Llm = _found(lambda: catalog.llm(command.model), "model")
        self._rack, self._device = self._ground()

    def write(self) -> Made:
        parallel, replicas = self._layout()
        precision = self._precision()
        speculation = self._speculation()
        longest = self._site.isl + self._site.osl
        deployment: dict[str, object] = {
            "llm": "llm", "pool": _POOL, "replicas": replicas, "parallel": parallel,
        }  # fmt: skip
        if speculation is not None:
            deployment["speculation"] = speculation
        drafts = speculation["draft_tokens"] if speculation is not None else 0
        part: dict[str, object] = {
            "llms": {"llm": {"llm": self._llm.id, "precision": precision.model_dump()}},
            "deployments": {"serve": deployment},
            "serving": self._serving(drafts if isinstance(drafts, int) else 0),
        }
        self._check_context(longest)
        standing = self._standing(ParallelSpec.model_validate(parallel), replicas)
        whole = self._whole(part, standing or Standing("h100_sxm", 1))
        read_spec(ScenarioSpec, as_marked(whole, Mark(WHERE)))
        tree = part if standing is None else whole
        return Made(self._heading() + dump_tree(tree), standing is not None, tuple(self._notes))

    def _ground(self) -> tuple[Rack | None, Device | None]:
        """Find the rack and the device that the command runs on, if they are told."""
        site, catalog = self._site, self._catalog
        if site.rack is not None and site.device is not None:
            raise SpecError(Fault("from-vllm", "--device", site.device, "nothing beside --rack"))
        if site.device is not None:
            name = site.device
            return None, _found(lambda: catalog.device(name), "--device")
        if site.rack is None:
            return None, None
        name = site.rack
        rack = _found(lambda: catalog.rack(name), "--rack")
        main = rack.main
        if main is None:
            expected = "a rack of accelerators or CPUs"
            raise SpecError(Fault("from-vllm", "--rack", f"{rack.id}, a {rack.kind}", expected))
        return rack, _found(lambda: catalog.device(main.id), "--rack")

    def _layout(self) -> tuple[dict[str, int], int]:
        """Tell the layout of a replica, and how many the command starts."""
        counts = self._command.counts
        tp, pp, dp = (
            counts.get(f"{word}-parallel-size", 1) for word in ("tensor", "pipeline", "data")
        )
        replicas = self._site.replicas
        experts = self._command.switches.get("enable-expert-parallel", False)
        if self._llm.ffn_kind == "dense":
            if experts:
                self._note(f"--enable-expert-parallel: {self._llm.id} has no experts")
            if dp > 1:
                self._note(f"--data-parallel-size {dp}: that many replicas, of a dense LLM")
            replicas, dp, experts = replicas * dp, 1, False
        layout = {"tp": tp, "pp": pp, "dp": dp, "ep": tp * dp if experts else 1}
        read_spec(ParallelSpec, as_marked(layout, Mark(f"{WHERE}: parallel")))
        return {key: size for key, size in layout.items() if size > 1 or key == "tp"}, replicas

    def _precision(self) -> PrecisionSpec:
        """Take formats from the flags, the name of the checkpoint, or what is published."""
        from factorysim.spec.llm import PrecisionSpec

        if self._site.precision is not None:
            device = self._device or self._catalog.device("h100_sxm")
            return choose_precision(self._site.precision, self._llm, device)[0]
        weights, why = self._weights()
        own = _COMPUTE.get(weights, "bf16")
        compute = own
        if self._device is not None and own not in self._device.flops:
            if own == "fp32":
                found = f"fp32, which the catalog has no rate of for {self._device.id}"
                cure = "--precision says in which formats it is simulated"
                raise SpecError(Fault(WHERE, "--dtype", found, "a format with a rate", cure))
            compute = "bf16"
            self._note(f"{self._device.id} computes in bf16: it has no {own}")
        kv = self._word("kv-cache-dtype", _KV, "auto")
        self._note(f"weights in {weights} ({why}), KV cache in {kv}")
        formats = {"weights": weights, "compute": compute, "kv": kv}
        return read_spec(PrecisionSpec, as_marked(formats, Mark(WHERE)))

    def _weights(self) -> tuple[str, str]:
        words, command = self._command.words, self._command
        if words.get("dtype", "auto") not in _DTYPES:
            expected = f"one of {', '.join(_DTYPES)}"
            raise SpecError(Fault(WHERE, "--dtype", shown(words["dtype"]), expected))
        if "quantization" in words and words["quantization"] != "compressed-tensors":
            return self._word("quantization", _QUANTIZED, ""), "--quantization"
        if words.get("dtype") in ("float", "float32"):
            return "fp32", "--dtype"
        name = re.split(r"[\W_]+", command.model.lower())
        for word, weights in _WORDS:
            if word in name:
                return weights, "the name of the checkpoint"
        native = self._llm.native_precision
        return {"fp16": "bf16", "int4": "w4a16"}.get(native, native), "as published"

    def _word(self, flag: str, known: Mapping[str, str], default: str) -> str:
        value = self._command.words.get(flag, default)
        if value not in known:
            cure = "--precision says in which formats it is simulated"
            expected = f"one of {', '.join(known)}"
            raise SpecError(Fault(WHERE, f"--{flag}", shown(value), expected, cure))
        return known[value]

    def _serving(self, drafts: int) -> dict[str, object]:
        """Write the engine's settings."""
        counts, switches = self._command.counts, self._command.switches
        serving: dict[str, object] = {"engine": "vllm"}
        chunked = switches.get("enable-chunked-prefill", True)
        if not chunked:
            serving["scheduler"] = "prefill_first"
            self._note("without chunked prefill whole prompts go before decodes, as in V0")
        order = self._command.words.get("scheduling-policy")
        if order is not None:
            if order not in ("fcfs", "priority"):
                raise SpecError(Fault(WHERE, "--scheduling-policy", shown(order),
                                      "fcfs or priority"))  # fmt: skip
            serving["order"] = order
        tokens, sequences = self._batch(chunked, drafts)
        serving |= {"token_budget": tokens, "max_sequences": sequences}
        if "async-scheduling" in switches:
            serving["overlap"] = "full" if switches["async-scheduling"] else "none"
        kv: dict[str, object] = {}
        if self._command.memory_share is not None:
            kv["memory_fraction"] = self._command.memory_share
        if "block-size" in counts:
            kv["block_tokens"] = counts["block-size"]
        if "num-gpu-blocks-override" in counts:
            kv["blocks"] = counts["num-gpu-blocks-override"]
        if "enable-prefix-caching" in switches:
            kv["retain"] = "shared" if switches["enable-prefix-caching"] else "none"
        return serving | ({"kv": kv} if kv else {})

    def _batch(self, chunked: bool, drafts: int) -> tuple[int, int]:
        """Tell tokens and sequences of a step: as told, or as vLLM chooses on such a device."""
        counts = self._command.counts
        large = self._device is None or (
            self._device.capacity_bytes >= _LARGE and not self._device.id.startswith("a100")
        )
        tokens, sequences = _BATCH[large]
        if not chunked:
            tokens = max(tokens, counts.get("max-model-len", self._llm.context_length))
        usual = "vLLM's default on such a device"
        if "max-num-batched-tokens" in counts:
            tokens = counts["max-num-batched-tokens"]
        else:
            self._note(f"--max-num-batched-tokens not told: {tokens:,}, {usual}")
        if "max-num-seqs" in counts:
            return tokens, counts["max-num-seqs"]
        most = max(1, tokens // (drafts + 1))
        why = usual if sequences <= most else "as many as the budget has tokens for"
        self._note(f"--max-num-seqs not told: {min(sequences, most):,}, {why}")
        return tokens, min(sequences, most)

    def _speculation(self) -> dict[str, object] | None:
        """Write who drafts; how many drafts are accepted no command tells."""
        told = self._command.speculation
        if told is None:
            return None
        flag = "--speculative-config"
        method, model = told.get("method"), told.get("model")
        drafts = told.get("num_speculative_tokens")
        if isinstance(drafts, bool) or not isinstance(drafts, int) or not 1 <= drafts <= 64:
            expected = "a whole number from 1 to 64"
            raise SpecError(Fault(WHERE, f"{flag}.num_speculative_tokens", shown(drafts), expected))
        if self._site.acceptance is None:
            cure = "give --acceptance, such as 0.7: docs/speculation.md"
            raise SpecError(Fault(WHERE, flag, "no acceptance of drafts", "it too", cure))
        made: dict[str, object] = {"draft_tokens": drafts, "acceptance": self._site.acceptance}
        if method == "ngram":
            return {"method": "ngram"} | made
        if method in _MTP:
            return {"method": "mtp"} | made
        if method in (None, "draft_model") and isinstance(model, str):
            draft = _found(lambda: self._catalog.llm(model), f"{flag}.model")
            device = self._device or self._catalog.device("h100_sxm")
            precision = choose_precision(None, draft, device)[0].model_dump()
            return {"method": "draft_model"} | made | {
                "draft": {"llm": draft.id, "precision": precision}
            }  # fmt: skip
        expected = f"one of ngram, {', '.join(_MTP)}, or a `model` that drafts"
        cure = "heads and trees of drafts (EAGLE, Medusa) are not modelled; `mtp` is the nearest"
        raise SpecError(Fault(WHERE, f"{flag}.method", shown(method), expected, cure))

    def _check_context(self, longest: int) -> None:
        """Refuse calls that the server would not take; it rejects none here."""
        limit = self._command.counts.get("max-model-len")
        if limit is not None and limit > self._llm.context_length:
            self._note(f"--max-model-len {limit:,} is over the {self._llm.context_length:,} "
                       f"of {self._llm.id}")  # fmt: skip
        elif limit is not None:
            self._note("--max-model-len: nothing is rejected by it, so keep calls below it")
        most = min(limit or self._llm.context_length, self._llm.context_length)
        if (self._site.device or self._site.rack) and longest > most:
            found = f"{self._site.isl:,} + {self._site.osl:,} tokens"
            expected = f"at most {most:,} in all"
            raise SpecError(
                Fault("from-vllm", "--isl, --osl", found, expected, "shorten the calls")
            )

    def _standing(self, parallel: ParallelSpec, replicas: int) -> Standing | None:
        """Choose the racks: as told, or as few as hold the replicas."""
        if self._device is None:
            return None
        if self._rack is None:
            standing = stand(self._catalog, self._device, parallel, replicas)
            for note in standing.notes:
                self._note(note)
        else:
            size = self._rack.main.count if self._rack.main else 1
            room = size // parallel.devices  # whole replicas of a rack
            whole = -(-replicas // room) if room else -(-parallel.devices * replicas // size)
            standing = Standing(self._rack.id, whole)
        return standing._replace(number=self._site.racks or standing.number)

    def _whole(self, part: Mapping[str, object], standing: Standing) -> dict[str, object]:
        """Put the factory and the demand around the part that the command tells."""
        site = self._site
        model, calls = self._llm.name, site.concurrency
        whole: dict[str, object] = {
            "schema": "factorysim.scenario/1",
            "question": f"What does {model} do at {calls:,} calls at any time?",
            "topology": {
                "racks": {_POOL: {"rack": standing.rack, "count": standing.number}},
                "fabric": {"kind": "none" if standing.number == 1 else "leaf_spine"},
            },
            **part,
            "streams": {
                "calls": {
                    "llm": "llm",
                    "calls": {
                        "prompt_tokens": {"mean": site.isl},
                        "output_tokens": {"mean": site.osl},
                    },
                    "arrivals": {"process": "fixed_concurrency", "concurrency": calls},
                }
            },
        }
        if site.catalog is not None:
            whole["catalog"] = site.catalog
        return whole

    def _note(self, text: str) -> None:
        self._notes.append(text)

    def _heading(self) -> str:
        """Say above the YAML what was made of the flags."""
        command = self._command
        self._notes += [f"not modelled: {told}" for told in command.unmodelled]
        self._notes += [f"not known, left out: {flag}" for flag in command.unknown]
        if command.ignored:
            self._notes.append(f"of no consequence here: {', '.join(command.ignored)}")
        lines = [f"from `vllm serve {command.model}`", *self._notes]
        return "".join(f"# {printable(line.replace(chr(10), ' '))}\n" for line in lines)


def _found(look: Callable[[], T], key: str) -> T:
    """Look a name up; tell of the command what the catalog says of it."""
    try:
        return look()
    except UserError as error:
        where = "from-vllm" if key.startswith("--") and "config" not in key else WHERE
        raise type(error)(
            *(fault._replace(where=where, key=key) for fault in error.faults)
        ) from None
