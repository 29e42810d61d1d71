"""The program as a user meets it, and a small scenario to give it."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from factorysim.cli.app import main

SMALL = """\
schema: factorysim.scenario/1
question: How long does a call wait for one GPU?
topology: teaching/mm1
llms:
  any: {llm: llama_3_1_8b}
deployments:
  queue: {llm: any, pool: gpu, law: {kind: fixed, prompt: {kind: exponential, mean: 1 s}}}
streams:
  calls:
    llm: any
    calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}
    arrivals: {process: poisson, rate: 0.5 /s}
    slo: {ttft: 4 s, attain: 0.5}
serving: {max_sequences: 1, token_budget: 16}
run: {kind: steady_state, window: 200 s, warmup: 20 s, drain: 50 s, replications: 2, seed: 7}
"""
"""An M/M/1 queue, half full: a second to run."""

PROGRAM = (sys.executable, "-m", "factorysim")


class Told(NamedTuple):
    """What a command gave back."""

    code: int
    out: str
    err: str


def factorysim(*args) -> Told:
    """Run a command in this process: what `main` prints, and the code it exits with."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    words = ["factorysim", *map(str, args)]
    with patch.object(sys, "argv", words), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    out.flush()
    return Told(code, out.buffer.getvalue().decode(), err.getvalue())


def separate(*args, cwd: Path) -> Told:
    """Run a command in a process of its own."""
    done = subprocess.run([*PROGRAM, *map(str, args)], cwd=cwd, capture_output=True, text=True)
    return Told(done.returncode, done.stdout, done.stderr)


def changed(old: str, new: str, text: str = SMALL) -> str:
    """Edit a text in one place, which must be there."""
    assert text.count(old) == 1, old
    return text.replace(old, new)
