"""Sub-agents of an agent, level by level, as tables to draw from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.draws import count_table

if TYPE_CHECKING:
    from factorysim.spec.agent import SubAgentSpec


class Team(NamedTuple):
    """The sub-agents of one level."""

    spec: SubAgentSpec
    calls: list[float]
    """CDF of the calls of one."""
    at_once: list[float]
    """CDF of how many work side by side; empty: always one."""
    shared_tokens: int
    """That those of a role begin with."""
    first_role: int
    """Roles count on from level to level."""
    below: Team | None
    """The sub-agents that these have."""


def build_team(spec: SubAgentSpec | None, calls_factor: float, first_role: int = 0) -> Team | None:
    """Make the tables of an agent's sub-agents, and of theirs.

    Parameters
    ----------
    calls_factor
        Of the reasoning effort, on the calls of each.

    Examples
    --------
    >>> build_team(None, 1.0) is None
    True
    """
    if spec is None:
        return None
    at_once = [] if spec.at_once is None else count_table(spec.at_once).tolist()
    shared = 0 if spec.shared_tokens is None else spec.shared_tokens.value
    calls = count_table(spec.calls, calls_factor).tolist()
    below = build_team(spec.subagents, calls_factor, first_role + spec.roles)
    return Team(spec, calls, at_once, shared, first_role, below)
