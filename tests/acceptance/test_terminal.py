"""What a user sees on a terminal of 80 columns, in a pipe, and under NO_COLOR."""

import os
import pty
import re
import select
import subprocess

import pytest

from tests.acceptance.program import PROGRAM, SMALL, changed, separate

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|4[0-7]|38|48)[0-9;]*m")


def on_a_terminal(*words, cwd, **environment):
    """Run a command whose streams are a terminal of 80 columns; give what it wrote."""
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"} | environment
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen([*PROGRAM, *words], cwd=cwd, env=env, **streams) as process:
        os.close(theirs)
        parts = []
        while select.select([ours], [], [], 120)[0]:
            try:
                parts.append(os.read(ours, 1 << 16))
            except OSError:  # the other side is closed
                break
    os.close(ours)
    assert process.returncode == 0
    return b"".join(parts).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("terminal")
    (place / "a.yaml").write_text(SMALL)
    (place / "b.yaml").write_text(changed("mean: 1 s", "mean: 500 ms"))
    return place


@pytest.fixture(scope="module")
def seen(folder):
    return on_a_terminal("run", "a.yaml", "--workers", "1", cwd=folder)


def test_a_run_fits_80_columns_and_tells_how_far_it_is(seen):
    plain = ESCAPES.sub("", seen).replace("\r\n", "\n")
    assert max(len(line.rsplit("\r", 1)[-1]) for line in plain.splitlines()) <= 80
    assert "sessions/s" in plain  # the bar
    assert "TTFT, p95" in plain
    assert COLOUR.search(seen)


def test_no_color_is_honoured(folder):
    words = ("run", "a.yaml", "--workers", "1", "--out", "grey")
    assert not COLOUR.search(on_a_terminal(*words, cwd=folder, NO_COLOR="1"))


def test_a_comparison_fits_80_columns(folder):
    words = ("compare", "a.yaml", "b.yaml", "--workers", "1")
    plain = ESCAPES.sub("", on_a_terminal(*words, cwd=folder)).replace("\r\n", "\n")
    assert max(len(line.rsplit("\r", 1)[-1]) for line in plain.splitlines()) <= 80
    assert "B - A" in plain


def test_a_pipe_gets_plain_text(folder):
    done = separate("run", "a.yaml", "--workers", "1", "--out", "piped", cwd=folder)
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert "TTFT, p95" in done.out


def test_alone_it_shows_the_next_step(folder):
    done = separate(cwd=folder)
    assert done.code == 0
    assert "factorysim validate" in done.out
    assert "--help" in done.out
