"""Where caches and sessions live: the platform's folders, or below ``LM_WORKBENCH_HOME`` when that is set."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "LM_WORKBENCH_HOME"
_APP = "lm-workbench"


def cache_folder() -> Path:
    """What can be computed or fetched again: models, statistics."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir(_APP))


def models_folder() -> Path:
    """Converted and added models, one folder each."""
    return cache_folder() / "models"


def sessions_folder() -> Path:
    """The user's own sessions."""
    home = os.environ.get(HOME_VARIABLE)
    return (Path(home) if home else Path(platformdirs.user_data_dir(_APP))) / "sessions"
