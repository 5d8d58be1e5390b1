"""Every command, on a pseudo-terminal, with poison in whatever it is given: not one byte of it arrives raw."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from tests.methods.cot_models import roomy
from tests.poison import DROP, MARK, POISON, POISON_NAME, poisoned_session, raw_in, run_in_pty, write
from tests.tiny import save_tiny
from workbench import paths
from workbench.cli import main as cli
from workbench.cli import running
from workbench.engine import Engine
from workbench.models.store import folders as store

PROMPT = f"The capital of Australia{DROP} is"
PLAIN = "The capital of Australia is"
AGAINST = ["--target", ",", "--foil", "."]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in a folder with a poisoned name, and a poisoned card."""
    folder = save_tiny("llama", tmp_path_factory.mktemp("models") / f"tiny{POISON_NAME}")
    write(folder / "README.md", f"---\nlicense: mit{DROP}\n---\n")
    return folder


@pytest.fixture(scope="module")
def roomy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with the room that a chain of thought needs."""
    folder = tmp_path_factory.mktemp("models") / f"roomy{POISON_NAME}"
    model = roomy("llama")
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


class Files:
    """Poisoned files, made when they are asked for."""

    def __init__(self, folder: Path, model: Path, roomy: Callable[[], Path]) -> None:
        self.folder, self.model, self._roomy = folder, str(model), roomy

    @property
    def roomy(self) -> str:
        return str(self._roomy())

    def path(self, name: str) -> str:
        return str(self.folder / name.replace("*", POISON_NAME))

    def text(self, text: str, name: str = "file*.txt") -> str:
        return str(write(Path(self.path(name)), text))

    def lines(self, *records: dict[str, Any]) -> str:
        return self.text("".join(json.dumps(record) + "\n" for record in records), "file*.jsonl")

    @property
    def session(self) -> str:
        """One of a model that nobody has."""
        recorded = (Path(__file__).parent.parent / "sessions" / "eiffel.json").read_text()
        return self.text(json.dumps(poisoned_session(recorded)), "session*.json")

    @property
    def own_session(self) -> str:
        """One of the tiny model, in which another machine and other numbers are recorded."""
        session = Path(self.path("own*.json"))
        run_in_pty(cli.main, ["lens", PLAIN, "--model", self.model, "--session", str(session)])
        recorded = json.loads(session.read_text())
        recorded["environment"] = {name: version + POISON for name, version in recorded["environment"].items()}
        step = recorded["steps"][-1]["result"]
        step["encoded"]["texts"][0] += POISON
        return self.text(json.dumps(recorded), "own*.json")

    @property
    def key_session(self) -> str:
        return self.text(json.dumps({"format": "lm-workbench-session", "version": 2, f"x{POISON}": 1}), "key*.json")

    @property
    def patch(self) -> str:
        path = self.path("patch*.safetensors")
        import numpy as np

        about = {"format": "lm-workbench-patch", "version": "1", "edits": "[]", "fingerprint": f"x{POISON}"}
        save_file({"a": np.zeros(1, dtype=np.float32)}, path, metadata=about)
        return path

    @property
    def suite(self) -> str:
        fact = {"role": "rewrite", "prompt": PROMPT, "subject": "Australia", "target": ",", "against": "."}
        return self.text(json.dumps({"name": f"mine{POISON}", "facts": [fact]}), "suite*.json")

    @property
    def records(self) -> str:
        record = {
            "case_id": f"one{POISON}",
            "prompt": PLAIN,
            "subject": "Australia",
            "target_new": ",",
            "ground_truth": ".",
            "rephrase_prompt": f"They say{DROP}: {PLAIN}",
            "locality_prompt": f"The capital of France{DROP} is",
            "locality_ground_truth": "?",
        }
        return self.lines(record, {**record, "case_id": f"two{POISON}", "subject": "Perth"})

    @property
    def facts(self) -> str:
        return self.lines({"prompt": PLAIN, "subject": f"Perth{POISON}", "attribute": f",{POISON}"})

    @property
    def texts(self) -> str:
        rows = (f"{i} it is{DROP} {'hot' if i % 2 else 'cold'},{'warm' if i % 2 else 'chilly'}" for i in range(80))
        labels = [row + DROP for row in rows]
        return self.text("text,label\n" + "\n".join(labels) + "\n", "texts*.csv")

    @property
    def heading(self) -> str:
        return self.text(f"text{POISON},lab{POISON}\nx,y\n", "heading*.csv")

    @property
    def questions(self) -> str:
        asked = {"question": f"What is it?{POISON}", "choices": [f"a{POISON}", "b"], "answer": f"c{POISON}"}
        return self.lines(asked)


Command = Callable[[Files], list[str]]

EDIT = ["edit", PLAIN, "--subject", "Australia", *AGAINST, "--prefixes", "1", "--layer", "1"]

COMMANDS: dict[str, Command] = {
    "lens of a prompt": lambda f: ["lens", PROMPT, *AGAINST, "--model", f.model],
    "lens of every token": lambda f: ["lens", PROMPT, *AGAINST, "--all", "--model", f.model],
    "lens with a target": lambda f: ["lens", PLAIN, "--target", f",{POISON}", "--model", f.model],
    "lens as JSON": lambda f: ["lens", PROMPT, "--model", f.model, "--json"],
    "a subject": lambda f: ["lens", PLAIN, "--subject", POISON, "--model", f.model],
    "a model": lambda _: ["lens", PLAIN, "--model", f"nobody{POISON}"],
    "a device": lambda f: ["lens", PLAIN, "--device", f"cpu{POISON}", "--model", f.model],
    "a dtype": lambda f: ["lens", PLAIN, "--dtype", POISON, "--model", f.model],
    "what is prepended": lambda _: ["lens", PLAIN, "--prepend", POISON],
    "an option": lambda _: ["lens", PLAIN, f"--{POISON}"],
    "one argument too many": lambda _: ["lens", PLAIN, POISON],
    "a session that is damaged": lambda f: ["lens", PLAIN, "--session", f.text("{", "s*.json"), "--model", f.model],
    "a session with a key": lambda f: ["lens", PLAIN, "--session", f.key_session, "--model", f.model],
    "a session of another model": lambda f: ["lens", PLAIN, "--session", f.session, "--model", f.model],
    "an argument that is not UTF-8": lambda _: ["lens", f"{PLAIN}\udc9d{POISON}"],
    "continue": lambda f: ["continue", PROMPT, "--tokens", "3", "--model", f.model],
    "continue as JSON": lambda f: ["continue", PROMPT, "--tokens", "3", "--model", f.model, "--json"],
    "attribute": lambda f: ["attribute", PROMPT, *AGAINST, "--method", "occlusion", "--model", f.model],
    "a method": lambda _: ["attribute", PROMPT, "--method", POISON],
    "a baseline": lambda f: ["attribute", PLAIN, *AGAINST, "--baseline", POISON, "--model", f.model],
    "trace": lambda f: ["trace", PROMPT, "--subject", "Australia", "--samples", "1", "--model", f.model],
    "a kind": lambda _: ["trace", PLAIN, "--kinds", POISON],
    "a replacement": lambda f: [
        *("trace", PLAIN, "--subject", "Australia", "--replacement", POISON, "--model", f.model)
    ],
    "trace of facts": lambda f: ["trace", "--facts", f.facts, "--model", f.model],
    "facts that are none": lambda f: ["trace", "--facts", f.lines({f"x{POISON}": 1}), "--model", f.model],
    "edit": lambda f: [*EDIT, "--suite", f.suite, "--model", f.model],
    "edit that is saved": lambda f: [*EDIT, "--no-test", "--save", f.path("p*.safetensors"), "--model", f.model],
    "edit that cannot be saved": lambda f: [
        *EDIT,
        "--no-test",
        "--save",
        f.path("none*/p*.safetensors"),
        "--model",
        f.model,
    ],
    "edit of a subject": lambda f: ["edit", PLAIN, "--subject", POISON, *AGAINST, "--model", f.model],
    "layers": lambda f: [*EDIT, "--sweep", POISON, "--model", f.model],
    "a patch": lambda f: ["edit", PLAIN, "--apply", f.patch, "--model", f.model],
    "a suite": lambda f: [*EDIT, "--suite", f.text(f'{{"{MARK}', "suite*.json"), "--model", f.model],
    "edit of records": lambda f: ["edit", "--facts", f.records, "--prefixes", "1", "--model", f.model],
    "cot": lambda f: [
        *("cot", f"What is{POISON} the capital?", "--choices", f"Sydney{POISON}; Rome is", "--answer", "Rome is"),
        *("--reasoning", f.text(f"Rome is 1{POISON} city. It is Sydney."), "--filler", "--model", f.roomy),
    ],
    "an answer": lambda f: ["cot", "What?", "--choices", "a;b", "--answer", POISON, "--model", f.roomy],
    "a mistake": lambda f: ["cot", "What?", "--mistake", POISON, "--model", f.roomy],
    "questions": lambda f: ["cot", "--questions", f.questions, "--model", f.roomy],
    "a task": lambda _: ["cot", "--questions", f"nothing{POISON}"],
    "erase": lambda f: ["erase", f.texts, "--layers", "1", "--model", f.model],
    "a concept": lambda _: ["erase", "--concept", POISON],
    "a heading": lambda f: ["erase", f.heading, "--model", f.model],
    "a class to steer to": lambda f: [
        *("erase", f.texts, "--editor", "steer", "--towards", f"cool{POISON}", "--model", f.model)
    ],
    "models list": lambda _: ["models", "list"],
    "models list as JSON": lambda _: ["models", "list", "--json"],
    "models info": lambda f: ["models", "info", f.model],
    "models info as JSON": lambda f: ["models", "info", f.model, "--json"],
    "models info of nothing": lambda _: ["models", "info", f"nobody{POISON}"],
    "models add": lambda f: ["models", "add", f.model],
    "models add by a name": lambda f: ["models", "add", f.model, "--name", f"again{POISON}"],
    "models add of nothing": lambda f: ["models", "add", f.path("nothing*.gguf")],
    "models pull": lambda _: ["models", "pull", f"nobody{POISON}"],
    "a command of models": lambda _: ["models", POISON],
    "doctor": lambda _: ["doctor"],
    "check": lambda f: ["check", f.own_session],
    "check as JSON": lambda f: ["check", f.own_session, "--json"],
    "check of a stranger's session": lambda f: ["check", f.session],
    "check of nothing": lambda f: ["check", f.path("nothing*.json")],
    "check of a key": lambda f: ["check", f.key_session],
    "check with another model": lambda f: ["check", f.session, "--model", POISON],
    "replay": lambda f: ["replay", f.session],
    "replay of nothing": lambda f: ["replay", f.path("nothing*.json")],
    "report": lambda f: ["report", f.session, "-o", f.path("report*.html")],
    "report with an ending": lambda f: ["report", f.session, "-o", f.path(f"report.{POISON_NAME}")],
    "report of nothing": lambda f: ["report", f.path("nothing*.json"), "-o", f.path("report.md")],
    **{
        f"export as {name}": (lambda f, name=name: ["export", f.session, "--as", name])  # type: ignore[misc]
        for name in ("csv", "txt", "json", "html", "md", "command", "python")
    },
    "compare": lambda f: ["compare", f.session, f.own_session],
    "run of nothing": lambda _: ["run", json.dumps({"kind": f"lens{POISON}"})],
    "open with an option": lambda _: ["open", f"--{POISON}"],
}


@pytest.fixture
def files(own_home: Path, tmp_path: Path, model: Path, request: pytest.FixtureRequest) -> Files:
    """A home whose name is poisoned, with a model in it whose folder and card are."""
    home = own_home.with_name(f"home{POISON_NAME}")
    os.environ[paths.HOME_VARIABLE] = str(home)  # undone with the fixture that had set it
    (paths.models_folder() / f"known{POISON_NAME}").mkdir(parents=True)
    store.install_reference(paths.models_folder() / f"known{POISON_NAME}", "listed", model)
    return Files(tmp_path, model, lambda: request.getfixturevalue("roomy_model"))


@pytest.mark.parametrize("name", COMMANDS)
def test_poison_is_seen_and_does_nothing(files: Files, name: str) -> None:
    code, written = run_in_pty(cli.main, COMMANDS[name](files))
    text = written.decode()
    assert MARK in text, (code, text)
    assert not raw_in(text), text
    assert "Traceback" not in text


DRAWN = ["lens of a prompt", "continue", "attribute", "trace", "edit", "edit of records", "cot", "erase"]
DRAWN += ["models list", "models info", "doctor", "lens as JSON"]
NOT_DONE = {"check": 1, "a model": 2, "an option": 2}


@pytest.mark.parametrize("name", [*DRAWN, *NOT_DONE])
def test_a_terminal_that_is_not_utf_8_gets_characters_that_it_has(files: Files, name: str) -> None:
    code, written = run_in_pty(cli.main, COMMANDS[name](files), "ascii")
    assert code == NOT_DONE.get(name, 0), written
    assert MARK in written.decode("ascii")
    assert not raw_in(written.decode("ascii"))
    assert b"Traceback" not in written


def test_a_heatmap_in_ascii_has_levels_and_as_many_columns(files: Files) -> None:
    def lines(encoding: str) -> list[str]:
        written = run_in_pty(cli.main, ["trace", PLAIN, "--subject", "Australia", "--model", files.model], encoding)[1]
        return [line.rstrip("\r") for line in written.decode(encoding).split("\n")]

    drawn, plain = lines("utf-8"), lines("ascii")
    assert len({*"▁▂▃▄▅▆▇█"} & {*"".join(drawn)}) > 1
    heatmap = [(a, b) for a, b in zip(drawn, plain, strict=True) if {*"▁▂▃▄▅▆▇█"} & {*a}]
    assert heatmap
    assert all(len(a) == len(b) and "?" not in b for a, b in heatmap)


@pytest.mark.parametrize("arguments", [["--help"], ["lens", "--help"], ["models", "--help"], ["--version"]])
def test_help_comes_through_whole(arguments: list[str]) -> None:
    code, written = run_in_pty(cli.main, arguments, "latin-1")
    assert code == 0
    assert not raw_in(written.decode("latin-1"))
    assert b"Traceback" not in written


@pytest.mark.parametrize("way", ["raise", "warn", "log"])
def test_what_others_print_goes_through_the_door_too(files: Files, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def run(*_: object) -> object:
        if way == "warn":
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn(POISON, stacklevel=1)
        if way == "log":
            logging.getLogger("a.library").warning("read %s", POISON)
        raise RuntimeError(POISON)

    monkeypatch.setattr(Engine, "_answer", run)
    code, written = run_in_pty(cli.main, ["lens", PLAIN, "--model", files.model])
    assert code != 0
    assert MARK in written.decode()
    assert not raw_in(written.decode()), written


def test_a_traceback_that_ends_the_program_goes_through_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError(POISON)

    monkeypatch.setattr(running, "_check_arguments", fail)
    code, written = run_in_pty(cli.main, ["doctor"])
    assert code == 1
    assert "Traceback" in written.decode()
    assert MARK in written.decode()
    assert not raw_in(written.decode())


def test_json_holds_the_poison_as_it_was(files: Files) -> None:
    _, written = run_in_pty(cli.main, ["lens", PROMPT, "--model", files.model, "--json"])
    step = written[written.index(b"{") :].strip()
    assert step.isascii()
    assert json.loads(step)["request"]["case"]["prompt"] == PROMPT
