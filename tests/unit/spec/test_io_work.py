"""Who does I/O work, as a user writes it."""

import pytest
from pydantic import ValidationError

from factorysim.load.dump import dump_spec
from factorysim.spec.io_work import IO_KINDS, IoWorkSpec
from factorysim.spec.serving import ServingSpec


def test_nothing_is_anybodys_work_unless_it_is_said():
    spec = IoWorkSpec()
    assert not spec.busy
    assert {spec.where(kind) for kind in IO_KINDS} == {"none"}
    assert "io_work" not in dump_spec(ServingSpec())


def test_each_kind_has_a_place_of_its_own():
    spec = IoWorkSpec(tls="dpu", packets="host")
    assert spec.busy
    assert [spec.where(kind) for kind in IO_KINDS] == ["dpu", "host", "none"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls": "card"}, "none"),
        ({"crypto": "dpu"}, "crypto"),
        ({"tool_bytes": "20 MB"}, "storage is none"),
        ({"storage": "dpu", "tool_bytes": 20}, "a size"),
    ],
)
def test_what_makes_no_sense_is_refused(given, told):
    with pytest.raises(ValidationError, match=told):
        IoWorkSpec.model_validate(given)
