"""What metrics are told of a factory's stations."""

import factorysim as fs
from factorysim.run.prepare import prepare


def test_tool_hosts_are_as_many_cores_as_their_busy_cores_are_counted_in():
    """A Vera core does twice a reference core's work with its threads, and is one core."""
    stations = prepare(fs.load("quickstart")).layout.stations
    (tools,) = (station for station in stations if station.kind == "tools")
    assert tools.capacity == 36 * 88
