"""The shipped efficiencies are what one command makes of the shipped measurements."""

import pytest

from factorysim.catalog.shipped import FOLDER
from factorysim.study.calibrate import calibrate, overlay_text

pytestmark = pytest.mark.slow


def test_the_shipped_fit_is_made_by_one_command():
    """`factorysim calibrate --out fitted.yaml`, to the digit: four minutes."""
    assert overlay_text(calibrate()) == (FOLDER / "fitted.yaml").read_text(encoding="utf-8")
