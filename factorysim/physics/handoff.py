"""What of a sequence's KV cache moves from the replica that computed it to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.physics.memory import kv_bytes_per_token, kv_share
from factorysim.physics.precision import element_width
from factorysim.physics.shape import llm_shape

if TYPE_CHECKING:
    from factorysim.catalog.values import Llm
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec


class KvState(NamedTuple):
    """Bytes that a sequence has on each device of a replica, by what they grow with."""

    token_bytes: float
    """Of a token, in the layers that keep every one."""
    window_bytes: float
    """Of a token inside its sliding window, in the layers that keep no more."""
    window: int
    """Tokens; 0 where no layer slides."""
    state_bytes: float
    """Of recurrent layers, and of what waits to be compressed, whatever the length."""
    layers: int

    def part(self, stages: int) -> KvState:
        """Bytes on each device of one of so many stages, over which the layers are cut evenly.

        Examples
        --------
        >>> KvState(100.0, 10.0, 8, 1000.0, layers=4).part(4).moved(20, held=16)
        370
        """
        return self._replace(
            token_bytes=self.token_bytes / stages,
            window_bytes=self.window_bytes / stages,
            state_bytes=self.state_bytes / stages,
        )

    def moved(self, tokens: int, held: int) -> int:
        """Bytes that a device lacks for a sequence of `tokens`, of which it holds `held`.

        What it holds are full blocks of the layers that keep every token. Windows and
        recurrent state are those at the sequence's end, and come whole unless all of
        it is there.

        Examples
        --------
        >>> KvState(100.0, 10.0, 8, 1000.0, layers=4).moved(20, held=16)
        1480
        >>> KvState(100.0, 0.0, 0, 0.0, layers=4).moved(20, held=20)
        0
        """
        if held >= tokens:
            return 0
        ends = self.window_bytes * min(tokens, self.window) + self.state_bytes
        return round((tokens - held) * self.token_bytes + ends)


def kv_state(llm: Llm, precision: PrecisionSpec, parallel: ParallelSpec) -> KvState:
    """Bytes of a sequence on each device of a replica of `llm`.

    TP cuts KV heads where there are enough of them; a latent (MLA) is on every
    device, so every device of the destination takes a copy of its own.
    """
    shape = llm_shape(llm)
    width = element_width(precision.kv)
    local = [g for g in shape.attention if g.window is not None and not g.keeps_all]
    return KvState(
        token_bytes=kv_bytes_per_token(llm, precision, parallel),
        window_bytes=sum(g.elements * kv_share(g, parallel.tp) * width for g in local),
        window=max((g.window or 0 for g in local), default=0),
        state_bytes=4.0 * (shape.pending_elements + shape.state_elements / parallel.tp),
        layers=shape.layers,
    )
