"""Both clocks choose alike where a short prompt is computed: by what the replica holds then."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import factorysim as fs
from factorysim.resources import resource_root

SCENARIO = """\
schema: factorysim.scenario/1
question: Which prompts are computed where they decode?
topology:
  schema: factorysim.topology/1
  racks: {g: {rack: hgx_h200}, x: {rack: x86_rack}}
  fabric: {kind: leaf_spine, leaf: ethernet_51t, spine: ethernet_51t}
llms: {m: {llm: gpt_oss_20b, precision: {weights: fp8, compute: fp8, kv: fp8}}}
deployments:
  prompts: {llm: m, role: prefill, pool: g, replicas: 1, parallel: {tp: 2}}
  tokens: {llm: m, role: decode, pool: g, replicas: 1, parallel: {tp: 2}}
  tools: {role: tools, pool: x}
streams: {a: {llm: m, agent: waits.yaml, arrivals: {process: poisson, rate: 20 /min}}}
serving:
  kv: {blocks: 8000}
  max_sequences: 32
  disaggregation: {overlap: layers, local_prefill_below: 300, first_token_from: decode}
run: {kind: terminating, window: 60 s, drain: 30 s, replications: 1, seed: 391}
"""
"""A cache that is always full: runs of steps evict what the next call's choice depends on."""
TABLES = ("calls", "sessions", "tools", "transfers", "handoffs", "gaps")


@pytest.mark.slow
def test_runs_and_single_steps_agree_on_what_is_held(tmp_path):
    agent = resource_root("scenarios") / "agents" / "waits_seconds.yaml"
    shutil.copy(agent, tmp_path / "waits.yaml")
    path = tmp_path / "local.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    tables: list[dict[str, pd.DataFrame]] = []
    for clock in ("run_length", "stepwise"):
        scenario = fs.load(path, [f"run.clock={clock}"])
        run = fs.simulate(scenario, out=tmp_path / clock, workers=1)
        found = {name: pd.read_parquet(Path(run.path) / f"{name}.parquet") for name in TABLES}
        tables.append(found)
    for name in TABLES:
        pd.testing.assert_frame_equal(tables[0][name], tables[1][name], check_exact=True)
    # Where runs evict unseen, one of these calls looks short enough to be computed at decode.
    assert len(tables[0]["handoffs"]) == len(tables[0]["calls"]) > 50
