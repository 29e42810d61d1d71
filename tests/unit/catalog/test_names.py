"""Usual spellings are found, and nothing is guessed."""

import csv
from pathlib import Path

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import SpecError

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "validation" / "published_serving.csv"


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("accelerators", "H100-SXM-80GB", "h100_sxm"),
        ("accelerators", "h100 sxm 80gb", "h100_sxm"),
        ("accelerators", "B200", "b200_sxm"),
        ("accelerators", "GB200", "gb200_gpu"),
        ("accelerators", "M4 Max", "apple_m4_max"),
        ("devices", "EPYC 9965", "epyc_9965"),
        ("devices", "Rubin", "rubin_gpu"),
        ("network", "CX-9", "connectx9"),
        ("racks", "GB200 NVL72", "gb200_nvl72"),
        ("racks", "LPX", "groq3_lpx"),
        ("racks", "M4 Max", "apple_m4_max"),
        ("llms", "Llama-3.1-70B-Instruct-FP8", "llama_3_1_70b"),
        ("llms", "meta-llama/Llama-3.1-8B-Instruct", "llama_3_1_8b"),
        ("llms", "mistralai/Mistral-Small-4-119B-2603", "mistral_small_4"),
        ("llms", "mistralai/Mistral-Large-3-675B-Instruct-2512-NVFP4", "mistral_large_3"),
        ("llms", "codellama/CodeLlama-34b-Instruct-hf", "code_llama_34b"),
        ("llms", "Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_coder_30b_a3b"),
        ("llms", "openai/gpt-oss-120b", "gpt_oss_120b"),
        ("sites", "Texas", "us_texas"),
    ],
)
def test_usual_spellings_are_found(kind, name, found):
    assert load_catalog().find(kind, name) == found


@pytest.mark.parametrize(
    "kind", ["accelerators", "cpus", "network", "racks", "llms", "sites", "engines", "devices"]
)
def test_every_id_and_name_finds_itself(kind):
    catalog = load_catalog()
    for name in catalog.ids(kind):
        assert catalog.find(kind, name) == name
        assert catalog.find(kind, name.upper()) == name
        if kind != "engines":
            assert catalog.find(kind, catalog.record(kind, name)["name"]) == name


def test_published_measurements_name_llms_that_are_found():
    if not PUBLISHED.exists():
        pytest.skip(f"the measurements are not beside the repository: {PUBLISHED}")
    rows = list(csv.DictReader(PUBLISHED.read_text(encoding="utf-8").splitlines()))
    catalog = load_catalog()
    for name in {row["model"] for row in rows}:
        assert catalog.find("llms", name)
    variants = ("CTS (1000W)", "(power-capped MaxQ)")
    for name in {row["hardware"] for row in rows if not row["hardware"].endswith(variants)}:
        assert catalog.find("devices", name)


@pytest.mark.parametrize("name", ["H100", "h200"])
def test_a_name_that_fits_two_is_refused_with_both(name):
    with pytest.raises(SpecError) as refused:
        load_catalog().find("accelerators", name)
    cure = refused.value.faults[0].cure
    assert f"{name.lower()}_sxm" in cure
    assert f"{name.lower()}_nvl" in cure


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(SpecError) as refused:
        load_catalog().find("llms", "lama_3_1_70b")
    assert 'did you mean "llama_3_1_70b"?' in refused.value.faults[0].cure
    assert load_catalog().suggest("accelerators", "H100-SMX-80GB") == "h100_sxm"
    assert load_catalog().suggest("accelerators", "zzzzzzzz") is None


@pytest.mark.parametrize("name", ["Llama-3.1-70B-Base-v9", "H100-SXM-80GB-X", "", "instruct"])
def test_near_misses_are_not_taken(name):
    with pytest.raises(SpecError):
        load_catalog().find("devices" if name.startswith("H") else "llms", name)


SEVERAL = (
    *("H100", "H200", "H200-141GB"),
    *("Llama-70B", "Llama-8B", "gpt-oss", "DeepSeek-V4", "dsv4"),
)
"""Aliases of several records, so that who writes them is asked which."""


def test_no_spelling_is_ambiguous_but_those_that_sellers_left_so():
    catalog = load_catalog()
    for kind in ("devices", "network", "racks", "llms", "sites"):
        for name in catalog.ids(kind):
            for alias in catalog.record(kind, name).get("aliases", ()):
                if alias not in SEVERAL:
                    assert catalog.find(kind, alias) == name
