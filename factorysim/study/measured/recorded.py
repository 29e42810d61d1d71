"""Recorded calls as demand: each arrives when it did, whatever becomes of those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.study.measured.conditions import RecordedCall


class RecordedDemand:
    """Single calls in order of arrival, a session each; their contents are their own."""

    def __init__(self, name: str, calls: Sequence[RecordedCall]) -> None:
        self.name = name
        self.concurrency: int | None = None
        self.think_ns = 0
        self._calls = calls

    def sessions(self) -> Iterator[Session]:
        """Yield the calls.

        Examples
        --------
        >>> from factorysim.study.measured.conditions import RecordedCall
        >>> demand = RecordedDemand("calls", [RecordedCall(5, 600, 8, 0.1, 0.2)])
        >>> [(one.sid, one.at_ns, one.nodes[0].prompt_tokens) for one in demand.sessions()]
        [('calls-0', 5, 600)]
        """
        for number, call in enumerate(self._calls):
            node = LlmNode(call.prompt_tokens, call.output_tokens)
            yield Session(f"{self.name}-{number}", call.at_ns, [node])
