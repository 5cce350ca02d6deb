"""The command line where its storage is deleted in mid-run: no answer, an exit code, and where what was known is now."""

import re

import pytest

import lr_search as lrs
from tests.helpers.command_line import SMALL, write

pytestmark = pytest.mark.usefixtures("quick_pictures")
STRIKES = """
computed = iter(range(1000))
def deleting(model, batch):
    if next(computed) == 30:
        Path("lr_search.db").unlink()
    return good.loss(model, batch)
struck = replace(good, loss=deleting)
"""


def test_it_is_an_error_and_the_same_command_goes_on_with_what_was_known(cli, folder):
    name = write(folder, f"from pathlib import Path\n{STRIKES}")
    command = ("compare", f"{name}:struck", *SMALL)
    result = cli(*command, code=2)
    assert "was deleted or moved away" in result.stderr
    assert not (folder / "report").exists()
    url = re.search(r"with the storage (\S+) the same command goes on", result.stderr)[1]
    known = lrs.load(url).trials
    assert known["state"].tolist().count("COMPLETE") >= 1
    assert "Report:" in cli(*command, "--storage", url).stdout
    assert len(lrs.load(url).trials) == 2
