"""Runs that cannot end well: no place to write, a full disk, a bug of ours, Ctrl-C."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.program import PROGRAM, SMALL, changed, factorysim, separate
from tests.acceptance.refusal import (
    ARRIVALS,
    DEMAND,
    ROWS,
    listing,
    refused,
    refused_run,
    row,
    write,
)

pytestmark = pytest.mark.usefixtures("folder")


LEAK = """
from factorysim.sim.audit import Ledgers

once = Ledgers.add_calls


def twice(self, *told):
    once(self, *told)
    once(self, *told)


Ledgers.add_calls = twice
"""
"""Read by every interpreter at its start, where it stands on the path."""


# Places to write


@pytest.mark.parametrize(
    "place", ["file", "file/run", "things", ".", "/dev/null", "/proc/nowhere/run", "x" * 300]
)
def test_a_place_that_cannot_be_written_is_refused_at_once(place):
    write("file", "mine")
    Path("things").mkdir()
    write("things/mine.txt", "mine")
    write("case.yaml", SMALL)
    told = refused("run", "case.yaml", "--out", place)
    assert told.startswith(f"{place}: found ")
    assert "--out" in told
    assert Path("things/mine.txt").read_text() == Path("file").read_text() == "mine"


def test_compare_and_show_refuse_a_place_that_cannot_be_written():
    write("file", "mine")
    write("case.yaml", SMALL)
    refused("compare", "case.yaml", "case.yaml", "--out", "file")
    refused("show", "case.yaml", "--format", "yaml", "--out", "nowhere/resolved.yaml")
    refused("show", "case.yaml", "--format", "yaml", "--out", ".")
    refused("trace", "generate", "nowhere/t.jsonl", "--duration", "1 min")


@pytest.fixture
def full_disk(folder):
    """A file system of a few pages, if this user may mount one."""
    place = folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_nothing_behind(full_disk):
    write("case.yaml", changed("200 s", "2000 s"))
    for command in [
        ("run", "case.yaml", "--out", full_disk / "a" / "run", "--workers", "1"),
        ("compare", "case.yaml", "case.yaml", "--out", full_disk / "both", "--workers", "1"),
        ("show", "open/hgx-h200", "--format", "json", "--out", full_disk / "graph.json"),
        ("trace", "generate", full_disk / "t.jsonl", "--duration", "10 h"),
    ]:
        told = refused(*command)
        assert "no space left on device" in told.lower()
        assert list(full_disk.iterdir()) == []


def test_a_run_that_fails_leaves_an_earlier_one_whole(folder):
    write("case.yaml", SMALL)
    assert factorysim("run", "case.yaml", "--out", "out", "--workers", "1").code == 0
    before = {path: path.read_bytes() for path in (folder / "out").iterdir()}
    write("t.jsonl", ROWS + row(90_000, 0, 9))
    refused_run(changed(DEMAND + ARRIVALS, "trace: t.jsonl"))
    assert {path: path.read_bytes() for path in (folder / "out").iterdir()} == before


# Our own faults, and interruptions


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_law_that_breaks_is_our_fault(workers, folder, monkeypatch):
    """Planted: every call is counted twice. Exit 1, which law, and no run."""
    write("case.yaml", SMALL)
    write("sitecustomize.py", LEAK)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    code, out, err = separate("run", "case.yaml", "--out", "out", "--workers", workers, cwd=folder)
    assert (code, out) == (1, "")
    assert "breaks a law of conservation: calls" in err
    assert "report it" in err
    assert "Traceback" not in err
    assert set(listing()) - {"__pycache__"} == {"case.yaml", "sitecustomize.py"}


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_has_finished(folder):
    """Ctrl-C in the middle: exit 130, and a run of the replications that had ended.

    Five hundred of them take a minute: the first ones leave tables long before the end.
    """
    write("case.yaml", changed("200 s", "4000 s"))
    options = ("--reps", "500", "--out", "out", "--workers", "1")
    process = interruptible("run", "case.yaml", *options)
    wait_for(process, lambda: list(folder.glob(".out.partial-*/part-00002/calls.parquet")))
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130
    assert re.search(r"(\d+) of 500 replications had finished and are kept in out", err)
    assert "Traceback" not in err
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["interrupted"] is True
    kept = [one["replication"] for one in manifest["replications"]]
    assert kept == list(range(len(kept)))
    assert str(len(kept)) in err
    assert listing() == ["case.yaml", "out"]


def interruptible(*command):
    """Start a command that Ctrl-C reaches, also where the tests run in the background.

    A shell has what it puts there ignore it, and whatever that starts inherits this.
    """
    return subprocess.Popen(
        [*PROGRAM, *command],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(process, condition):
    """Look again and again until it is so, however slow the machine; not past the process' end."""
    while not condition():
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interruption_before_anything_has_finished_leaves_nothing(folder):
    """Ctrl-C once the first replication writes rows: everything it needs is loaded by then.

    It has a hundred million calls to go.
    """
    write("case.yaml", changed("200 s", "200000000 s"))
    process = interruptible("run", "case.yaml", "--out", "out", "--workers", "1")
    wait_for(process, lambda: list(folder.glob(".out.partial-*/part-00000/*.parquet")))
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in err
    assert listing() == ["case.yaml"]
