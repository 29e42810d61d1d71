"""Ids that came before, against a set of them."""

import numpy as np

from factorysim.workload import marks
from factorysim.workload.marks import Marks


def test_each_is_first_once_however_many_there_are(monkeypatch):
    monkeypatch.setattr(marks, "RECENT", 100)
    monkeypatch.setattr(marks, "FILTER_BITS", 10)  # so that many bits are shared
    numbers = np.random.default_rng(5).integers(-(2**62), 2**62, 3_000).tolist()
    numbers += np.random.default_rng(6).integers(-500, 500, 3_000).tolist()
    seen, kept = set(), Marks()
    for number in numbers:
        assert kept.first(number) == (number not in seen)
        seen.add(number)
    assert len(kept._sorted) > 20
