import pytest

from factorysim.errors import SpecError
from factorysim.load import dump_scenario, get_path, load, load_scenario, load_site, load_topology
from factorysim.load import override as override_spec
from factorysim.resources import resource_names
from factorysim.spec.topology import TopologySpec

BASE = """\
schema: factorysim.scenario/1
question: Does it load?
topology: teaching/one-gpu
llms: {small: {llm: llama_3_1_8b}}
deployments:
  serve: {llm: small, pool: gpu}
streams:
  desk: {llm: small, agent: chat, arrivals: {process: poisson, rate: 2/s}}
"""


@pytest.fixture
def write(tmp_path):
    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return written


def pool():
    return next(iter(load_topology("teaching/one-gpu").racks))


@pytest.fixture
def base(write):
    return write("base.yaml", BASE.replace("pool: gpu", f"pool: {pool()}"))


def faults(path, overrides=()):
    with pytest.raises(SpecError) as caught:
        load(path, overrides)
    return caught.value.faults


def test_a_scenario_is_resolved(base):
    loaded = load_scenario(base)
    assert isinstance(loaded.scenario.topology, TopologySpec)
    assert loaded.scenario.site.pue == pytest.approx(1.1)
    assert [file.kind for file in loaded.files] == ["scenario", "topology"]
    assert all(len(file.sha256) == 64 for file in loaded.files)


@pytest.mark.parametrize("name", resource_names("scenarios"))
def test_shipped_scenarios_reload_to_themselves(name, tmp_path):
    spec = load(name)
    path = tmp_path / "scenario.resolved.yaml"
    path.write_text(dump_scenario(spec))
    assert load(path) == spec


@pytest.mark.parametrize("name", resource_names("topologies"))
def test_shipped_topologies_load(name):
    assert load_topology(name).question


def test_extends_merges_maps_replaces_and_deletes(base, write):
    child = """\
schema: factorysim.scenario/1
extends: base.yaml
topology: {fabric: {oversubscription: 2.0}}
serving: {router: {policy: sticky}}
streams:
  desk: null
  night: {llm: small, agent: chat, arrivals: {process: poisson, rate: 1/s}}
"""
    spec = load(write("child.yaml", child))
    assert list(spec.streams) == ["night"]
    assert spec.serving.router.policy == "sticky"
    assert spec.question == "Does it load?"
    assert spec.topology.fabric.oversubscription == 2.0
    assert spec.topology.racks == load_topology("teaching/one-gpu").racks


def test_a_fault_in_a_base_file_tells_that_file(base, write):
    base.write_text(base.read_text() + "run: {windw: 3 s}\n")
    child = write("child.yaml", "schema: factorysim.scenario/1\nextends: base.yaml\n")
    (fault,) = faults(child)
    assert fault.where.endswith("base.yaml:9")
    assert fault.key == "run.windw"


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a", "b", "c")])
def test_cycles_of_extends_are_refused(write, names):
    for name, base in zip(names, (*names[1:], names[0]), strict=True):
        path = write(f"{name}.yaml", f"schema: factorysim.scenario/1\nextends: {base}.yaml\n")
    assert "cycle" in faults(path)[0].found


def test_long_chains_are_refused(write):
    for k in range(20):
        write(f"s{k}.yaml", f"schema: factorysim.scenario/1\nextends: s{k + 1}.yaml\n")
    assert (
        "over 8 files"
        in faults(write("s.yaml", "schema: factorysim.scenario/1\nextends: s0.yaml"))[0].found
    )


@pytest.mark.parametrize(
    ("old", "new", "key", "cure"),
    [
        ("llama_3_1_8b", "llama_3_1_8", "llms.small.llm", "llama_3_1_8b"),
        ("teaching/one-gpu", "teaching/one-gpo", "topology", "teaching/one-gpu"),
        ("agent: chat", "agent: chatt", "streams.desk.agent", "chat"),
        ("{llm: small, agent", "{llm: smal, agent", "streams.desk.llm", "small"),
        ("serve: {llm: small", "serve: {llm: smal", "deployments.serve.llm", "small"),
        ("factorysim.scenario/1", "factorysim.scenario/2", "schema", "version 1"),
        ("factorysim.scenario/1", "factorysim.scenari/1", "schema", "scenario/1"),
        ("factorysim.scenario/1", "factorysim.topology/1", "schema", "topology file"),
    ],
)
def test_unknown_names_suggest_known_ones(base, old, new, key, cure):
    base.write_text(base.read_text().replace(old, new, 1))
    told = {fault.key: fault for fault in faults(base)}
    assert cure in told[key].cure


def test_unknown_pools_and_unserved_llms_are_refused(base):
    text = base.read_text().replace(f"pool: {pool()}", "pool: gpx")
    base.write_text(
        text.replace("llms: {", "llms: {idle: {llm: llama_3_1_8b}, ").replace(
            "desk: {llm: small", "desk: {llm: idle"
        )
    )
    told = {fault.key: fault.expected for fault in faults(base)}
    assert "a pool of the topology" in told["deployments.serve.pool"]
    assert "a deployment serves" in told["streams.desk.llm"]


def test_faults_of_names_and_of_types_come_together(base):
    base.write_text(base.read_text().replace("llama_3_1_8b", "nope") + "run: {seed: x}\n")
    assert [fault.key for fault in faults(base)] == ["llms.small.llm", "run.seed"]


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("run.window=5 min", "run.window", 300.0),
        ("streams.desk.arrivals.rate=3/s", "streams.desk.arrivals.rate", 3.0),
        ("topology.fabric.oversubscription=3.0", "topology.fabric.oversubscription", 3.0),
        ("streams.desk.slo={ttft: 1 s}", "streams.desk.slo.ttft", 1.0),
        ("site=eu_west", "site.currency", "EUR"),
        ("site.pue=1.5", "site.pue", 1.5),
    ],
)
def test_overrides_set_dotted_paths(base, override, path, value):
    assert get_path(load(base, [override]), path) == value


def test_a_new_name_is_added_whole(base):
    spec = load(
        base, ["streams.b={llm: small, agent: chat, arrivals: {process: poisson, rate: 1/s}}"]
    )
    assert list(spec.streams) == ["desk", "b"]
    assert list(load(base, ["run=null"]).streams) == ["desk"]


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("runs.window=5 min", '"run"'),
        ("run.windw=5 min", '"window"'),
        ("streams.dsk.llm=x", '"desk"'),
        ("streams.desk.arrivals.rat=1/s", '"rate"'),
        ("streams.desk.llm.x=1", ""),
        ("run.window", "--set run.window"),
        ("=3", "--set run.window"),
    ],
)
def test_overrides_of_unknown_paths_are_told(base, override, cure):
    (fault,) = faults(base, [override])
    assert fault.where == "--set"
    assert cure in fault.cure


def test_a_spec_is_overridden_without_its_file(base):
    spec = load(base)
    changed = override_spec(spec, {"streams.desk.arrivals.rate": "4/s", "run.seed": 9})
    assert changed.streams["desk"].arrivals.rate == 4.0
    assert changed.run.seed == 9
    assert override_spec(changed, {"streams.desk.arrivals.rate": "2/s", "run.seed": 1}) == spec


TRACED = "agent: chat, arrivals: {process: poisson, rate: 2/s}"


@pytest.mark.parametrize("trace", ["../t.jsonl", "/etc/hostname", "link.jsonl", "/dev/zero", "."])
def test_files_outside_the_folder_are_refused(base, write, trace):
    write("../t.jsonl", "{}")
    (base.parent / "link.jsonl").symlink_to(base.parent.parent / "t.jsonl")
    base.write_text(base.read_text().replace(TRACED, f"trace: {trace}"))
    (fault,) = faults(base)
    assert fault.key == "streams.desk.trace"


def test_files_named_on_the_command_line_may_lie_anywhere(base, write):
    base.write_text(base.read_text().replace(TRACED, "trace: t.jsonl"))
    elsewhere = write("../elsewhere.jsonl", "{}").resolve()
    assert "does not exist" in faults(base)[0].found
    spec = load(base, [f"streams.desk.trace={elsewhere}"])
    assert spec.streams["desk"].trace == str(elsewhere)


def test_a_site_may_be_a_file(base, write):
    write("site.yaml", "schema: factorysim.site/1\nextends: us_texas\npue: 1.3\n")
    assert load(base, [f"site={base.parent / 'site.yaml'}"]).site.pue == 1.3
    assert load_site("eu_west").currency == "EUR"
    with pytest.raises(SpecError, match="us_texas"):
        load_site("us_texsa")
