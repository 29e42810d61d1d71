"""The checks that a synthetic code agent must pass, against published figures.

Sources: TraceLab (arXiv 2606.30560), GitHub Copilot 2026 (arXiv 2608.00101), 150 Claude Code
sessions of kv-cache-tester (Weka). Figures carry the interval of resampled sessions; where two
sources disagree, a figure has to lie between them.
"""

import numpy as np
import pytest

from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.content import Contents
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.session import LlmNode
from tests.validation.agent_figures import TTL_S, Figures

SESSIONS = 4000
STEP_S = (5.3, 21.0, 84.0)
"""P50, P90 and P99 of an LLM step, TraceLab: 4.9-5.7 s, 20-22 s and 84 s."""
BASE = 2800 + 12_400

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn():
    return Figures(AgentModel(load_agent("code_analysis")), SESSIONS, "code_analysis", STEP_S)


@pytest.fixture(scope="module")
def at_low():
    """Outputs as measured: those of the table are the reference of the efforts."""
    return Figures(AgentModel(load_agent("code_analysis"), "low"), 1500, "code_analysis")


# The six checks of the background


def test_an_endless_cache_hits_95_to_98_percent_of_prompt_tokens(drawn):
    """Check 1. Weka 97.4 % (96.5 % on the shared 150), TraceLab 95.7 % as it was."""
    assert drawn.ratio("hit", "prompt").within(0.95, 0.98)


@pytest.mark.parametrize(
    ("ttl_s", "weka", "tracelab"), [(60.0, 0.791, 0.854), (300.0, 0.917, 0.94)]
)
def test_hits_under_a_time_to_live_lie_between_the_two_that_were_measured(
    drawn, ttl_s, weka, tracelab
):
    """Check 1. TraceLab's sweep of an ideal TTL, and the same of Weka's 150 sessions by us.

    At a minute they are up to a point above TraceLab's: of its tools 4 % last longer than that,
    of the catalog's, in Copilot's mix, 1.6 % (docs/agents.md).
    """
    assert ttl_s in TTL_S
    found = drawn.ratio(f"hit_{ttl_s:g}", "prompt")
    assert found.within(weka, tracelab + (0.01 if ttl_s == 60.0 else 0.0))
    assert found[2] - found[1] < 0.02


def test_an_hour_s_time_to_live_takes_as_little_as_was_measured(drawn):
    """Check 1. TraceLab hits 98.6 % at an hour, but its endless cache 99.2 % (its amplification
    of 1.8), more than the 95 to 98 % of the same check; Weka has 96.1 of 96.5 %. So not the
    level is compared, but what the hour takes away: 0.4 to 0.6 % of the hits.
    """
    kept = drawn.ratio("hit_3600", "hit")
    assert kept.near(0.986 / 0.992, 0.961 / 0.965)
    assert drawn.ratio("hit_3600", "prompt").within(0.955, 0.986)


def test_prompts_grow_on_more_than_96_percent_of_steps(drawn):
    """Check 2. TraceLab: 96.6 to 99.6 %."""
    assert drawn.ratio("grown", "steps").within(0.966, 0.996)


def test_most_tools_are_short_and_most_of_their_time_is_in_long_ones(drawn):
    """Check 3. TraceLab: 61 % of calls below 1 s, 85 % of the time in calls above 1 min."""
    seconds = drawn.of("tool_s")
    assert drawn.share("tool_s", lambda s: s < 1.0)[1] >= 0.6
    in_long = drawn.share("tool_s", lambda s: s > 60.0, weigh=seconds)
    assert in_long[0] >= 0.6
    assert in_long[2] - in_long[1] < 0.1


def test_87_percent_of_calls_are_not_the_user_s(drawn):
    """Check 4. Copilot: 87 %, to the percent."""
    share = drawn.ratio("user", "calls")
    assert share.near(1 - 0.875, 1 - 0.865)
    assert share[2] - share[1] < 0.03


def test_sessions_differ_more_than_poisson_counts(drawn):
    """Check 5: a CV above 1, of calls; P90 over P50 is 100 over 15 for Copilot."""
    calls = drawn.of("calls")
    assert calls.std() / calls.mean() > 1.0
    low, high = drawn.quantile("calls", 0.9), drawn.quantile("calls", 0.5)
    assert low[1] / high[2] < 100 / 15 * 1.1
    assert low[2] / high[1] > 100 / 15 * 0.9


def test_sessions_share_system_prompt_and_schemas_and_nothing_else():
    """Check 6, by the blocks that calls name."""
    model, uniforms = AgentModel(load_agent("code_analysis")), KeyedUniforms(2026, 0, "code")
    seen: dict[int, int] = {}
    shared: set[int] = set()
    for ordinal in range(60):
        contents = Contents(ordinal, 16, shared=0)
        ids: set[int] = set()
        for call in model.nodes(uniforms.at("session", ordinal)):
            if isinstance(call, LlmNode):
                for first, count in contents.next_call(call):
                    ids.update(range(first, first + count))
        shared |= {block for block in ids if seen.setdefault(block, ordinal) != ordinal}
    assert len(shared) == BASE // 16


# Its column of section 5


def test_a_session_has_the_published_mean_of_calls_tools_and_turns(drawn):
    """Copilot: 40.6 calls, times 1.1 for effort medium, and as many tools; 6.1 turns."""
    calls = drawn.mean("calls")
    # Sub-agents add 3 % x 3 x 12 calls at most to what turns alone make.
    assert calls.near(40.6 * 1.1, 40.6 * 1.1 + 1.1)
    assert calls[2] - calls[1] < 12
    # 13 % of calls end a turn, 93 % of batches are single: no more than 0.97, Copilot has 1.07.
    assert drawn.ratio("tools", "calls").near((1 - 0.13) * 1.116)
    assert drawn.mean("turns").near(6.1)
    assert drawn.quantile("turns", 0.5).near(3)


def test_a_third_of_first_prompts_is_that_of_a_session_taken_up_again(drawn):
    """Weka: median 22.2K over all, 50 of 150 above 60K (a few of ours begin below)."""
    assert drawn.quantile("first", 0.5).near(22_212 * 0.97, 22_212 * 1.06)
    assert drawn.share("first", lambda tokens: tokens > 60_000).near(0.30, 1 / 3)


def test_prompts_are_as_long_as_weka_s(drawn):
    """Median 101K of 10,466 requests; its P90 of 170K and P99 of 509K are of larger contexts."""
    assert drawn.quantile("prompts", 0.5).near(101_118)
    assert drawn.quantile("prompts", 0.9).near(160_000, 180_000)


def test_a_fifth_of_sessions_is_compacted():
    """Weka: 20 % of 150 sessions, give or take two of its standard errors; here an outcome."""
    model, uniforms = AgentModel(load_agent("code_analysis")), KeyedUniforms(2026, 0, "code")
    compacted = 0
    for ordinal in range(2000):
        nodes = model.nodes(uniforms.at("session", ordinal))
        compacted += any(
            isinstance(call, LlmNode) and call.prefix_tokens == BASE and call.context == 0
            for call in nodes
        )
    assert compacted / 2000 == pytest.approx(0.20, abs=2 * np.sqrt(0.2 * 0.8 / 150))


def test_prompts_outweigh_outputs_as_published(at_low, drawn):
    """130 to 290 to 1 in section 5; Copilot's medium effort alone 129 to 1."""
    assert at_low.ratio("prompt", "output").within(130, 290)
    assert drawn.ratio("prompt", "output").near(129)


def test_outputs_at_effort_low_are_those_measured(at_low):
    """Weka: P50 225, P90 931."""
    assert at_low.quantile("outputs", 0.5).near(225)
    assert at_low.quantile("outputs", 0.9).near(931)


def test_answers_and_outputs_lengthen_a_prompt_by_what_tracelab_saw():
    """TraceLab: 1.7 to 1.8K tokens a step; at effort low, whose outputs are the measured ones."""
    model = AgentModel(load_agent("code_analysis"), "low")
    uniforms = KeyedUniforms(2026, 0, "code")
    growth = []
    for ordinal in range(2000):
        last = {}
        for call in model.nodes(uniforms.at("session", ordinal)):
            if isinstance(call, LlmNode):
                before = last.get(call.context)
                last[call.context] = call.prompt_tokens
                if before and call.initiator == "tool" and call.prefix_tokens != BASE:
                    growth.append(call.prompt_tokens - before)
    assert np.mean(growth) == pytest.approx(1750, rel=0.1)
