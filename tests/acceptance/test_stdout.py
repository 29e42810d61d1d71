"""Where standard output takes nothing: full, closed, not to be written, nobody who reads."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.program import PROGRAM

FULL = Path("/dev/full")
LIST, HELP, PNG = ("catalog", "list"), ("--help",), ("show", "teaching/mm1", "--format", "png")
"""By `print`, by the parser of the command line, and as bytes."""


def run(command, stdout):
    done = subprocess.run([*PROGRAM, *command], stdout=stdout, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [LIST, HELP, pytest.param(PNG, marks=pytest.mark.slow)])
def test_a_full_disk_is_no_bug(command):
    with FULL.open("w") as full:
        code, told = run(command, full)
    assert code == 2
    assert told.startswith("standard output: found no space left on device, expected ")
    assert len(told.splitlines()) == 2  # the fault and its cure, nothing of the interpreter's


def test_what_cannot_be_written_is_told():
    with Path(os.devnull).open("rb") as readable:
        code, told = run(LIST, readable)
    assert code == 2
    assert told.startswith("standard output: found bad file descriptor")


def test_a_closed_standard_output_is_told():
    shell = '"$@" >&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *PROGRAM, *LIST], stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("standard output: found it closed")


@pytest.mark.parametrize("command", [LIST, HELP, pytest.param(PNG, marks=pytest.mark.slow)])
def test_a_reader_that_leaves_ends_it_without_a_word(command):
    reads, writes = os.pipe()
    os.close(reads)
    try:
        assert run(command, writes) == (141, "")
    finally:
        os.close(writes)


@pytest.mark.parametrize("command", [("run", "nowhere"), ("run", "--nonsense")])
def test_so_does_a_reader_of_standard_error(command):
    reads, writes = os.pipe()
    os.close(reads)
    try:
        assert subprocess.run([*PROGRAM, *command], stdout=writes, stderr=writes).returncode == 141
    finally:
        os.close(writes)
