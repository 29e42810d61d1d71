"""Runs that follow each other leave nothing behind but what they return."""

import gc

from factorysim.sim.factory import FactoryWorld
from tests.unit.sim.builders import Listed, calls, plan, run, scenario


def test_a_world_is_freed_when_its_run_ends():
    """A world is a cycle: without a collection of its own it would live on, frozen or not."""
    gc.collect()  # worlds that other tests have left
    gc.disable()
    try:
        run(scenario(), plan(), [Listed("s", calls([7], prompt=10, output=4))])
        assert not [one for one in gc.get_objects() if isinstance(one, FactoryWorld)]
    finally:
        gc.enable()
