"""Ctrl-C before a command has anything to keep: a word and exit 130, wherever it strikes."""

import subprocess
import sys

import pytest

LOADING = """
import sys

class Struck:
    def find_spec(self, name, path=None, target=None):
        if name == "factorysim.cli.app":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Struck())
"""

IN_A_COMMAND = """
import factorysim.run

def struck(*args, **more):
    raise KeyboardInterrupt

factorysim.run.simulate = struck
"""


@pytest.mark.parametrize("strike", [LOADING, IN_A_COMMAND], ids=["loading", "in a command"])
def test_an_interrupt_is_told_in_a_word(strike):
    code = strike + "from factorysim.__main__ import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "quickstart"], capture_output=True, text=True
    )
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted"
    assert done.stdout == ""
