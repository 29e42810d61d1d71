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


BUCKET = "serving.admission.token_bucket"


@pytest.mark.parametrize(
    ("overrides", "path", "value"),
    [
        (
            ["serving.kv.tiers=[hbm, cmx]", "serving.kv.stores.cmx.read=50 GB/s"],
            "serving.kv.stores.cmx.read",
            5e10,
        ),
        (
            ["serving.kv.stores.host.latency=1 ms", "serving.kv.tiers=[hbm, host]"],
            "serving.kv.stores.host.latency",
            1e-3,
        ),
        (
            [
                f"{BUCKET}={{rate: 5 tok/s, burst: 9}}",
                f"{BUCKET}.limits.desk.rate=2 tok/s",
                f"{BUCKET}.limits.desk.burst=3",
            ],
            f"{BUCKET}.limits.desk.rate",
            2.0,
        ),
        (["topology.racks.more.rack=vera_cpu_rack"], "topology.racks.more.count", 1),
        (["streams.desk.llm_by_step.tool=small"], "streams.desk.llm_by_step.tool", "small"),
        (
            ["serving.router={policy: score}", "serving.router.weights.kv=3"],
            "serving.router.weights.kv",
            3.0,
        ),
        (
            ["serving.kv.tiers=[hbm, host, nvme]", "serving.kv.tiers=[hbm, nvme]"],
            "serving.kv.tiers",
            ("hbm", "nvme"),
        ),
        (
            [
                "serving.kv.tiers=[hbm, host]",
                "serving.kv.stores.host.read=5 GB/s",
                "serving.kv.stores.host=null",
            ],
            "serving.kv.stores",
            {},
        ),
    ],
)
def test_entries_of_maps_are_made_by_name(base, overrides, path, value):
    """As `extends` would: what a chain of `--set` says together must be whole."""
    assert get_path(load(base, overrides), path) == value


def test_entries_are_made_deep_below_entries_that_are_made(base):
    spec = load(
        base,
        [
            "streams.b.llm=small",
            "streams.b.calls.prompt_tokens.mean=10",
            "streams.b.calls.output_tokens={mean: 2}",
            "streams.b.arrivals.process=poisson",
            "streams.b.arrivals.rate=2/s",
            "streams.b.slo.ttft=3 s",
        ],
    )
    assert spec.streams["b"].calls.output_tokens.mean == 2
    assert spec.streams["b"].slo.ttft == 3.0


def test_overrides_lay_over_as_extends_does(base, write):
    """One rule: the same keys in a file that extends the scenario give the same scenario."""
    over = write(
        "over.yaml",
        "schema: factorysim.scenario/1\nextends: base.yaml\n"
        "serving: {kv: {tiers: [hbm, host], stores: {host: {read: 5 GB/s}}}}\n"
        "topology: {racks: {more: {rack: vera_cpu_rack}}}\n",
    )
    laid = load(
        base,
        [
            "serving.kv.tiers=[hbm, host]",
            "serving.kv.stores.host.read=5 GB/s",
            "topology.racks.more.rack=vera_cpu_rack",
        ],
    )
    assert laid == load(over)


@pytest.mark.parametrize(
    ("override", "key", "cure"),
    [
        ("runs.window=5 min", "runs.window", '"run"'),
        ("run.windw=5 min", "run.windw", '"window"'),
        ("streams.dsk.llm=x", "streams.dsk", '"desk"'),
        ("streams.dsk.slo.ttft=1 s", "streams.dsk", '"desk"'),
        ("streams.other.llm=small", "streams.other", "a new entry of streams, beside desk"),
        ("streams.dsk=null", "streams.dsk", '"desk"'),
        ("streams.dsk.limit=null", "streams.dsk.limit", '"desk"'),
        ("serving.kv.stores.cmc.read=5 GB/s", "serving.kv.stores.cmc.read", '"cmx"'),
        ("streams.desk.arrivals.rat=1/s", "streams.desk.arrivals.rat", '"rate"'),
        ("serving.token_bucket.limits.x.rate=1 tok/s", "serving.token_bucket.limits.x.rate",
         "it belongs in `serving.admission`"),
        ("rate=1/s", "rate", "it belongs in `streams.NAME.arrivals`"),
        ("streams.desk.llm.x=1", "streams.desk.llm.x", ""),
        ("serving.kv.tiers.0=hbm", "serving.kv.tiers.0", "a list is replaced whole"),
        ("run.window=", "run.window", "`run.window=null` takes out"),
        ("run.window", "", "--set run.window"),
        ("run..window=1 s", "", "--set run.window"),
        ("=3", "", "--set run.window"),
    ],
)  # fmt: skip
def test_overrides_of_unknown_paths_are_told(base, override, key, cure):
    (fault,) = faults(base, [override])
    assert (fault.where, fault.key) == ("--set", key)
    assert cure in fault.cure


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("run.window=5", "a time"),
        ("run.window=5 GB", "a time"),
        ("run.replications=2.5", "a whole number"),
        ("run.replications='5'", "a whole number"),
        ("serving.kv.tiers=host", "a list of hbm, host"),
        ("serving.kv.stores.cmx.read=5 GB", "a bandwidth"),
        ("streams.desk.arrivals=poisson", "process"),
        ("streams=null", "a map of names"),
    ],
)
def test_overrides_are_of_the_type_of_their_key(base, override, expected):
    fault = faults(base, [override])[0]
    assert expected in fault.expected
    assert fault.where == "--set"


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
