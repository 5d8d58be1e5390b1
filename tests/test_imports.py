"""Nothing heavy before the first paint, and the core without a screen: looked at in fresh interpreters.

Which package may import which is import-linter's (pyproject.toml, `make check`). It cannot tell what is imported at
once from what is imported when it is needed; that is proved here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

from workbench.editing.editor import Editor
from workbench.protocol import Frozen

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "tokenizers", "nnsight", "captum", "concept_erasure", "gguf", "sklearn", "scipy"}


def imported_by(program: str) -> set[str]:
    """The packages that a fresh interpreter holds after a program, which may print nothing on stdout."""
    report = "\nimport sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program) + report], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_every_module_of_the_core_can_be_imported_without_torch_and_without_a_screen() -> None:
    packages = imported_by(
        """
        import importlib, pkgutil, workbench
        for module in pkgutil.walk_packages(workbench.__path__, "workbench."):
            importlib.import_module(module.name)
        """
    )
    assert not (HEAVY | {"textual", "screens"}) & packages


def test_the_check_can_see_what_it_looks_for() -> None:
    packages = imported_by("import workbench.lazy; workbench.lazy.torch.__name__; workbench.lazy.torch.float32")
    assert "torch" in packages


def test_help_and_lists_need_nothing_heavy() -> None:
    packages = imported_by(
        """
        import contextlib, io, sys
        from workbench.cli import main
        for arguments in (["--help"], ["lens", "--help"], ["--version"], ["models", "list"]):
            sys.argv = ["workbench", *arguments]
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
                main.main()
            assert printed.getvalue(), arguments
        """
    )
    assert not (HEAVY | {"textual"}) & packages


def test_what_can_be_typed_into_first_needs_no_more_than_textual_and_the_command_line() -> None:
    packages = imported_by("import workbench.cli.opening, screens.app")
    assert {"textual", "typer"} <= packages
    assert not (HEAVY | {"pydantic", "numpy"}) & packages


def test_the_first_paint_happens_before_anything_heavy_is_imported() -> None:
    packages = imported_by(
        """
        import asyncio, sys
        from screens.app import WorkbenchApp
        from screens.live import LiveScreen
        from workbench.engine import Engine
        from workbench.events import LoadRequest

        painted = []

        class Watched(Engine):
            "The real engine. When it is made, the screen must have been painted, and nothing heavy imported."

            def __init__(self, *hooks):
                strips = app.screen._compositor.render_strips()
                text = "".join(segment.text for line in strips for segment in line)
                painted.append("Prompt" in text)
                painted.append("torch" not in sys.modules and "transformers" not in sys.modules)

            def submit(self, request):
                return 1

            def close(self, timeout=0):
                return True

        app = WorkbenchApp(lambda: LiveScreen(LoadRequest(model="tiny"), engine=Watched))

        async def look():
            async with app.run_test(size=(100, 30)) as pilot:
                while not painted:
                    await pilot.pause(0.05)

        asyncio.run(look())
        assert painted == [True, True], painted
        """
    )
    assert "textual" in packages
    assert not HEAVY & packages


def test_a_replay_is_drawn_without_anything_heavy(tmp_path: Path) -> None:
    from tests.screens.asked import HERO
    from tests.screens.recorded import MODEL, STARTED, lens_result
    from workbench.methods.lens.logit_lens import LensRequest
    from workbench.session import SessionFile, Step

    recording = SessionFile(tmp_path / "s.json")
    recording.use_model(MODEL)
    recording.append(
        Step(started=STARTED, seconds=0.2, status="done", request=LensRequest(case=HERO), result=lens_result(HERO))
    )
    packages = imported_by(
        f"""
        import asyncio
        from pathlib import Path
        from screens.replay import ReplayApp
        from workbench.session import load_session

        file = Path({str(recording.path)!r})
        app = ReplayApp(load_session(file), file)

        async def look():
            async with app.run_test(size=(160, 48)) as pilot:
                for key in ("j", "v", "l", "enter", "escape"):
                    await pilot.press(key)
                strips = app.screen._compositor.render_strips()
                assert "Canberra" in "".join(segment.text for line in strips for segment in line)

        asyncio.run(look())
        """
    )
    assert not HEAVY & packages


def test_a_method_is_imported_when_it_is_asked_for_and_not_with_the_registry() -> None:
    modules = imported_by(
        """
        import sys
        from workbench.registry import METHODS, method
        import workbench.session
        declared = {place.partition(":")[0] for place in METHODS.values()}
        assert not declared & set(sys.modules), declared & set(sys.modules)
        method("lens")
        assert declared & set(sys.modules) == {"workbench.methods.lens"}
        """
    )
    assert not HEAVY & modules


def test_screens_take_data_from_methods_and_editing_and_nothing_that_needs_a_model() -> None:
    taken: Counter[str] = Counter()
    places = ("workbench.methods.", "workbench.editing.")
    for file in sorted((ROOT / "screens").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(places):
                continue
            for name in (alias.name for alias in node.names):
                found = getattr(importlib.import_module(str(node.module)), name)
                where = f"{file.name} imports {name} from {node.module}"
                if inspect.isroutine(found):  # a statistic of results
                    signature = str(inspect.signature(found))
                    assert "LoadedModel" not in signature, where
                    assert "Tensor" not in signature, where
                elif isinstance(found, type):
                    assert issubclass(found, (Frozen, Editor)), where
                taken[str(node.module).split(".")[1]] += 1
    assert taken["methods"] > 5 < taken["editing"]
