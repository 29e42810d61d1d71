"""`factorysim catalog`: lists and shows, at any width, as text and as JSON."""

import json

import pytest
from typer.testing import CliRunner

from factorysim.catalog import load_catalog
from factorysim.cli.catalog import app
from factorysim.errors import SpecError

KINDS = ["accelerators", "cpus", "network", "racks", "llms", "sites", "runtimes", "engines"]


def told(*arguments, width=80):
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("kind", KINDS)
def test_lists_show_every_id_and_cut_no_number(kind, width):
    text = told("list", kind, width=width)
    lines = text.splitlines()
    catalog = load_catalog()
    assert all(len(line) <= width for line in lines)
    for name in catalog.ids(kind):
        (row,) = [line for line in lines if line.split() and line.split()[0] == name]
        # Only the name, the last column, may be cut.
        assert row.count("…") <= 1
        assert row.rstrip().endswith("…") or "…" not in row


def test_the_list_marks_what_is_assumed_and_unknown():
    rows = {line.split()[0]: line.split() for line in told("list", "accelerators").splitlines()}
    assert rows["h100_sxm"][1:6] == ["80", "3.35", "989", "1,979", "700"]
    assert rows["groq3_lpu"][3] == "?"
    assert rows["groq3_lpu"][5] == "~340"
    assert rows["a40"][4] == "-"


def test_without_a_kind_the_kinds_are_counted():
    rows = {line.split()[0]: line.split()[1:] for line in told("list").splitlines()}
    assert list(rows)[1:] == KINDS
    assert int(rows["llms"][0]) == len(load_catalog().ids("llms"))


@pytest.mark.parametrize("width", [80, 120])
def test_show_tells_value_band_kind_and_source(width):
    text = told("show", "H100-NVL-94GB", width=width)
    assert text.startswith("NVIDIA H100 NVL 94GB  (accelerators.h100_nvl)")
    (tdp,) = [line.split() for line in text.splitlines() if line.startswith("tdp ")]
    assert tdp[1:4] == ["400", "W", "300..500"]
    assert "h100nvl_specs: H100 NVL specification page" in text
    assert "variant" not in text


def test_show_tells_alternatives_and_their_role():
    text = told("show", "rubin_gpu", width=200)
    assert "memory_bandwidth: also 19.2 TB/s (variant maxlps; source 1)" in text
    assert "tdp: also 2.5 kW (note; source 6)" in text


def test_show_takes_the_path_of_a_fact_or_of_a_section():
    assert "1.5 us" in told("show", "rules")
    assert "0.0672 USD/kWh" in told("show", "sites.us_texas.energy_price")
    assert "35 ratio (up to)" in told("show", "claims.lpx_35x")


def test_json_carries_the_whole_fact():
    shown = json.loads(told("show", "rubin_gpu", "--json"))
    facts = {fact["id"]: fact for fact in shown["facts"]}
    fact = facts["accelerators.rubin_gpu.memory_bandwidth"]
    assert (fact["value"], fact["unit"], fact["kind"]) == (2.2e13, "B/s", "vendor_spec")
    assert fact["alternatives"][0]["variant"] == "maxlps"
    listed = json.loads(told("list", "racks", "--json"))
    assert [rack["id"] for rack in listed] == list(load_catalog().ids("racks"))
    assert set(json.loads(told("list", "--json"))) == set(KINDS)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("H100", "h100_nvl, h100_sxm"),
        ("rubin_gpuu", '"accelerators.rubin_gpu"'),
        ("zzzz", "`factorysim catalog list`"),
    ],
)
def test_unknown_and_ambiguous_names_are_refused_with_a_cure(name, cure):
    with pytest.raises(SpecError) as refused:
        told("show", name)
    assert cure in refused.value.faults[0].cure


def test_an_unknown_kind_is_refused():
    with pytest.raises(SpecError, match='did you mean "racks"'):
        told("list", "rack")


def test_a_file_of_ones_own_is_laid_over_and_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        'schema: factorysim.catalog/1\naccelerators: {mine: {name: "[red]x\\e[2J", tdp: 9 W}}\n',
        encoding="utf-8",
    )
    text = told("show", "mine", "--catalog", str(path))
    assert "[red]x?[2J" in text
    assert "\x1b" not in text
    assert "9 W" in text
