"""Who drafts for an LLM, and what that takes beside it in memory.

A draft LLM runs on the same devices in the same layout, with a KV cache of its own
beside that of the LLM, block by block; or on devices of its own. An MTP head is one
more layer of the LLM (DeepSeek-V3, arXiv:2412.19437, section 2.2: a projection of two
hidden states to one, then a layer like the others) that shares its embeddings and LM
head. Where there are fewer heads than drafts, the last head goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault
from factorysim.physics.memory import Beside, kv_bytes_per_token, sequence_bytes, weight_bytes
from factorysim.physics.shape import llm_shape

if TYPE_CHECKING:
    from factorysim.catalog.values import Llm
    from factorysim.spec.deployment import SpeculationSpec
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec


class Drafter(NamedTuple):
    """What proposes tokens."""

    llm: Llm | None
    """Of which one step makes one draft; None: drafts cost nothing."""
    precision: PrecisionSpec
    parallel: ParallelSpec
    beside: Beside
    """What it takes on each device."""


def drafter(
    llm: Llm,
    precision: PrecisionSpec,
    draft: Llm | None,
    speculation: SpeculationSpec,
    parallel: ParallelSpec,
    elsewhere: ParallelSpec | None = None,
) -> Drafter:
    """Find who drafts for `llm`, which is laid out in `parallel`.

    Parameters
    ----------
    draft
        The LLM that `speculation.draft` names.
    elsewhere
        Layout of the draft LLM on devices of its own, where it has some: then nothing but
        states of `llm` is beside `llm`, and windows may differ.

    Raises
    ------
    CapacityError
        If drafts and LLM have other vocabularies, the LLM has no MTP head, or what
        slides over the two contexts differs.
    """
    tp = parallel.tp
    # Recurrent states are kept after each draft, for the verify to fall back on.
    states = speculation.draft_tokens * 4.0 * llm_shape(llm).state_elements / tp
    if speculation.method == "draft_model":
        assert draft is not None  # as the spec says, like this:
        assert speculation.draft is not None
        _check_draft(llm, draft, slides_along=elsewhere is None)
        if elsewhere is not None:
            own = speculation.draft.precision
            return Drafter(draft, own, elsewhere, Beside(sequence=states))
        own, alone = speculation.draft.precision, parallel.model_copy(update={"ep": 1})
        if draft.ffn_kind == "moe":
            alone = parallel
        beside = Beside(
            weight_bytes(draft, own).total / tp,
            kv_bytes_per_token(draft, own, alone),
            states + sequence_bytes(draft, own, alone),
        )
        return Drafter(draft, own, alone, beside)
    if speculation.method == "mtp":
        head = mtp_head(llm)
        heads = min(speculation.draft_tokens, llm.mtp_layers or 0)
        layer = weight_bytes(head, precision)
        beside = Beside(
            heads * (layer.total - layer.embeddings - layer.head) / tp,
            heads * kv_bytes_per_token(head, precision, parallel),
            states,
        )
        return Drafter(head, precision, parallel, beside)
    return Drafter(None, precision, parallel, Beside(sequence=states))


def mtp_head(llm: Llm) -> Llm:
    """Make an LLM of one layer of another: its head for multi-token prediction.

    Raises
    ------
    CapacityError
        If it has none, or nothing is known of one.
    """
    if not llm.mtp_layers or llm.attention not in {"gqa", "mla"}:
        known = "none" if llm.mtp_layers == 0 else "unknown"
        cure = "take `method: draft_model` or `ngram`; a catalog file may give `mtp_layers`"
        if llm.mtp_layers:
            known, cure = (
                f"those of {llm.attention} layers",
                "take `method: draft_model` or `ngram`",
            )
        expected = "at least one MTP head of gqa or mla, since the method is mtp"
        raise CapacityError(
            Fault(llm.id, "speculation.method", f"MTP heads: {known}", expected, cure)
        )
    moe = llm.ffn_kind == "moe"
    return replace(
        llm,
        id=f"{llm.id}.mtp",
        layers=1,
        kv_layers=1,
        window_layers=0,
        window=None,
        dense_layers=0 if moe else 1,
        moe_layers=1 if moe else 0,
        indexer_layers=llm.indexer_layers and 1,
        mtp_entry_params=2 * llm.hidden * llm.hidden,
    )


def _check_draft(llm: Llm, draft: Llm, *, slides_along: bool) -> None:
    """Refuse a draft LLM that speaks other tokens, or whose windows are others."""
    faults: list[Fault] = []
    key = "speculation.draft.llm"
    if draft.vocab != llm.vocab:
        cure = "take a draft LLM of the same family: a verify compares tokens one by one"
        found, expected = f"{draft.id}, of {draft.vocab:,} tokens", f"{llm.vocab:,} tokens"
        faults.append(Fault(llm.id, key, found, f"a vocabulary of {expected}", cure))
    if slides_along and draft.window_layers and draft.window != llm.window:
        found = f"{draft.id}, whose window is {draft.window:,} tokens"
        expected = "none" if llm.window is None else f"{llm.window:,} tokens"
        cure = "take a draft LLM without sliding windows, or with the same"
        faults.append(Fault(llm.id, key, found, f"a window of {expected}", cure))
    if faults:
        raise CapacityError(*faults)
