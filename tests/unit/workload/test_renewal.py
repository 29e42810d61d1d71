"""What is left of the gap that covers an instant."""

from math import gamma

import numpy as np
import pytest

from factorysim.rng import stream
from factorysim.workload.renewal import GammaGaps, WeibullGaps


@pytest.mark.parametrize(
    ("gaps", "variance"),
    [
        (GammaGaps(1.0), 1.0),
        (GammaGaps(2.0), 4.0),
        (WeibullGaps(0.8), gamma(1 + 2 / 0.8) / gamma(1 + 1 / 0.8) ** 2 - 1),
    ],
)
def test_what_is_left_is_half_of_the_length_biased_mean(gaps, variance):
    """E = (1 + cv^2) / 2 (Cox, Renewal Theory, 5.2); within four standard errors, below 4 %."""
    generator = stream(11, "left")
    seen = [gaps.residual(generator) for _ in range(50_000)]
    mean, half_width = (1 + variance) / 2, 4 * np.std(seen) / len(seen) ** 0.5
    assert half_width < 0.04 * mean
    assert abs(np.mean(seen) - mean) < half_width
