"""Keyed streams: the same for the same key, whatever was drawn before."""

from __future__ import annotations

import numpy as np

from factorysim.rng import key_bytes, stream, uniform


def test_keys_tell_names_from_numbers_and_joints_from_parts():
    keys = {
        key_bytes(7, "a", 1),
        key_bytes(7, "a", "1"),
        key_bytes(7, "a1"),
        key_bytes(8, "a", 1),
        key_bytes(7, "a", 1, ""),
    }
    assert len(keys) == 5


def test_a_stream_is_the_same_in_every_process_and_version():
    """Recorded once: a change here changes every result that was ever published."""
    assert stream(7, "arrivals", "code", 0).random() == 0.34503025546633126
    assert uniform(7, "service", 3) == 0.04999916141799027


def test_zero_is_a_seed():
    assert uniform(0, "x") != uniform(1, "x")


def test_uniforms_are_uniform():
    """Kolmogorov-Smirnov: sup |F - x| stays below 1.63 / sqrt(n) at the 1 % level."""
    n = 20_000
    drawn = np.sort([uniform(3, "service", i) for i in range(n)])
    distance = np.max(np.abs(drawn - (np.arange(n) + 0.5) / n))
    assert distance < 1.63 / n**0.5
    assert drawn[0] > 0.0
    assert drawn[-1] < 1.0
