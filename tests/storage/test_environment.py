"""What is recorded of where a comparison was run."""

import platform
import subprocess
import sys

import torch

from lr_search.storage.environment import _of_process, environment, git_commit
from tests.helpers.bowl import compare_in_bowl


def git(folder, *words):
    names = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    done = subprocess.run(["git", "-C", folder, *names, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_environment_names_versions_command_and_device():
    _of_process.cache_clear()  # another test may have had another command
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["Python"] == platform.python_version()
    assert sys.argv[0] in found["command"]
    assert "CPU" in found["device"]
    assert all(isinstance(value, str) for value in found.values())


def test_the_commit_is_the_one_that_is_checked_out_and_says_where_files_were_changed(tmp_path):
    assert git_commit(tmp_path) == ""
    git(tmp_path, "init", "-q")
    assert git_commit(tmp_path) == ""  # no commit yet
    (tmp_path / "train.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "notes.txt").write_text("not part of it")
    assert git_commit(tmp_path) == commit
    (tmp_path / "train.py").write_text("2")
    assert git_commit(tmp_path) == f"{commit} (with uncommitted changes)"


def test_every_study_keeps_where_it_began_and_another_environment_may_go_on_with_it(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/a.db"
    quick = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1}
    first = len(compare_in_bowl(url, budget=2, **quick).trials)
    monkeypatch.setattr("lr_search.studies.opening.environment", lambda: {"torch": "99"})
    more = compare_in_bowl(url, budget=3, **quick)
    assert len(more.trials) == first + 1
    kept = [study.plan["environment"] for study in more.records]
    assert [each["torch"] for each in kept] == [torch.__version__]


def test_a_password_on_the_command_line_is_not_kept(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lr-search", "--storage", "postgresql://me:secret@host/db", "--out", "a@b"])
    _of_process.cache_clear()
    try:
        assert environment()["command"] == "lr-search --storage 'postgresql://me:***@host/db' --out a@b"
    finally:
        _of_process.cache_clear()


def test_torchs_build_is_named_where_the_packages_version_leaves_it_out(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "9.9.9+cu999")
    _of_process.cache_clear()
    try:
        assert environment()["torch"] == "9.9.9+cu999"
        assert list(environment()).index("torch") < list(environment()).index("optuna")
    finally:
        _of_process.cache_clear()
