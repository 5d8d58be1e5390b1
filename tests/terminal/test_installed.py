"""Installed from a wheel, without the checkout: what the README says works, and the recorded stories came along."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.terminal import ROOT, Terminal
from workbench import __version__

WAIT = 180.0
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(*command: str | Path, **env: str) -> str:
    """Run a program elsewhere than in the checkout, with none of its paths; what it printed."""
    done = subprocess.run(
        list(map(str, command)), cwd=Path(command[0]).parent, env=clean() | env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in an environment that has nothing else of its own; libraries are those of this one."""
    folder = tmp_path_factory.mktemp("installed")
    built = folder / "dist"
    copy = folder / "checkout"  # a build leaves things behind, and this copy will be gone
    subprocess.run(["git", "-C", ROOT, "checkout-index", "--all", f"--prefix={copy}/"], check=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", built, copy)
    copy.rename(folder / "gone")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    (wheel,) = built.glob("lm_workbench-*.whl")
    run(*pip, "--python", python, "install", "--no-deps", "--quiet", wheel)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env" / "bin" / "workbench"


@pytest.fixture
def start(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Terminal]:
    """What the README says to run."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr("benchmarks.terminal.ROOT", tmp_path)
    return lambda *arguments: Terminal(*arguments, program=[str(installed)])


def test_the_version_is_that_of_the_changelog(installed: Path) -> None:
    assert run(installed, "--version").strip() == __version__
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    where = run(installed.parent / "python", "-c", "import workbench; print(workbench.__file__)")
    assert str(installed.parents[1]) in where


def test_the_readme_says_how() -> None:
    for line in ("pip wheel --no-deps", "dist/lm_workbench-*.whl", "workbench --version", "workbench replay eiffel"):
        assert line in README


def test_a_story_that_came_along_is_replayed(start: Callable[..., Terminal]) -> None:
    with start("replay", "eiffel") as terminal:
        terminal.wait_for("Causal trace", WAIT)
        terminal.wait_for("Paris", WAIT)
        terminal.press("q")
        assert terminal.wait_for_end(WAIT) == 0


def test_the_app_opens(start: Callable[..., Terminal], own_home: Path) -> None:
    """In a home without a model, which it begins to fetch; it can be left at once."""
    with start("--session", str(own_home / "s.json")) as terminal:
        terminal.wait_for("Type a prompt", WAIT)
        terminal.press("\x03", "\x03")
        assert terminal.wait_for_end(WAIT) == 0


@pytest.mark.soak
def test_the_default_model_is_fetched(installed: Path, own_home: Path) -> None:
    assert "smollm2-135m" in run(installed, "models", "pull", "smollm2-135m", LM_WORKBENCH_HOME=str(own_home))
    assert "Sydney" in run(installed, "lens", "The capital of Australia is", LM_WORKBENCH_HOME=str(own_home))
