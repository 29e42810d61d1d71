"""A run's factory is planned again as it was, or the report says why it is not."""

import shutil

import networkx as nx
import pytest

from factorysim.load import load
from factorysim.report.factory_plan import picture_of_run
from factorysim.report.planned_again import NotPlanned, plan_again
from factorysim.report.run_page import run_page
from factorysim.run import open_run, simulate
from tests.acceptance.program import changed, factorysim
from tests.unit.report.hostile import Page

PROFILE = "phase,tokens,context_tokens,step_s\nprefill,1,0,0.4\ndecode,1,0,0.1\n"
OF_OURS = "law: {kind: fixed, prompt: {kind: exponential, mean: 1 s}}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run over a graph and a profile of one's own."""
    place = tmp_path_factory.mktemp("own")
    graph = factorysim("show", "teaching/mm1", "--format", "graphml").out
    (place / "mine.graphml").write_text(graph, encoding="utf-8")
    (place / "mine.yaml").write_text("schema: factorysim.topology/1\ngraph: mine.graphml\n")
    (place / "mine.csv").write_text(PROFILE, encoding="utf-8")
    text = changed("topology: teaching/mm1", "topology: mine.yaml")
    text = changed(OF_OURS, "law: {kind: table, file: mine.csv}", text)
    text = changed("replications: 2", "replications: 1", text)
    (place / "case.yaml").write_text(text, encoding="utf-8")
    simulate(load(str(place / "case.yaml")), out=place / "run", workers=1)
    return place


@pytest.fixture
def run(made, tmp_path):
    """The run as it was left, and its files as they were read."""
    for name in ("mine.graphml", "mine.csv"):
        shutil.copy(made / name, tmp_path / name)
    yield open_run(made / "run")
    for name in ("mine.graphml", "mine.csv"):
        shutil.copy(tmp_path / name, made / name)


def reason(run):
    found = plan_again(run.path, run.manifest)
    assert isinstance(found, NotPlanned)
    return found.reason


def test_the_factory_is_that_of_the_run(run, made):
    found = plan_again(run.path, run.manifest)
    assert set(found.graph) == set(nx.read_graphml(made / "mine.graphml"))
    assert [serve.name for serve in found.plan.serve] == ["queue"]


def test_a_file_that_is_another_is_named(run, made):
    with (made / "mine.csv").open("a") as file:
        file.write("decode,2,0,0.2\n")
    assert reason(run) == "mine.csv is another by now"
    graph = (made / "mine.graphml").read_text(encoding="utf-8")
    (made / "mine.graphml").write_text(graph.replace("gpu/0", "gpu/7"), encoding="utf-8")
    assert reason(run) == "mine.csv and mine.graphml are others by now"


def test_a_graph_that_is_another_is_not_drawn_as_if_it_were_the_runs(run, made):
    graph = nx.read_graphml(made / "mine.graphml")
    assert len(graph) > 3
    text = (made / "mine.graphml").read_text(encoding="utf-8")
    (made / "mine.graphml").write_text(text.replace("gpu/0", "renamed"), encoding="utf-8")
    assert isinstance(picture_of_run(run), NotPlanned)
    page = Page(run_page(run)).text()
    assert "Not drawn." in page
    assert "not planned again: mine.graphml is another by now." in page
    assert "renamed" not in page


def test_a_file_that_has_gone_is_told_with_its_place(run, made):
    (made / "mine.csv").unlink()
    found = plan_again(run.path, run.manifest)
    assert found.reason == "what the scenario names is not there any more"
    assert str(made / "mine.csv") in found.details
    assert found.details in Page(run_page(run)).text("pre")


def test_a_trace_that_has_gone_is_no_part_of_the_factory(tmp_path):
    rows = '{"timestamp": 5, "input_length": 9, "output_length": 2, "hash_ids": [1]}'
    (tmp_path / "rows.jsonl").write_text(rows)
    text = changed("calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}",
                   "trace: rows.jsonl")  # fmt: skip
    text = changed("\n    arrivals: {process: poisson, rate: 0.5 /s}", "", text)
    text = changed("kind: steady_state, window: 200 s, warmup: 20 s",
                   "kind: terminating, window: 20 s", text)  # fmt: skip
    (tmp_path / "case.yaml").write_text(changed("replications: 2", "replications: 1", text))
    run = simulate(load(str(tmp_path / "case.yaml")), out=tmp_path / "run", workers=1)
    for content in ('{"other": 1}', None):
        (tmp_path / "rows.jsonl").unlink()
        if content is not None:
            (tmp_path / "rows.jsonl").write_text(content)
        assert plan_again(run.path, run.manifest).plan.serve[0].name == "queue"


def test_a_file_that_lies_elsewhere_is_the_same_if_its_content_is(run):
    inputs = [one | {"path": f"/elsewhere{one['path']}"} for one in run.manifest["inputs"]]
    assert not isinstance(plan_again(run.path, run.manifest | {"inputs": inputs}), NotPlanned)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"factorysim": "0.0.0"}, "the run is of another version of factorysim"),
        ({"catalog_sha256": "0" * 64}, "the catalog is another by now"),
        ({"inputs": []}, "mine.csv and mine.graphml are others by now"),
    ],
)
def test_another_version_catalog_or_input_is_told(run, change, said):
    run.manifest.update(change)
    assert reason(run) == said
    assert f"not planned again: {said}." in Page(run_page(run)).text()
