"""Version of the code that makes a result."""

from __future__ import annotations

import subprocess

from tune_scripts.code_version import UNKNOWN, code_version


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", "-C", root, *identity, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    git(root, "add", path)
    git(root, "commit", "-q", "-m", path)
    return git(root, "rev-parse", "HEAD")[:12]


def test_the_version_is_the_last_commit_of_what_a_trial_runs(tmp_path):
    assert code_version(tmp_path) == UNKNOWN
    git(tmp_path, "init", "-q")
    assert code_version(tmp_path) == UNKNOWN
    first = commit(tmp_path, "e2hil_rllib/learning/learner.py", "1")
    for path in (
        "README.md", "tune_scripts/results/touch.csv", "e2hil_rllib/report/page.py",
        "tune_scripts/publish/command.py", "tune_scripts/examine/mask_noise.py",
    ):  # fmt: skip
        commit(tmp_path, path, "1")
    assert code_version(tmp_path) == first
    for path in ("envs/so101.py", "tune_scripts/compare/methods.py", "constraints.txt"):
        assert commit(tmp_path, path, "1") == code_version(tmp_path)


def test_uncommitted_changes_make_the_version_dirty(tmp_path):
    git(tmp_path, "init", "-q")
    version = commit(tmp_path, "e2hil_rllib/learning/learner.py", "1")
    (tmp_path / "notes.txt").write_text("1")
    assert code_version(tmp_path) == version
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "new.py").write_text("1")
    assert code_version(tmp_path) == f"{version}-dirty"
