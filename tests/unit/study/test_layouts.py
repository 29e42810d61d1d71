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
    (one,) = variants_of(QUICK).made
    assert (one.label, one.scenario) == ("tp 2", QUICK)


def test_a_layout_takes_the_devices_that_there_are_and_the_place_of_the_old_one():
    cut = override(QUICK, {"deployments.serve.parallel.ep": 2})
    assert own_label(cut) == "tp 2, ep 2"
    made = variants_of(cut, ["tp=1", "tp=8,ep=4", "tp=16"]).made
    serve = [one.scenario.deployments["serve"] for one in made]
    assert [one.parallel.model_dump()["ep"] for one in serve] == [1, 4, 1]
    assert [(one.parallel.tp, one.replicas) for one in serve] == [(1, 8), (8, 1), (16, 1)]
    assert all(one.scenario.deployments["tools"] == QUICK.deployments["tools"] for one in made)


def test_as_many_replicas_as_fit_stay_as_many_as_fit():
    free = override(QUICK, {"deployments.serve.replicas": None})
    (one,) = variants_of(free, ["tp=8"]).made
    assert one.scenario.deployments["serve"].replicas is None


def test_layouts_and_values_are_combined():
    path = "serving.max_sequences"
    made = variants_of(QUICK, ["tp=2", "tp=4"], [f"{path}=8,16", "serving.order=priority"]).made
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


def test_paths_that_lead_nowhere_are_told_with_their_option():
    told = faults(["tp=4", "size=4"], ["serving.max_sequence=8", "serving.max_sequences=8"])
    assert [fault.where for fault in told] == ["--layout size=4", "--vary serving.max_sequence"]
    assert "the key 'size'" in told[0].found
    assert told[1].cure == 'did you mean "max_sequences"?'


def test_what_makes_no_scenario_leaves_the_others():
    found = variants_of(QUICK, ["tp=4", "tp=4,ep=3"], ["serving.max_sequences=0,8"])
    assert [one.label for one in found.made] == ["tp 4, max_sequences 8"]
    told = {one.label: [fault.key for fault in one.faults] for one in found.impossible}
    assert told == {
        "tp 4, max_sequences 0": ["serving.max_sequences"],
        "tp 4, ep 3, max_sequences 0": ["deployments.serve.parallel.ep", "serving.max_sequences"],
        "tp 4, ep 3, max_sequences 8": ["deployments.serve.parallel.ep"],
    }


def test_a_variant_is_asked_for_once():
    (fault,) = faults(["tp=4", "tp=4"])
    assert fault.found == "tp 4 twice"
    (fault,) = faults(["tp=4,ep=3", "tp=4,ep=3"])
    assert fault.found == "tp 4, ep 3 twice"
