"""Sessions made of rows that stand apart in a file, on a clock that begins with the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.gather import by_session
from factorysim.workload.lines import BadRow
from factorysim.workload.readers.fields import note, present
from factorysim.workload.weave import BadSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from factorysim.workload.gather import Numbered, Place
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json, Row
    from factorysim.workload.session import Session


def assemble(
    lines: Iterator[tuple[int, str]],
    log: FaultLog,
    place: Callable[[Row], Place],
    build: Callable[[list[Numbered]], Session | None],
    parse: Callable[[str], dict[str, Json]] = present,
) -> Iterator[Session]:
    """Yield a session of all rows that belong together, in order of their begins.

    Parameters
    ----------
    place
        Tells where a row belongs, and finds whatever is wrong with it alone.
    build
        Makes the session; its `at_ns` is the recorded begin on any clock, which is
        0 for the first session yielded. None: there is nothing in it to simulate.
    """
    zero_ns: int | None = None
    for rows in by_session(lines, log, place, parse):
        try:
            session = build(rows)
        except (BadRow, BadSession) as bad:
            note(log, rows[0][0], bad)
            continue
        if session is None:
            continue
        zero_ns = session.at_ns if zero_ns is None else zero_ns
        session.at_ns = max(0, session.at_ns - zero_ns)
        yield session
