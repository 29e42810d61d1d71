"""What the plan refuses of deployments that prefill or decode, and what it gives them."""

from __future__ import annotations

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError, SpecError
from factorysim.graph.placement import check_deployments
from factorysim.graph.planning import plan_factory
from factorysim.spec.deployment import DeploymentSpec
from factorysim.spec.scenario import ScenarioSpec


def roles(**named):
    return {name: DeploymentSpec(role=role, pool="hgx", llm="m") for name, role in named.items()}


def long(**named):
    return {
        name: spec.model_copy(update={"prompts_above": 9000})
        for name, spec in roles(**named).items()
    }


@pytest.mark.parametrize(
    ("deployments", "keys"),
    [
        (roles(a="prefill"), ["deployments.a.role"]),
        (roles(a="decode", b="decode"), ["deployments.a.role"]),
        (roles(a="prefill", b="decode", c="serve"), ["deployments.c.role"]),
        (roles(a="prefill", b="decode"), []),
        (roles(a="serve") | long(b="prefill", c="decode"), []),
        (roles(a="serve") | long(b="prefill"), ["deployments.b.role"]),
        (
            roles(a="prefill", b="decode") | long(c="serve", d="decode"),
            ["deployments.d.role", "deployments.c.role"],
        ),
        (long(a="prefill", b="decode"), ["deployments.a.prompts_above"]),
    ],
)
def test_prefill_and_decode_go_together(deployments, keys):
    if not keys:
        check_deployments(deployments, ["m"], {"s.llm": "m"}, disaggregated=True)
        return
    with pytest.raises(SpecError) as caught:
        check_deployments(deployments, ["m"], {"s": "m"})
    assert [fault.key for fault in caught.value.faults] == keys
    assert all(fault.cure for fault in caught.value.faults)


def test_settings_of_what_is_not_there_are_refused():
    with pytest.raises(SpecError, match=r"serving\.disaggregation"):
        check_deployments(roles(a="serve"), ["m"], {"s": "m"}, disaggregated=True)


def scenario(fabric):
    chat = {"llm": "chat", "parallel": {"tp": 2}, "replicas": 4}
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {
                    "old": {"rack": "hgx_h100", "count": 1},
                    "new": {"rack": "hgx_h200", "count": 1},
                },
                "fabric": {"kind": fabric},
            },
            "llms": {"chat": {"llm": "llama_3_1_8b"}},
            "deployments": {
                "first": {**chat, "role": "prefill", "pool": "old"},
                "then": {**chat, "role": "decode", "pool": "new"},
            },
            "streams": {
                "all": {
                    "llm": "chat",
                    "calls": {"prompt_tokens": {"mean": 9}, "output_tokens": {"mean": 9}},
                    "arrivals": {"process": "poisson", "rate": "1/s"},
                }
            },
        }
    )


def test_each_side_has_its_own_device_and_kv_moves_to_decode():
    spec = scenario("leaf_spine")
    first, then = plan_factory(spec, spec.topology, load_catalog()).serve
    assert (first.device.id, then.device.id) == ("h100_sxm", "h200_sxm")
    assert first.kv_state is None
    assert then.kv_state is not None
    assert then.kv_state.token_bytes == 2 * 32 * 4 * 128 * 2


def test_pools_that_no_link_joins_are_refused():
    spec = scenario("none")
    with pytest.raises(CapacityError, match="no link that joins them"):
        plan_factory(spec, spec.topology, load_catalog())
