"""Temporary folders of lr_search_ray: nobody else's to read, and swept where their owner is surely dead."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lr_search.storage.ownership import machine
from lr_search_ray.cluster.folders import LONGEST_PLACE, OWNER_FILE, owned_folder, ray_folder, ray_place, sweep

pytestmark = pytest.mark.ray
LEAVES = """
import os, sys
from pathlib import Path
from lr_search_ray.cluster.folders import owned_folder
with owned_folder(Path(sys.argv[1])) as folder:
    (folder / "checkpoint").write_text("large")
    os._exit(9)
"""


def owned_by(folder: Path, **owner: object) -> Path:
    folder.mkdir()
    (folder / OWNER_FILE).write_text(json.dumps({"machine": machine(), "pid": os.getpid(), "born": "0", **owner}))
    return folder


def test_a_folder_is_its_owners_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    with owned_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert sweep(tmp_path) == []
        assert folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_is_swept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVES, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert sweep(tmp_path) == [left]
    assert not left.exists()


def test_what_may_be_anothers_is_left_alone(tmp_path: Path) -> None:
    gone = owned_by(tmp_path / "lr_search-gone")  # this process's number, of another birth
    owned_by(tmp_path / "lr_search-elsewhere", machine="another, since its last boot")
    owned_by(tmp_path / "others-gone")
    (tmp_path / "lr_search-new").mkdir()
    (tmp_path / "lr_search-torn").mkdir()
    (tmp_path / "lr_search-torn" / OWNER_FILE).write_text('{"machine"')
    target = owned_by(tmp_path / "target")
    (tmp_path / "lr_search-link").symlink_to(target)
    assert sweep(tmp_path, tmp_path / "nowhere") == [gone]
    assert len(list(tmp_path.iterdir())) == 6
    assert (target / OWNER_FILE).exists()


def test_rays_own_folder_lies_where_it_is_wanted_unless_that_is_too_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("deep" * 10)))
    with ray_folder() as folder:
        assert folder is None
    monkeypatch.delenv("RAY_TMPDIR")
    if len(str(ray_place())) <= LONGEST_PLACE:
        with ray_folder() as folder:
            assert folder is not None
            assert Path(folder).parent.parent == ray_place()
