"""What the plan makes of tools: deployments, clouds, sandboxes, runtimes; what it refuses."""

from __future__ import annotations

import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.placement import check_deployments
from factorysim.graph.planning import plan_factory
from factorysim.spec.deployment import DeploymentSpec
from factorysim.spec.topology import TopologySpec

RACKS = {"hgx": {"rack": "hgx_h200"}, "vera_cpu": {"rack": "vera_cpu_rack"}}
SERVE = {"llm": "chat", "pool": "hgx", "parallel": {"tp": 8}}


@pytest.fixture(scope="module")
def planned(catalog, scenario):
    """Plan tools beside an LLM, for coding agents."""
    topology = TopologySpec.model_validate({"schema": "factorysim.topology/1", "racks": RACKS})

    def plan(agent="code_analysis", serving=None, **tools):
        deployments = {"serve": SERVE}
        deployments |= {name: {"role": "tools", **spec} for name, spec in tools.items()}
        stream = {
            "llm": "chat",
            "agent": agent,
            "arrivals": {"process": "poisson", "rate": "1/s"},
        }
        spec = scenario(deployments, streams={"s": stream}, serving=serving or {})
        return plan_factory(spec, topology, catalog)

    return plan


def faults(planned, kind=CapacityError, **tools):
    with pytest.raises(kind) as caught:
        planned(**tools)
    return {fault.key: fault for fault in caught.value.faults}


def test_tools_run_on_racks_of_cpus_on_hosts_of_gpus_and_in_a_cloud(planned):
    plan = planned(
        tests={"pool": "vera_cpu", "classes": ["test_run", "build"]},
        web={"pool": "cloud", "classes": ["web_search"], "cloud": {"latency": "20 ms"}},
        rest={"pool": "hgx.cpu"},
    )
    tests, web, rest = plan.tools
    assert (len(tests.hosts), tests.classes) == (256, ("test_run", "build"))
    assert (web.elastic, web.most, web.latency_fs) == (True, None, 20 * 10**12)
    assert (len(rest.hosts), rest.classes, rest.sandbox) == (2, (), None)


def test_a_cloud_draws_nothing(planned):
    (web,) = planned(web={"pool": "cloud"}).tools
    assert [(host.idle_w, host.peak_w) for host in web.hosts] == [(0.0, 0.0)]


def test_a_cloud_is_at_no_node_of_the_factory(planned):
    """Else bytes of its tools were work for whoever is the first node of a graph."""
    (web,) = planned(web={"pool": "cloud"}).tools
    assert all(host.node < 0 for host in web.hosts)


def test_what_no_deployment_runs_is_told(planned):
    plan = planned(tests={"pool": "vera_cpu", "classes": ["test_run"]})
    assert any("no deployment runs" in note and "shell" in note for note in plan.notes)


# Sandboxes and runtimes


def test_a_sandbox_has_the_memory_of_its_start_and_leaves_room_for_the_largest_tool(planned):
    (tools,) = planned(tools={"pool": "vera_cpu", "sandbox": {}}).tools
    box = tools.sandbox
    assert (box.per, box.memory, box.warm, box.idle_fs) == ("session", 185_000_000, 0, None)
    assert box.start.duration.p50 == 0.44
    assert box.burst == 400_000_000  # a browser


def test_a_runtime_says_what_the_deployment_leaves_open(planned):
    sandbox = {"start": "container", "warm_pool": 0}
    plan = planned(tools={"pool": "vera_cpu", "runtime": "nemoclaw", "sandbox": sandbox})
    (tools,) = plan.tools
    box = tools.sandbox
    assert (box.per, box.warm, box.idle_fs) == ("agent", 0, 600 * 10**15)
    assert box.start.duration.p50 == 23.0
    assert tools.check.cpu_s > 0
    assert plan.llm_check is None  # LLM calls pass the runtime of `serving`
    assert "runtimes.nemoclaw.tool_check_cpu_s" in plan.facts


def test_the_runtime_of_serving_is_that_of_all(planned):
    plan = planned(
        serving={"runtime": "nemoclaw"},
        tools={"pool": "vera_cpu"},
        web={"pool": "cloud", "classes": ["web_search"], "runtime": "kubernetes_plain"},
    )
    tools, web = plan.tools
    assert (tools.sandbox.per, web.sandbox.per) == ("agent", "session")
    assert web.check.cpu_s == 0.0
    assert plan.llm_check.latency_fs == 8 * 10**12  # the check and the router
    assert any(fact.startswith("runtimes.kubernetes_plain.") for fact in plan.facts)


def test_without_a_runtime_nothing_is_in_the_way(planned):
    plan = planned(tools={"pool": "vera_cpu"})
    assert plan.llm_check is None
    assert plan.tools[0].check is None
    assert not any(fact.startswith("runtimes.") for fact in plan.facts)


# Refusals


def test_a_class_named_twice_is_refused():
    tools = {
        name: DeploymentSpec(role="tools", pool="cpu", classes=("shell", name)) for name in "ab"
    }
    with pytest.raises(SpecError) as caught:
        check_deployments(tools, [], {})
    assert [fault.key for fault in caught.value.faults] == ["deployments.b.classes"]
    assert '"shell", as of a' in str(caught.value)


def test_of_deployments_that_run_the_rest_there_is_one():
    tools = {name: DeploymentSpec(role="tools", pool="cpu") for name in ("a", "b", "c")}
    with pytest.raises(SpecError) as caught:
        check_deployments(tools, [], {})
    assert [fault.key for fault in caught.value.faults] == [
        "deployments.b.classes",
        "deployments.c.classes",
    ]


def test_memory_that_no_host_has_is_refused_with_the_sums(planned):
    found = faults(planned, tools={"pool": "vera_cpu", "sandbox": {"memory": "2 TB"}})
    fault = found["deployments.tools.sandbox.memory"]
    assert "2,000 GB" in fault.found
    assert "1,500 GB" in fault.expected


def test_a_warm_pool_that_no_host_has_room_for_is_refused(planned):
    sandbox = {"memory": "1 GB", "warm_pool": 5000}
    found = faults(planned, tools={"pool": "vera_cpu", "sandbox": sandbox})
    assert "5,000 x 1 GB" in found["deployments.tools.sandbox.memory"].found


def test_what_is_a_little_too_large_is_told_apart_from_what_there_is(planned):
    box = {"memory": "1499.9 GB", "burst": "400 MB"}
    found = faults(planned, tools={"pool": "vera_cpu", "sandbox": box})
    told = found["deployments.tools.sandbox.memory"]
    assert "1,499.9 GB" in told.found
    assert "1,500 GB" in told.expected


def test_a_burst_smaller_than_a_tool_is_refused(planned):
    found = faults(planned, tools={"pool": "vera_cpu", "sandbox": {"burst": "100 MB"}})
    assert "web_fetch" in found["deployments.tools.sandbox.burst"].found


def test_an_unknown_start_is_refused_with_the_nearest(planned):
    found = faults(planned, SpecError, tools={"pool": "vera_cpu", "sandbox": {"start": "microwm"}})
    assert "microvm" in found["deployments.tools.sandbox.start"].cure


def test_an_unknown_runtime_is_refused_with_the_nearest(planned):
    found = faults(planned, SpecError, tools={"pool": "vera_cpu", "runtime": "nemoclav"})
    assert any("nemoclaw" in fault.cure for fault in found.values())


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"pool": "x", "cloud": {}}, "cloud"),
        ({"pool": "cloud", "replicas": 3}, "replicas"),
        ({"pool": "cloud", "role": "serve", "llm": "m"}, "pool"),
        ({"pool": "x", "classes": ("a", "a")}, "classes"),
        ({"pool": "x", "role": "serve", "llm": "m", "sandbox": {}}, "sandbox"),
        ({"pool": "x", "role": "serve", "llm": "m", "runtime": "nemoclaw"}, "runtime"),
        ({"pool": "x", "sandbox": {"per": "call", "idle_timeout": "1 s"}}, "idle_timeout"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(changes, key):
    with pytest.raises(ValueError, match=key):
        DeploymentSpec.model_validate({"role": "tools", **changes})
