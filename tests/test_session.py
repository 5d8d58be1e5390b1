"""Session files: complete after every step, and honest about what they cannot read."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.sessions import recent_sessions
from tests.mutant_sessions import recorded, steps
from workbench.case import Case
from workbench.errors import SessionError
from workbench.methods.continuation import ContinuedToken, ContinueRequest, ContinueResult
from workbench.models.info import ModelInfo
from workbench.models.tokens import EncodedCase
from workbench.reading import MB
from workbench.session import Session, SessionFile, Step, StepError, load_session

MODEL = ModelInfo(
    name="tiny",
    architecture="llama",
    fingerprint="0123456789abcdef",
    parameters=1000,
    layers=2,
    d_model=16,
    vocabulary=300,
    context=64,
    dtype="float32",
    device="cpu",
    attention_kernel="sdpa",
    chat_template=False,
)


def step(prompt: str = "a prompt", text: str = " and so on") -> Step:
    encoded = EncodedCase(
        ids=(1, 2),
        texts=("a", " prompt"),
        in_front=0,
        behind=0,
        starts_bare=True,
        subject=None,
        target=None,
        foil=None,
        notes=(),
    )
    token = ContinuedToken(text=text, probability=0.5, runner_up="x", runner_up_probability=0.25)
    return Step(
        started=datetime(2026, 1, 2, tzinfo=UTC),
        seconds=0.1,
        status="done",
        request=ContinueRequest(case=Case(prompt=prompt)),
        result=ContinueResult(encoded=encoded, generated=(token,), text=text),
    )


def test_a_session_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = SessionFile(tmp_path / "s.json")
    file.use_model(MODEL)
    file.append(step("one"))
    file.append(step("two").model_copy(update={"status": "failed", "error": StepError(kind="E", message="no")}))
    read = load_session(tmp_path / "s.json")
    assert read == file.session
    assert [s.id for s in read.steps] == [1, 2]
    assert isinstance(read.steps[0].request, ContinueRequest)


@given(st.text(), st.text())
def test_any_text_survives_the_file(prompt: str, text: str) -> None:
    written = step(prompt.encode("utf-8", "replace").decode(), text.encode("utf-8", "replace").decode())
    assert Step.model_validate_json(written.model_dump_json()) == written


def test_continuing_a_session_keeps_its_steps(tmp_path: Path) -> None:
    first = SessionFile(tmp_path / "s.json")
    first.use_model(MODEL)
    first.append(step("one"))
    again = SessionFile.open(tmp_path / "s.json")
    again.use_model(MODEL)
    assert again.append(step("two")).id == 2
    assert [s.case.prompt for s in load_session(tmp_path / "s.json").steps if s.case] == ["one", "two"]


def test_no_file_appears_before_the_first_step(tmp_path: Path) -> None:
    file = SessionFile(tmp_path / "s.json")
    file.use_model(MODEL)
    assert not (tmp_path / "s.json").exists()


def test_a_session_of_another_model_is_not_continued(tmp_path: Path) -> None:
    file = SessionFile(tmp_path / "s.json")
    file.use_model(MODEL)
    file.append(step())
    with pytest.raises(SessionError, match="was recorded with tiny"):
        file.use_model(MODEL.model_copy(update={"fingerprint": "f" * 16}))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not a complete session file"),
        ('{"format": "lm-workbench-session", "version": 1, "steps": [', "not a complete session file"),
        ('{"format": "something else"}', "not a session of this program"),
        ("[1, 2]", "not a session of this program"),
        ('{"format": "lm-workbench-session", "version": 99}', "version 99"),
        ('{"format": "lm-workbench-session", "version": 1, "steps": [{"id": 1}]}', "damaged at steps.0"),
    ],
)
def test_a_file_that_is_not_a_session_gets_a_sentence_and_is_left_alone(
    tmp_path: Path, content: str, sentence: str
) -> None:
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(SessionError, match=sentence) as caught:
        SessionFile.open(path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == content


def test_bytes_that_are_no_text_get_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SessionError, match="not UTF-8 text"):
        load_session(tmp_path / "s.json")


def test_what_could_not_be_written_is_written_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SessionFile(tmp_path / "s.json")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SessionError, match="No space left"):
            file.append(step("one"))
    assert list(tmp_path.iterdir()) == []
    file.append(step("two"))
    assert len(load_session(tmp_path / "s.json").steps) == 2


def test_an_infinite_number_survives(tmp_path: Path) -> None:
    odd = step()
    assert odd.result is not None
    written = odd.model_copy(update={"seconds": float("inf")})
    assert Step.model_validate_json(written.model_dump_json()).seconds == float("inf")


WRITER = """
    import sys
    from pathlib import Path
    from tests.test_session import MODEL, step
    from workbench.session import SessionFile

    file = SessionFile(Path(sys.argv[1]))
    file.use_model(MODEL)
    while True:
        file.append(step("x" * 2000))
        print(len(file.session.steps), flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_at_any_moment_leaves_a_complete_file(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "s.json"
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "1\n"
        time.sleep(random.Random(seed).uniform(0.0, 0.15))
        writer.send_signal(signal.SIGKILL)
        printed = [1, *(int(line) for line in writer.stdout if line.endswith("\n"))]
    read = load_session(path)
    assert len(read.steps) >= printed[-1]
    assert all(s.case is not None and len(s.case.prompt) == 2000 for s in read.steps)


def test_a_session_s_schema_names_every_method() -> None:
    schema = json.dumps(Session.model_json_schema())
    assert '"lens"' in schema
    assert '"continue"' in schema


def change_step(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the first step of a file as somebody would who does not know this program."""
    data = json.loads(path.read_text())
    change(data["steps"][0])
    path.write_text(json.dumps(data))


def truncated(*place: str | int) -> Callable[[dict[str, Any]], object]:
    """A change that takes the last entry of a list away."""

    def change(step: dict[str, Any]) -> None:
        found: Any = step["result"]
        for key in place:
            found = found[key]
        found.pop()

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lens", truncated("encoded", "texts")),
        ("lens", truncated("columns")),
        ("lens", truncated("columns", 0, "top_tokens")),
        ("lens", truncated("columns", 0, "top_tokens", 1)),
        ("lens", truncated("columns", 2, "kl")),
        ("lens", truncated("columns", 2, "target", "rank")),
        ("lens", lambda step: step["result"]["columns"][0].update(foil=None)),
        ("lens", lambda step: step["result"].update(layers=10**17)),
        ("lens", lambda step: step.update(started="0001-01-01T00:00:00+14:00")),
        ("lens", lambda step: step["request"].update(kind="continue")),
        ("attribution", truncated("scores")),
        ("attribution", lambda step: step["result"].update(position=99)),
        ("attribution", lambda step: step["result"].update(attributed=[3, 99])),
        ("trace", truncated("grids", 0, "values")),
        ("trace", truncated("grids", 1, "exact", 0)),
        ("trace", lambda step: step["result"].update(grids=[])),
        ("trace", lambda step: step["result"]["grids"][0]["peak"].update(token=-1)),
        ("trace-facts", truncated("effects", 0, "mean")),
        ("rome", truncated("before")),
        ("rome", lambda step: step["result"]["queue"]["entries"].append(step["result"]["queue"]["entries"][0])),
        ("rome", lambda step: step["result"]["edit"].update(id="../../outside")),
        ("suite", truncated("suite", "facts")),
        ("suite", lambda step: step["result"]["scores"][0].update(score=float("1e300"))),
        ("cot", truncated("candidates")),
        ("cot", truncated("sentences")),
        ("cot", truncated("outcomes", 0, "probabilities")),
        ("erasure", truncated("classes")),
        ("erasure", lambda step: step["result"]["probed"].reverse()),
        ("erasure", lambda step: step["result"].update(layers=[])),
    ],
)
def test_a_result_whose_parts_do_not_fit_together_is_refused_with_its_place(
    tmp_path: Path, name: str, change: Callable[[dict[str, Any]], object]
) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(recorded(name))
    load_session(path)
    change_step(path, change)
    with pytest.raises(SessionError, match=r"damaged at steps\.0") as caught:
        load_session(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", steps())
def test_what_every_method_finds_is_read_back(tmp_path: Path, name: str) -> None:
    (tmp_path / "s.json").write_bytes(recorded(name))
    assert load_session(tmp_path / "s.json").steps[0].result == steps()[name][1]


@pytest.mark.parametrize("ids", [(1, 1), (2, 1)])
def test_steps_are_numbered_in_order(tmp_path: Path, ids: tuple[int, int]) -> None:
    data = json.loads(recorded("lens", "continue"))
    for step_, id_ in zip(data["steps"], ids, strict=True):
        step_["id"] = id_
    (tmp_path / "s.json").write_text(json.dumps(data))
    with pytest.raises(SessionError, match=f"step {ids[1]} comes after {ids[0]}"):
        load_session(tmp_path / "s.json")


def test_a_bad_file_is_one_line_in_the_list_of_sessions(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_bytes(recorded("lens"))
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(100 * MB)
    listed = {found.path.stem: found.summary for found in recent_sessions(tmp_path)}
    assert listed["good"].startswith("The capital of Australia is · 1 step")
    for name, why in {
        "dangling": "there is no session file",
        "deep": "nested more than 64 deep",
        "folder": "it is a folder",
        "pipe": "it is a pipe",
        "huge": "it has 100 MB and at most 64 are read",
    }.items():
        assert why in listed[name]
