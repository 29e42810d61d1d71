"""Text on its way to a replica: four bytes a token, a transfer from 64,000 bytes on."""

from __future__ import annotations

import pytest

from factorysim.sim.factory import run_replication
from tests.unit.sim.builders import Listed, Rows, UnitLaw, calls, plan, scenario


def transfers(prompt: int):
    """Rows of the transfers of a run whose one call has this prompt."""
    sink = Rows()
    run_replication(
        scenario(serving={"token_budget": 50_000}),
        plan(UnitLaw(token_fs=1), blocks=5000),
        [Listed("s", calls([0], prompt=prompt))],
        replication=0,
        horizon_s=1.0,
        arrivals_end_s=1.0,
        sink=sink,
    )
    return sink.tables["transfers"]


def test_a_prompt_of_20_000_tokens_is_a_transfer_of_80_000_bytes():
    (row,) = transfers(20_000)
    assert (row.kind, row.size_bytes) == ("prompt", 80_000)
    # Over the plan's link of 1e9 B/s.
    assert row.finished_s - row.started_s == pytest.approx(80e-6)


def test_prompts_below_16_000_tokens_leave_no_transfer():
    assert [row.size_bytes for row in transfers(16_000)] == [64_000]
    assert transfers(15_999) == []
