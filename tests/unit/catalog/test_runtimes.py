"""Agent runtimes: what they state, and that every guess says that it is one."""

from __future__ import annotations

import pytest

from factorysim.catalog import load_catalog
from factorysim.errors import SpecError


def test_runtimes_are_found_by_their_names():
    catalog = load_catalog()
    assert catalog.ids("runtimes") == ("kubernetes_plain", "nemoclaw")
    assert catalog.find("runtimes", "NVIDIA NemoClaw") == "nemoclaw"


def test_an_unknown_runtime_is_told_with_the_nearest():
    with pytest.raises(SpecError, match="nemoclaw"):
        load_catalog().runtime("nemoclow")


def test_what_nobody_published_is_assumed_with_a_band():
    facts = load_catalog().facts
    mine = {name: fact for name, fact in facts.items() if name.startswith("runtimes.")}
    assert len(mine) > 8
    for name, fact in mine.items():
        assert fact.source or fact.kind == "assumed", name
        if fact.kind == "assumed":
            assert fact.low < fact.value < fact.high, name
            assert fact.note, name


def test_plain_kubernetes_checks_nothing():
    plain = load_catalog().runtime("kubernetes_plain")
    assert plain.tool_check == plain.llm_check == (0.0, 0.0)
    assert plain.warm_pool is None


def test_a_users_catalog_may_change_and_add_runtimes(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema: factorysim.catalog/1\n"
        "runtimes:\n"
        "  nemoclaw:\n"
        "    tool_check_cpu_s: 1 ms\n"
        "  mine: {per: call, start: container, gateway_s: 2 ms}\n"
    )
    catalog = load_catalog(path)
    assert catalog.runtime("nemoclaw").tool_check.cpu_s == 0.001
    assert catalog.runtime("mine").per == "call"
