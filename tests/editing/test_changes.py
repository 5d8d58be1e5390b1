"""Changes of a whole matrix, and kinds of changes that the queue has never seen: on, off, through a file, refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from tests.test_edits import EDITABLE, digest, edit_info, logits, state_edit, states, weight_edit
from tests.tiny import tiny_loaded
from workbench.editing import changes
from workbench.editing.changes import KINDS, AdapterChange, Codebook, DenseChange, KeyedChange, PromptPrefix, StateMap
from workbench.editing.patches import load_patch, save_model, save_patch
from workbench.editing.queue import Edit, EditInfo
from workbench.errors import InputError

A, D, G, K, P, R, S = "0000000a", "0000000d", "000000ab", "000000ac", "000000ba", "000000cd", "000000ef"


def dense_edit(loaded, name=D, layer=1, factor=0.1):
    delta = factor * torch.randn(loaded.info.d_model, loaded.anatomy.d_mlp, generator=torch.Generator().manual_seed(5))
    return Edit(edit_info(name, "ft-m", name, layer), (DenseChange(layer, delta),))


@pytest.mark.parametrize("architecture", EDITABLE)
def test_a_dense_change_is_added_to_the_down_projection_whatever_its_orientation_and_undone_to_the_bit(architecture):
    loaded = tiny_loaded(architecture)
    original = digest(loaded)
    module, key = loaded.down_projection(1), torch.randn(2, loaded.anatomy.d_mlp)
    with torch.no_grad():
        before = module(key)
        loaded.edits.add(dense_edit(loaded))
        found = module(key) - before
    expected = key @ loaded.edits.get(D).changes[0].delta.T
    assert expected.abs().max() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)
    loaded.edits.add(weight_edit(loaded, R))
    loaded.edits.remove(D)
    loaded.edits.switch(R, False)
    assert digest(loaded) == original


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_size_of_an_edit_is_that_of_all_its_updates_beside_the_matrix(architecture):
    loaded = tiny_loaded(architecture)
    (dense,), (low,) = dense_edit(loaded).changes, weight_edit(loaded, R).changes
    both = Edit(edit_info(D, "ft-m", D, 1), (dense, low))
    total = dense.delta + low.left @ low.right.T
    assert loaded.edits.size(both) == pytest.approx(
        float(total.norm() / loaded.down_projection(1).weight.norm()), rel=1e-5
    )
    assert loaded.edits.size(state_edit(loaded, S)) == 0


def test_every_kind_of_change_goes_through_one_patch(tmp_path):
    loaded, path = tiny_loaded("gpt2"), tmp_path / "all.safetensors"
    key = states(loaded)[2][:, 3]
    book = Codebook(2, key, torch.ones_like(key), torch.tensor([0.5]), torch.tensor([7]))
    low = weight_edit(loaded, K, layer=2).changes[0]
    keyed = KeyedChange(2, low.left, low.right, torch.ones(loaded.anatomy.d_mlp, 2))
    edits = (
        dense_edit(loaded),
        Edit(edit_info(K, "memit", K, 2), (keyed,)),
        weight_edit(loaded, R, layer=0),
        state_edit(loaded, S),
        Edit(edit_info(G, "grace", G, 2), (book,)),
        Edit(edit_info(A, "adapter", A, 1), (AdapterChange(1, torch.ones(48, 2), torch.ones(16, 2), "attn.c_attn"),)),
        Edit(EditInfo(id=P, method="in-context", title=P, layers=()), (PromptPrefix(None, torch.tensor([5, 7])),)),
    )
    assert {type(edit.changes[0]) for edit in edits} == set(KINDS.values())
    save_patch(path, loaded.info.fingerprint, edits)
    for edit in edits:
        loaded.edits.add(edit)
    again = tiny_loaded("gpt2")
    for edit in load_patch(path, again):
        again.edits.add(edit)
    assert [type(edit.changes[0]) for edit in map(again.edits.get, again.edits.active)] == [
        type(edit.changes[0]) for edit in edits
    ]
    assert digest(again) == digest(loaded)
    assert torch.allclose(logits(again), logits(loaded), atol=1e-5)


@pytest.mark.parametrize(
    ("delta", "sentence"),
    [
        (torch.ones(40, 16), "delta is '40 × 16' and should be 16 × 40"),
        (torch.ones(16, 41), "delta is '16 × 41' and should be 16 × 40"),
        (torch.ones(16), "delta is '16' and should be 16 × 40"),
        (torch.full((16, 40), torch.inf), "not finite in delta"),
        (torch.ones(16, 40, dtype=torch.int64), "delta is 'I64'"),
    ],
)
def test_a_dense_change_that_does_not_fit_the_model_is_refused_before_anything_is_applied(tmp_path, delta, sentence):
    loaded, path = tiny_loaded("gpt2"), tmp_path / "bad.safetensors"
    before = digest(loaded)
    save_patch(path, loaded.info.fingerprint, [Edit(edit_info(D, "ft-m", D, 1), (DenseChange(1, delta),))])
    with pytest.raises(InputError, match=sentence):
        load_patch(path, loaded)
    assert digest(loaded) == before


@dataclass(frozen=True, eq=False)
class Shift(StateMap):
    """Adds one vector to every state, as many times as a whole number says."""

    SHAPES = {"by": ("d_model",), "times": ("one",)}
    MOST = {"one": 1}
    DTYPES = {"times": "I64"}

    by: torch.Tensor
    times: torch.Tensor

    def wrong(self, model):
        del model
        return "is turned round" if bool((self.times < 0).any()) else None

    def mapped(self, states):
        return states + self.times * self.by


def shift_edit(by, times):
    return Edit(edit_info(G, "shift", G, 1), (Shift(1, by, times),))


def test_a_kind_of_change_that_queue_and_patches_do_not_know_is_put_on_taken_off_and_read_from_a_file(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(changes.KINDS, "shift", Shift)
    loaded, path = tiny_loaded("llama"), tmp_path / "shift.safetensors"
    before, said = states(loaded), logits(loaded)
    by = torch.arange(loaded.info.d_model).float()
    save_patch(path, loaded.info.fingerprint, [shift_edit(by, torch.tensor([2]))])
    (read,) = load_patch(path, loaded)
    loaded.edits.add(read)
    assert torch.allclose(states(loaded)[1], before[1] + 2 * by)
    assert not torch.allclose(logits(loaded), said, atol=1e-2)
    with pytest.raises(InputError, match="no weights can hold"):
        save_model(tmp_path / "model", loaded)
    loaded.edits.undo()
    assert torch.equal(logits(loaded), said)


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        (torch.tensor([2.0]), "times is 'F32'"),
        (torch.tensor([1, 1]), "times is '2' and should be one"),
        (torch.tensor([-1]), f"change 1 of edit {G} in .* is turned round; make the patch again"),
    ],
)
def test_a_kind_of_change_says_what_its_numbers_must_be(tmp_path, monkeypatch, times, sentence):
    monkeypatch.setitem(changes.KINDS, "shift", Shift)
    loaded, path = tiny_loaded("llama"), tmp_path / "shift.safetensors"
    save_patch(path, loaded.info.fingerprint, [shift_edit(torch.zeros(loaded.info.d_model), times)])
    with pytest.raises(InputError, match=sentence):
        load_patch(path, loaded)


def test_parts_of_one_change_that_disagree_are_refused(tmp_path):
    loaded, path = tiny_loaded("llama"), tmp_path / "book.safetensors"
    keys = torch.zeros(2, loaded.info.d_model)
    book = Codebook(1, keys, keys, torch.ones(3), torch.zeros(2, dtype=torch.int64))
    save_patch(path, loaded.info.fingerprint, [Edit(edit_info(G, "grace", G, 1), (book,))])
    with pytest.raises(InputError, match="radii is '3' and should be 2"):
        load_patch(path, loaded)
