"""Tests with the default model fail, and say what to do, where it has not been fetched: a skip would hide them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REAL_MODELS
from tests.test_edits import digest

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


@pytest.fixture(scope="session", autouse=True)
def default_model_is_here() -> Path:
    """The folder of the default model."""
    folder = REAL_MODELS / "smollm2-135m"
    if not (folder / "model.safetensors").is_file():
        pytest.fail(f"the default model is not in {folder}; `make setup` fetches it", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def unedited(default_model: LoadedModel) -> str:
    """The hash of the default model's weights without an edit."""
    assert not default_model.edits.active
    return digest(default_model)
