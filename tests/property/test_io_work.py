"""What always holds of I/O work: it is conserved, both clocks agree, more cores slow nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.graph.plan import IoPlan
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.io_cores import IoCores, Load
from factorysim.spec.io_work import IoWorkSpec
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from tests.unit.sim.builders import Listed, run, scenario
from tests.unit.sim.io_builders import factory

if TYPE_CHECKING:
    from factorysim.workload.session import Node
    from tests.unit.sim.builders import Ran

FS = 10**15
CLOSE_FS = 1000
"""A part in 10**12 of a second: work is a float, rounded to a femtosecond."""

places = st.sampled_from(["none", "host", "dpu"])


@st.composite
def io_works(draw: st.DrawFn) -> dict[str, str]:
    """Who does what; tools' bytes only where they are somebody's work."""
    told = {kind: draw(places) for kind in ("tls", "packets", "storage")}
    if told["storage"] != "none":
        told["tool_bytes"] = draw(st.sampled_from(["0 B", "30 MB", "700 MB"]))
    return told


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[int, list[tuple[str, int, int]]]]:
    """Sessions that begin at ties of ten milliseconds, each a chain of a few steps."""
    step = st.tuples(
        st.sampled_from(["llm", "llm", "tool", "gap"]), st.integers(1, 40), st.integers(1, 30)
    )
    one = st.tuples(st.integers(0, 8), st.lists(step, min_size=1, max_size=4))
    return draw(st.lists(one, min_size=1, max_size=6))


def sessions(story: list[tuple[int, list[tuple[str, int, int]]]]) -> list[Session]:
    """Make sessions, which a run uses up."""
    made = []
    for number, (at, steps) in enumerate(sorted(story, key=lambda one: one[0])):
        nodes: list[Node] = []
        for place, (kind, a, b) in enumerate(steps):
            after = (place - 1,) if place else ()
            if kind == "llm":
                nodes.append(LlmNode(a, b, after=after))
            elif kind == "tool":
                nodes.append(ToolNode("x", cpu_s=a / 100, cores=b / 10, after=after))
            else:
                nodes.append(GapNode(a * 10_000_000, after=after))
        made.append(Session(f"s{number}", at * 10_000_000, nodes))
    return made


def simulate(story: Any, io_work: dict[str, str] | None, clock: str, **fields: Any) -> Ran:
    """Run a story through a factory with one core a host and one a DPU."""
    horizon_s = fields.pop("horizon_s", 100.0)
    spec = scenario(serving={"io_work": io_work}, run={"clock": clock})
    made = factory(host_cores=1, dpu_cores=fields.pop("dpu_cores", 1), line=2e8, **fields)
    return run(spec, made, [Listed("s", sessions(story))], horizon_s=horizon_s)


@settings(max_examples=60, deadline=None)
@given(stories(), io_works(), st.sampled_from([0.05, 0.3, 1.0, 100.0]))
def test_both_clocks_agree_bit_for_bit_and_every_law_holds(story, io_work, horizon_s):
    ran = [
        simulate(story, io_work, clock, horizon_s=horizon_s) for clock in ("run_length", "stepwise")
    ]
    assert (ran[0].calls, ran[0].tools) == (ran[1].calls, ran[1].tools)
    assert ran[0].sessions == ran[1].sessions
    assert ran[0].closing.stations == ran[1].closing.stations
    assert not ran[0].broken()
    assert not ran[1].broken()


@settings(max_examples=30, deadline=None)
@given(stories())
def test_work_that_is_on_nobody_is_as_if_it_were_not_there(story):
    none = dict.fromkeys(("tls", "packets", "storage"), "none")
    ran = [simulate(story, io_work, "run_length") for io_work in (None, none)]
    assert ran[0].calls == ran[1].calls
    assert ran[0].sessions == ran[1].sessions
    assert ran[0].tools == ran[1].tools
    assert ran[0].closing.energy == ran[1].closing.energy


def ends(work: list[tuple[int, int, int]], *, cores: int, line: float, outward: bool) -> list[int]:
    """When each piece of work is done that begins at tenths of a second on one DPU."""
    clock = Clock()
    made = factory(dpu_cores=cores, line=line)
    assert isinstance(made.io, IoPlan)
    spec = IoWorkSpec(tls="dpu", packets="dpu", storage="dpu")
    io = IoCores(clock, made, made.io, spec, lambda rows: None, 1e4, 1)
    done: dict[int, int] = {}

    def begin(number: int) -> None:
        _, size, width = work[number]
        io.work(
            1,
            [Load("packets", size)],
            outward=outward,
            priority=ARRIVAL + number,
            then=lambda n: done.__setitem__(n, clock.now_fs),
            value=number,
            cores=width,
        )

    for number, (at, _, _) in enumerate(work):
        clock.at(at * FS // 10, ARRIVAL + number, begin, number)
    clock.run_until(10**4 * FS)
    assert all(law.ok for law in io.audit())
    return [done[number] for number in range(len(work))]


pieces = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 2000), st.integers(1, 6)), min_size=1, max_size=10
)


@given(pieces, st.integers(1, 6), st.booleans())
def test_a_further_core_or_a_faster_port_slows_nobody(work, cores, outward):
    fewer = ends(work, cores=cores, line=500.0, outward=outward)
    more = ends(work, cores=cores + 1, line=500.0, outward=outward)
    faster = ends(work, cores=cores, line=900.0, outward=outward)
    for now, others in ((more, fewer), (faster, fewer)):
        assert all(a <= b + CLOSE_FS for a, b in zip(now, others, strict=True))


@given(pieces, st.integers(1, 6))
def test_no_work_is_done_before_its_cores_and_its_port_allow(work, cores):
    """A piece needs its own time on as many cores as it can use, and the port for its bytes."""
    done = ends(work, cores=cores, line=500.0, outward=True)
    for (at, size, width), end in zip(work, done, strict=True):
        alone_s = size * 1e-3 / min(width, cores)
        assert end - at * FS // 10 >= max(alone_s, size / 500.0) * FS - CLOSE_FS
    first = min(at for at, _, _ in work) * FS // 10
    total = sum(size for _, size, _ in work)
    assert max(done) - first >= total / 500.0 * FS - CLOSE_FS
    assert max(done) - first >= total * 1e-3 / cores * FS - CLOSE_FS
