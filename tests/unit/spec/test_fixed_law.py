"""What a fixed law may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from factorysim.spec.law import FixedLaw


@pytest.mark.parametrize(
    "times",
    [{}, {"decode": "0 s"}, {"prompt": {"kind": "deterministic", "mean": "0 s", "cv": 0.0}}],
)
def test_a_law_without_time_is_refused(times):
    with pytest.raises(ValidationError, match="a time above zero"):
        FixedLaw.model_validate({"kind": "fixed", **times})


@pytest.mark.parametrize(
    "times", [{"decode": "1 ms"}, {"prompt": {"kind": "exponential", "mean": "1 s"}}]
)
def test_either_time_is_enough(times):
    assert FixedLaw.model_validate({"kind": "fixed", **times}).kind == "fixed"
