from pathlib import Path

import pytest
from ruamel.yaml import YAML

from factorysim.catalog import load_catalog
from factorysim.graph.build import build_graph
from factorysim.spec.scenario import ScenarioSpec
from factorysim.spec.topology import TopologySpec

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


@pytest.fixture(scope="session")
def catalog():
    return load_catalog()


@pytest.fixture(scope="session")
def shipped():
    """Read a shipped topology by its name."""

    def read(name):
        text = (TOPOLOGIES / f"{name}.yaml").read_text(encoding="utf-8")
        return TopologySpec.model_validate(YAML(typ="safe").load(text))

    return read


@pytest.fixture(scope="session")
def topology():
    """Build a topology spec from racks and the fields of its fabric."""

    def make(racks, variant=None, graph=None, **fabric):
        data = {"schema": "factorysim.topology/1", "racks": racks, "fabric": fabric}
        return TopologySpec.model_validate(data | {"variant": variant, "graph": graph})

    return make


@pytest.fixture(scope="session")
def scenario():
    """Build a scenario spec around its deployments."""

    def make(deployments, *, llm="llama_3_1_8b", precision=None, **fields):
        use = {"llm": llm} | ({"precision": precision} if precision else {})
        data = {
            "schema": "factorysim.scenario/1",
            "question": "Does it fit?",
            "topology": "none",
            "llms": {"chat": use},
            "deployments": deployments,
            "streams": {"all": {"llm": "chat", "trace": "mine.jsonl"}},
        }
        return ScenarioSpec.model_validate(data | fields)

    return make


@pytest.fixture(scope="session")
def pod(catalog, shipped):
    return build_graph(shipped("closed/vera-rubin-pod"), catalog)


@pytest.fixture(scope="session")
def nvl72(catalog, shipped):
    return build_graph(shipped("closed/vera-rubin-nvl72"), catalog)
