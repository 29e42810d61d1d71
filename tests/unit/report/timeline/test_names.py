"""Nodes have the names that the factory gives them, or their numbers and a reason."""

import json

import numpy as np
import pytest

from factorysim.graph.store_routes import Place, StoreRoutes
from factorysim.report.timeline.names import Names, names_of
from factorysim.run import simulate
from tests.unit.run.builders import mm1


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    simulate(mm1(window="20 s", replications=1), out=folder, workers=1)
    return folder


@pytest.fixture
def manifest(written):
    return json.loads((written / "manifest.json").read_text(encoding="utf-8"))


def test_a_run_names_its_nodes_in_the_order_of_its_graph(written, manifest):
    names = names_of(written, manifest)
    assert names.reason == ""
    assert names.nodes[:3] == ("clients", "door", "site")
    assert "gpu/0/t00/gpu0" in names.nodes


def test_numbers_become_names_where_there_are_some():
    names = Names(("clients", "door"), {"tools": ("cpu/0",)})
    found = names.of(np.array([1, 0, 7, 1, -1]))
    assert [found.words[code] for code in found.codes] == [
        "door", "clients", "node 7", "door", "node -1",
    ]  # fmt: skip
    told = [names.host(*one) for one in (("tools", 0), ("tools", 3), ("cloud", 0), ("tools", -1))]
    assert told == ["host 0: cpu/0", "host 3", "host 0", "no host"]


def test_stores_have_the_numbers_after_the_graphs():
    places = [Place("nvme of a", 0, 2, 3, 1.0, 1.0, 0), Place("storage of b", 1, 4, 5, 1.0, 1.0, 0)]
    assert StoreRoutes(lambda a, b: None, 2, places).names == ("nvme of a", "storage of b")


def test_where_the_factory_is_not_planned_there_are_no_names(written, manifest):
    names = names_of(written, manifest | {"factorysim": "0.0.0"})
    assert "another version" in names.reason
    assert names.nodes == ()
