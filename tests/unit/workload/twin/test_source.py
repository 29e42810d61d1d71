"""Sessions that a fit keeps in memory."""

from pathlib import Path

import pytest

from factorysim.errors import TraceError
from factorysim.workload.session import LlmNode, Session
from factorysim.workload.twin import source
from factorysim.workload.twin.source import held

PATH = Path("t.jsonl")


def sessions(count, *, blocks=0, scope="global"):
    for number in range(count):
        call = LlmNode(blocks + 1, 1, hashes=((0, blocks),) if blocks else (), block_tokens=1)
        yield Session(f"s{number}", number, [call], hash_scope=scope)


def test_what_fits_is_kept_in_order():
    assert [one.sid for one in held(sessions(3), PATH)] == ["s0", "s1", "s2"]


@pytest.mark.parametrize(
    ("blocks", "scope", "most"), [(0, "global", 10), (100, "global", 5), (100, "session", 10)]
)
def test_what_does_not_fit_is_refused_with_a_limit_that_does(monkeypatch, blocks, scope, most):
    """Ids of blocks count where calls may be joined by them: a hundred take 8 kB."""
    monkeypatch.setattr(source, "HELD_BYTES", 10_000 if most == 10 else 45_000)
    assert len(held(sessions(most, blocks=blocks, scope=scope), PATH)) == most
    with pytest.raises(TraceError, match=rf"(?s)found more than {most} .*--limit {most}`"):
        held(sessions(10**6, blocks=blocks, scope=scope), PATH)
