"""As many block ids as the shared Claude Code sessions have, in memory at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

IDS = 18_500_000
SESSIONS, CALLS = 50, 200
GB = 1e9

HOLD = """
import json, resource, sys
from pathlib import Path
from factorysim.workload.runs import blocks_in
from factorysim.workload.session import LlmNode
from factorysim.workload.traces import read_trace

held = list(read_trace(Path(sys.argv[1])))
calls = [node for session in held for node in session.nodes if isinstance(node, LlmNode)]
ids = sum(blocks_in(call.hashes) for call in calls)
runs = sum(len(call.hashes) for call in calls)
peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"ids": ids, "runs": runs, "calls": len(calls), "peak_bytes": peak}))
"""


def write_sessions(folder: Path) -> int:
    """Sessions whose prompts grow, each turning off somewhere in the one before; ids in all."""
    longest = 2 * IDS // (SESSIONS * CALLS)
    written = 0
    for number in range(SESSIONS):
        prompt: list[int] = []
        fresh, requests = 0, []
        for place in range(CALLS):
            wanted = longest * (place + 1) // CALLS
            kept = prompt[: len(prompt) - 3 * (place % 7 == 6)]
            prompt = [*kept, *range(fresh, fresh + wanted - len(kept))]
            fresh += wanted - len(kept)
            written += wanted
            row = {"t": 10 * place, "in": 64 * wanted, "out": 20, "hash_ids": prompt}
            requests.append(row | {"think_time": 5, "api_time": 5, "input_types": ["tool_result"]})
        session = {"id": f"s{number}", "block_size": 64, "hash_id_scope": "local"}
        (folder / f"{number:03}.json").write_text(json.dumps(session | {"requests": requests}))
    return written


@pytest.mark.slow
def test_they_are_held_as_runs_in_less_than_a_gigabyte(tmp_path):
    written = write_sessions(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["ids"] == written >= IDS
    assert told["calls"] == SESSIONS * CALLS
    assert told["runs"] < 0.02 * written
    assert told["peak_bytes"] < GB
