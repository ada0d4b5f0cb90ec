"""The npm packages of the page."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from chatproject import npm
from chatproject.config import BASE_DIR


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that wants one package."""
    lock = {"packages": {"": {"name": "page"}, "node_modules/morphdom": {"version": "2.7.8"}}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    return tmp_path


def install(project: Path, version: str) -> None:
    folder = project / "node_modules" / "morphdom"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"version": version}))


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Let the machine have these programs and no others."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_the_packages_of_this_checkout_are_complete() -> None:
    assert npm.missing_packages() == []


def test_every_folder_that_is_served_is_there() -> None:
    assert [folder for _, folder in npm.static_folders() if not folder.is_dir()] == []


def test_only_packages_that_the_page_wants_are_served() -> None:
    wanted = json.loads((BASE_DIR / "package.json").read_text())["dependencies"]
    assert all(any(folder.startswith(f"{name}/") for name in wanted) for _, folder in npm.SERVED)


def test_an_absent_package_is_missing(project: Path) -> None:
    assert npm.missing_packages(project) == ["morphdom"]


def test_a_package_in_another_version_is_missing(project: Path) -> None:
    install(project, "2.7.7")
    assert npm.missing_packages(project) == ["morphdom"]


def test_a_package_of_the_checks_is_missing_only_to_them(project: Path) -> None:
    lock = {"packages": {"": {}, "node_modules/axe-core": {"version": "4.14.1", "dev": True}}}
    (project / "package-lock.json").write_text(json.dumps(lock))
    assert npm.missing_packages(project) == []
    assert npm.missing_packages(project, for_checks=True) == ["axe-core"]


@pytest.mark.parametrize("for_checks", [False, True])
def test_who_only_uses_parley_is_given_no_package_of_the_checks(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, for_checks: bool
) -> None:
    programs(tmp_path / "bin", monkeypatch, node="echo v22.1.0", npm='echo "$@" >&2; exit 1')
    with pytest.raises(npm.NPMError) as told:
        npm.ensure_packages(print, project, for_checks)
    assert ("--omit=dev" in str(told.value)) is not for_checks


def test_nothing_runs_when_nothing_is_missing(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(project, "2.7.8")
    programs(tmp_path / "bin", monkeypatch)
    said: list[str] = []
    npm.ensure_packages(said.append, project)
    assert said == []


def test_the_npm_of_the_machine_installs_what_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = "node_modules/morphdom"
    write = f'/bin/mkdir -p {package} && echo \'{{"version": "2.7.8"}}\' > {package}/package.json'
    programs(tmp_path / "bin", monkeypatch, node="echo v20.0.0", npm=write)
    npm.ensure_packages(print, project)
    assert npm.missing_packages(project) == []


def test_a_failing_npm_is_told_with_its_last_words(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs(tmp_path / "bin", monkeypatch, node="echo v22.1.0", npm="echo ENOTFOUND registry >&2; exit 1")
    with pytest.raises(npm.NPMError, match="ENOTFOUND registry"):
        npm.ensure_packages(print, project)


def test_an_npm_that_installs_nothing_is_not_believed(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs(tmp_path / "bin", monkeypatch, node="echo v22.1.0", npm="exit 0")
    with pytest.raises(npm.NPMError, match="Delete node_modules"):
        npm.ensure_packages(print, project)


@pytest.mark.parametrize("node", [None, "echo v18.19.0", "exit 1", "echo strange"])
def test_where_node_is_absent_old_or_broken_one_is_fetched_with_pip(
    node: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs(tmp_path / "bin", monkeypatch, npm="exit 0", **({"node": node} if node else {}))
    fetched: list[list[str]] = []
    monkeypatch.setattr(npm, "_run", lambda command, directory, what_failed: fetched.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert npm.npm_command(print)[0] == sys.executable
    assert fetched[0][-1] == npm.NODE_WHEEL


def test_the_fetched_node_is_not_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs(tmp_path / "bin", monkeypatch)
    fetched: list[list[str]] = []
    monkeypatch.setattr(npm, "_run", lambda command, directory, what_failed: fetched.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: os)
    npm.npm_command(print)
    assert fetched == []
