"""What importing the package loads, and what is said where Transformers is not there."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.trainers


def output(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_nothing_heavy():
    loaded = output("import sys, lr_search_transformers; dir(lr_search_transformers); print(*sys.modules)").split()
    assert "lr_search_transformers" in loaded
    assert not {"torch", "transformers", "accelerate", "optuna", "numpy"} & set(loaded)


@pytest.mark.parametrize("package", ["transformers", "accelerate"])
def test_where_a_package_is_missing_the_remedy_is_said(package):
    code = f"""
import sys
sys.modules.update(transformers=__import__("json"), accelerate=__import__("json"))  # as if both were there
sys.modules[{package!r}] = None
import lr_search_transformers
try:
    lr_search_transformers.compare
except ImportError as error:
    print(error)
"""
    assert f'needs {package.title()}: pip install "lr-search[transformers]"' in output(code)


def test_an_unknown_name_is_an_attribute_error():
    import lr_search_transformers

    with pytest.raises(AttributeError, match="has no attribute 'comparee'"):
        lr_search_transformers.comparee  # noqa: B018
