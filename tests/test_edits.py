"""The edit queue: any order, any switch, and always the way back to the very same bits."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_loaded
from workbench.editing.changes import StateChange, WeightChange
from workbench.editing.queue import Edit, EditInfo
from workbench.errors import Cancelled, InputError
from workbench.models.anatomy import tensor_of

IDS = torch.tensor([[5, 17, 200, 3, 42]])
EDITABLE = tuple(name for name in ARCHITECTURES if name != "mixtral")

every_editable = pytest.mark.parametrize("architecture", EDITABLE)


def digest(loaded):
    """A hash of all weights, so that one bit counts."""
    found = hashlib.sha256()
    for name, weight in sorted(loaded.hf.state_dict().items()):
        found.update(name.encode())
        found.update(weight.contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def logits(loaded):
    with torch.no_grad():
        return loaded.hf(IDS).logits


def edit_info(name, method, title, layer):
    """Unchecked, as short names read better here than the eight hex digits that files must have."""
    return EditInfo.model_construct(id=name, method=method, title=title, layers=(layer,))


def weight_edit(loaded, name, layer=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(loaded.info.d_model, 1, generator=generator)
    right = torch.randn(loaded.anatomy.d_mlp, 1, generator=generator)
    info = edit_info(name, "rome", f"L{layer} {name}", layer)
    return Edit(info, (WeightChange(layer, left, right),))


def state_edit(loaded, name, layer=1, rank=1):
    d, generator = loaded.info.d_model, torch.Generator().manual_seed(7)
    parts = [torch.randn(d, rank, generator=generator) for _ in range(2)]
    shifts = [torch.randn(d, generator=generator) for _ in range(2)]
    return Edit(edit_info(name, "leace", name, layer), (StateChange(layer, *parts, *shifts),))


@every_editable
def test_a_weight_change_adds_left_times_right_to_the_down_projection_whatever_its_orientation(architecture):
    loaded = tiny_loaded(architecture)
    edit = weight_edit(loaded, "a")
    (change,) = edit.changes
    seen = {}
    module = loaded.down_projection(1)
    handle = module.register_forward_hook(lambda _m, args, output: seen.update(key=args[0], value=output))
    logits(loaded)
    before = seen["value"].clone()
    key = seen["key"].clone()
    loaded.edits.add(edit)
    with torch.no_grad():
        after = module(key)
    handle.remove()
    expected = (key @ change.right) @ change.left.T
    assert expected.abs().max() > 0.1
    assert torch.allclose(after - before, expected, atol=1e-4)


@every_editable
def test_with_every_edit_off_the_weights_are_bit_for_bit_the_original_ones(architecture):
    loaded = tiny_loaded(architecture)
    original = digest(loaded)
    for number in range(3):
        loaded.edits.add(weight_edit(loaded, f"e{number}", layer=number % loaded.info.layers, seed=number))
    assert digest(loaded) != original
    for number in range(3):
        loaded.edits.switch(f"e{number}", False)
    assert digest(loaded) == original


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_after_two_hundred_random_operations_undoing_gives_the_original_bits(dtype):
    loaded = tiny_loaded("gpt2", dtype=dtype)
    original, choose = digest(loaded), random.Random(3)
    loaded.edits.add(weight_edit(loaded, "e0"))
    for number in range(1, 200):
        names = [entry.info.id for entry in loaded.edits.entries]
        operation = choose.choice(("add", "switch", "move", "remove", "bypass")) if names else "add"
        if operation == "add":
            loaded.edits.add(weight_edit(loaded, f"e{number}", layer=choose.randrange(3), seed=number))
        elif operation == "switch":
            loaded.edits.switch(choose.choice(names), choose.random() < 0.5)
        elif operation == "move":
            loaded.edits.move(choose.choice(names), choose.choice((-2, 1)))
        elif operation == "remove":
            loaded.edits.remove(choose.choice(names))
        else:
            loaded.edits.bypass(not loaded.edits.bypassed)
    assert digest(loaded) != original
    while loaded.edits.can_undo:
        loaded.edits.undo()
    assert digest(loaded) == original
    assert loaded.edits.entries == ()


def test_two_hundred_edits_switched_off_leave_the_original_bits():
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    for number in range(200):
        loaded.edits.add(weight_edit(loaded, f"e{number}", layer=number % 3, seed=number))
    assert len(loaded.edits.active) == 200
    loaded.edits.bypass(True)
    assert digest(loaded) == original


def test_an_edit_that_is_switched_off_and_on_again_gives_the_same_model_again():
    loaded = tiny_loaded("llama")
    loaded.edits.add(weight_edit(loaded, "a"))
    loaded.edits.add(weight_edit(loaded, "b", seed=1))
    edited = digest(loaded)
    loaded.edits.switch("a", False)
    assert digest(loaded) != edited
    loaded.edits.switch("a", True)
    assert digest(loaded) == edited


def test_undo_and_redo_go_through_the_queues_history():
    loaded = tiny_loaded("llama")
    states, queue = [digest(loaded)], loaded.edits
    queue.add(weight_edit(loaded, "a"))
    states.append(digest(loaded))
    queue.add(weight_edit(loaded, "b", layer=2, seed=1))
    states.append(digest(loaded))
    queue.remove("a")
    states.append(digest(loaded))
    assert len(set(states)) == 4
    for expected in reversed(states[:-1]):
        queue.undo()
        assert digest(loaded) == expected
    for expected in states[1:]:
        queue.redo()
        assert digest(loaded) == expected
    with pytest.raises(InputError, match="nothing to redo"):
        queue.redo()


def test_a_new_change_after_an_undo_forgets_what_was_undone():
    queue = (loaded := tiny_loaded("llama")).edits
    queue.add(weight_edit(loaded, "a"))
    queue.undo()
    queue.add(weight_edit(loaded, "b"))
    assert not queue.can_redo
    assert [entry.info.id for entry in queue.entries] == ["b"]


@pytest.mark.parametrize("error", [Cancelled, RuntimeError, KeyboardInterrupt])
def test_whatever_happens_in_a_context_the_model_has_its_own_edits_again(error):
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    loaded.edits.add(weight_edit(loaded, "a"))
    edited = digest(loaded)

    def interrupted():
        with loaded.edits.all_off():
            assert digest(loaded) == original
            with loaded.edits.added(weight_edit(loaded, "b", seed=4)):
                assert digest(loaded) not in (original, edited)
                raise error

    with pytest.raises(error):
        interrupted()
    assert digest(loaded) == edited
    loaded.edits.undo()
    assert digest(loaded) == original


def test_an_edit_that_cannot_be_applied_changes_nothing():
    loaded = tiny_loaded("llama")
    loaded.edits.add(weight_edit(loaded, "a"))
    edited, entries = digest(loaded), loaded.edits.entries
    bad = weight_edit(loaded, "b")
    broken = WeightChange(1, bad.changes[0].left, torch.randn(3, 1))
    with pytest.raises(RuntimeError):
        loaded.edits.add(Edit(bad.info, (WeightChange(0, bad.changes[0].left, bad.changes[0].right), broken)))
    assert (digest(loaded), loaded.edits.entries) == (edited, entries)


def test_an_unknown_edit_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="no edit nothing in the queue"):
        tiny_loaded("llama").edits.switch("nothing", True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_state_change_is_what_every_reader_and_the_next_block_see(architecture):
    loaded = tiny_loaded(architecture)
    (change,) = (edit := state_edit(loaded, "s")).changes
    before, plain = states(loaded), logits(loaded)
    loaded.edits.add(edit)
    after = states(loaded)
    centred = before[1] - change.center
    assert torch.allclose(after[0], before[0])
    assert torch.allclose(after[1], before[1] - (centred @ change.right) @ change.left.T + change.shift, atol=1e-3)
    assert not torch.allclose(after[2 if len(after) > 2 else 1], before[-1], atol=1e-2)
    loaded.edits.undo()
    assert torch.equal(logits(loaded), plain)


def states(loaded):
    import nnsight

    with torch.no_grad():
        with loaded.nn.trace(input_ids=IDS):
            found = nnsight.save([])
            for block in loaded.nn.blocks:
                found.append(tensor_of(block.output, 1).clone())
    return found


def test_steering_is_a_state_change_of_rank_nought():
    loaded = tiny_loaded("llama")
    before = states(loaded)[1]
    loaded.edits.add(state_edit(loaded, "s", rank=0))
    (change,) = loaded.edits.get("s").changes
    assert torch.allclose(states(loaded)[1], before + change.shift, atol=1e-5)


def test_what_was_measured_with_the_same_edits_on_is_not_measured_again():
    loaded = tiny_loaded("llama")
    first, second = weight_edit(loaded, "first"), weight_edit(loaded, "second")
    twin = replace(first)  # of the same name, and not the same edit
    asked = []

    def measured():
        return loaded.edits.measured_once("norm", lambda: asked.append(loaded.edits.active) or len(asked))

    assert (measured(), measured()) == (1, 1)
    with loaded.edits.added(first):
        assert (measured(), measured()) == (2, 2)
        with loaded.edits.added(second):
            assert measured() == 3
    assert measured() == 1
    with loaded.edits.added(first):
        assert measured() == 2
    with loaded.edits.added(twin):
        assert measured() == 4
    assert loaded.edits.measured_once("another", lambda: "x") == "x"
