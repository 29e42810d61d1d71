"""The fidelity page: its list of assumptions is that of the catalog, what it names is there."""

import re
from pathlib import Path

import pytest

from analysis.fidelity_tables import PAGE, SECTIONS, assumed, errors, replaced
from factorysim.catalog import load_catalog

ROOT = Path(__file__).parents[2]
TEXT = PAGE.read_text(encoding="utf-8")
GUESSES = [one for one in load_catalog().facts.values() if one.kind in ("assumed", "unknown")]


def block(name):
    return TEXT.split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->\n")[0]


def test_the_list_of_assumptions_is_the_catalogs():
    told = "run `python analysis/fidelity_tables.py`, and commit docs/fidelity.md"
    assert block("assumed").strip() == assumed().strip(), told


def test_no_assumption_is_missing_from_it():
    """By another way than the script's: every fact of the kinds is counted and named."""
    heads = re.findall(r"^### .*: (\d+) assumed, (\d+) unknown$", block("assumed"), re.MULTILINE)
    assert sum(int(n) for head in heads for n in head) == len(GUESSES)
    assert {one.id.split(".")[0] for one in GUESSES} <= set(SECTIONS)
    lines = block("assumed").splitlines()
    for one in GUESSES:
        words = one.id.split(".")[1:]
        assert any(all(word in line for word in words) for line in lines), one.id


def test_what_the_page_names_is_there():
    for name in set(re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)`", TEXT)):
        found = list(ROOT.glob(name) if "/" in name else (ROOT / "tests").rglob(name))
        assert found, name
    for name in set(re.findall(r"\]\(([\w-]+\.md)\)", TEXT)):
        assert (ROOT / "docs" / name).exists(), name


def row(name, error, **changed):
    fields = {
        "id": name, "expected": 10.0, "got": None if error is None else 10.0 * (1 + error),
        "error": error, "low": None, "high": None, "quantity": "tpot", "engine": "vllm",
        "generation": "hopper", "load": "closed",
    }  # fmt: skip
    return fields | changed


SCORE = {
    "quantity": "TPOT and ITL", "load": "closed", "rows": 3, "predicted": 2, "median": 0.2,
    "mean": 0.4, "p90": 1.0, "bias": -0.05,
}  # fmt: skip
FOUND = {
    "rows": [
        {"id": "theory.mm1", "holds": True},
        {"id": "theory.md1", "holds": False},
        row("a", 0.1, low=9.0, high=13.5),
        row("b", -0.2, low=5.0, high=9.5),
        row("c", None),
        row("d", 0.5, load="offered"),
    ],
    "skipped": [{"id": "e", "line": 5, "reason": "no number"}],
    "scores": [
        SCORE,
        SCORE | {"load": "", "median": None, "mean": None, "p90": None, "bias": None},
    ],
}


def test_errors_are_told_by_load_group_and_band():
    text = errors(FOUND)
    assert "1 of 2 rows of theory and conservation hold. 3 of 5 rows of measurements" in text
    assert "| TPOT and ITL | closed loop | 3 | 2 | 20.0 % | 40.0 % | 100 % | -5.0 % |" in text
    assert "| TPOT and ITL | - | 3 | 2 | - | - | - | - |" in text
    assert "| vllm on hopper | TPOT and ITL | 2 | 15.0 % | 15.0 % | -5.0 % |" in text
    assert "| vllm on hopper, at its limit | TPOT and ITL | 1 | 50.0 % | 50.0 % | +50.0 % |" in text
    assert "| TPOT and ITL | closed loop | 2 | 50.0 % | 1.70 |" in text


def test_without_bands_nothing_is_said_of_them():
    bare = FOUND | {"rows": [one | {"low": None, "high": None} for one in FOUND["rows"]]}
    assert "80 % bands" not in errors(bare)


def test_a_block_is_replaced_and_the_rest_stays():
    page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n"
    once = replaced(page, "x", "new\n")
    assert once == "a\n<!-- x -->\n\nnew\n\n<!-- end of x -->\nb\n"
    assert replaced(once, "x", "new\n") == once
    with pytest.raises(ValueError, match="unpack"):
        replaced(page, "y", "new\n")
