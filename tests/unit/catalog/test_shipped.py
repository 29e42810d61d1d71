"""What ships says the same as the facts files, and reads the same as all of YAML."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from factorysim.catalog import load_catalog
from factorysim.catalog.fact import KINDS
from factorysim.catalog.loading import FILES
from factorysim.catalog.shipped import FOLDER, parse_shipped, read_shipped
from factorysim.catalog.trees import leaves
from factorysim.resources import resource_root

FACTS = Path(__file__).resolve().parents[4] / "shared" / "facts"
SECTIONS = {"models": "llms"}


@cache
def given(file: str) -> dict:
    path = FACTS / file
    if not path.exists():
        pytest.skip(f"the facts files are not beside the repository: {path}")
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


CHOSEN = {f"accelerators.dgx_spark_gb10.flops.{form}" for form in ("bf16", "fp8")}
"""Facts whose alternative ships, for a reason that their note gives."""


def keyed(tree: dict) -> dict:
    """Lists of records by id or provider, as the shipped files have them."""
    if isinstance(tree, list) and tree and isinstance(tree[0], dict) and "value" not in tree[0]:
        slugs = [item.get("id") or slug(item["provider"]) for item in tree]
        return {name: keyed(item) for name, item in zip(slugs, tree, strict=True)}
    if isinstance(tree, dict) and "value" not in tree:
        return {key: keyed(value) for key, value in tree.items()}
    return tree


def slug(text: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


@pytest.mark.slow  # all of YAML takes its time
@pytest.mark.parametrize("file", ["hardware.yaml", "models.yaml"])
def test_every_fact_ships_under_its_id_with_its_value(file):
    facts = load_catalog().facts
    tree = given(file)
    sections = {key: keyed(value) for key, value in tree.items() if key != "sources"}
    seen = 0
    for section, records in sections.items():
        if not isinstance(records, dict):
            continue
        for name, leaf in leaves(records, SECTIONS.get(section, section)):
            fact = facts[name]
            seen += 1
            if name in CHOSEN:
                assert fact.value in [other["value"] for other in leaf["alternatives"]]
                continue
            if leaf["value"] is None and fact.kind != leaf["kind"]:
                assert fact.kind in ("assumed", "derived"), name
                continue
            assert (fact.value, fact.unit, fact.kind) == (leaf["value"], leaf["unit"], leaf["kind"])
            assert fact.note == leaf.get("note", "")
            assert fact.date == leaf.get("date", "")
            stated = [leaf["source"]] if isinstance(leaf["source"], str) else leaf["source"] or []
            assert list(fact.source) == stated
            values = [other["value"] for other in leaf.get("alternatives", [])]
            assert [other.value for other in fact.alternatives] == values
    assert seen > 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "section", "kind"),
    [
        ("hardware.yaml", "accelerators", "accelerators"),
        ("hardware.yaml", "cpus", "cpus"),
        ("hardware.yaml", "network", "network"),
        ("hardware.yaml", "racks", "racks"),
        ("models.yaml", "models", "llms"),
    ],
)
def test_every_record_ships_under_its_id_with_its_name(file, section, kind):
    catalog = load_catalog()
    for name, record in given(file)[section].items():
        assert name in catalog.ids(kind)
        shipped = catalog.record(kind, name)
        assert shipped["name"] == record["name"]
        assert shipped.get("vendor") == record.get("vendor")


def test_every_assumption_given_is_made_with_its_band():
    """Each number of the given assumptions is a fact here, under the same section and id."""
    catalog = load_catalog()
    tree = given("assumed.yaml")
    missing = []
    for section in ("racks", "cpus", "network", "sites"):
        for name, leaf in leaves(tree[section], section):
            name = name.replace(".nics.bandwidth", ".nic_bandwidth")
            fact = catalog.facts.get(name)
            if fact is None or fact.value != leaf["value"]:
                missing.append(name)
            elif "low" in leaf:
                assert (fact.low, fact.high) == (leaf["low"], leaf["high"]), name
    assert missing == []


def test_rack_contents_are_those_assumed():
    catalog = load_catalog()
    for name, rack in given("assumed.yaml")["racks"].items():
        for key, part in (("gpus", "accelerator"), ("cpus", "cpu")):
            told = rack.get(key)
            if isinstance(told, dict) and "kind" in told:
                built = getattr(catalog.rack(name), part)
                assert (built.id, built.count) == (told["kind"], told["count"])
    pod = given("assumed.yaml")["racks"]["vera_rubin_pod"]
    wanted = {"vera_rubin_nvl72": pod["nvl72"], **pod["other_racks"]}
    assert dict(catalog.rack("vera_rubin_pod").contents) == wanted


LONG = {"llms.yaml", "accelerators.yaml"}


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[pytest.mark.slow] if file in LONG else [])
        for file in ("assumed.yaml", "sources.yaml", *FILES.values())
    ],
)
def test_the_quick_reader_agrees_with_all_of_yaml(file):
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert read_shipped(file) == YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize(
    "text",
    ["a: [1, 2\n", "a:\n   b: 1\n", "a: 1\na: 2\n", "- 1\n", "a: 1.e3\n", "a: two words\n"],
)
def test_the_quick_reader_refuses_what_it_does_not_know(text):
    with pytest.raises(ValueError, match="text:"):
        parse_shipped(text)


def test_every_source_resolves_and_every_kind_is_known():
    catalog = load_catalog()
    for fact in catalog.facts.values():
        sources = [*fact.source, *(s for other in fact.alternatives for s in other.source)]
        assert set(sources) <= set(catalog.sources), fact.id
        assert fact.kind in KINDS
        assert fact.kind == "unknown" or fact.value is not None or fact.note or fact.source, fact.id
    for source in catalog.sources.values():
        assert source.title


def test_unknown_facts_have_no_value():
    for fact in load_catalog().facts.values():
        if fact.kind == "unknown":
            assert fact.value is None


def test_assumptions_override_nothing_that_is_stated():
    catalog = load_catalog(fitted=False)
    for file, section in ((file, kind) for kind, file in FILES.items()):
        for name, leaf in leaves(read_shipped(file)[section], section):
            if leaf["value"] is not None:
                assert catalog.facts[name].value == leaf["value"]


def test_facts_load_without_the_yaml_parser():
    """What makes loading quick: the full parser is not even imported."""
    code = (
        "import sys; from factorysim.catalog import load_catalog; load_catalog().facts;"
        "print('ruamel.yaml' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_resources_are_found_from_a_checkout():
    assert resource_root("topologies").is_dir()


def test_the_digest_is_the_same_in_every_process():
    code = "from factorysim.catalog import load_catalog; print(load_catalog().digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {load_catalog().digest}
