"""Tags of start-time fair queueing, worked out on paper (Goyal et al., SIGCOMM 1996, section 2.1).

A call starts at the later of the virtual time and the end of its tenant's call before, and
ends its tokens over its tenant's weight later. Weights of 2 and 3: a sixth of a token is the unit.
"""

from factorysim.sim.turns import Turns, tenants_of
from factorysim.spec.router import ShareSpec
from tests.unit.sim.builders import scenario


def test_tags_are_tokens_over_weights():
    turns = Turns({"gold": 2, "silver": 3})
    assert [turns.tag("gold", 10) for _ in range(3)] == [0, 30, 60]
    assert [turns.tag("silver", 9) for _ in range(3)] == [0, 18, 36]
    assert [turns.tag("nobody", 1) for _ in range(3)] == [0, 6, 12]  # of weight 1


def test_who_comes_late_starts_where_the_others_are():
    turns = Turns({"gold": 2, "silver": 3})
    turns.tag("gold", 10)
    turns.let_go(turns.tag("gold", 10))
    assert turns.tag("silver", 5) == 30
    assert turns.tag("silver", 5) == 30 + 10
    # Whose earlier calls end later does not.
    assert turns.tag("gold", 1) == 60


def test_streams_of_a_tenant_share_a_turn_if_told_so():
    streams = scenario(streams={"a": {"tenant": "t"}, "b": {"tenant": "t"}, "c": {}}).streams
    by_tenant = tenants_of(ShareSpec(per="tenant"), streams)
    assert by_tenant == {"a": "t", "b": "t", "c": "c"}
    by_stream = tenants_of(ShareSpec(per="stream"), streams)
    assert by_stream == {"a": "a", "b": "b", "c": "c"}
