"""What the tests of the integration share."""

import os

import pytest


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch):
    """The current folder; afterwards it is still empty."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert os.listdir(tmp_path) == []
