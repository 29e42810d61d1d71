"""The factory of a run: what its directory tells of it, and what is said where it is too little."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from factorysim.catalog import load_catalog
from factorysim.load import load
from factorysim.report.factory_loads import step_of, uses_in
from factorysim.report.factory_plan import _steps, layout_of_plan, picture_of_run, uses_of
from factorysim.resources import resource_names
from factorysim.run import open_run, simulate
from factorysim.run.prepare import build_plan
from tests.unit.run.builders import mm1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mm1"
    simulate(mm1(), out=folder, workers=1)
    return folder


def test_a_run_directory_is_enough_for_the_picture_of_its_factory(folder):
    run = open_run(folder)
    picture = picture_of_run(run)
    (use,) = (use for use in uses_in(picture.layout.contents, picture.loads) if use.deployment)
    assert use.number == 1
    assert use.load == pytest.approx(run.summary[f"utilization.{use.pool}"].value)
    assert picture.narrow.contents == picture.layout.contents


def test_a_run_tells_how_busy_each_replica_was(tmp_path):
    """Two servers with one queue: the first is asked first, and the busier for it."""
    run = simulate(mm1(servers=2, rate="0.9 /s"), out=tmp_path / "two", workers=1)
    steps, window = run.steps, run.manifest["window"]
    start, end = window["start_s"], window["end_s"]
    inside = steps["finished_s"].clip(upper=end) - steps["started_s"].clip(lower=start)
    busy = inside.clip(lower=0.0).groupby(steps["replica"]).sum()
    shares = (busy / (end - start) / len(run.manifest["replications"])).tolist()
    contents = picture_of_run(run).layout.contents
    drawn = {
        name: part.step
        for pool in contents.pools
        for rack in pool.racks
        for name in rack.names
        for tray in rack.trays
        for part in tray
        if part.use
    }
    assert drawn == {f"gpu/{k}": step_of(share) for k, share in enumerate(shares)}
    assert len(set(drawn.values())) == 2, "else the test could not fail"


def split_plan():
    """Two replicas of two chips, each with its experts on one more; a cloud and a tool host."""
    replicas = [
        SimpleNamespace(devices=(0, 1), partners=(4,)),
        SimpleNamespace(devices=(2, 3), partners=(5,)),
    ]
    own = SimpleNamespace(name="own", elastic=False, hosts=[SimpleNamespace(node=6)])
    cloud = SimpleNamespace(name="cloud", elastic=True, hosts=[SimpleNamespace(node=7)])
    serve = [SimpleNamespace(name="split", replicas=replicas)]
    return SimpleNamespace(serve=serve, tools=[own, cloud])


def test_both_sides_of_a_split_are_its_deployments():
    assert uses_of(split_plan(), "abcdefgh") == dict.fromkeys("abcdef", "split") | {"g": "own"}


def test_both_sides_of_a_split_are_as_busy_as_their_replica():
    busy = {"split/0": 0.11, "split/1": 0.93}
    assert _steps(split_plan(), "abcdefgh", busy) == dict.fromkeys("abe", 1) | dict.fromkeys(
        "cdf", 9
    )
    assert _steps(split_plan(), "abcdefgh", {"split/1": None, "split/0": 0.0}) == dict.fromkeys(
        "abe", 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", resource_names("scenarios"))
def test_every_shipped_scenario_is_drawn_with_all_that_it_deploys(name):
    scenario = load(name)
    catalog = load_catalog(Path(scenario.catalog) if scenario.catalog else None)
    plan = build_plan(scenario, catalog)
    drawn = {}
    for use in uses_in(layout_of_plan(plan, scenario.topology, catalog).contents):
        drawn[use.deployment] = drawn.get(use.deployment, 0) + use.number
    planned = {
        serve.name: len(serve.replicas)
        * (serve.devices_per_replica + (serve.partner.devices_per_replica if serve.partner else 0))
        for serve in plan.serve
    }
    planned |= {tools.name: len(tools.hosts) for tools in plan.tools if not tools.elastic}
    drawn.pop("", None)
    assert drawn == planned
