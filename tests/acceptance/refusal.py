"""Commands that are the user's fault: exit 2, nothing printed, nothing left behind."""

import json
from pathlib import Path

from tests.acceptance.program import factorysim

LAW = "law: {kind: fixed, prompt: {kind: exponential, mean: 1 s}}"
DEMAND = "calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}"
ARRIVALS = "\n    arrivals: {process: poisson, rate: 0.5 /s}"


def write(name, content):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def refused(*command):
    """Message of a command that is the user's fault: nothing printed, nothing left behind."""
    before = listing()
    code, out, err = factorysim(*command)
    assert code == 2, out[:100] + err
    assert out == ""
    assert "Traceback" not in err
    assert listing() == before
    return err


def listing():
    """Names of what is in the user's folder."""
    return sorted(path.name for path in Path().iterdir())


def refused_run(content, *options):
    """Message of a run of this scenario, which must not begin."""
    write("case.yaml", content)
    return refused("run", "case.yaml", "--out", "out", "--workers", "1", *options)


def row(at_ms, prompt, output):
    blocks = list(range(-(-abs(prompt) // 512)))[:100]
    return json.dumps(
        {
            "timestamp": at_ms,
            "input_length": prompt,
            "output_length": output,
            "hash_ids": blocks,
        }
    )


ROWS = "".join(row(1000 * i, 600, 5) + "\n" for i in range(50))
