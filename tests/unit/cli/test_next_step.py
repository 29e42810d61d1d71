"""`factorysim` alone looks at where one stands, and says what to do next."""

import json
import os

from factorysim.cli.next_step import next_steps, welcome


def write_run(folder, name, at=1_000):
    place = folder / "runs" / name
    place.mkdir(parents=True)
    (place / "manifest.json").write_text(json.dumps({"schema": "factorysim.run/1"}))
    os.utime(place, (at, at))


def commands(folder):
    return [step.command for step in next_steps(folder)]


def test_a_newcomer_is_shown_a_run(tmp_path):
    assert commands(tmp_path)[0] == "factorysim run quickstart"


def test_the_newest_run_is_to_be_looked_at(tmp_path):
    write_run(tmp_path, "old", 1_000)
    write_run(tmp_path, "new", 2_000)
    write_run(tmp_path, "older", 500)
    assert commands(tmp_path)[0] == "factorysim report runs/new"


def test_the_runs_of_the_newest_comparison_are_to_be_looked_at(tmp_path):
    write_run(tmp_path, "old", 1_000)
    for name in ("a-vs-b/z first", "a-vs-b/b"):
        write_run(tmp_path, name)
    told = tmp_path / "runs" / "a-vs-b"
    (told / "comparison.json").write_text(json.dumps({"comparisons": [{"a": "z first"}]}))
    os.utime(told, (2_000, 2_000))
    assert commands(tmp_path)[0] == "factorysim report 'runs/a-vs-b/z first' runs/a-vs-b/b"
    lines = welcome(tmp_path).splitlines()
    assert max(map(len, lines)) <= 80
    os.utime(told, (500, 500))
    assert commands(tmp_path)[0] == "factorysim report runs/old"


def test_ones_own_scenario_is_to_be_checked_and_run(tmp_path):
    (tmp_path / "my plan.yaml").write_text("# mine\nschema: factorysim.scenario/1\n")
    (tmp_path / "other.yaml").write_text("schema: factorysim.topology/1\n")
    assert commands(tmp_path)[:2] == [
        "factorysim validate 'my plan.yaml'",
        "factorysim run 'my plan.yaml'",
    ]


def test_what_is_not_ours_is_left_alone(tmp_path):
    for number, text in enumerate(("", "[", "null", "[" * 100_000, '{"schema": "other"}')):
        place = tmp_path / "runs" / str(number)
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(text)
        (place / "comparison.json").write_text(text)
    (tmp_path / "data.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.yaml").mkdir()
    assert commands(tmp_path)[0] == "factorysim run quickstart"


def test_names_cannot_steer_the_terminal(tmp_path):
    (tmp_path / "a\x1b[31m.yaml").write_text("schema: factorysim.scenario/1\n")
    assert "\x1b" not in welcome(tmp_path)


def test_the_first_words_fit_a_terminal(tmp_path):
    assert max(map(len, welcome(tmp_path).splitlines())) <= 80
