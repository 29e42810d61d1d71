"""Layouts of ranks and stages: their devices, their memory, and what is refused of them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.planning import plan_factory
from factorysim.physics.ranks import RankedRoofline
from factorysim.physics.stages import StagedRoofline
from factorysim.spec.layout import ParallelSpec

FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}


def planned(scenario, topology, catalog, parallel, *, llm="llama_3_1_405b", count=3, **fields):
    deployment = {
        "llm": "chat",
        "pool": "hgx",
        "parallel": parallel,
        **fields.pop("deployment", {}),
    }
    spec = scenario({"serve": deployment}, llm=llm, precision=FP8, **fields)
    racks = topology({"hgx": {"rack": "hgx_h200", "count": count}}, kind="leaf_spine")
    return plan_factory(spec, racks, catalog).serve[0]


def refused(error, *args, **fields):
    with pytest.raises(error) as caught:
        planned(*args, **fields)
    faults = caught.value.faults
    assert all(fault.cure for fault in faults)
    return faults


def test_each_stage_stands_in_one_server(scenario, topology, catalog):
    serve = planned(scenario, topology, catalog, {"tp": 8, "pp": 2})
    assert isinstance(serve.law, StagedRoofline)
    assert (serve.stages, serve.ranks, serve.devices_per_replica) == (2, 1, 16)
    assert len(serve.replicas) == 1  # of three servers one is left
    (replica,) = serve.replicas
    assert replica.straddles
    assert max(replica.devices[:8]) < min(replica.devices[8:])


def test_stages_of_three_devices_leave_the_rest_of_a_server(scenario, topology, catalog):
    """Two stages of 3 fill 6 of a server's 8: three servers hold six stages, so three of 12."""
    serve = planned(scenario, topology, catalog, {"tp": 3, "pp": 3}, llm="llama_3_1_8b")
    assert len(serve.replicas) == 2
    for replica in serve.replicas:
        assert len(set(replica.devices)) == 9


def test_a_pipeline_inside_a_server_does_not_cross_the_network(scenario, topology, catalog):
    serve = planned(scenario, topology, catalog, {"tp": 4, "pp": 2})
    assert len(serve.replicas) == 3
    assert not any(replica.straddles for replica in serve.replicas)
    assert serve.law.between.fixed_s < 1e-4


def test_ranks_have_equal_parts_of_the_blocks(scenario, topology, catalog):
    serve = planned(scenario, topology, catalog, {"dp": 8, "ep": 8}, llm="deepseek_v3")
    assert isinstance(serve.law, RankedRoofline)
    assert (serve.ranks, serve.devices_per_replica, len(serve.replicas)) == (8, 8, 3)
    assert serve.kv_blocks % 8 == 0


def test_what_cannot_be_laid_out_is_refused(scenario, topology, catalog):
    world = (scenario, topology, catalog)
    (fault,) = refused(CapacityError, *world, {"tp": 1, "pp": 33}, llm="llama_3_1_8b", count=5)
    assert "at most 32, its layers" in str(fault)
    (fault,) = refused(CapacityError, *world, {"tp": 2, "dp": 2}, llm="llama_3_1_8b")
    assert "dp: 1 and 2 times the replicas" in str(fault)
    (fault,) = refused(CapacityError, *world, {"dp": 25, "ep": 25}, llm="deepseek_v3")
    assert "a smaller tp or dp" in str(fault)
    (fault,) = refused(CapacityError, *world, {"tp": 8, "pp": 4})
    assert "a smaller tp or pp" in str(fault)
    faults = refused(CapacityError, *world, {"tp": 8, "dp": 3, "ep": 24}, llm="deepseek_v3")
    assert any("divisor of 256 experts" in str(fault) for fault in faults)


def test_ranks_and_stages_need_a_law_that_cuts_the_llm(scenario, topology, catalog):
    fixed = {"law": {"kind": "fixed", "decode": "10 ms"}}
    (fault,) = refused(SpecError, scenario, topology, catalog, {"pp": 2}, deployment=fixed)
    assert fault.key == "deployments.serve.parallel.pp"
    router = {"router": {"policy": "prefix_aware", "index": "exact"}}
    (fault,) = refused(SpecError, scenario, topology, catalog, {"dp": 2}, serving=router)
    assert fault.key == "serving.router.index"


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ({"pp": 2, "dp": 2}, "one of them to be 1"),
        ({"tp": 2, "dp": 2, "ep": 3}, r"a divisor of tp \* dp, which is 4"),
        ({"tp": 4, "pp": 3, "ep": 3}, "a divisor of tp, which is 4"),
        ({"pp": 0}, "greater than or equal to 1"),
    ],
)
def test_widths_that_contradict_each_other_are_refused(widths, said):
    with pytest.raises(ValidationError, match=said):
        ParallelSpec(**widths)
