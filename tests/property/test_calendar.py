"""A calendar gives its events in the order in which the clock would give them."""

from hypothesis import given
from hypothesis import strategies as st

from factorysim.sim.calendar import PAGE_BITS, Calendar
from factorysim.sim.clock import ARRIVAL, COMPLETION, Clock

PAGE = 1 << PAGE_BITS
DELAYS = st.sampled_from([0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
CHAINS = st.lists(
    st.lists(st.tuples(DELAYS, st.sampled_from([COMPLETION, ARRIVAL])), max_size=5), max_size=6
)


def lived(chains, *, by_calendar):
    """Events that each put down the next of their chain, as (instant, chain, place)."""
    clock = Clock()
    calendar = Calendar(clock)
    put_down = calendar.at if by_calendar else clock.at
    seen = []

    def go_on(at):
        chain, place = at
        seen.append((clock.now_fs, chain, place))
        if place < len(chains[chain]):
            delay, priority = chains[chain][place]
            put_down(clock.now_fs + delay, priority, go_on, (chain, place + 1))

    for chain in range(len(chains)):
        put_down(chain % 2 * PAGE, ARRIVAL, go_on, (chain, 0))
    clock.run_until(10 * PAGE)
    return seen


@given(CHAINS)
def test_ties_and_pages_change_no_order(chains):
    assert lived(chains, by_calendar=True) == lived(chains, by_calendar=False)


def test_what_is_beyond_the_horizon_is_pending():
    clock = Clock()
    calendar = Calendar(clock)
    calendar.at(5 * PAGE, ARRIVAL, print, "late")
    clock.run_until(4 * PAGE)
    assert list(calendar.pending()) == [(print, "late")]
    assert len(list(clock.pending())) == 1  # the page's opening
    clock.run_until(6 * PAGE)
    assert list(calendar.pending()) == []
