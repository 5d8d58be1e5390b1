"""The queue's requests: what each action does, what it says, and what it refuses."""

from __future__ import annotations

import pytest

from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded
from workbench.editing import advice
from workbench.editing import operations as edit_queue
from workbench.editing.operations import QueueRequest
from workbench.editing.patches import keep_edit
from workbench.errors import InputError, NotConfirmed
from workbench.protocol import silent

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
    assert ask(loaded, "save", path=str(path), confirmed=True).done == f"{said}, in place of the one there"
    other = tiny_loaded("llama")
    result = ask(other, "apply", path=str(path))
    assert names(result) == [(A, True), (B, True)]
    assert digest(other) == digest(loaded)


def test_a_queue_of_more_edits_than_is_commonly_advised_says_so_whatever_is_done_to_it(monkeypatch):
    loaded = with_two()
    assert ask(loaded, "show").checks == ()
    monkeypatch.setattr(advice, "MANY", 1)
    (told,) = ask(loaded, "show").checks
    assert (told.name, told.level) == ("many edits", "warn")
    assert "retrieval, or retraining; not measured on this model yet" in told.text
    assert ask(loaded, "off", edit=A).checks == ()


def test_a_name_without_the_ending_is_a_patch_s_and_the_sentence_says_where_it_went(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = ask(with_two(), "save", path="new/two").done
    assert (
        said
        == f"a patch of 2 edits was saved to {tmp_path}/new/two.safetensors; the folder {tmp_path}/new was made for it"
    )
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["two.safetensors"]


def test_a_whole_model_is_written_only_where_it_is_asked_for(tmp_path):
    said = ask(with_two(), "save-model", path=str(tmp_path / "model")).done
    assert said == f"the whole model with 2 edits was saved into {tmp_path}/model"
    assert (tmp_path / "model" / "README.md").exists()
    assert list((tmp_path / "model").glob("*.safetensors"))


def test_a_patch_that_is_there_is_not_replaced_without_a_yes(tmp_path):
    loaded, path = with_two(), tmp_path / "two.safetensors"
    ask(loaded, "save", path=str(path))
    before = path.read_bytes()
    ask(loaded, "off", edit=B)
    with pytest.raises(NotConfirmed, match=r"two\.safetensors exists and would be replaced"):
        ask(loaded, "save", path=str(tmp_path / "two"))
    assert path.read_bytes() == before
    assert not (tmp_path / "two").exists()
    ask(loaded, "save", path=str(tmp_path / "two"), confirmed=True)
    assert path.read_bytes() != before


def test_what_is_no_patch_is_not_replaced_even_with_a_yes(tmp_path):
    other = tmp_path / "weights.safetensors"
    other.write_bytes(b"mine")
    with pytest.raises(InputError, match="is no patch of this program"):
        ask(with_two(), "save", path=str(other), confirmed=True)
    with pytest.raises(InputError, match="is a folder"):
        ask(with_two(), "save", path=str(tmp_path), confirmed=True)
    with pytest.raises(InputError, match="is a file"):
        ask(with_two(), "save-model", path=str(other), confirmed=True)
    with pytest.raises(InputError, match="is not empty"):
        ask(with_two(), "save-model", path=str(tmp_path), confirmed=True)
    assert other.read_bytes() == b"mine"


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
