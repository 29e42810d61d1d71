"""Variants of a scenario: what a layout and a value change, and how they are refused."""

import pytest

from factorysim.errors import SpecError
from factorysim.load import load, override
from factorysim.study.layouts import own_label, variants_of

QUICK = load("quickstart")


def faults(layouts=(), vary=()):
    with pytest.raises(SpecError) as caught:
        variants_of(QUICK, layouts, vary)
    return caught.value.faults


def test_without_options_the_scenario_is_the_only_variant():
    (one,) = variants_of(QUICK)
    assert (one.label, one.scenario) == ("tp 2", QUICK)


def test_a_layout_takes_the_devices_that_there_are_and_the_place_of_the_old_one():
    cut = override(QUICK, {"deployments.serve.parallel.ep": 2})
    assert own_label(cut) == "tp 2, ep 2"
    made = variants_of(cut, ["tp=1", "tp=8,ep=4", "tp=16"])
    serve = [one.scenario.deployments["serve"] for one in made]
    assert [one.parallel.model_dump()["ep"] for one in serve] == [1, 4, 1]
    assert [(one.parallel.tp, one.replicas) for one in serve] == [(1, 8), (8, 1), (16, 1)]
    assert all(one.scenario.deployments["tools"] == QUICK.deployments["tools"] for one in made)


def test_as_many_replicas_as_fit_stay_as_many_as_fit():
    free = override(QUICK, {"deployments.serve.replicas": None})
    assert [v.scenario.deployments["serve"].replicas for v in variants_of(free, ["tp=8"])] == [None]


def test_layouts_and_values_are_combined():
    path = "serving.max_sequences"
    made = variants_of(QUICK, ["tp=2", "tp=4"], [f"{path}=8,16", "serving.order=priority"])
    assert [one.label for one in made] == [
        f"tp {tp}, max_sequences {most}, order priority" for tp in (2, 4) for most in (8, 16)
    ]
    assert [one.scenario.serving.max_sequences for one in made] == [8, 16, 8, 16]


@pytest.mark.parametrize("text", ["8", "tp=", "tp=x", "tp=2,tp=4", "=3", "tp=-1", ""])
def test_a_layout_is_sizes_by_name(text):
    (fault,) = faults([text])
    assert (fault.where, fault.expected) == ("--layout", "sizes by name, like tp=8,ep=8")


@pytest.mark.parametrize("text", ["serving", "=3", "a.b=", "a.b=1,,2"])
def test_a_value_has_a_path(text):
    (fault,) = faults((), [text])
    assert fault.where == "--vary"


def test_all_that_does_not_go_there_is_told_with_its_option():
    told = faults(["tp=4,ep=3", "size=4"], ["serving.max_sequences=0"])
    assert {fault.where for fault in told} == {
        "--layout tp=4,ep=3 --vary serving.max_sequences",
        "--layout size=4 --vary serving.max_sequences",
    }
    assert any("a divisor of tp" in fault.expected for fault in told)
    assert any("size" in fault.found for fault in told)


def test_a_variant_is_asked_for_once():
    (fault,) = faults(["tp=4", "tp=4"])
    assert fault.found == "tp 4 twice"
