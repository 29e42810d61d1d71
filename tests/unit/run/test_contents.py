"""A manifest and a summary hold what their readers trust them to hold, or are refused."""

import json

import pytest

from factorysim.metrics.names import metric
from factorysim.run.contents import Manifest, manifest_faults, summary_faults
from tests.unit.run.builders import with_value


@pytest.fixture
def manifest(written):
    return json.loads((written / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture
def summary(written):
    return json.loads((written / "summary.json").read_text(encoding="utf-8"))


def test_what_a_run_writes_is_without_fault(manifest, summary):
    assert manifest_faults(manifest, "m", "") == []
    assert summary_faults(summary, "s", "") == []


def test_every_fault_is_told_with_its_place_and_the_cure(manifest):
    other = with_value(manifest, ("window", "end_s"), "200 s")
    other = with_value(other, ("slo", "calls", "attain"), 1.5)
    other = with_value(other, ("layout", "stations", 0, "kind"), "cook")
    del other["seed"]
    assert [str(one) for one in manifest_faults(other, "m", "Run it again.")] == [
        "m: seed: found nothing, expected what this version writes of a run\n    Run it again.",
        "m: window.end_s: found '200 s', expected a number\n    Run it again.",
        "m: slo.calls.attain: found 1.5, expected less than or equal to 1\n    Run it again.",
        "m: layout.stations.0.kind: found 'cook', expected 'serve' or 'tools'\n    Run it again.",
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("seed",), 2**63, "less than 9223372036854775808"),
        (("seed",), 7.0, "a whole number"),
        (("devices",), True, "a whole number"),
        (("window",), {"start_s": 9.0, "end_s": 8.0}, "an end after the start"),
        (("replications",), [], "at least one"),
        (("replications", 0, "audit", 0, "ok"), 1, "true or false"),
        (("replications", 0, "end_s"), float("inf"), "a finite number"),
        (("scenario",), ["name"], "a map"),
        (("scenario", "sha256"), "0", "a SHA-256 hash"),
        (("notes",), "a note", "a list"),
        (("notes",), [None], "a text"),
        (("outputs", "calls"), None, "a text"),
        (("layout", "stations", 0, "replicas"), 10**30, "less than or equal to 10000000"),
    ],
)
def test_what_a_run_never_writes_is_a_fault(manifest, path, value, expected):
    (fault,) = manifest_faults(with_value(manifest, path, value), "m", "")
    assert fault.expected == expected


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("ttft_s.mean", {"value": "fast"}, "a number"),
        ("ttft_s.mean", {"value": float("nan")}, "a number"),
        ("ttft_s.mean", {"value": True}, "a number"),
        ("ttft_s.mean", {"value": [1.0]}, "a number"),
        ("bottleneck", {"value": 3.0}, "a text"),
        ("ttft_s.mean", {"ci_low": None}, "both ends of an interval, or none"),
        ("ttft_s.mean", {"ci_low": 9.0, "ci_high": 1.0}, "both ends of an interval, or none"),
        ("ttft_s.mean", {"n": -1}, "greater than or equal to 0"),
        ("ttft_s.mean", {"reason": 5}, "a text"),
        ("speed", {}, "one of this version's metrics"),
    ],
)
def test_what_a_summary_never_holds_is_a_fault(summary, name, change, expected):
    line = summary.get(name, summary["ttft_s.mean"]) | change
    (fault,) = summary_faults(summary | {name: line}, "s", "")
    assert fault.expected == expected


def test_a_metric_of_words_is_one_that_the_table_of_names_says_so_of():
    assert metric("bottleneck").unit == "text"


def test_whatever_else_a_manifest_has_is_left_alone(manifest):
    assert manifest_faults(manifest | {"later": {"any": [1]}}, "m", "") == []


def test_each_key_is_one_that_a_run_writes(manifest):
    assert set(Manifest.model_fields) <= set(manifest)
