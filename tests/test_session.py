"""Session files: complete after every step, mended after a kill, and honest about what they cannot read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.sessions import recent_sessions
from tests.a_step import MODEL, step
from tests.mutant_sessions import recorded, steps
from workbench import __version__, steplines
from workbench.case import Case
from workbench.errors import SessionError, SessionHeld
from workbench.locking import Lock
from workbench.methods.generation.continuation import ContinueRequest
from workbench.reading import MB
from workbench.session import Session, SessionFile, Step, StepError, environment, load_session
from workbench.steplines import END


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
    first.close()
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
        ('{"format": "lm-workbench-session", "version": 2, "steps": [', "not a complete session file"),
        ('{"format": "something else"}', "not a session of this program"),
        ("[1, 2]", "not a session of this program"),
        ('{"format": "lm-workbench-session", "version": 99}', "version 99"),
        (
            '{"format": "lm-workbench-session", "version": 1, "steps": []}',
            "of version 1 and this program reads version 2; open it with the program that wrote it",
        ),
        ('{"format": "lm-workbench-session", "version": 2, "steps": [{"id": 1}]}', "damaged at steps.0"),
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


KILLER = """
    import os, random, signal, sys, time
    from pathlib import Path
    from tests.a_step import MODEL, step
    from workbench.session import SessionFile

    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    dice = random.Random(seed)
    for number in range(kills):
        path = folder / f"{number // 10}.json"
        reading, writing = os.pipe()
        child = os.fork()  # what a new interpreter would have to import is there already
        if not child:
            file = SessionFile.open(path)
            file.use_model(MODEL)
            while True:
                os.write(writing, b"%d\\n" % file.append(step("x" * 20_000)).id)
        os.close(writing)
        with os.fdopen(reading, "rb") as reports:
            first = reports.readline()
            time.sleep(dice.uniform(0.0, 0.02))
            os.kill(child, signal.SIGKILL)
            last = [first, *reports][-1]
        os.waitpid(child, 0)
        print(path.name, int(last), flush=True)
"""


def killed(folder: Path, kills: int, seed: int) -> Iterator[tuple[Path, int]]:
    """Let programs append steps, ten to a file one after the other, and kill each; yields the file and how many
    steps were reported as saved, before the next one begins."""
    command = [sys.executable, "-c", textwrap.dedent(KILLER), str(folder), str(kills), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as killer:
        assert killer.stdout is not None
        for line in killer.stdout:
            name, reported = line.split()
            yield folder / name, int(reported)
    assert killer.returncode == 0


def assert_no_reported_step_is_lost(folder: Path, kills: int, seed: int) -> None:
    last = dict(killed(folder, kills, seed))  # each program must have found what the one before it had reported
    assert len(last) == kills // 10
    for path, reported in last.items():
        steps = load_session(path).steps
        assert len(steps) in (reported, reported + 1)
        assert [s.id for s in steps] == list(range(1, len(steps) + 1))
        assert all(s.case is not None and s.case.prompt == "x" * 20_000 for s in steps)


def test_a_kill_at_any_moment_loses_no_step_that_was_reported(tmp_path: Path) -> None:
    assert_no_reported_step_is_lost(tmp_path, kills=30, seed=4)


@pytest.mark.soak
def test_a_thousand_kills_lose_no_step_that_was_reported(tmp_path: Path) -> None:
    assert_no_reported_step_is_lost(tmp_path, kills=1000, seed=5)


def stopped_writing(tmp_path: Path, written: int | None = None, zeros: int = 0) -> tuple[Path, int]:
    """A file of two steps, of whose third so many bytes came to the disk; and how many bytes there were to write."""
    path = tmp_path / "s.json"
    path.unlink(missing_ok=True)
    file = SessionFile(path)
    file.use_model(MODEL)
    file.append(step("one"))
    file.append(step("two"))
    before = path.read_bytes()
    file.append(step("three"))
    added = path.read_bytes()[len(before) - len(END) :]
    at = len(before) - len(END)
    torn = before[:at] + added[:written] if written is not None else before
    path.write_bytes(torn + before[len(torn) :] + bytes(zeros))
    return path, len(added)


def test_a_step_that_was_half_written_is_left_out_wherever_its_writer_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of times
    monkeypatch.setattr(steplines, "_sync", lambda _: None)
    _, length = stopped_writing(tmp_path)
    found = set()
    for written in (*range(20), *range(20, length - 20, 7), *range(length - 20, length + 1)):
        path, _ = stopped_writing(tmp_path, written)
        torn = path.read_bytes()
        number = len(load_session(path).steps)
        assert path.read_bytes() == torn  # who only reads leaves it alone
        assert number == 2 + (written >= length - len(END))
        found.add(number)
        file = SessionFile.open(path)
        whole = written in (0, length - 1, length)
        assert (not file.notes) == whole
        assert len(json.loads(path.read_bytes())["steps"]) == number
        assert file.append(step("four")).id == number + 1
        file.close()
        assert [s.case.prompt for s in load_session(path).steps if s.case][:2] == ["one", "two"]
    assert found == {2, 3}


def test_zeros_after_a_half_written_step_are_what_a_power_cut_leaves(tmp_path: Path) -> None:
    path, _ = stopped_writing(tmp_path, 100, zeros=4096)
    assert len(load_session(path).steps) == 2


def test_the_end_of_a_mended_file_is_said_in_one_sentence(tmp_path: Path) -> None:
    path, _ = stopped_writing(tmp_path, 100)
    (note,) = SessionFile.open(path).notes
    assert "stopped while it wrote a step" in note
    assert "2 complete steps are there" in note


def test_damage_in_the_middle_is_not_mended(tmp_path: Path) -> None:
    path, _ = stopped_writing(tmp_path, 0)
    for spoilt in ('"one"', '"two"'):
        content = path.read_text()
        path.write_text(content.replace(spoilt, spoilt[:2]))
        with pytest.raises(SessionError, match="it was left as it is"):
            SessionFile.open(path)
        path.write_text(content)


def counting_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    written: list[int] = []
    real = os.write

    def write(handle: int, data: bytes) -> int:
        written.append(len(data))
        return real(handle, data)

    monkeypatch.setattr(os, "write", write)
    return written


def test_a_step_costs_its_own_length_whatever_came_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SessionFile.open(tmp_path / "s.json")
    file.use_model(MODEL)
    file.append(step())
    inode = (tmp_path / "s.json").stat().st_ino
    written = counting_bytes(monkeypatch)
    for _ in range(300):
        file.append(step())
    length = len(step().model_dump_json())
    assert len(written) == 300
    assert max(written) < length + 20
    assert (tmp_path / "s.json").stat().st_ino == inode
    file.close()
    again = SessionFile.open(tmp_path / "s.json")
    again.use_model(MODEL)  # the same model: the header stays
    again.append(step())
    assert max(written) < length + 20
    assert (tmp_path / "s.json").stat().st_ino == inode
    assert load_session(tmp_path / "s.json") == again.session


def test_a_new_header_is_written_with_all_steps_at_once(tmp_path: Path) -> None:
    path, _ = stopped_writing(tmp_path, 0)
    file = SessionFile.open(path)
    file.use_model(MODEL.model_copy(update={"device": "cuda"}))
    file.append(step("three"))
    read = load_session(path)
    assert read.model is not None
    assert read.model.device == "cuda"
    assert [s.case.prompt for s in read.steps if s.case] == ["one", "two", "three"]


def test_a_session_that_somebody_has_laid_out_anew_is_continued(tmp_path: Path) -> None:
    path, _ = stopped_writing(tmp_path, 0)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    file = SessionFile.open(path)
    file.append(step("three"))
    assert len(load_session(path).steps) == 3


def test_a_full_disk_in_the_middle_of_a_step_leaves_the_file_whole_and_keeps_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = stopped_writing(tmp_path, 0)
    file = SessionFile.open(path)
    file.use_model(MODEL)
    before, real = path.read_bytes(), os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) <= len(END):
            return real(handle, data)
        if len(data) > 200:
            return real(handle, data[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(SessionError, match="No space left"):
            file.append(step("three"))
    assert path.read_bytes() == before
    assert file.append(step("four")).id == 4
    assert [s.case.prompt for s in load_session(path).steps if s.case] == ["one", "two", "three", "four"]


def test_what_could_not_be_written_is_tried_again_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SessionFile.open(tmp_path / "s.json")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(SessionError, match="No space left"):
            file.append(step("one"))
    file.close()
    assert len(load_session(tmp_path / "s.json").steps) == 1


def test_a_file_that_another_program_has_written_to_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    file = SessionFile.open(path)
    file.append(step("one"))
    other = SessionFile(path, load_session(path))  # a program that knows of no lock
    other.append(step("theirs"))
    with pytest.raises(SessionError, match=r"goes on in .*s-2\.json"):
        file.append(step("ours"))
    file.append(step("ours too"))
    assert [s.case.prompt for s in load_session(path).steps if s.case] == ["one", "theirs"]
    assert [s.case.prompt for s in load_session(tmp_path / "s-2.json").steps if s.case] == ["one", "ours", "ours too"]


def test_two_new_sessions_of_the_same_second_do_not_share_a_file(tmp_path: Path) -> None:
    first, second = SessionFile.begin(tmp_path), SessionFile.begin(tmp_path)
    second.path = first.path
    second._lock = Lock(first.path, "the app")
    first.append(step("first"))
    with pytest.raises(SessionError, match="goes on in"):
        second.append(step("second"))
    assert first.path != second.path
    assert [load_session(file.path).steps[0].case for file in (first, second)] == [
        Case(prompt="first"),
        Case(prompt="second"),
    ]


def test_a_name_that_does_not_exist_begins_a_session_and_says_so(tmp_path: Path) -> None:
    file = SessionFile.open(tmp_path / "new" / "s.json")
    assert "a new session begins there" in file.notes[0]
    assert f"the folder {tmp_path / 'new'} was made" in file.notes[1]


def test_a_session_has_one_writer_and_others_are_told_who_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    file = SessionFile.open(path, "the app")
    file.append(step())
    with pytest.raises(SessionHeld, match=rf"recorded by the app \(process {os.getpid()} on "):
        SessionFile.open(path, "a command line")
    assert len(load_session(path).steps) == 1  # reading takes no lock
    beside = SessionFile.beside(path)
    beside.append(step("mine"))
    assert [s.case.prompt for s in load_session(tmp_path / "s-2.json").steps if s.case] == ["a prompt", "mine"]
    beside.close()
    file.close()
    SessionFile.open(path).close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["s-2.json", "s.json"]


APPENDER = """
    import sys
    from pathlib import Path
    from tests.a_step import MODEL, step
    from workbench.session import SessionFile

    for number in range(int(sys.argv[2])):
        file = SessionFile.open(Path(sys.argv[1]), "a command line", lambda _: None)
        file.use_model(MODEL)
        file.append(step(f"{sys.argv[3]} {number}"))
        file.close()
"""


def test_two_programs_that_take_turns_lose_no_step(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    command = [sys.executable, "-c", textwrap.dedent(APPENDER), str(path), "10"]
    both = [subprocess.Popen([*command, name], cwd=Path(__file__).parent.parent) for name in ("this", "that")]
    assert [each.wait(120) for each in both] == [0, 0]
    steps = load_session(path).steps
    assert [s.id for s in steps] == list(range(1, 21))
    assert {s.case.prompt for s in steps if s.case} == {f"{n} {i}" for n in ("this", "that") for i in range(10)}


def test_the_lock_of_a_program_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    path = next(path for path, _ in killed(tmp_path, kills=1, seed=1))
    assert (tmp_path / f".{path.name}.lock").exists()
    file = SessionFile.open(path)
    file.close()


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
        ("erasure", truncated("details", "classes")),
        ("erasure", lambda step: step["result"]["details"]["probed"].reverse()),
        ("erasure", lambda step: step["result"]["details"].update(layers=[])),
        ("erasure", lambda step: step["result"].update(editor="rome")),
        ("erasure", lambda step: step["request"].update(editor="rome")),
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


def test_the_version_in_a_session_is_that_of_the_program_that_runs() -> None:
    assert environment()["lm-workbench"] == __version__, "whatever version pip installed"
