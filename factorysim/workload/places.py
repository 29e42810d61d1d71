"""Calls that differ by their place in a session: the plan, a turn's answer, sub-agents' work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from factorysim.workload.draws import lognormal_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from factorysim.spec.agent import AgentSpec, Effort, LognormalTokens, StepName

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

Whose = Literal["agent", "worker", "loop"]
"""Of whom some turns are: the agent itself, a sub-agent, or what is put between calls."""


class _Step(NamedTuple):
    tokens: LognormalTokens
    factor: float


class Outputs:
    """Output tokens of calls, and how much of them stays in the context.

    Parameters
    ----------
    effort
        Of the session. Where a step has an effort of its own, the ratio between it and the
        agent's default is kept: a plan that thinks twice as hard does so at every effort.

    Examples
    --------
    >>> from factorysim.workload.agents import load_agent
    >>> outputs = Outputs(load_agent("supply_chain"), "medium")
    >>> outputs.draw(np.zeros(3), np.array([3]), "agent")[1:]
    [500, 500]
    """

    def __init__(self, spec: AgentSpec, effort: Effort) -> None:
        factor, usual = spec.efforts[effort].output, spec.efforts[spec.effort].output
        self._common = _Step(spec.output_tokens, factor)
        self._steps: dict[StepName, _Step] = {}
        for name, step in spec.steps.items():
            own = 1.0 if step.effort is None else spec.efforts[step.effort].output / usual
            self._steps[name] = _Step(step.output_tokens or spec.output_tokens, factor * own)
        self._drops = spec.history == "visible"

    def draw(self, normals: Floats, calls: Ints, whose: Whose) -> list[int]:
        """Draw the outputs of the calls of some turns.

        Parameters
        ----------
        normals
            Standard normals, one a call.
        calls
            Of each turn.
        """
        if whose == "worker":
            tokens, factor = self._steps.get("worker", self._common)
            return lognormal_tokens(tokens, normals, factor)
        outputs = lognormal_tokens(self._common.tokens, normals, self._common.factor)
        if whose == "loop" or not self._steps:
            return outputs
        ends = np.cumsum(calls) - 1
        if calls[0] > 1:
            self._redraw("plan", [0], normals, outputs)
        self._redraw("answer", ends.tolist(), normals, outputs)
        return outputs

    def _redraw(
        self, name: StepName, places: Sequence[int], normals: Floats, outputs: list[int]
    ) -> None:
        """Give the calls at some places the outputs of their step."""
        step = self._steps.get(name)
        if step is not None:
            drawn = lognormal_tokens(step.tokens, normals[places], step.factor)
            for place, tokens in zip(places, drawn, strict=True):
                outputs[place] = tokens

    def kept_share(self, name: StepName | Literal[""] = "") -> float:
        """Give the share of a call's output that later prompts hold: all, or without reasoning."""
        step = self._steps.get(name, self._common) if name else self._common
        return min(1.0, 1.0 / step.factor) if self._drops else 1.0
