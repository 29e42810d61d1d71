"""Which law times the steps of a deployment: from the LLM, its cut, the devices and their links.

Pure: whoever asks has read the catalog and the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.physics.afd import Side, afd_law
from factorysim.physics.fixed import fixed_law
from factorysim.physics.ranks import ranked_law
from factorysim.physics.roofline import roofline_law
from factorysim.physics.speculation import pace, sent_drafts, speculative_law
from factorysim.physics.sram import sram_law
from factorysim.physics.stages import staged_law
from factorysim.physics.step import FS_PER_S
from factorysim.physics.table import table_law

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from factorysim.catalog import Device, Llm
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.graph.links import Wiring
    from factorysim.physics.afd import AfdLaw, Exchange
    from factorysim.physics.speculation import SpeculativeLaw
    from factorysim.physics.sram import Chips
    from factorysim.physics.step import StepLaw
    from factorysim.physics.table import TableRow
    from factorysim.spec.deployment import SpeculationSpec
    from factorysim.spec.law import Law
    from factorysim.spec.layout import ParallelSpec, SramSpec
    from factorysim.spec.llm import PrecisionSpec
    from factorysim.spec.split import AfdSplit, DraftSplit


class Hardware(NamedTuple):
    """Devices of one kind that run an LLM, or a part of it."""

    device: Device
    efficiency: Efficiency
    """What they reach of their data sheet."""
    wiring: Wiring


class Work(NamedTuple):
    """An LLM, and how its steps are computed."""

    llm: Llm
    precision: PrecisionSpec
    parallel: ParallelSpec
    overlap: str
    """Whether host work hides behind the device's."""
    expert_skew: float = 0.0


def given_law(law: Law, table: Callable[[str], Sequence[TableRow]]) -> StepLaw | None:
    """Law of times that the user gives; None where the roofline is to tell them.

    Parameters
    ----------
    table
        Gives the rows of a profile by its file.
    """
    if law.kind == "fixed":
        return fixed_law(law)
    if law.kind == "table":
        return table_law(table(law.file))
    return None


def cut_law(work: Work, on: Hardware) -> StepLaw:
    """Roofline law of a plain replica, of one of ranks, or of a pipeline."""
    llm, precision, parallel, overlap, expert_skew = work
    device, efficiency, wiring = on
    tp = parallel.tp
    if parallel.dp > 1:
        links = (wiring.inside(tp), wiring.all())
        return ranked_law(llm, device, precision, parallel, links, efficiency, overlap)
    if parallel.pp > 1:
        links = (wiring.inside(tp), wiring.hops(tp))
        return staged_law(llm, device, precision, parallel, links, efficiency, overlap)
    return roofline_law(
        llm, device, precision, parallel, wiring.all(), efficiency, overlap, expert_skew
    )


def stage_law(work: Work, on: Hardware, sram: SramSpec, chips: Chips) -> StepLaw:
    """Law of an LLM that lies in the SRAM of stages of chips."""
    llm, precision, parallel, overlap, expert_skew = work
    device, efficiency, wiring = on
    links = wiring.first(parallel.tp)
    return sram_law(
        llm, device, precision, parallel, sram, chips, links, efficiency, overlap, expert_skew
    )


def apart_law(
    work: Work, here: Hardware, there: Hardware, split: AfdSplit, groups: int, exchange: Exchange
) -> AfdLaw:
    """Law of attention on one pool, and FFN and experts in `groups` on another."""
    sides = (
        Side(here.device, work.parallel, here.wiring.all(), here.efficiency),
        Side(there.device, split.parallel, there.wiring.first(split.parallel.tp), there.efficiency),
    )
    return afd_law(
        work.llm, work.precision, *sides, split, groups, exchange, work.overlap, work.expert_skew
    )


def verifying_law(law: StepLaw, own: StepLaw | None, speculation: SpeculationSpec) -> StepLaw:
    """Law of steps that draft on the same devices, and then verify.

    Parameters
    ----------
    own
        Of the draft LLM; None where drafts take no time of their own.
    """
    return speculative_law(law, own, pace(speculation.draft_tokens, speculation.acceptance))


def drafted_law(
    law: StepLaw,
    draft: StepLaw,
    speculation: SpeculationSpec,
    split: DraftSplit,
    vocab: int,
    exchange: Exchange,
) -> SpeculativeLaw:
    """Law of steps that verify what the devices of another pool draft."""
    at = pace(speculation.draft_tokens, speculation.acceptance)
    probabilities = split.sends == "probabilities"
    return speculative_law(
        law,
        draft,
        at,
        exchange_fs=2 * round(exchange.latency_s * FS_PER_S),
        beside=True,
        sent=sent_drafts(at, vocab, exchange.bandwidth, probabilities=probabilities),
    )
