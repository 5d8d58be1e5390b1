"""Patches and saved models: what is read back is what was on, and only on the weights it was made for."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.test_edits import digest, logits, state_edit, weight_edit
from tests.tiny import save_tiny, tiny_loaded
from workbench.editing.changes import WeightChange
from workbench.editing.patches import keep_edit, kept_edit, load_patch, save_model, save_patch
from workbench.editing.queue import Edit
from workbench.errors import InputError
from workbench.loading import load

A, B, S = "aaaaaaaa", "bbbbbbbb", "00000005"


def test_a_patch_applied_elsewhere_gives_the_same_weights_and_the_same_answers(tmp_path):
    here, there = tiny_loaded("llama"), tiny_loaded("llama")
    edits = [weight_edit(here, A), state_edit(here, S), weight_edit(here, B, layer=2, seed=1)]
    for edit in edits:
        here.edits.add(edit)
    save_patch(tmp_path / "patch.safetensors", here.info.fingerprint, edits)
    read = load_patch(tmp_path / "patch.safetensors", there)
    assert [edit.info for edit in read] == [edit.info for edit in edits]
    for edit in read:
        there.edits.add(edit)
    assert digest(there) == digest(here)
    assert torch.equal(logits(there), logits(here))


def test_a_patch_is_refused_for_other_weights(tmp_path):
    loaded, other = tiny_loaded("llama"), tiny_loaded("llama", seed=1)
    save_patch(tmp_path / "patch.safetensors", loaded.info.fingerprint, [weight_edit(loaded, A)])
    with pytest.raises(InputError, match=f"is for the weights {loaded.info.fingerprint} and these are"):
        load_patch(tmp_path / "patch.safetensors", other)


@pytest.mark.parametrize("content", [b"", b"not a safetensors file at all", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_patch_is_refused_in_a_sentence(tmp_path, content):
    file = tmp_path / "foreign.safetensors"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a patch"):
        load_patch(file, tiny_loaded("llama"))
    assert file.read_bytes() == content


def test_a_patch_that_is_not_there_and_a_folder_are_sentences(tmp_path):
    with pytest.raises(InputError, match="there is no patch"):
        load_patch(tmp_path / "none.safetensors", tiny_loaded("llama"))
    with pytest.raises(InputError, match="holds no LoRA adapter"):
        load_patch(tmp_path, tiny_loaded("llama"))


def test_a_patch_takes_the_place_of_a_patch_and_of_nothing_else(tmp_path):
    loaded = tiny_loaded("llama")
    patch, other = tmp_path / "patch.safetensors", tmp_path / "model.safetensors"
    for name in (A, B):
        save_patch(patch, loaded.info.fingerprint, [weight_edit(loaded, name)])
    assert [edit.info.id for edit in load_patch(patch, loaded)] == [B]
    save_file({"weight": torch.zeros(2)}, other)
    for taken in (other, tmp_path):
        with pytest.raises(InputError, match=r"is no patch|is a folder"):
            save_patch(taken, loaded.info.fingerprint, [weight_edit(loaded, A)])
    assert load_file(other)["weight"].tolist() == [0, 0]
    with pytest.raises(InputError, match="is a file"):
        save_model(other, loaded)


def test_no_edits_make_no_patch(tmp_path):
    with pytest.raises(InputError, match="no edit to save"):
        save_patch(tmp_path / "patch.safetensors", "0", [])


def test_an_edit_kept_in_the_cache_is_found_by_its_id(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))
    loaded = tiny_loaded("llama")
    edit = weight_edit(loaded, A)
    keep_edit(loaded.info.fingerprint, edit)
    assert torch.equal(kept_edit(loaded, A).changes[0].left, edit.changes[0].left)
    with pytest.raises(InputError, match="there is no patch"):
        kept_edit(loaded, B)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_saved_model_is_the_edited_one_with_a_card_that_lists_the_edits(tmp_path, architecture):
    source, folder = tmp_path / "source", tmp_path / "edited"
    save_tiny(architecture, source)
    loaded = load(str(source))
    loaded.edits.add(weight_edit(loaded, "abcd1234"))
    loaded.edits.add(weight_edit(loaded, B, seed=1))
    loaded.edits.switch(B, False)
    save_model(folder, loaded)
    assert digest(load(str(folder))) == digest(loaded)
    card = (folder / "README.md").read_text()
    assert "`abcd1234` rome: L1 abcd1234" in card
    assert f"`{B}`" not in card
    assert loaded.info.fingerprint in card


def test_a_model_is_not_saved_over_something_nor_with_changes_that_no_weight_can_hold(tmp_path):
    loaded = tiny_loaded("llama")
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        save_model(tmp_path, loaded)
    loaded.edits.add(state_edit(loaded, S))
    with pytest.raises(InputError, match="no weights can hold"):
        save_model(tmp_path / "new", loaded)
    assert not (tmp_path / "new").exists()


def described(path, change):
    """The patch in a file with its list of edits, its tensors and its metadata as ``change`` leaves them."""
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    edits = json.loads(metadata["edits"])
    change(edits, tensors)
    save_file(tensors, path, metadata | {"edits": json.dumps(edits)})


def put(place, key, value):
    """A change of one entry of the first edit, or of its first change."""

    def change(edits, tensors):
        {"edit": edits[0]["info"], "change": edits[0]["changes"][0], "tensor": tensors}[place][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("edit", "id", "../../outside"), "edits.0.info.id"),
        (put("edit", "id", "AAAAAAAA"), "edits.0.info.id"),
        (put("change", "layer", -1), "is for layer -1, and the model has 3"),
        (put("change", "layer", 99), "is for layer 99, and the model has 3"),
        (put("change", "layer", 0), "changes other layers than it says"),
        (put("change", "kind", "prompt"), "of the kind 'prompt', which this program does not know"),
        (put("change", "kind", "state"), "does not fit the model|lacks its tensor"),
        (put("tensor", "0.0.left", torch.ones(1, 1)), "left is '1 × 1' and should be 16 × rank"),
        (put("tensor", "0.0.left", torch.ones(16)), "left is '16' and should be 16 × rank"),
        (put("tensor", "0.0.right", torch.ones(40, 2)), "right is '40 × 2' and should be 40 × 1"),
        (put("tensor", "0.0.right", torch.ones(16, 1)), "right is '16 × 1' and should be 40 × 1"),
        (put("tensor", "0.0.left", torch.ones(16, 1, dtype=torch.int64)), "left is 'I64'"),
        (put("tensor", "0.0.left", torch.full((16, 1), float("nan"))), "not finite in left"),
        (put("tensor", "0.1.left", torch.ones(1)), "holds '0.1.left', which is of none of its edits"),
        (lambda edits, tensors: tensors.pop("0.0.right"), "lacks its tensor right"),
        (lambda edits, tensors: edits.clear(), "list of edits is wrong at edits"),
        (lambda edits, tensors: edits.append(edits[0]), "two edits of the same id"),
        (lambda edits, tensors: edits[0].pop("changes"), "edits.0.changes"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_before_anything_is_applied(tmp_path, change, sentence):
    loaded = tiny_loaded("llama")
    path, before = tmp_path / "patch.safetensors", digest(loaded)
    save_patch(path, loaded.info.fingerprint, [weight_edit(loaded, A)])
    described(path, change)
    with pytest.raises(InputError, match=sentence) as caught:
        load_patch(path, loaded)
    assert "\n" not in str(caught.value)
    assert digest(loaded) == before


@pytest.mark.parametrize("id_", ["../outside", "aaaaaaaa/../../x", "", "AAAAAAAA", "aaaaaaaaa", "aaaaaaaa\n"])
def test_no_edit_is_kept_or_looked_for_outside_the_cache(tmp_path, monkeypatch, id_):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path / "home"))
    loaded = tiny_loaded("llama")
    with pytest.raises(InputError, match="not the id of an edit"):
        keep_edit(loaded.info.fingerprint, weight_edit(loaded, id_))
    with pytest.raises(InputError, match="not the id of an edit"):
        kept_edit(loaded, id_)
    assert list(tmp_path.iterdir()) == []


def test_edits_whose_sum_overflows_are_refused_and_the_weights_stay(tmp_path):
    loaded = tiny_loaded("llama")
    before, huge = digest(loaded), weight_edit(loaded, A)
    change = WeightChange(1, huge.changes[0].left * 1e30, huge.changes[0].right * 1e30)
    with pytest.raises(InputError, match="weights of layer 1 are not finite"):
        loaded.edits.add(Edit(huge.info, (change,)))
    assert digest(loaded) == before
    assert loaded.edits.entries == ()


def test_a_pipe_is_no_patch(tmp_path):
    os.mkfifo(tmp_path / "p.safetensors")
    with pytest.raises(InputError, match="is not a patch: it is a pipe"):
        load_patch(tmp_path / "p.safetensors", tiny_loaded("llama"))
