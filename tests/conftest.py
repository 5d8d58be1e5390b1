"""What every test stands on: a home of its own, one torch thread a worker, the default model where asked for."""

from __future__ import annotations

import functools
import gc
import hashlib
import itertools
import os
import re
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main
from hypothesis import HealthCheck, settings

from tests.fork_server import LETTERS, TOKENS
from workbench import paths
from workbench.datasets.held_out import held_out_text
from workbench.lazy import torch
from workbench.models.forward import sampling
from workbench.protocol import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from workbench.loading import LoadedModel
    from workbench.protocol import Progress

REAL_MODELS = paths.models_folder()
"""Where the default model is, whatever home a test is given."""

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # no test depends on speed


TESTS = Path(__file__).parent

COUNTED = itertools.count()

GARBAGE = 300_000
"""Objects that may be garbage before a test begins."""

PROSE: dict[str, int | None] = {
    **dict.fromkeys(("editing", "methods", "models", "real", "terminal"), 500),
    **dict.fromkeys(("test_cli_edit", "test_cli_erase", "test_cli_steer", "test_poisoned_commands"), 500),
    **dict.fromkeys(("test_held_out", "test_regression_real"), None),
}
"""Letters of the held-out prose that are read in the tests of a folder or a file."""

SLOW = frozenset(
    {
        # The program is run, or an interpreter that imports torch is started.
        *("test_cli", "test_files", "test_forked", "test_house", "test_imports", "test_poisoned_commands"),
        *("test_poisoned_terminal", "test_gpu_benchmark", "test_remote"),
        *(f"test_cli_{name}" for name in ("cot", "edit", "erase", "lens", "methods")),
        *(f"models/test_{name}" for name in ("catalog", "child", "devices", "gguf", "hub", "integrity", "structure")),
        "models/test_tensor_parallel",
        # Each test starts the whole app; those of one pane by itself are quick.
        *(f"screens/test_{name}" for name in ("app", "monkey", "painted", "replay", "room", "snapshots", "type_ahead")),
        *(f"screens/test_{name}" for name in ("what_is_asked", "words_of_panes")),
        *(f"screens/test_{name}" for name in ("cot_pane", "edits_pane", "erasure_pane", "poisoned_screens", "resized")),
        # Much is computed or tried.
        *(
            "test_engine",
            "test_mutants",
            "test_session",
            "test_sweeping",
            "test_sweeps_beside",
            "reporting/test_report",
        ),
        *(f"editing/test_{name}" for name in ("fine_tuning", "grace", "memit", "mend")),
        *(
            f"methods/test_{name}"
            for name in ("causal_trace", "corrected_lens", "cot", "edit_facts", "erasure", "rome")
        ),
        *("methods/test_regression", "methods/patching/test_patching"),
        *("models/test_loading", "models/test_quantised", "models/test_resume"),
    }
)
"""Files that `make test-fast` leaves out: their tests start programs, or take several seconds of a processor."""


def pytest_configure(config: pytest.Config) -> None:
    """Workers share the cores, and so do the programs that tests start: more threads would only wait for each other.

    Libraries ask how many there are to be when they are imported, so the workers get it with their environment.
    """
    if config.getoption("numprocesses", None):
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Workers begin with different files, as what one has compiled, with its asserts rewritten, the others only read.

    In a fresh checkout they would all compile the same file at the same time, which is half of what collecting costs.
    """
    config = session.config
    if hasattr(config, "workerinput") and config.args_source is config.ArgsSource.TESTPATHS:
        number, workers = int(config.workerinput["workerid"].removeprefix("gw")), config.workerinput["workercount"]
        files = sorted(TESTS.rglob("test_*.py"), key=lambda file: (-file.stat().st_size, file))
        for file in files[number::workers]:
            with suppress(Exception, pytest.skip.Exception):  # what is wrong with it is said when it is collected
                import_module(".".join(file.relative_to(TESTS.parent).with_suffix("").parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes many minutes runs where it is asked for; what takes long is marked, and the longest come first.

    A process that has nothing left takes over what another has yet to run: many short tests, not one of minutes.
    """
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("terminal", "real"))))
    for item in items:
        if item.path.relative_to(TESTS).with_suffix("").as_posix() in SLOW:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("model") and os.environ.get("WORKBENCH_MODELS") != "1":
            item.add_marker(pytest.mark.skip(reason="set WORKBENCH_MODELS=1 for the other models"))
        if item.get_closest_marker("soak") and os.environ.get("WORKBENCH_SOAK") != "1":
            item.add_marker(pytest.mark.skip(reason="set WORKBENCH_SOAK=1 for the long runs"))


def pytest_collection_finish() -> None:
    """What was imported stays: looking through it for garbage again and again is a third of what an app costs here."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10 * GARBAGE, 20, 20)


def pytest_runtest_logfinish() -> None:
    """Garbage is looked for between tests, where what a test has made is all that there is to look through."""
    if gc.get_count()[0] > GARBAGE:
        gc.collect(0)


def pytest_unconfigure() -> None:
    """The process ends: pytest would look five times through all that is left for what raises when it goes."""
    gc.freeze()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own. To number it, pytest would look through all that are there, a thousand times over."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    path = tmp_path_factory.getbasetemp() / f"{name}-{next(COUNTED)}"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees or leaves anything in the user's folders."""
    home = tmp_path / "home"
    monkeypatch.setenv(paths.HOME_VARIABLE, str(home))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return home


@pytest.fixture(autouse=True)
def little_text(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models read some lines of the held-out prose: random ones tell no more of all of it, the default one little.

    And they write short texts to tell whether they repeat themselves. Forked programs read and write as much.
    Elsewhere other processes read and write all of it, and so do tests of the prose itself.
    """
    if letters := PROSE.get(request.path.stem, PROSE.get(request.path.parent.name)):
        lines = held_out_text()[:letters]
        monkeypatch.setattr("workbench.editing.suite.held_out.held_out_text", lambda: lines)
        monkeypatch.setattr("workbench.editing.suite.repetition.TOKENS", TOKENS)
        monkeypatch.setenv(LETTERS, str(letters))


@pytest.fixture
def shared_statistics(own_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is computed of the unedited default model is computed once for all tests that ask for this."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    (own_home / "cache").mkdir(parents=True, exist_ok=True)
    for name in ("statistics", "unedited"):
        (base / name).mkdir(exist_ok=True)
        (own_home / "cache" / name).symlink_to(base / name)


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """The command line that a process has is made of the signatures of all commands once, not at each of its calls."""
    with pytest.MonkeyPatch.context() as patched:
        once = functools.cache(typer.main.get_command)
        patched.setattr("typer.main.get_command", once)
        patched.setattr("typer.testing._get_command", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def sampled_once() -> Iterator[None]:
    """What a tiny model writes, token by token, it writes once for all tests. Its progress is told as it was then."""
    known: dict[tuple[object, ...], tuple[Tensor, list[tuple[int, int, str]]]] = {}

    def once(model: LoadedModel, rows: int, tokens: int, seed: int, progress: Progress = silent) -> Tensor:
        if model.edits.active or model.info.d_model > 64:
            return sampling.sample(model, rows, tokens, seed, progress)
        weights = hashlib.sha256(str(model.hf.config).encode())
        for weight in model.hf.state_dict().values():
            weights.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        key = (weights.digest(), sampling.document_start(model), rows, tokens, seed)
        if key not in known:
            told = list[tuple[int, int, str]]()

            def tell(done: int, total: int, partial: object = None, *, stage: str = "") -> None:
                told.append((done, total, stage))
                progress(done, total, partial, stage=stage)

            known[key] = sampling.sample(model, rows, tokens, seed, tell), told
        else:
            for done, total, stage in known[key][1]:
                progress(done, total, stage=stage)
        return known[key][0].clone()

    with pytest.MonkeyPatch.context() as patched:
        for module in ("models.forward.ordinary_text", "editing.editors.rome.contexts"):
            patched.setattr(f"workbench.{module}.sample", once)
        yield


@pytest.fixture(scope="session")
def default_model() -> LoadedModel:
    """The real default model, as `make` has put it into the cache."""
    from workbench.loading import load

    return load(str(REAL_MODELS / "smollm2-135m"))
