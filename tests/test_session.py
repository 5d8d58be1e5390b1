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
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.case import Case
from workbench.errors import SessionError
from workbench.methods.continuation import ContinuedToken, ContinueRequest, ContinueResult
from workbench.models.info import ModelInfo
from workbench.models.tokens import EncodedCase
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
