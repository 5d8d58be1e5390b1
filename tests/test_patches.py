"""Patches and saved models: what is read back is what was on, and only on the weights it was made for."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.test_edits import digest, logits, state_edit, weight_edit
from tests.tiny import save_tiny, tiny_loaded
from workbench.errors import InputError
from workbench.models.loading import load
from workbench.patches import keep_edit, kept_edit, load_patch, save_model, save_patch


def test_a_patch_applied_elsewhere_gives_the_same_weights_and_the_same_answers(tmp_path):
    here, there = tiny_loaded("llama"), tiny_loaded("llama")
    edits = [weight_edit(here, "a"), state_edit(here, "s"), weight_edit(here, "b", layer=2, seed=1)]
    for edit in edits:
        here.edits.add(edit)
    save_patch(tmp_path / "patch.safetensors", here.info.fingerprint, edits)
    read = load_patch(tmp_path / "patch.safetensors", there.info.fingerprint)
    assert [edit.info for edit in read] == [edit.info for edit in edits]
    for edit in read:
        there.edits.add(edit)
    assert digest(there) == digest(here)
    assert torch.equal(logits(there), logits(here))


def test_a_patch_is_refused_for_other_weights(tmp_path):
    loaded, other = tiny_loaded("llama"), tiny_loaded("llama", seed=1)
    save_patch(tmp_path / "patch.safetensors", loaded.info.fingerprint, [weight_edit(loaded, "a")])
    with pytest.raises(InputError, match=f"is for the weights {loaded.info.fingerprint} and these are"):
        load_patch(tmp_path / "patch.safetensors", other.info.fingerprint)


@pytest.mark.parametrize("content", [b"", b"not a safetensors file at all", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_patch_is_refused_in_a_sentence(tmp_path, content):
    file = tmp_path / "foreign.safetensors"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a patch"):
        load_patch(file, "0")
    assert file.read_bytes() == content


def test_a_patch_that_is_not_there_and_a_folder_are_sentences(tmp_path):
    with pytest.raises(InputError, match="there is no patch"):
        load_patch(tmp_path / "none.safetensors", "0")
    with pytest.raises(InputError, match="is not a patch"):
        load_patch(tmp_path, "0")


def test_a_patch_takes_the_place_of_a_patch_and_of_nothing_else(tmp_path):
    loaded = tiny_loaded("llama")
    patch, other = tmp_path / "patch.safetensors", tmp_path / "model.safetensors"
    for name in ("a", "b"):
        save_patch(patch, loaded.info.fingerprint, [weight_edit(loaded, name)])
    assert [edit.info.id for edit in load_patch(patch, loaded.info.fingerprint)] == ["b"]
    save_file({"weight": torch.zeros(2)}, other)
    for taken in (other, tmp_path):
        with pytest.raises(InputError, match=r"is no patch|is a folder"):
            save_patch(taken, loaded.info.fingerprint, [weight_edit(loaded, "a")])
    assert load_file(other)["weight"].tolist() == [0, 0]
    with pytest.raises(InputError, match="is a file"):
        save_model(other, loaded)


def test_no_edits_make_no_patch(tmp_path):
    with pytest.raises(InputError, match="no edit to save"):
        save_patch(tmp_path / "patch.safetensors", "0", [])


def test_an_edit_kept_in_the_cache_is_found_by_its_id(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))
    loaded = tiny_loaded("llama")
    edit = weight_edit(loaded, "a")
    keep_edit(loaded.info.fingerprint, edit)
    assert torch.equal(kept_edit(loaded.info.fingerprint, "a").changes[0].left, edit.changes[0].left)
    with pytest.raises(InputError, match="there is no patch"):
        kept_edit(loaded.info.fingerprint, "b")


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_saved_model_is_the_edited_one_with_a_card_that_lists_the_edits(tmp_path, architecture):
    source, folder = tmp_path / "source", tmp_path / "edited"
    save_tiny(architecture, source)
    loaded = load(str(source))
    loaded.edits.add(weight_edit(loaded, "abcd1234"))
    loaded.edits.add(weight_edit(loaded, "off", seed=1))
    loaded.edits.switch("off", False)
    save_model(folder, loaded)
    assert digest(load(str(folder))) == digest(loaded)
    card = (folder / "README.md").read_text()
    assert "`abcd1234` rome: L1 abcd1234" in card
    assert "`off`" not in card
    assert loaded.info.fingerprint in card


def test_a_model_is_not_saved_over_something_nor_with_changes_that_no_weight_can_hold(tmp_path):
    loaded = tiny_loaded("llama")
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        save_model(tmp_path, loaded)
    loaded.edits.add(state_edit(loaded, "s"))
    with pytest.raises(InputError, match="no weights can hold"):
        save_model(tmp_path / "new", loaded)
    assert not (tmp_path / "new").exists()
