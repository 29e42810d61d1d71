"""Whose cores do I/O work, on which factory, and what it costs there."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError, SpecError
from factorysim.graph.planning import plan_factory

TOOLS = {"role": "tools", "pool": "gpus.cpu"}
ALL_DPU = {"tls": "dpu", "packets": "dpu", "storage": "dpu"}
ALL_HOST = {"tls": "host", "packets": "host", "storage": "host"}


@pytest.fixture(scope="module")
def planned(catalog, scenario, topology):
    def plan(io_work, rack="vera_rubin_nvl72", tools=None, tp=4, facts=None, **serving):
        deployments = {"serve": {"llm": "chat", "pool": "gpus", "parallel": {"tp": tp}}}
        deployments["serve"]["replicas"] = 1
        if tools is not None:
            deployments["tools"] = TOOLS | tools
        spec = scenario(deployments, serving={"io_work": io_work, **serving})
        racks = topology(
            {"gpus": {"rack": rack}}, kind="leaf_spine", leaf="spectrum6", spine="spectrum6"
        )
        return plan_factory(spec, racks, facts or catalog)

    return plan


def nodes_of(plan):
    return plan.serve[0].replicas[0].devices


def test_a_kind_on_none_costs_nothing_and_leaves_no_facts(planned):
    plain, none = planned(None), planned({"tls": "none"})
    assert plain.io is none.io is None
    assert plain.facts == none.facts
    assert not [fact for fact in plain.facts if ".io" in fact]


def test_the_dpu_of_a_tray_works_for_all_of_it(planned):
    plan = planned(ALL_DPU, tools={"replicas": 2}, kv={"tiers": ["hbm", "nvme"]})
    io = plan.io
    assert len(io.dpus.hosts) == 1
    assert (io.dpus.hosts[0].cores, io.lines) == (64, (1e11,))
    assert io.spare is None  # nobody needs a host
    assert {io.servers[node].dpu for node in nodes_of(plan)} == {0}
    assert {io.servers[host.node].dpu for host in plan.tools[0].hosts} == {0}
    assert plan.notes == ()


def test_storage_on_a_dpu_costs_what_its_vendor_claims(planned):
    cost = planned(ALL_DPU, kv={"tiers": ["hbm", "nvme"]}).io.dpu_costs[0]["storage"]
    assert cost.byte_s * 2e11 == pytest.approx(8)
    assert cost.operation_s * 2e7 == pytest.approx(16)


def test_hosts_work_among_their_tools_and_others_alone(planned):
    """Two of a tray's four GPUs hang on each CPU, of which one runs tools."""
    plan = planned(ALL_HOST, tools={"replicas": 1})
    servers = [plan.io.servers[node].host for node in nodes_of(plan)]
    assert servers == [(0, 0), (0, 0), (1, 0), (1, 0)]
    (spare,) = plan.io.spare.hosts
    assert (spare.cores, spare.threads, spare.speed) == (88, 176, 1.6)
    assert plan.io.dpus is None


def test_what_a_spare_host_draws_idle_is_not_counted_again(planned):
    with_tools = planned(ALL_HOST, tools={"replicas": 1})
    (spare,) = with_tools.io.spare.hosts
    (host,) = with_tools.tools[0].hosts
    assert spare.idle_w == 0.0
    assert spare.peak_w == host.peak_w - host.idle_w


def test_costs_on_a_host_are_cycles_of_the_reference_core(planned):
    costs = planned(ALL_HOST).io.host_costs
    facts = load_catalog().facts
    hz = facts["cpus.reference_core.clock"].value
    assert costs["tls"].byte_s == facts["rules.io_tls_cycles_per_byte"].value / hz
    assert costs["packets"].operation_s == facts["rules.io_packet_cycles"].value / hz
    assert costs["storage"].operation_bytes == facts["rules.io_storage_operation_bytes"].value


def test_assumed_numbers_are_told(planned):
    host, dpu = planned(ALL_HOST), planned(ALL_DPU)
    assert "rules.io_storage_cycles_per_byte" in host.facts
    assert "network.bluefield4.io.tls_cycles_per_byte" not in host.facts
    assert "network.bluefield4.io.tls_cycles_per_byte" in dpu.facts
    assert load_catalog().facts["network.bluefield4.io.tls_cycles_per_byte"].kind == "assumed"


def test_dpus_that_no_rack_has_are_refused(planned):
    with pytest.raises(SpecError) as caught:
        planned({"tls": "dpu", "storage": "dpu"}, rack="hgx_h200")
    keys = [fault.key for fault in caught.value.faults]
    assert keys == ["serving.io_work.tls", "serving.io_work.storage"]
    assert "`host`" in caught.value.faults[0].cure


def test_a_chip_that_is_its_own_host_has_none_for_this(planned):
    with pytest.raises(SpecError, match="no host CPU"):
        planned({"tls": "host"}, rack="apple_m4_max", tp=1)


def test_where_only_some_trays_have_a_dpu_the_others_hosts_do_its_work(catalog, scenario, topology):
    spec = scenario(
        {
            "serve": {"llm": "chat", "pool": "gpus", "parallel": {"tp": 1}, "replicas": 1},
            "tools": {"role": "tools", "pool": "x86"},
        },
        serving={"io_work": {"tls": "dpu"}},
    )
    racks = {"gpus": {"rack": "vera_rubin_nvl72"}, "x86": {"rack": "x86_rack"}}
    plan = plan_factory(
        spec, topology(racks, kind="leaf_spine", leaf="spectrum6", spine="spectrum6"), catalog
    )
    hosts = [plan.io.servers[host.node] for host in plan.tools[0].hosts]
    assert [server.dpu for server in hosts] == [None] * 32
    assert [server.host for server in hosts] == [(0, k) for k in range(32)]
    assert any("no DPU beside x86" in note for note in plan.notes)


def test_a_reader_is_told_of_storage_that_nobody_uses(planned):
    assert any("works on nothing" in note for note in planned({"storage": "dpu"}).notes)
    used = planned({"storage": "dpu"}, kv={"tiers": ["hbm", "nvme"]})
    assert not any("works on nothing" in note for note in used.notes)


def test_a_dpu_of_which_the_catalog_knows_too_little_is_refused(planned, tmp_path):
    """A rack of the user's own, with a card of the user's own."""
    own = tmp_path / "own.yaml"
    own.write_text(
        "schema: factorysim.catalog/1\n"
        "network:\n"
        "  card: {name: Card, kind: dpu, network: {value: 5.0e+10, unit: B/s, kind: assumed}}\n"
        "racks:\n"
        "  box:\n"
        "    kind: server\n"
        "    accelerator: h200_sxm\n"
        "    gpus: {value: 8, unit: count, kind: assumed}\n"
        "    cpu: epyc_9755\n"
        "    cpus: {value: 2, unit: count, kind: assumed}\n"
        "    nic: nic_400g\n"
        "    nics: {value: 8, unit: count, kind: assumed}\n"
        "    nic_bandwidth_per_direction: {value: 5.0e+10, unit: B/s, kind: assumed}\n"
        "    dpu: card\n"
        "    dpus: {value: 1, unit: count, kind: assumed}\n",
        encoding="utf-8",
    )
    with pytest.raises(CapacityError) as caught:
        planned({"tls": "dpu"}, rack="box", facts=load_catalog(own))
    keys = {fault.key for fault in caught.value.faults}
    assert {"network.card.clock", "network.card.cores"} <= keys
