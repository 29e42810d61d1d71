"""Reasoning effort where no agent says what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.agents import load_agent

if TYPE_CHECKING:
    from factorysim.spec.agent import Effort

PLAIN = "chat"
"""The agent whose file tells what an effort does to a single call, and on what evidence."""


def output_factor(effort: Effort) -> float:
    """Factor on the output tokens of a call, relative to `low`.

    Examples
    --------
    >>> output_factor("none"), output_factor("low"), output_factor("high")
    (0.6, 1.0, 4.5)
    """
    return load_agent(PLAIN).efforts[effort].output
