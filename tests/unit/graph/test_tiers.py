"""Where the stores of KV tiers stand, what they hold, and how fast they are reached."""

import pytest

from factorysim.errors import CapacityError, SpecError
from factorysim.graph.factory import Path
from factorysim.graph.planning import plan_factory
from factorysim.graph.store_routes import Place, StoreRoutes
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
    assert found["host"].name.startswith("host of ")
    assert found["cmx"].name == "cmx"
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


@pytest.mark.parametrize(("rack", "tp"), [("vera_rubin_nvl72", 4), ("hgx_h200", 8)])
def test_each_device_has_the_cpu_next_to_it(planned, rack, tp):
    plan = planned(["host"], topology(gpus=rack), tp=tp, replicas=1)
    (serve,) = plan.serve
    (near,) = serve.stores[0].near
    nodes = plan.stores[0].nodes
    assert set(near) == set(nodes)
    assert len(nodes) == 2
    for device, node in zip(serve.replicas[0].devices, near, strict=True):
        (other,) = set(nodes) - {node}
        ways = plan.routes(node, device), plan.routes(other, device)
        assert len(ways[0].links) < len(ways[1].links)


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


def test_ways_to_stores_begin_with_their_reads_and_end_with_their_writes():
    """Nodes 0 and 1 are of the graph, 2 hangs on the second, 3 on the first."""
    places = [
        Place("nvme of b", 1, 2, 3, 80.0, 20.0, 7),
        Place("nvme of a", 0, 4, 5, 200.0, 300.0, 9),
    ]
    routes = StoreRoutes(lambda a, b: Path((10 + 2 * a + b,), 5, 100.0), 2, places)
    assert routes(0, 1) == ((11,), 5, 100.0)
    assert routes(0, 2) == ((11, 3), 12, 20.0)
    assert routes(2, 0) == ((2, 12), 12, 80.0)
    assert routes(1, 3) == ((12, 5), 14, 100.0)
    assert routes(2, 3) == ((2, 12, 5), 21, 80.0)
    assert routes(3, 2) == ((4, 11, 3), 21, 20.0)


def test_the_flash_of_racks_is_not_that_of_shared_storage(planned):
    plan = planned(["cmx"], topology(**RUBIN), replicas=1)
    assert "rules.shared_storage_bytes" not in plan.facts


def test_a_store_holds_one_block_at_least(planned):
    told = {"host": {"capacity": f"{16 * TOKEN} B"}}
    plan = planned(["host"], topology(gpus="hgx_h200"), tp=8, replicas=1, stores=told)
    assert plan.stores[0].blocks == 1


def test_llms_part_tiers_by_their_devices_on_a_server_and_in_all(catalog, scenario):
    """On eight GPUs of one server: four of them, and two of one each; tokens are of other sizes."""
    use = {"precision": FP8}
    deployments = {
        "a": {"llm": "large", "pool": "gpus", "parallel": {"tp": 4}, "replicas": 1},
        "b": {"llm": "small", "pool": "gpus", "parallel": {"tp": 1}, "replicas": 2},
    }
    stores = {"host": {"capacity": "600 GB"}, "storage": {"capacity": "6 TB"}}
    spec = scenario(
        deployments,
        llms={
            "large": {"llm": "llama_3_3_70b", **use},
            "small": {"llm": "llama_3_1_8b", **use},
        },
        streams={"all": {"llm": "large", "trace": "mine.jsonl"}},
        serving={"kv": {"tiers": ["hbm", "host", "storage"], "stores": stores}},
    )
    plan = plan_factory(spec, topology(gpus="hgx_h200"), catalog)
    rooms = {(store.tier, store.llm): store for store in plan.stores}
    small = 65_536  # bytes of a token of Llama 3.1 8B: 32 layers, 8 heads of 128, twice
    assert {key: store.blocks for key, store in rooms.items()} == {
        ("host", "large"): int(4e11 // (16 * TOKEN)),
        ("host", "small"): int(2e11 // (16 * small)),
        ("storage", "large"): int(4e12 // (16 * TOKEN)),
        ("storage", "small"): int(2e12 // (16 * small)),
    }
    assert rooms["host", "large"].block_bytes == 16 * TOKEN
    first, last = plan.serve
    assert first.stores[0].lane_bytes == 16 * TOKEN / 4
    assert last.stores[1].lane_bytes == 16 * small
    assert [plan.stores[index].tier for index in last.stores[0].stores] == ["host", "storage"]


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
