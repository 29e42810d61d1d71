"""What the plan refuses of tools."""

from __future__ import annotations

import pytest

from factorysim.errors import SpecError
from factorysim.graph.placement import check_deployments
from factorysim.spec.deployment import DeploymentSpec


def test_a_second_deployment_of_tools_is_refused_by_name():
    tools = {name: DeploymentSpec(role="tools", pool="cpu") for name in ("a", "b", "c")}
    with pytest.raises(SpecError) as caught:
        check_deployments(tools, [], {})
    assert [fault.key for fault in caught.value.faults] == [
        "deployments.b.role",
        "deployments.c.role",
    ]
