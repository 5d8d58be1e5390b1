"""Where caches and sessions live: the platform's folders, or below ``LM_WORKBENCH_HOME`` when that is set."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import platformdirs

from workbench.errors import InputError

HOME_VARIABLE = "LM_WORKBENCH_HOME"
_APP = "lm-workbench"


def cache_folder() -> Path:
    """What can be computed or fetched again: models, statistics."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir(_APP))


def log_file() -> Path:
    """Where the app and its workers write what would go to stderr."""
    return cache_folder() / "log.txt"


def models_folder() -> Path:
    """Converted and added models, one folder each."""
    return cache_folder() / "models"


def sessions_folder() -> Path:
    """The user's own sessions."""
    home = os.environ.get(HOME_VARIABLE)
    return (Path(home) if home else Path(platformdirs.user_data_dir(_APP))) / "sessions"


def samples() -> dict[str, Path]:
    """The recorded stories that are shipped, by name: beside the package in a clone, else below the prefix."""
    places = (Path(__file__).parents[1], Path(sysconfig.get_path("data")) / "share" / _APP)
    found = next((place for place in places if (place / "sessions" / "eiffel.json").is_file()), places[0])
    return {path.stem: path for path in sorted((found / "sessions").glob("*.json"))}


PATCH = ".safetensors"
"""What the name of a patch ends in."""

CONTROL_VECTOR = ".gguf"
"""What that of a control vector ends in."""


def written_path(text: str) -> Path:
    """A path that somebody typed, whole: ``~`` is the home folder, and what is relative begins where we are.

    Raises `InputError` for one that no file can have or nobody may look at.
    """
    return _usable(Path(os.path.abspath(os.path.expanduser(text.strip()))))  # noqa: PTH100, PTH111 - these raise nothing


def patch_path(text: str) -> Path:
    """The file of a patch of that name: the ending that was left out is put on. A folder stays one."""
    return _ending(text, PATCH)


def vector_path(text: str) -> Path:
    """The same of a control vector."""
    return _ending(text, CONTROL_VECTOR)


def _ending(text: str, ending: str) -> Path:
    path = written_path(text)
    if path.suffix.lower() == ending or path.is_dir():
        return path
    return _usable(path.with_name(path.name + ending))


def _usable(path: Path) -> Path:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        because = (error.strerror if isinstance(error, OSError) else str(error)) or "it cannot be used"
        raise InputError(f"no file can be at {str(path)[:200]}: {because}; name another place") from None
    return path
