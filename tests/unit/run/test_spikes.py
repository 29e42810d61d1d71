"""Spikes of a scenario as metrics ask for them."""

from factorysim.metrics.inputs import Spike
from factorysim.run.spikes import spikes_of
from tests.unit.sim.builders import scenario


def of(**streams):
    return spikes_of(
        scenario(
            streams={
                name: {"arrivals": {"process": "poisson", "rate": "1 /s", "spikes": spikes}}
                for name, spikes in streams.items()
            },
            run={"kind": "terminating"},
        )
    )


def spike(at, length, times=10):
    return {"at": f"{at} s", "length": f"{length} s", "times": times}


def test_they_come_in_order_of_time_over_all_streams():
    found = of(a={"late": spike(50, 5), "soon": spike(10, 5)}, b={"between": spike(30, 5)})
    assert found == (
        Spike("a", "soon", 10.0, 15.0),
        Spike("b", "between", 30.0, 35.0),
        Spike("a", "late", 50.0, 55.0),
    )


def test_those_that_overlap_or_touch_are_one_and_streams_are_apart():
    nested = {"long": spike(10, 20), "inside": spike(12, 5), "touching": spike(30, 1)}
    found = of(a=nested, b={"other": spike(15, 5)})
    assert found == (
        Spike("a", "long+inside+touching", 10.0, 31.0),
        Spike("b", "other", 15.0, 20.0),
    )


def test_a_dip_or_a_spike_switched_off_is_none():
    assert of(a={"dip": spike(10, 5, 0.1), "off": spike(20, 5, 1.0)}) == ()


def test_a_dip_within_or_at_the_end_of_a_spike_makes_it_no_longer():
    dips = {"within": spike(12, 8, 0.5), "after": spike(15, 60, 0.5)}
    assert of(a={"long": spike(10, 5)} | dips) == (Spike("a", "long", 10.0, 15.0),)
