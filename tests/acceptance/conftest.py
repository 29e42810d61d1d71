"""What tests of the program as a user runs it share."""

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the user's, and the user in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
