"""From a ``config.json`` to a file of facts with one LLM, ready to be named by `--catalog`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factorysim.catalog.fact import Fact
from factorysim.catalog.limits import ORDERS
from factorysim.catalog.llms import build_llm
from factorysim.catalog.names import fold
from factorysim.catalog.overlay import SCHEMA
from factorysim.catalog.reading import Reading
from factorysim.errors import Fault, SpecError
from factorysim.load.huggingface.config import Config, is_object
from factorysim.load.huggingface.families import FAMILIES
from factorysim.load.huggingface.precision import native_precision
from factorysim.load.huggingface.record import Draft, Leaf
from factorysim.load.json_file import MOST_BYTES, parse_json
from factorysim.marked import printable, shown
from factorysim.yaml_reader import read_bytes

if TYPE_CHECKING:
    from factorysim.catalog import Catalog, Llm

_NEEDED = (
    "a record of your own needs the kind of attention of each layer with its heads, the widths "
    "of the networks and experts, vocabulary and context: docs/catalog.md shows the keys"
)
_UNTOLD = {
    "price.input": ("USD/Mtok", "no config tells a price"),
    "price.output": ("USD/Mtok", "no config tells a price"),
}
_COUNTED = "counted from the shapes in this record; norms, biases and encoders left out"


class Imported(NamedTuple):
    """An LLM that was read."""

    id: str
    architecture: str
    text: str
    """The file of facts, as YAML."""
    total_params: int
    active_params: int
    untold: tuple[str, ...]
    """Facts that the config does not tell, each with what that means."""
    usual: tuple[str, ...]
    """Facts that are the architecture's own default, since the file is silent."""


def import_llm(path: Path, catalog: Catalog, identity: str | None = None) -> Imported:
    """Read a Hugging Face ``config.json`` as an LLM of the catalog.

    Parameters
    ----------
    catalog
        Whose ids are taken already.
    identity
        Id of the LLM; from the name in the config, of the file or of its folder if not given.

    Raises
    ------
    SpecError
        With every fault: the file is no config, its architecture is unknown here, a key is
        missing, of another kind or out of its range; the id is taken, or no id.
    """
    data = read_bytes(path, str(path), MOST_BYTES)
    tree = parse_json(data, str(path))
    if not is_object(tree):
        cure = "a config.json of Hugging Face is an object with `model_type`"
        raise SpecError(Fault(str(path), "", shown(tree), "a map", cure))
    whole = Config(str(path), tree)
    name = _name(path, whole, identity)
    chosen = _identity(identity, name, catalog)
    draft, architecture = _read(whole)
    _hold_orders(whole, draft)
    if whole.faults:
        raise SpecError(*whole.faults)
    totals = _count(draft, chosen)
    free = not any(fold(name) == fold(known) for known in _known_names(catalog))
    draft.words["name"] = name if free else chosen
    source = f"{printable(path.name)} of {draft.words['name']} ({architecture}), "
    source += f"SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"
    return Imported(
        chosen,
        architecture,
        _written(chosen, draft, source),
        *totals,
        tuple(f"{path}: {leaf.note}" for path, leaf in draft.leaves.items() if leaf.value is None),
        tuple(
            f"{path}: {leaf.value}"
            for path, leaf in draft.leaves.items()
            if leaf.note.endswith("its class takes this")
        ),
    )


def _hold_orders(config: Config, draft: Draft) -> None:
    """Refuse what the catalog would refuse of the record, in the words of the config."""
    for order in ORDERS["llms"]:
        small, large = draft.leaves.get(order.smaller), draft.leaves.get(order.larger)
        if small is None or large is None or small.value is None or large.value is None:
            continue
        if small.value > large.value:
            expected = f"at most {large.value}, which is {large.note}"
            config.contradiction(small.note, f"{small.value}", expected, order.cure)


def _name(path: Path, config: Config, identity: str | None) -> str:
    """Name the LLM as its config does, or the user, or as the cache of the hub names the folder."""
    told = config.text("_name_or_path").rstrip("/").rsplit("/", 1)[-1]
    if told:
        return printable(told)[:100]
    if identity is not None:
        return identity
    if path.stem != "config":
        return printable(path.stem)[:100]
    for folder in path.absolute().parts[-2::-1]:
        if folder.startswith("models--"):
            return printable(folder.rsplit("--", 1)[-1])
    return printable(path.absolute().parent.name)[:100]


def _identity(identity: str | None, name: str, catalog: Catalog) -> str:
    chosen = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") if identity is None else identity
    where = "import-llm"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", chosen):
        expected = "an id of letters, digits, `_` and `-`"
        raise SpecError(Fault(where, "--id", shown(chosen), expected, "give --id NAME"))
    if chosen in catalog.ids("llms"):
        cure = f"give another --id; `factorysim catalog show {chosen}` tells what is there"
        found = f'"{chosen}", which is in the catalog'
        raise SpecError(Fault(where, "--id", found, "an id of its own", cure))
    return chosen


def _known_names(catalog: Catalog) -> list[str]:
    names: list[str] = []
    for known in catalog.ids("llms"):
        record = catalog.record("llms", known)
        names += [known, record["name"], *record.get("aliases", ())]
    return names


def _read(whole: Config) -> tuple[Draft, str]:
    """Read the shapes, by the rules of the architecture."""
    draft = Draft()
    text = whole.child("text_config") or whole.child("llm_config") or whole
    if whole.faults:
        raise SpecError(*whole.faults)
    kind = text.text("model_type") or whole.text("model_type")
    listed = whole.raw("architectures")
    architecture = str(listed[0]) if isinstance(listed, list) and listed else kind
    family = FAMILIES.get(kind)
    if family is None:
        found = shown(kind) if kind else "nothing"
        found += f" (architecture {shown(architecture)})" if architecture != kind else ""
        text.fault("model_type", found, f"one of {', '.join(FAMILIES)}", _NEEDED)
        raise SpecError(*whole.faults)
    text.usual = family.usual
    family.read(text, draft)
    precision, _ = native_precision(whole, text)
    draft.words["native_precision"] = precision or "bf16"
    for path, (unit, why) in _UNTOLD.items():
        draft.leave_open(path, unit, why)
    if not precision:
        draft.words["notes"] = "native_precision: not in the config, BF16 is taken"
    if whole.raw("vision_config") is not None:
        why = "the config shapes an encoder that is not counted: give it to serve images"
        draft.leave_open("vision.encoder_params", "count", why)
        draft.leave_open("vision.patches_per_token", "ratio", why)
    return draft, printable(architecture)[:100]


def _count(draft: Draft, identity: str) -> tuple[int, int]:
    """Count the weights, and the KV of a token, by the shapes that runs use."""
    from factorysim.physics.shape import llm_shape

    draft.derive("total_params", 1, _COUNTED)
    facts = {
        f"llms.{identity}.{path}": _fact(f"llms.{identity}.{path}", leaf)
        for path, leaf in draft.leaves.items()
    }
    words = _nested(draft.words)
    llm = build_llm(Reading(facts, words, f"llms.{identity}"), identity)
    shape = llm_shape(llm)
    # Of a dense LLM the catalog counts all, as cards do.
    active = shape.active_params if shape.experts else shape.total_params
    draft.derive("total_params", shape.total_params, _COUNTED)
    how = f"{_COUNTED}; with the LM head, without the embeddings" if shape.experts else _COUNTED
    draft.derive("active_params", active, how)
    growing = _kept(llm)
    if growing:
        how = "of layers that keep the whole context"
        draft.derive("attention.kv_bytes_per_token_bf16", 2 * growing, how, "B")
        draft.derive("attention.kv_bytes_per_token_fp8", growing, how, "B")
    return shape.total_params, active


def _kept(llm: Llm) -> int:
    """Elements of a token that layers without a window keep.

    Of compressed attention an indexer's keys are in it, of the sparse kind beside MLA not: as the
    catalog's own records have it.
    """
    if llm.layers_ratio_4 is not None:
        head, keys = llm.head_dim or 0, llm.indexer_head_dim or 0
        entries = llm.layers_ratio_4 * (head + keys) // 4
        return entries + (llm.layers_ratio_128 or 0) * head // 128
    if llm.kv_lora_rank is not None:
        return llm.kv_layers * (llm.kv_lora_rank + (llm.qk_rope_head_dim or 0))
    heads, size = llm.global_kv_heads or llm.kv_heads, llm.global_head_dim or llm.head_dim
    return llm.kv_layers * 2 * (heads or 0) * (size or 0)


def _fact(name: str, leaf: Leaf) -> Fact:
    return Fact(name, leaf.value, None, None, leaf.unit, leaf.kind, ())


def _nested(paths: Mapping[str, object]) -> dict[str, object]:
    """Turn dotted paths into maps of maps, in their order."""
    tree: dict[str, object] = {}
    for path, value in paths.items():
        *outer, last = path.split(".")
        inner = tree
        for key in outer:
            below = inner.setdefault(key, {})
            assert isinstance(below, dict)
            inner = below
        inner[last] = value
    return tree


_ORDER = ("name", "total_params", "active_params", "layers", "hidden_size", "attention", "ffn")


def _written(identity: str, draft: Draft, source: str) -> str:
    """Write the file of facts."""
    told = _nested(
        {
            **draft.words,
            **{path: _leaf(leaf, _source_id(identity)) for path, leaf in draft.leaves.items()},
        }
    )
    first = {key: told.pop(key) for key in _ORDER if key in told}
    lines = [
        f"schema: {SCHEMA}",
        "sources:",
        f"  {_source_id(identity)}: {{title: {json.dumps(source)}}}",
        "llms:",
        f"  {identity}:",
        *_lines(first | told, "    "),
    ]
    return "\n".join(lines) + "\n"


def _lines(tree: Mapping[str, object], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, f"{indent}  ")]
        elif isinstance(value, _Flow):
            lines.append(f"{indent}{key}: {value.text}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}")
    return lines


class _Flow(NamedTuple):
    """A map on one line."""

    text: str


def _source_id(identity: str) -> str:
    return f"{identity}_config"


def _leaf(leaf: Leaf, source: str) -> _Flow:
    """Write a fact; what follows from exact shapes has no band."""
    value = json.dumps(leaf.value)
    unit, note = json.dumps(leaf.unit), json.dumps(leaf.note)
    if leaf.value is None:
        return _Flow(f"{{value: null, unit: {unit}, kind: unknown, note: {note}}}")
    exact = leaf.kind == "derived" and not isinstance(leaf.value, bool)
    band = f"low: {value}, high: {value}, " if exact else ""
    about = f"unit: {unit}, kind: {leaf.kind}, source: {source}, note: {note}"
    return _Flow(f"{{value: {value}, {band}{about}}}")
