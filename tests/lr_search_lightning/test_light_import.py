"""What importing the integration loads, and what it says where Lightning is not installed."""

import subprocess
import sys

import pytest

import lr_search_lightning
from lr_search.errors import MissingPackageError


def test_importing_it_loads_nothing_heavy():
    code = "import sys, lr_search_lightning; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert not {"torch", "lightning", "pytorch_lightning", "numpy", "optuna"} & set(loaded.stdout.split())


@pytest.mark.parametrize("name", lr_search_lightning.__all__)
def test_without_lightning_it_says_what_to_install(name, monkeypatch):
    for package in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for module in [each for each in sys.modules if each.startswith("lr_search_lightning.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(
        MissingPackageError, match=r'lr_search_lightning needs Lightning: pip install "lr-search\[lightning\]"\.'
    ):
        getattr(lr_search_lightning, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'comparee'"):
        lr_search_lightning.comparee  # noqa: B018
