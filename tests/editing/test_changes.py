"""Changes of a whole matrix, and kinds of changes that the queue has never seen: on, off, through a file, refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from tests.test_edits import EDITABLE, digest, edit_info, logits, state_edit, states, weight_edit
from tests.tiny import tiny_loaded
from workbench.editing import changes
from workbench.editing.changes import KINDS, DenseChange, StateMap
from workbench.editing.patches import load_patch, save_model, save_patch
from workbench.editing.queue import Edit
from workbench.errors import InputError

D, G, R, S = "0000000d", "000000ab", "000000cd", "000000ef"


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
    edits = (dense_edit(loaded), weight_edit(loaded, R, layer=0), state_edit(loaded, S))
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
class Codebook(StateMap):
    """Where a state lies nearer to a key than its radius, the key's value stands in its place (as GRACE does)."""

    SHAPES = {"keys": ("entries", "d_model"), "values": ("entries", "d_model"), "radii": ("entries",)}

    keys: torch.Tensor
    values: torch.Tensor
    radii: torch.Tensor

    def mapped(self, states):
        distances = torch.cdist(states, self.keys.expand(len(states), -1, -1))
        nearest = distances.argmin(dim=-1)
        hit = distances.gather(-1, nearest[..., None]) <= self.radii[nearest][..., None]
        return torch.where(hit, self.values[nearest], states)


def test_a_kind_of_change_that_queue_and_patches_do_not_know_is_put_on_taken_off_and_read_from_a_file(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(changes.KINDS, "codebook", Codebook)
    loaded, path = tiny_loaded("llama"), tmp_path / "book.safetensors"
    before, said = states(loaded), logits(loaded)
    value = torch.full((1, loaded.info.d_model), 3.0)
    edit = Edit(edit_info(G, "grace", G, 1), (Codebook(1, before[1][:, 2], value, torch.tensor([0.01])),))
    save_patch(path, loaded.info.fingerprint, [edit])
    (read,) = load_patch(path, loaded)
    loaded.edits.add(read)
    after = states(loaded)
    assert torch.equal(after[1][:, 2], value)
    assert torch.equal(after[1][:, [0, 1, 3, 4]], before[1][:, [0, 1, 3, 4]])
    assert not torch.allclose(logits(loaded), said, atol=1e-2)
    with pytest.raises(InputError, match="no weights can hold"):
        save_model(tmp_path / "model", loaded)
    loaded.edits.undo()
    assert torch.equal(logits(loaded), said)


def test_a_codebook_whose_tensors_disagree_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(changes.KINDS, "codebook", Codebook)
    loaded, path = tiny_loaded("llama"), tmp_path / "book.safetensors"
    keys = torch.zeros(2, loaded.info.d_model)
    edit = Edit(edit_info(G, "grace", G, 1), (Codebook(1, keys, keys, torch.ones(3)),))
    save_patch(path, loaded.info.fingerprint, [edit])
    with pytest.raises(InputError, match="radii is '3' and should be 2"):
        load_patch(path, loaded)
