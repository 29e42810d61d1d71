"""A run directory that someone changed and sealed again: shown or refused, never a crash."""

import json
import random
import shutil

import pytest

from factorysim.run.seal import sealed
from factorysim.store import file_hash
from tests.acceptance.program import SMALL, factorysim
from tests.unit.run.builders import with_value

RUBBISH = (
    "x", "", "\x1b[31m", None, True, 0, -1, 10**30, 1.5, -2.5, 1e300, float("inf"), float("nan"),
    [], {}, [1, "a"], {"a": 1}, [None],
)  # fmt: skip
COMMANDS = (
    ("report",),
    ("figures", "--format", "svg", "--only", "series-queue"),
    ("timeline",),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("tampered")
    (place / "case.yaml").write_text(SMALL, encoding="utf-8")
    words = ("run", place / "case.yaml", "--reps", "1", "--workers", "1", "--out", place / "run")
    assert factorysim(*words).code == 0
    return place / "run"


def leaves(value, at=()):
    """Paths of everything in a file, what holds others included; of lists the first alone."""
    if at:
        yield at
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(
        value, list) else ()  # fmt: skip
    for key, one in entries:
        yield from leaves(one, (*at, key))


def seal(folder, manifest, summary):
    """Write both, with the hashes that make them whole."""
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    if isinstance(manifest.get("summary_sha256"), str):
        manifest = manifest | {"summary_sha256": file_hash(folder / "summary.json")}
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)), encoding="utf-8")


def cases(run, count, seed):
    """Draw so many changes: in the manifest or the summary, at any place, to any rubbish."""
    files = {
        name: json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("manifest", "summary")
    }
    places = {name: list(leaves(data)) for name, data in files.items()}
    draw = random.Random(seed)
    made = 0
    while made < count:
        name = draw.choice(("manifest", "manifest", "summary"))
        path, value = draw.choice(places[name]), draw.choice(RUBBISH)
        changed = files | {name: with_value(files[name], path, value)}
        try:
            sealed(changed["manifest"])
        except ValueError:  # what no seal holds: it is refused before anything is read
            continue
        made += 1
        yield (name, *path), value, changed


def told_of(run, folder, count, seed):
    shutil.copytree(run, folder)
    codes = set()
    for path, value, changed in cases(run, count, seed):
        seal(folder, **changed)
        for command, *options in COMMANDS:
            told = factorysim(command, folder, *options)
            assert told.code in (0, 2), (path, value, command, told.err)
            assert told.code == 0 or "expected" in told.err, (path, value, command, told.err)
            codes.add(told.code)
    assert codes == {0, 2}, "some change is harmless, and some is not"


def test_what_is_changed_and_sealed_is_shown_or_refused(run, tmp_path):
    told_of(run, tmp_path / "run", count=6, seed=20)


@pytest.mark.slow
def test_much_that_is_changed_and_sealed_is_shown_or_refused(run, tmp_path):
    told_of(run, tmp_path / "run", count=150, seed=21)
