from pathlib import Path

import pytest

from factorysim.graph.build import build_graph
from factorysim.graph.check import check_graph
from factorysim.graph.factory import compile_graph

FOLDER = Path(__file__).parents[3] / "topologies"
NAMES = sorted(str(path.relative_to(FOLDER))[:-5] for path in FOLDER.rglob("*.yaml"))

POOLS = {
    "closed/gb200-nvl72": {"nvl72": 72, "nvl72.cpu": 36},
    "closed/gb300-nvl72": {"nvl72": 72, "nvl72.cpu": 36},
    "closed/vera-rubin-nvl72": {"nvl72": 72, "nvl72.cpu": 36},
    "closed/nvl72-lpx": {"nvl72": 72, "nvl72.cpu": 36, "lpx": 6912, "lpx.cpu": 864},
    "open/cpu-only": {"cpu": 64},
    "open/hgx-a100": {"a100": 32, "a100.cpu": 8},
    "open/hgx-h200": {"hgx": 64, "hgx.cpu": 16, "x86": 32},
    "open/laptop": {"laptop": 1, "laptop.cpu": 1},
    "open/mi355x": {"mi355x": 64, "mi355x.cpu": 16, "x86": 32},
    "teaching/mm1": {"gpu": 1, "gpu.cpu": 1},
    "teaching/one-gpu": {"gpu": 1, "gpu.cpu": 1},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_topology_opens_with_its_question(shipped, name):
    spec = shipped(name)
    assert spec.question.endswith("?")
    assert spec.description
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert lines[1].startswith("question: ")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "closed/vera-rubin-pod"])
def test_a_shipped_topology_is_a_factory(catalog, shipped, name):
    graph = build_graph(shipped(name), catalog)
    check_graph(graph, catalog, name)
    pools = compile_graph(graph).pools
    assert {pool: len(nodes) for pool, nodes in pools.items()} == POOLS[name]


def test_the_pod_is_a_factory(catalog, pod):
    check_graph(pod, catalog, "pod")
    pools = compile_graph(pod).pools
    assert {pool: len(nodes) for pool, nodes in pools.items()} == {
        "nvl72": 1152,
        "nvl72.cpu": 576,
        "lpx": 2560,
        "lpx.cpu": 320,
        "vera_cpu": 512,
        "cmx": 32,
        "cmx.cpu": 64,
    }
