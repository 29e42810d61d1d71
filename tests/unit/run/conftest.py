"""What tests of finished runs share."""

import pytest

from factorysim.run import simulate
from tests.unit.run.builders import mm1


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run directory, to be read or copied."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    simulate(mm1(), out=folder, workers=1)
    return folder
