"""What every test stands on: a home of its own, one torch thread a worker, the default model where asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from workbench import paths

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

REAL_MODELS = paths.models_folder()
"""Where the default model is, whatever home a test is given."""

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # no test depends on speed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes many minutes runs where it is asked for."""
    if os.environ.get("WORKBENCH_SOAK") != "1":
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="set WORKBENCH_SOAK=1 for the long runs"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees or leaves anything in the user's folders."""
    home = tmp_path / "home"
    monkeypatch.setenv(paths.HOME_VARIABLE, str(home))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return home


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Workers share the cores; tiny models gain nothing from more threads."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def default_model() -> LoadedModel:
    """The real default model, as `make` has put it into the cache."""
    from workbench.loading import load

    return load(str(REAL_MODELS / "smollm2-135m"))
