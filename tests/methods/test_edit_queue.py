"""The queue's requests: what each action does, what it says, and what it refuses."""

from __future__ import annotations

import pytest

from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded
from workbench.errors import InputError
from workbench.methods import edit_queue
from workbench.methods.base import silent
from workbench.methods.edit_queue import QueueRequest
from workbench.patches import keep_edit

A, B = "0000000a", "0000000b"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path / "home"))


def ask(loaded, action, **fields):
    return edit_queue.run(loaded, QueueRequest(action=action, **fields), silent)


def with_two():
    loaded = tiny_loaded("llama")
    for name in (A, B):
        edit = weight_edit(loaded, name, seed=int(name, 16))
        loaded.edits.add(edit)
        keep_edit(loaded.info.fingerprint, edit)
    return loaded


def names(result):
    return [(entry.info.id, entry.on) for entry in result.queue.entries]


def test_every_action_does_what_it_says():
    loaded = with_two()
    original = tiny_loaded("llama")
    assert names(ask(loaded, "off", edit=A)) == [(A, False), (B, True)]
    assert names(ask(loaded, "move", edit=B, by=-1)) == [(B, True), (A, False)]
    assert names(ask(loaded, "on", edit=A)) == [(B, True), (A, True)]
    assert names(ask(loaded, "remove", edit=B)) == [(A, True)]
    assert names(ask(loaded, "undo")) == [(B, True), (A, True)]
    assert names(ask(loaded, "redo")) == [(A, True)]
    result = ask(loaded, "bypass")
    assert result.queue.bypassed
    assert digest(loaded) == digest(original)
    assert not ask(loaded, "compare").queue.bypassed
    assert digest(loaded) != digest(original)
    assert ask(loaded, "show").done == ""


def test_a_patch_is_saved_and_applied(tmp_path):
    loaded, path = with_two(), tmp_path / "two.safetensors"
    said = ask(loaded, "save", path=str(path)).done
    assert said == f"a patch of 2 edits was saved to {path}"
    assert ask(loaded, "save", path=str(path)).done == f"{said}, in place of the one there"
    other = tiny_loaded("llama")
    result = ask(other, "apply", path=str(path))
    assert names(result) == [(A, True), (B, True)]
    assert digest(other) == digest(loaded)


def test_a_path_without_the_ending_saves_the_whole_model(tmp_path):
    ask(with_two(), "save", path=str(tmp_path / "model"))
    assert (tmp_path / "model" / "README.md").exists()
    assert list((tmp_path / "model").glob("*.safetensors"))


def test_a_queue_is_restored_from_what_was_kept():
    loaded = with_two()
    ask(loaded, "off", edit=A)
    entries = loaded.edits.entries
    again = tiny_loaded("llama")
    assert names(ask(again, "restore", entries=entries)) == [(A, False), (B, True)]
    assert digest(again) == digest(loaded)


@pytest.mark.parametrize(
    ("action", "fields", "sentence"),
    [
        ("on", {}, "by its id"),
        ("on", {"edit": "zz"}, "no edit zz"),
        ("save", {"path": " "}, "name a file"),
        ("apply", {"path": "nowhere.safetensors"}, "there is no patch"),
        ("redo", {}, "nothing to redo"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(action, fields, sentence):
    loaded = with_two()
    before = digest(loaded)
    with pytest.raises(InputError, match=sentence):
        ask(loaded, action, **fields)
    assert digest(loaded) == before
