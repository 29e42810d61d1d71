"""The four lessons: every cell runs, points lie on their formulas, pictures show them."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq

from factorysim.metrics.statistics import t_interval

marimo = pytest.importorskip("marimo", reason="lessons are marimo apps: factorysim[explore]")

FOLDER = Path(__file__).parents[2] / "analysis" / "lessons"
NAMES = ("knee", "roofline", "kv_wall", "idle_silicon")
SURE = 0.999
"""Confidence of an interval; seeds are fixed, so what holds goes on holding."""


@pytest.fixture
def lesson(monkeypatch):
    """Import lessons as marimo does, with their folder on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["lesson"])  # where an app looks for its --guess
    return importlib.import_module


def holds(values, expected, sees):
    """Tell whether a formula lies in the interval of a point, which must be a narrow one."""
    if np.ptp(values) < 1e-9 * abs(expected):
        return values[0] == pytest.approx(expected, rel=1e-9)
    low, high = t_interval(values, SURE)[1:]
    assert (high - low) / 2 < sees * expected, "the interval is too wide to see anything"
    return low <= expected <= high


def ran(app):
    """Run an app to its end; give what its cells show and define."""
    outputs, definitions = app.run()
    shown = "\n".join(getattr(output, "text", "") for output in outputs if output is not None)
    return shown, definitions


def check_page(shown, definitions):
    """Check what all lessons show: question, guess, answer, picture, exercise, sources."""
    for heading in ("Question.", "What happened", "Why the curve bends", "Exercise", "Sources"):
        assert heading in shown
    assert "My prediction" in shown
    assert definitions["answer"].startswith("Your guess, ")
    assert shown.count("data:image/svg+xml") == len(definitions["drawings"]) == 2


def check_picture(drawings, common):
    """Check that both panels have a line and points, inside their axes and with units."""
    with common.drawn(drawings) as figure:
        for axes in figure.axes:
            assert axes.get_xlabel()
            assert axes.get_ylabel()
            bottom, top = axes.get_ylim()
            lines = [(line, np.asarray(line.get_ydata(), float)) for line in axes.get_lines()]
            assert any(line.get_marker() == "None" and np.ptp(ys) > 0 for line, ys in lines)
            marked = [ys for line, ys in lines if line.get_marker() in ("o", "s")]
            assert marked
            for ys in marked:
                assert len(ys) >= 5
                assert ((bottom <= ys) & (ys <= top)).all()
        once = common.svg(figure)
    with common.drawn(drawings) as figure:
        assert common.svg(figure) == once


def test_an_app_waits_for_the_guess_and_a_script_does_not(lesson, monkeypatch):
    common = lesson("common")
    given = {}
    mode = SimpleNamespace(mode="run")
    monkeypatch.setattr(common.mo, "app_meta", lambda: mode)
    monkeypatch.setattr(common.mo, "cli_args", lambda: given)
    assert common.take_guess(None, [1.8, 5.0]) is None
    assert common.take_guess(5.0, [1.8, 5.0]) == 5.0
    mode.mode = "script"
    assert common.take_guess(None, [1.8, 5.0]) == 1.8
    given["guess"] = 4
    assert common.take_guess(None, [1.8, 5.0]) == 5.0


def test_a_guess_is_judged_by_how_far_off_it_is(lesson):
    common = lesson("common")
    assert common.verdict(5, 5.2, "times") == "Your guess, 5 times, is right."
    assert common.verdict(10, 52, "s") == "Your guess, 10 s, is too low by a factor of 5.2."
    assert common.verdict(100, 36, "%") == "Your guess, 100 %, is too high by a factor of 2.8."


def test_facts_are_shown_with_their_kind_and_source(lesson):
    common = lesson("common")
    [line] = common.facts_list(["accelerators.h100_sxm.memory_bandwidth"]).splitlines()
    assert "accelerators.h100_sxm.memory_bandwidth</code>: 3.35 TB/s (vendor_spec; " in line
    assert "/\\*.yaml" in line  # no star of a source makes its neighbours italic
    with pytest.raises(KeyError):
        common.facts_list(["accelerators.h100_sxm.colour"])


@pytest.mark.parametrize(
    ("load", "servers", "cv", "sees"),
    [
        (0.7, 4, 1.0, 0.2),
        pytest.param(0.5, 1, 1.0, 0.3, marks=pytest.mark.slow),
        pytest.param(0.5, 1, 0.0, 0.12, marks=pytest.mark.slow),
        pytest.param(0.7, 1, 2.0, 0.7, marks=pytest.mark.slow),
        pytest.param(0.9, 8, 1.0, 0.3, marks=pytest.mark.slow),
    ],
)
def test_the_knee_is_that_of_theory(lesson, load, servers, cv, sees):
    knee = lesson("knee")
    point = knee.simulate_load(load, servers, cv, 10)
    assert holds(point.time_s, knee.formula_s(load, servers, cv, knee.alone_s()), sees)
    by_little = [r * t for r, t in zip(point.rate, point.time_s, strict=True)]
    assert np.mean(point.present) == pytest.approx(np.mean(by_little), rel=0.02)


def test_answers_of_the_knee_s_exercise(lesson):
    knee = lesson("knee")
    for servers, answer in ((1, 0.75), (8, 0.96)):
        most = brentq(lambda load, n=servers: knee.formula_s(load, n, 1.0, 1.0) - 4.0, 0.1, 0.999)
        assert most == pytest.approx(answer, abs=0.005)


def test_a_moe_lies_on_the_roofline_too(lesson):
    roofline = lesson("roofline")
    setting = roofline.Setting("qwen3_coder_30b_a3b")
    for batch in (1, 64):
        point = roofline.simulate_batch(setting, batch)
        assert point.token_s == pytest.approx(roofline.token_s(setting, batch), rel=1e-9)
    knee = roofline.knee(setting)
    reading, arithmetic = roofline.reading_s(setting, knee), roofline.arithmetic_s(setting, knee)
    assert reading == pytest.approx(arithmetic, rel=1e-6)


def test_answers_of_the_roofline_s_exercise(lesson):
    roofline = lesson("roofline")
    assert roofline.knee(roofline.Setting()) == pytest.approx(277, abs=1)
    assert roofline.knee(roofline.Setting(device="h200_sxm")) == pytest.approx(193, abs=1)
    assert roofline.knee(roofline.Setting("qwen3_coder_30b_a3b")) > 5 * 277


def test_what_does_not_fit_is_left_to_the_next_lesson(lesson):
    roofline = lesson("roofline")
    assert roofline.simulate_batch(roofline.Setting(prompt=30_000), 16) is None


def test_the_wall_moves_with_the_bytes_of_a_token(lesson):
    kv_wall = lesson("kv_wall")
    wide, narrow = (kv_wall.fits(kv_wall.Setting(kv=kv)) for kv in ("bf16", "fp8"))
    assert narrow / wide == pytest.approx(2.0, rel=1e-3)
    assert wide == pytest.approx(52, abs=0.5)


@pytest.mark.parametrize("cores", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_the_gpu_idles_as_the_repairman_does(lesson, cores):
    idle = lesson("idle_silicon")
    point = idle.simulate_cores(cores, 16, 10)
    gpu, core = idle.busy(16, cores)
    assert holds(point.gpu_busy, gpu, 0.2)
    assert np.mean(point.cores_busy) == pytest.approx(core, abs=1e-6 if core > 0.999 else 0.1)


def test_bounds_of_idle_silicon(lesson):
    idle = lesson("idle_silicon")
    assert idle.busy(16, 1e9)[0] == pytest.approx(1.0, abs=0.01)
    assert idle.busy(16, 2)[0] == pytest.approx(2 / idle.balance(), rel=1e-3)


def test_the_lint_of_marimo_is_clean():
    files = [str(FOLDER / f"{name}.py") for name in NAMES]
    told = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--strict", *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("name", ["knee", "idle_silicon"])
def test_every_cell_runs_and_shows_what_it_should(lesson, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lesson", "--replications", "2"])
    common = lesson("common")
    shown, definitions = ran(lesson(name).app)
    check_page(shown, definitions)
    check_picture(definitions["drawings"], common)


def test_every_batch_lies_on_the_roofline(lesson):
    common, roofline = lesson("common"), lesson("roofline")
    shown, definitions = ran(roofline.app)
    check_page(shown, definitions)
    check_picture(definitions["drawings"], common)
    assert [point.batch for point in definitions["found"]] == list(roofline.BATCHES)
    for point in definitions["found"]:
        line_s = roofline.token_s(roofline.Setting(), point.batch)
        assert point.token_s == pytest.approx(line_s, rel=1e-9)


def test_the_wall_stands_where_memory_ends(lesson, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lesson", "--replications", "2"])
    common, kv_wall = lesson("common"), lesson("kv_wall")
    shown, definitions = ran(kv_wall.app)
    check_page(shown, definitions)
    check_picture(definitions["drawings"], common)
    setting, found = kv_wall.Setting(), definitions["found"]
    wall, never = kv_wall.fits(setting), kv_wall.never_full(setting)
    assert found[1].asked < never < found[2].asked < wall < found[3].asked
    for point in found:
        # Blocks are whole, and some are free now and then.
        assert np.mean(point.running) == pytest.approx(min(point.asked, wall), rel=0.03)
        if point.asked < never:
            assert max(point.preemptions) == 0
        if point.asked > wall:
            assert min(point.preemptions) > 0
            # Replications differ by some 5 %.
            wait_s = kv_wall.waiting_s(found, setting, point.asked)
            assert np.mean(point.first_s) == pytest.approx(wait_s, rel=0.15)
    assert np.mean(found[2].first_s) < 0.05 * np.mean(found[3].first_s)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_as_a_script_a_lesson_prints_its_points_and_writes_its_picture(name, tmp_path):
    told = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--picture", "seen.svg"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert told.stdout.startswith("Your guess, ")
    assert len(told.stdout.splitlines()) >= 6
    assert all(len(line) <= 80 for line in told.stdout.splitlines())
    assert b"<svg" in (tmp_path / "seen.svg").read_bytes()
