"""Where the stores of KV tiers stand, what they hold, and how fast they are reached."""

import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.planning import plan_factory
from factorysim.spec.topology import TopologySpec

FP8 = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}
TOKEN = 163_840
"""Bytes of a token of Llama 3.3 70B in FP8 (its record in the catalog)."""


def topology(kind="leaf_spine", **racks):
    return TopologySpec.model_validate(
        {
            "schema": "factorysim.topology/1",
            "racks": {name: {"rack": rack} for name, rack in racks.items()},
            "fabric": {"kind": kind},
        }
    )


@pytest.fixture(scope="module")
def planned(catalog, scenario):
    def plan(tiers, racks, tp=4, replicas=None, **kv):
        deployment = {"llm": "chat", "pool": "gpus", "parallel": {"tp": tp}, "replicas": replicas}
        spec = scenario(
            {"serve": deployment},
            llm="llama_3_3_70b",
            precision=FP8,
            serving={"kv": {"tiers": ["hbm", *tiers], **kv}},
        )
        return plan_factory(spec, racks, catalog)

    return plan


RUBIN = {"gpus": "vera_rubin_nvl72", "stx": "bluefield4_stx"}


def stores(plan, replica=0):
    """What a replica reaches, by tier."""
    (serve,) = plan.serve
    return {plan.stores[index].tier: plan.stores[index] for index in serve.stores[replica].stores}


def way(plan, store, replica=0, lane=0):
    (serve,) = plan.serve
    return plan.routes(store.nodes[0], serve.replicas[replica].devices[lane])


def test_hbm_alone_adds_nothing(planned):
    plan = planned([], topology(**RUBIN), replicas=1)
    assert plan.stores == ()
    assert plan.serve[0].stores == ()


def test_every_tier_has_its_place(planned):
    plan = planned(["host", "nvme", "cmx", "storage"], topology(**RUBIN), replicas=2)
    found = stores(plan)
    block = 16 * TOKEN
    # Two Vera CPUs of 1.5 TB a tray, half of it for KV; four drives of 3.84 TB.
    assert found["host"].blocks == int(2 * 1.5e12 * 0.5 // block)
    assert found["nvme"].blocks == int(4 * 3.84e12 // block)
    assert found["cmx"].blocks == int(1e16 // block)
    assert [store.shared for store in found.values()] == [False, False, True, True]
    assert len(found["host"].nodes) == 2
    assert len(found["cmx"].nodes) == 16
    assert stores(plan, 1)["host"] is not found["host"]  # in another tray
    assert stores(plan, 1)["cmx"] == found["cmx"]
    assert [plan.stores[found[a].below].tier for a in ("host", "nvme", "cmx")] == [
        "nvme", "cmx", "storage",
    ]  # fmt: skip
    assert found["storage"].below == -1
    assert {"rules.kv_host_share", "rules.local_nvme_bytes", "rules.shared_storage_read"} <= set(
        plan.facts
    )


def test_bytes_take_the_links_of_the_graph_and_then_the_stores_own(planned):
    plan = planned(["host", "nvme", "cmx", "storage"], topology(**RUBIN), replicas=1)
    found = stores(plan)
    (serve,) = plan.serve
    device = serve.replicas[0].devices[0]
    # NVLink-C2C of a Vera CPU is 1.8 TB/s both ways, for two GPUs.
    assert way(plan, found["host"]).bandwidth == 1.8e12 / 2 / 2
    to_drive = plan.routes(device, found["nvme"].nodes[0])
    from_drive = way(plan, found["nvme"])
    # Four drives of 12 GB/s reads and 6 GB/s writes on two CPUs.
    assert (from_drive.bandwidth, to_drive.bandwidth) == (2.4e10, 1.2e10)
    assert from_drive.latency_fs > 10**11
    assert plan.links.names[from_drive.links[0]].endswith("reads")
    assert plan.links.names[to_drive.links[-1]].endswith("writes")
    assert way(plan, found["storage"]).bandwidth == 1e11  # one NIC
    assert way(plan, found["cmx"]).bandwidth == 1e11  # one NIC


def test_what_is_said_of_a_store_holds(planned):
    told = {"host": {"capacity": "100 GB", "read": "20 GB/s", "latency": "1 ms"}}
    plan = planned(["host"], topology(gpus="hgx_h200"), tp=2, stores=told)
    (serve,) = plan.serve
    assert len(serve.stores) == 4
    found = {index for reached in serve.stores for index in reached.stores}
    assert len(found) == 1  # one server
    store = plan.stores[0]
    assert store.blocks == int(1e11 // (16 * TOKEN))
    assert way(plan, store).bandwidth == 1e10  # on each of two CPUs
    assert way(plan, store).latency_fs > 10**12
    assert plan.routes(serve.replicas[0].devices[0], store.nodes[0]).bandwidth == 6.3e10  # PCIe


def test_llms_part_a_store_by_their_devices(catalog, scenario):
    deployments = {
        "a": {"llm": "chat", "pool": "gpus", "parallel": {"tp": 4}, "replicas": 1},
        "b": {"llm": "chat", "pool": "gpus", "parallel": {"tp": 2}, "replicas": 2},
    }
    spec = scenario(
        deployments,
        llm="llama_3_3_70b",
        precision=FP8,
        serving={"kv": {"tiers": ["hbm", "host"], "stores": {"host": {"capacity": "800 GB"}}}},
    )
    plan = plan_factory(spec, topology(gpus="hgx_h200"), catalog)
    assert len(plan.stores) == 1  # of one LLM, whatever its layout
    assert plan.stores[0].blocks == int(8e11 // (16 * TOKEN))


@pytest.mark.parametrize(
    ("tiers", "racks", "kv", "told"),
    [
        (["cmx"], {"gpus": "hgx_h200"}, {}, ("no storage rack", "bluefield4_stx")),
        (
            ["host", "nvme"],
            {"gpus": "hgx_h200"},
            {"stores": {"host": {"read": "1 GB/s", "latency": "1 s"}}},
            ("host above nvme", "reads 0.5 GB/s (given: 1 GB/s a server)", "take host out"),
        ),
        (
            ["host"],
            {"gpus": "hgx_h200"},
            {"stores": {"host": {"capacity": "1 MB"}}},
            ("stores.host.capacity", "more room"),
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_cure(planned, tiers, racks, kv, told):
    with pytest.raises((SpecError, CapacityError)) as caught:
        planned(tiers, topology(**racks), tp=2, replicas=1, **kv)
    for words in told:
        assert words in str(caught.value)


def test_a_chip_that_is_its_own_host_has_no_host_tier(catalog, scenario):
    deployment = {"llm": "chat", "pool": "gpus"}
    kv = {"tiers": ["hbm", "host"]}
    spec = scenario({"serve": deployment}, llm="llama_3_1_8b", serving={"kv": kv})
    with pytest.raises(SpecError, match="no host CPU beside gpus/0"):
        plan_factory(spec, topology(gpus="apple_m4_max"), catalog)
