"""Attention-DP: one engine whose ranks attend to their own sequences and share the experts.

Each of ``dp`` ranks is ``tp`` devices with a copy of all weights but the routed
experts, and a KV cache of its own. It computes its own tokens; the routed experts lie
over all ``tp * dp`` devices, in ``ep`` groups, and see the tokens of all ranks. Every
MoE layer is a barrier, so a step of the engine is as long as that of its slowest
rank ::

    step = max over ranks of  base(own counts, tokens of all ranks) + own attention

Ranks without work go along (a dummy batch, as in vLLM), and nothing is padded: a rank
computes its own tokens, which take no longer than those of the longest rank.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from factorysim.errors import CapacityError, Fault
from factorysim.physics.costs import expert_cost, link_cost
from factorysim.physics.roofline import roofline_law
from factorysim.physics.shape import llm_shape
from factorysim.physics.step import Activity, StepLaw

if TYPE_CHECKING:
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device, Llm
    from factorysim.physics.collectives import Links
    from factorysim.physics.costs import ExpertCost, LinkCost
    from factorysim.physics.roofline import RooflineLaw
    from factorysim.physics.step import Piece, StepRuns
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec


class RankedLaw(StepLaw, Protocol):
    """A law of an engine with ranks: attention as in `StepLaw`, of one rank."""

    @property
    def ranks(self) -> int:
        """Ranks of the engine."""
        ...

    def rank_base(
        self, decodes: int, prompt_tokens: int, prompts: int, emitting: int, tokens: int
    ) -> int:
        """Femtoseconds of a rank without its attention; at least 1.

        The first four are the rank's own, as in `StepLaw.base`; `tokens` are those
        of all ranks together, which the experts see.
        """
        ...


@dataclass(frozen=True, slots=True)
class RankedRoofline:
    """`RankedLaw` from shapes and a data sheet; built by `ranked_law`."""

    rank: RooflineLaw
    """Of one rank, without routed experts and what takes tokens to them."""
    experts: ExpertCost
    exchange: LinkCost
    """Tokens of all ranks to the experts and back."""
    ranks: int

    @property
    def window(self) -> int | None:
        """As of the rank."""
        return self.rank.window

    @property
    def window_fs(self) -> int:
        """As of the rank."""
        return self.rank.window_fs

    @property
    def draws(self) -> bool:
        """Never."""
        return self.rank.draws

    @property
    def link_token_bytes(self) -> float:
        """Sent for a token by its rank's collectives and on its way to the experts."""
        return self.rank.link_token_bytes + self.exchange.token_bytes

    def rank_base(
        self, decodes: int, prompt_tokens: int, prompts: int, emitting: int, tokens: int
    ) -> int:
        """Femtoseconds of a rank without its attention; see `RankedLaw`."""
        sequences = decodes + prompts
        device = self.rank.device_s(decodes + prompt_tokens, sequences, emitting)
        device += self.exchange.step_s + tokens * self.exchange.token_s
        device += self.experts.busiest(tokens)
        last = self.rank.recent
        recent = 0.0 if last is None else last.step_s(decodes, prompt_tokens)
        return self.rank.step_fs(device, sequences, recent)

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Femtoseconds where one rank has everything; see `StepLaw.base`."""
        tokens = decodes + prompt_tokens
        return self.rank_base(decodes, prompt_tokens, prompts, emitting, tokens)

    def piece(self, decodes: int, context: int) -> Piece:
        """Attention of a rank's decodes."""
        return self.rank.piece(decodes, context)

    def chunk(self, tokens: int, prior: int) -> int:
        """Attention of a chunk on its rank."""
        return self.rank.chunk(tokens, prior)

    def chunk_slope(self, tokens: int) -> int | None:
        """Femtoseconds for one more prior token."""
        return self.rank.chunk_slope(tokens)

    def prompt(self, u: float) -> int:
        """Nothing is drawn."""
        return self.rank.prompt(u)

    def activity(self, runs: StepRuns) -> Activity:
        """Activity of all devices: means over the ranks, every one of which reads its weights."""
        import numpy as np

        law, ranks = self.rank, self.ranks
        own = law.activity(runs)  # as if one rank did the work of all
        both = replace(law, experts=self.experts).activity(runs)
        computed_s, read_s = both.compute_s - own.compute_s, both.memory_s - own.memory_s
        steps = runs.steps.astype(np.float64)
        emits = runs.emitted_tokens > 0
        reads_s = sum(ridge.read_s for ridge in law.linears) + emits * law.head.read_s
        weights_s = steps * reads_s
        tokens = runs.decodes * steps + runs.prompt_tokens
        memory_s = (own.memory_s - weights_s) / ranks + weights_s + read_s
        again_s = (ranks - 1) * weights_s + ranks * read_s
        return Activity(
            flops=own.flops,
            bytes_moved=own.bytes_moved + law.devices * law.rates.weights * again_s,
            link_bytes=tokens * self.link_token_bytes,
            compute_s=own.compute_s / ranks + computed_s,
            memory_s=memory_s,
            link_s=steps * (law.links.step_s + self.exchange.step_s)
            + tokens * (law.links.token_s / ranks + self.exchange.token_s),
            engine_s=own.engine_s / ranks,
        )


def ranked_law(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    links: tuple[Links, Links],
    efficiency: Efficiency,
    overlap: str,
) -> RankedRoofline:
    """Law of an engine of ``parallel.dp`` ranks of ``parallel.tp`` devices.

    Parameters
    ----------
    links
        What a rank's TP crosses, and what is crossed between all devices.

    Raises
    ------
    CapacityError
        If the LLM has no routed experts, or the layout cannot cut it.
    """
    shape = llm_shape(llm)
    if not shape.experts:
        raise CapacityError(
            Fault(
                f"{llm.id} on {device.id}", "parallel.dp", str(parallel.dp),
                "1 for an LLM without routed experts, since its ranks would share nothing",
                f"dp: 1 and {parallel.dp} times the replicas",
            )
        )  # fmt: skip
    inside, across = links
    wide = parallel.model_copy(update={"tp": parallel.tp * parallel.dp, "dp": 1})
    one = parallel.model_copy(update={"dp": 1, "ep": 1})
    whole = roofline_law(llm, device, precision, wide, across, efficiency, overlap)
    rank = roofline_law(llm, device, precision, one, inside, efficiency, overlap)
    experts = expert_cost(shape, device, precision, wide, efficiency)
    assert experts is not None  # there are some
    joins = shape._replace(blocks=shape.blocks - shape.moe_layers)
    routed = shape._replace(blocks=shape.moe_layers)
    return RankedRoofline(
        rank=replace(
            rank,
            experts=None,
            links=link_cost(joins, one, precision, inside, efficiency),
            totals=whole.totals,
        ),
        experts=experts,
        exchange=link_cost(routed, wide, precision, across, efficiency),
        ranks=parallel.dp,
    )
