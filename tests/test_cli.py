"""The command line as a script sees it: exit codes, what is on stdout, and one sentence on stderr."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.terminal import ROOT, WORKBENCH, Terminal
from tests.forked import ForkedPopen
from tests.tiny import CONTEXT, save_tiny
from workbench import __version__
from workbench.case import Case
from workbench.cli import main as cli
from workbench.cli import opening
from workbench.events import LoadRequest
from workbench.methods.generation import continuation
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.session import FORMAT, Session, SessionFile, Step, load_session

PROMPT = "The capital of Australia is"


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def is_refused(self, *words: str) -> None:
        """Exit code 2, nothing on stdout, and on stderr one line, which holds the words."""
        assert self.code == 2, self
        assert self.out == ""
        assert len(self.err.splitlines()) == 1, self.err
        assert self.err.startswith("workbench: ")
        for word in words:
            assert word in self.err


Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def workbench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process, for an interpreter that imports torch anew takes seconds."""

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        capfd.readouterr()
        code: object = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        assert isinstance(code, int)
        return Outcome(code, *capfd.readouterr())

    return run


def in_a_process(*arguments: str | Path) -> Outcome:
    done = subprocess.run(
        [*WORKBENCH, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


# Results


def test_a_step_and_nothing_else_is_on_stdout(tiny: Path) -> None:
    outcome = in_a_process("lens", PROMPT, "--subject", "Australia", "--model", tiny, "--json")
    assert outcome.code == 0
    assert outcome.out.count("\n") == 1
    step = Step.model_validate_json(outcome.out)
    assert (step.id, step.status) == (1, "done")
    case = Case(prompt=PROMPT, subject="Australia")
    assert step.request == LensRequest(case=case, first=-1, positions=(-1,))
    assert isinstance(step.result, LensResult)
    assert step.result.columns[-1] is not None
    assert outcome.err == ""


def test_every_option_reaches_the_request(workbench: Run, tiny: Path) -> None:
    chosen = [
        "--target",
        "the",
        "--foil",
        "city",
        "--prepend",
        "separator",
        "--all",
        "--position",
        "2",
        "--top-k",
        "3",
    ]
    outcome = workbench("lens", PROMPT, *chosen, "--model", tiny, "--json")
    step = Step.model_validate_json(outcome.out)
    case = Case(prompt=PROMPT, target="the", foil="city", prepend="separator")
    assert step.request == LensRequest(case=case, first=2, top_k=3)
    assert isinstance(step.result, LensResult)
    assert None not in step.result.columns


def test_without_json_a_table_with_a_row_for_each_layer_is_printed(workbench: Run, tiny: Path) -> None:
    outcome = workbench("lens", PROMPT, "--target", "the", "--foil", "city", "--model", tiny)
    assert outcome.code == 0
    assert outcome.err == ""
    rows = [line.split()[0] for line in outcome.out.splitlines() if line.strip()]
    start = rows.index("layer")
    assert rows[start + 1 : start + 5] == ["2", "1", "0", "emb"]
    assert "lens parity" in outcome.out
    assert "float32" in outcome.out


def test_a_continuation_is_printed_and_is_json_too(workbench: Run, tiny: Path) -> None:
    plain = workbench("continue", PROMPT, "--tokens", "3", "--model", tiny)
    assert plain.code == 0
    outcome = workbench("continue", PROMPT, "--tokens", "3", "--model", tiny, "--json")
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.result, ContinueResult)
    assert len(step.result.generated) == 3
    for token in step.result.generated:
        assert f"{token.probability:.3f}" in plain.out


def test_markup_and_control_characters_of_a_prompt_do_nothing_to_the_terminal(workbench: Run, tiny: Path) -> None:
    outcome = workbench("lens", "[red]is\x1b[31m\x07[/red]", "--all", "--model", tiny)
    assert outcome.code == 0
    assert not {"\x1b", "\x07"} & set(outcome.out)


def test_what_the_model_writes_does_nothing_to_the_terminal(
    workbench: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_escapes(**fields: Any) -> ContinueResult:
        return ContinueResult(**{**fields, "text": "one\x1b[2Jtwo\nthree\x9b31m"})

    monkeypatch.setattr(continuation, "ContinueResult", with_escapes)
    outcome = workbench("continue", PROMPT, "--tokens", "1", "--model", tiny)
    assert outcome.code == 0
    assert "one␛[2Jtwo\nthree" in outcome.out
    assert not {"\x1b", "\x9b"} & set(outcome.out)


# Sessions


def test_steps_are_appended_to_the_session(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "s.json"
    assert workbench("lens", PROMPT, "--model", tiny, "--session", file).code == 0
    appended = workbench("continue", PROMPT, "--model", tiny, "--session", file, "--json")
    session = load_session(file)
    assert [(step.id, step.request.kind) for step in session.steps] == [(1, "lens"), (2, "continue")]
    assert Step.model_validate_json(appended.out) == session.steps[-1]
    assert session.model is not None
    assert session.model.name == str(tiny)


def test_a_failed_step_is_in_the_session_too(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    outcome = workbench("lens", PROMPT, "--subject", "no", "--model", tiny, "--session", file)
    assert outcome.code == 2
    begun, refused = outcome.err.splitlines()
    assert f"{file} does not exist yet: a new session begins there" in begun
    assert "not in the prompt" in refused
    (step,) = load_session(file).steps
    assert step.status == "failed"
    assert step.error is not None
    assert step.error.kind == "InputError"


def test_a_session_of_another_model_is_not_continued(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    assert workbench("lens", PROMPT, "--model", tiny, "--session", file).code == 0
    before = file.read_bytes()
    other = save_tiny("llama", tmp_path / "other", seed=1)
    workbench("lens", PROMPT, "--model", other, "--session", file).is_refused("was recorded with")
    assert file.read_bytes() == before


def test_a_session_that_cannot_be_recorded_is_refused_before_anything_is_computed(
    workbench: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    outcome = workbench("lens", PROMPT, "--model", "missing", "--session", tmp_path / "file" / "s.json")
    outcome.is_refused("cannot be recorded")


def test_a_result_that_could_not_be_kept_is_printed_and_the_exit_code_says_so(
    workbench: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.session.write_atomically", full)
    (tmp_path / "s.json").write_text(Session().model_dump_json())
    outcome = workbench("lens", PROMPT, "--model", tiny, "--json", "--session", tmp_path / "s.json")
    assert Step.model_validate_json(outcome.out).status == "done"
    assert "could not be saved" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert outcome.code == 2


def test_a_bug_in_saving_does_not_leave_the_terminal_waiting(
    workbench: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Step:
        raise ZeroDivisionError("one over nothing")

    monkeypatch.setattr(SessionFile, "append", broken)
    outcome = workbench("lens", PROMPT, "--model", tiny, "--json", "--session", tmp_path / "s.json")
    assert Step.model_validate_json(outcome.out).status == "done"
    assert "could not be saved: one over nothing" in outcome.err
    assert outcome.code == 2


DAMAGED = {
    "truncated": ('{"format": "lm-workbench-session", "version": 2, "steps": [', "not a complete session file"),
    "foreign": ('{"cells": [], "metadata": {}}', "not a session of this program"),
    "past": (json.dumps({"format": FORMAT, "version": 1, "steps": []}), "of version 1 and this program reads"),
    "future": (json.dumps({"format": FORMAT, "version": 99, "steps": []}), "version 99"),
    "half a step": (json.dumps({"format": FORMAT, "version": 2, "steps": [{"id": 1}]}), "damaged at steps.0"),
}


@pytest.mark.parametrize("command", ["lens", "replay", "check"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_that_is_no_session_is_refused_and_left_as_it_is(
    workbench: Run, tmp_path: Path, command: str, damage: str
) -> None:
    file = tmp_path / "s.json"
    content, sentence = DAMAGED[damage]
    file.write_text(content)
    before = file.stat()
    arguments = ("lens", PROMPT, "--session", file) if command == "lens" else (command, file)
    workbench(*arguments).is_refused(sentence, str(file))
    assert file.read_text() == content
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_a_session_that_is_not_there_is_refused(workbench: Run, tmp_path: Path) -> None:
    workbench("replay", tmp_path / "none.json").is_refused("there is no session file")
    workbench("check", tmp_path / "none.json").is_refused("there is no session file")
    workbench("check", tmp_path).is_refused("cannot be read")


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lens", "word " * 1000], f"the model reads at most {CONTEXT}"),
        (["lens", PROMPT, "--subject", "Austria"], 'subject "Austria" is not in the prompt'),
        (["lens", PROMPT, "--target", ""], "target is empty"),
        (["lens", PROMPT, "--target", "the", "--foil", "the"], "same token"),
        (["lens", PROMPT, "--chat"], "no chat template"),
        (["lens", PROMPT, "--position", "99"], "there is no token 99"),
        (["lens", PROMPT, "--top-k", "0"], "top-k must be between"),
        (["lens", PROMPT, "--dtype", "int8"], "'int8' is not a dtype"),
        (["lens", PROMPT, "--device", "abacus"], "no device 'abacus'"),
        (["continue", PROMPT, "--tokens", "0"], "must be at least 1"),
        (["continue", "word " * 1000], f"the model reads at most {CONTEXT}"),
    ],
)
def test_input_that_makes_no_sense_gets_one_sentence(
    workbench: Run, tiny: Path, arguments: list[str], sentence: str
) -> None:
    workbench(*arguments, "--model", tiny).is_refused(sentence)


@pytest.mark.parametrize("prompt", [[], [""], [" \n"]])
def test_an_empty_prompt_is_refused_before_a_model_is_fetched_for_it(
    workbench: Run, monkeypatch: pytest.MonkeyPatch, prompt: list[str]
) -> None:
    monkeypatch.delattr("workbench.models.store.catalog.resolve")
    workbench("lens", *prompt).is_refused("prompt is empty")
    workbench("continue", *prompt).is_refused("prompt is empty")


def test_a_failed_step_is_json_and_its_sentence_still_on_stderr(workbench: Run, tiny: Path) -> None:
    outcome = workbench("lens", PROMPT, "--subject", "no", "--model", tiny, "--json")
    assert outcome.code == 2
    assert Step.model_validate_json(outcome.out).status == "failed"
    assert len(outcome.err.splitlines()) == 1
    assert "not in the prompt" in outcome.err


def test_a_model_that_nobody_knows_gets_one_sentence(workbench: Run) -> None:
    workbench("lens", PROMPT, "--model", "smollm3").is_refused("'smollm3'", "smollm2-135m")


def test_a_folder_that_is_not_a_model_gets_one_sentence(workbench: Run, tmp_path: Path) -> None:
    workbench("lens", PROMPT, "--model", tmp_path).is_refused("is not a model", "config.json")


def test_truncated_weights_get_one_sentence(workbench: Run, tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    workbench("lens", PROMPT, "--model", folder).is_refused("model.safetensors")


def test_an_argument_that_is_not_text_gets_one_sentence(tiny: Path, tmp_path: Path) -> None:
    session = tmp_path / "s.json"
    command = [*WORKBENCH, "lens", b"caf\xe9 is", "--model", str(tiny), "--json", "--session", str(session)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    Outcome(done.returncode, done.stdout, done.stderr).is_refused("not UTF-8")
    assert not session.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lens", PROMPT, "--target"), "option '--target' requires an argument; "),
        (("lens", PROMPT, "--layr", "3"), "no such option: --layr"),
        (("export", "s.json", "--as", "docx"), "invalid value for '--as': 'docx' is not one of 'csv'"),
        (("report", "s.json"), "missing option '--output' / '-o'; workbench report --help says what there is"),
        (("models", "foo"), "no such command 'foo'; workbench models --help says what there is"),
        (("lens", PROMPT, "--prepend", "sideways"), "invalid value for '--prepend': "),
        (("replay",), "missing argument "),
        (("check", "a", "b"), "got unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_sentence_as_wrong_input_is(workbench: Run, arguments: tuple[str, ...], said: str) -> None:
    outcome = workbench(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"workbench: {said}")
    assert outcome.err.count("\n") == 1
    assert outcome.err.endswith("--help says what there is\n")


def test_a_group_without_a_command_says_what_it_has(workbench: Run) -> None:
    outcome = workbench("models")
    assert outcome.code == 2
    assert outcome.err.startswith("Usage: workbench models")


@pytest.mark.parametrize("arguments", [[], ["open"], [PROMPT]])
def test_the_app_needs_a_terminal(workbench: Run, arguments: list[str]) -> None:
    workbench(*arguments).is_refused("needs a terminal", "workbench lens")


def test_replay_needs_a_terminal(workbench: Run, recorded: Path) -> None:
    workbench("replay", recorded).is_refused("needs a terminal", f"workbench check {recorded}")


# The program itself


def test_help_names_every_command(workbench: Run) -> None:
    outcome = workbench("--help")
    assert outcome.code == 0
    assert outcome.err == ""
    listed = {line.split()[0] for line in outcome.out.partition("Commands:")[2].splitlines() if line.strip()}
    assert listed >= {"open", "replay", "lens", "continue", "check", "models", "doctor"}


def test_the_shell_completion_that_help_offers_is_there(workbench: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # the tests may be run by none
    outcome = workbench("--show-completion")
    assert "No such option" not in outcome.err
    assert outcome.code == 0


def test_the_version_is_printed(workbench: Run) -> None:
    assert workbench("--version") == Outcome(0, f"{__version__}\n", "")


def test_the_doctor_lists_what_there_is(workbench: Run, own_home: Path) -> None:
    outcome = workbench("doctor")
    assert outcome.code == 0
    for word in ("python", "torch", "transformers", "smollm2-135m", "terminal"):
        assert word in outcome.out


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the app is opened with, in place of the app."""
    apps: list[dict[str, Any]] = []

    def screen(load: LoadRequest, case: Case | None, recording: SessionFile | None, **given: Any) -> None:
        apps[-1] |= {"load": load, "case": case, "recording": recording, **given}

    class App:
        def __init__(self, make: Callable[[], None], fields: dict[str, str] | None, mouse: bool) -> None:
            apps.append({"fields": fields, "mouse": mouse})
            make()

        def start(self) -> None:
            apps[-1]["started"] = True

    monkeypatch.setattr("screens.app.WorkbenchApp", App)
    monkeypatch.setattr("screens.live.LiveScreen", screen)
    monkeypatch.setattr(opening, "need_terminal", lambda _: None)
    return apps


@pytest.mark.parametrize("command", [[], ["open"]])
def test_a_prompt_without_a_command_opens_the_app_on_it(
    workbench: Run, opened: list[dict[str, Any]], command: list[str]
) -> None:
    outcome = workbench(*command, PROMPT, "--target", "Canberra", "--model", "other", "--dtype", "float32")
    assert outcome == Outcome(0, "", "")
    (app,) = opened
    assert app["case"] == Case(prompt=PROMPT, target="Canberra")
    assert app["load"] == LoadRequest(model="other", dtype="float32")
    assert app["fields"] == {"prompt": PROMPT, "subject": "", "target": "Canberra", "foil": ""}  # there at once
    assert app["started"]


def test_a_session_is_opened_to_be_continued(
    workbench: Run, opened: list[dict[str, Any]], recorded: Path, tmp_path: Path
) -> None:
    assert workbench("--session", recorded).code == 0
    assert workbench("--session", tmp_path / "new.json").code == 0
    assert opened[0]["recording"].session == load_session(recorded)
    assert opened[1]["recording"].path == tmp_path / "new.json"
    assert opened[0]["fields"] is None  # what is typed before it is there may be meant for a pane
    assert opened[1]["fields"] is not None


# Checking


@pytest.fixture
def recorded(workbench: Run, tiny: Path, tmp_path: Path) -> Path:
    """A session of a lens, a failed step and a continuation."""
    file = tmp_path / "recorded.json"
    for arguments in (
        ["lens", PROMPT, "--target", "the"],
        ["lens", PROMPT, "--subject", "no"],
        ["continue", PROMPT],
    ):
        workbench(*arguments, "--model", tiny, "--session", file)
    return file


def test_a_fresh_session_replays_as_it_was_recorded(workbench: Run, recorded: Path) -> None:
    before = recorded.read_bytes()
    outcome = workbench("check", recorded)
    assert outcome.code == 0, outcome
    assert "nothing drifted" in outcome.out
    assert [word for word in outcome.out.split() if word in ("same", "skipped")] == ["same", "skipped", "same"]
    assert recorded.read_bytes() == before


def test_a_number_that_was_changed_is_found_and_named(workbench: Run, recorded: Path) -> None:
    data = json.loads(recorded.read_text())
    data["steps"][0]["result"]["columns"][-1]["entropy"][1] += 0.05
    recorded.write_text(json.dumps(data))
    outcome = workbench("check", recorded)
    assert outcome.code == 1
    assert "drifted" in outcome.out
    assert "entropy[1]" in outcome.out
    assert workbench("check", recorded, "--tolerance", "0.5").code == 0
    report = json.loads(workbench("check", recorded, "--json").out)
    assert [step["outcome"] for step in report["steps"]] == ["drifted", "skipped", "same"]


def test_a_session_with_nothing_to_compare_does_not_pass(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    workbench("lens", PROMPT, "--subject", "no", "--model", tiny, "--session", file)
    outcome = workbench("check", file)
    assert outcome.code == 1
    assert "no step" in outcome.out
    file.write_text(Session().model_dump_json())
    workbench("check", file).is_refused("model")
    workbench("replay", file).is_refused("no steps")


def test_a_model_that_went_away_is_named(workbench: Run, recorded: Path, tmp_path: Path) -> None:
    data = json.loads(recorded.read_text())
    data["model"]["name"] = str(tmp_path / "gone")
    recorded.write_text(json.dumps(data))
    workbench("check", recorded).is_refused("gone")


# Cancelling

SLOW = """
    import dataclasses, sys, time
    from workbench import engine
    from workbench.cli import main
    from workbench.methods.lens import logit_lens
    from workbench.registry import method

    def wait(*_):
        print("in a block", file=sys.stderr, flush=True)
        time.sleep(0.2)

    def slow(model, request, progress):
        for block in model.block_modules:
            block.register_forward_pre_hook(wait)
        for _ in range(100):
            found = logit_lens.run(model, request, progress)
        return found

    engine.method = lambda kind: dataclasses.replace(method(kind), run=slow) if kind == "lens" else method(kind)
    main.main()
"""


@pytest.mark.parametrize("command", ["lens", "check"])
def test_ctrl_c_stops_a_running_job(workbench: Run, tiny: Path, tmp_path: Path, command: str) -> None:
    file = tmp_path / "s.json"
    arguments: list[str | Path] = ["lens", PROMPT, "--model", tiny, "--session", file]
    if command == "check":
        for _ in range(2):
            assert workbench(*arguments).code == 0
        arguments = ["check", file]
    command_line = [sys.executable, "-c", textwrap.dedent(SLOW), *map(str, arguments)]
    with ForkedPopen(
        command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
    ) as child:
        assert child.stderr is not None
        assert any("in a block" in line for line in iter(child.stderr.readline, ""))
        child.send_signal(signal.SIGINT)
        try:
            out, err = child.communicate(timeout=120)
        finally:
            child.kill()
    assert child.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    if command == "lens":
        assert [step.status for step in load_session(file).steps] == ["cancelled"]


def test_ctrl_c_stops_loading(tiny: Path) -> None:
    with Terminal("lens", PROMPT, "--model", str(tiny)) as terminal:
        terminal.wait_for("importing torch", 60)
        terminal.press("\x03")
        assert terminal.wait_for_end() == 130
        assert "Traceback" not in terminal.text
        assert "layer" not in terminal.text
        assert not terminal.screen.cursor.hidden


def test_every_command_but_those_that_open_the_app_leaves_the_terminal_as_it_is() -> None:
    from typer.main import get_command

    from workbench.cli.main import app
    from workbench.early_terminal import NOT_THE_APP, OPENS, opens_app

    command = get_command(app)
    for name, one in command.commands.items():  # type: ignore[attr-defined]
        opens = "from screens." in inspect.getsource(inspect.unwrap(one.callback)) if one.callback else False
        assert opens_app([name]) == (name in OPENS) == opens, name
    options = {option for parameter in command.params for option in parameter.opts}
    assert {*options, "--help"} == NOT_THE_APP
    assert opens_app([])
    assert opens_app(["The capital of Australia is"])


def test_a_session_whose_writer_was_stopped_is_checked_without_the_torn_step_and_that_is_said(
    workbench: Run, tiny: Path, tmp_path: Path
) -> None:
    file = tmp_path / "s.json"
    assert workbench("lens", PROMPT, "--model", tiny, "--session", file).code == 0
    whole = file.read_bytes()
    file.write_bytes(whole.removesuffix(b"\n]}\n") + b',\n{"id": 2, "started"')
    said = workbench("check", file)
    assert said.code == 0
    assert "the 1 complete step is there, that one is not" in " ".join(said.err.split())
