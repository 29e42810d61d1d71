"""Regression: agents that were written before steps, approvals, hand-overs, roles came in.

Their files still say all that they need, and their sessions are those that they were: the
digests are our own last output, of 200 sessions each.
"""

from hashlib import sha256
from pathlib import Path

import pytest

from factorysim.workload.agents import AgentModel, find_agent
from factorysim.workload.draws import KeyedUniforms

FIELDS = (
    *("prompt_tokens", "output_tokens", "prefix_tokens", "after", "initiator", "shared_tokens"),
    *("context", "step", "cls", "cpu_s", "cores", "memory_bytes", "remote_ns", "result_tokens"),
    "delay_ns",
)
DIGESTS = {
    ("chat", "low"): "0ac9957519f661d4",
    ("chat", "high"): "af4572b2bb3f2588",
    ("code_analysis", "low"): "6e83e560342395b7",
    ("code_analysis", "high"): "2f9ba2646cd2388f",
    ("customer_service", "low"): "f0dbe28e26633751",
    ("customer_service", "high"): "3b4ae92cabc3f649",
    ("supply_chain", "low"): "f7b0ab3413e844a9",
    ("supply_chain", "high"): "1e9e01190e413b39",
}


@pytest.mark.parametrize(("name", "effort"), DIGESTS)
def test_a_file_without_the_new_keys_draws_what_it_drew(name, effort):
    model = AgentModel(
        find_agent(str(Path(__file__).parent / f"agents_before/{name}.yaml")), effort
    )
    uniforms = KeyedUniforms(5, 0, name)
    digest = sha256()
    for ordinal in range(200):
        for node in model.nodes(uniforms.at("session", ordinal)):
            values = [getattr(node, field) for field in FIELDS if hasattr(node, field)]
            digest.update(repr([type(node).__name__, *values]).encode())
    assert digest.hexdigest()[:16] == DIGESTS[name, effort]
