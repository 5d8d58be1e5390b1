"""Codebooks on tiny models: looked up by brute force, put together by the published rules written out, learned."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.test_edits import EDITABLE, digest, edit_info, logits, states, weight_edit
from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.editing import edit
from workbench.editing.changes import Codebook, in_order
from workbench.editing.edit import EditRequest
from workbench.editing.editors.grace import grace
from workbench.editing.editors.grace.grace import GRACE, GraceSettings
from workbench.editing.editors.grace.prompts import prompts_of
from workbench.editing.editors.grace.value import Descent, learn
from workbench.editing.patches import load_patch, save_patch
from workbench.editing.queue import Edit
from workbench.errors import Cancelled, InputError
from workbench.models.tokens import continuation_ids, encode
from workbench.protocol import silent

CASE = Case(prompt="The largest island of all is Australia", subject="Australia", target=", Rome")
SHORT = CASE.model_copy(update={"target": ","})
TELLING = ("gpt2", "opt", "falcon", "gemma2", "llama", "bloom")
FAST = {"steps": 20, "rate": 0.3}


def book(keys, values, radii, labels=None, layer=1):
    labels = torch.arange(len(radii)) if labels is None else torch.tensor(labels)
    return Codebook(layer, torch.tensor(keys), torch.tensor(values), torch.tensor(radii), labels)


def book_edit(name, *books):
    return Edit(edit_info(name, "grace", name, books[0].layer), books)


def by_brute_force(state, one):
    """The value of the nearest of the keys, if the state lies within its radius, or the state."""
    distances = [math.dist(state.tolist(), key.tolist()) for key in one.keys]
    nearest = min(range(len(distances)), key=distances.__getitem__)
    return one.values[nearest] if distances[nearest] <= one.radii[nearest] else state


def test_states_are_looked_up_as_by_brute_force(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    there = torch.randn(2, 9, 5, generator=generator)
    one = Codebook(
        0,
        keys=torch.randn(7, 5, generator=generator),
        values=torch.randn(7, 5, generator=generator),
        radii=torch.rand(7, generator=generator) * 3,
        labels=torch.arange(7),
    )
    expected = torch.stack([torch.stack([by_brute_force(state, one) for state in row]) for row in there])
    changed = (expected != there).any(dim=-1).sum()
    assert 2 < changed < 16
    assert torch.equal(one.mapped(there), expected)
    monkeypatch.setattr("workbench.editing.changes.AT_ONCE", 20)
    assert torch.equal(one.mapped(there), expected)


def test_a_state_beside_large_ones_is_found_however_small_the_radius():
    keys = 1000 * torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    one = Codebook(0, keys, torch.zeros_like(keys), torch.full((40,), 1e-3), torch.arange(40))
    assert torch.equal(one.mapped(keys[None]), torch.zeros(1, 40, 64))


def parts(one):
    return one.keys[:, 0].tolist(), one.values[:, 0].tolist(), one.radii.tolist()


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        # Out of reach of each other: both as they are.
        (([[0.0]], 1.0, 5), ([[2.5]], 1.0, 6), ([0, 2.5], [1, 2], [1, 1])),
        # The same answer: the radius grows to the new key, which needs no entry; and it never shrinks.
        (([[0.0]], 1.0, 5), ([[1.5]], 1.0, 5), ([0], [1], [1.5])),
        (([[0.0]], 4.0, 5), ([[1.5]], 1.0, 5), ([0], [1], [4])),
        # Another answer: both reach half the way, and a radius that is smaller stays so.
        (([[0.0]], 1.0, 5), ([[1.5]], 1.0, 6), ([0, 1.5], [1, 2], [0.75, 0.75])),
        (([[0.0]], 3.0, 5), ([[2.0]], 0.5, 6), ([0, 2], [1, 2], [1, 0.5])),
        # At the same place the later one is what is meant.
        (([[3.0]], 1.0, 5), ([[3.0]], 1.0, 6), ([3], [2], [1])),
        (([[3.0]], 1.0, 5), ([[3.0]], 1.0, 5), ([3], [2], [1])),
    ],
)
def test_a_later_key_is_added_or_expands_or_splits_the_nearest_earlier_one(earlier, later, expected):
    books = [book(keys, [[float(n)]], [radius], [label]) for n, (keys, radius, label) in enumerate((earlier, later), 1)]
    (whole,) = in_order(books)
    keys, values, radii = parts(whole)
    assert (keys, values) == (expected[0], expected[1])
    assert radii == pytest.approx(expected[2], rel=2e-3)
    assert parts(books[0])[2] == [earlier[1]]  # what they were made of is as it was


@pytest.mark.parametrize(("long", "reach"), [(1.9, 1.9), (2.1, 1.0), (40.0, 1.0)])
def test_the_key_of_an_attention_sink_reaches_no_further_than_the_facts_other_key(long, reach):
    model = tiny_loaded("llama")
    learned = learn(model, 1, prompts_of(model, CASE, "subject"), Descent(2, 0.3, 0.95), silent)
    assert len(learned.keys) == 2
    unit = torch.nn.functional.normalize(learned.keys, dim=-1)
    found = grace._codebook(1, replace(learned, keys=unit * torch.tensor([[long], [1.0]])), 0.35, 7)
    assert found.radii.tolist() == pytest.approx([0.35 * reach, 0.35])


def test_three_are_put_together_in_their_order_and_only_with_the_nearest():
    books = [
        book([[0.0]], [[1.0]], [1.0], [5]),
        book([[3.0]], [[2.0]], [1.0], [6]),
        book([[1.8]], [[3.0]], [1.0], [5]),  # nearer to the second, with which it is in conflict
    ]
    keys, values, radii = parts(in_order(books)[0])
    assert (keys, values) == (pytest.approx([0, 3, 1.8]), [1, 2, 3])
    assert radii == pytest.approx([1, 0.6, 0.6])
    keys, _, radii = parts(in_order([books[2], books[0], books[1]])[0])
    assert keys == pytest.approx([1.8, 3])  # the one at 0 expands the one at 1.8, whose answer it shares
    assert radii == pytest.approx([0.6, 0.6])


def test_keys_of_one_codebook_are_left_alone_and_other_maps_keep_their_place_between_codebooks():
    close = book([[0.0], [0.5]], [[1.0], [1.0]], [1.0, 1.0], [5, 5])
    assert in_order([close]) == [close]
    (whole,) = in_order([close, book([[9.0]], [[2.0]], [1.0])])
    assert parts(whole)[0] == [0, 0.5, 9]
    edits = [type(each) for each in in_order([close, close])]
    assert edits == [Codebook]


@pytest.mark.parametrize("architecture", EDITABLE)
def test_in_a_model_one_position_is_replaced_the_rest_stays_and_undoing_gives_the_same_bits(architecture):
    loaded = tiny_loaded(architecture)
    before, said, original = states(loaded), logits(loaded), digest(loaded)
    value = torch.full((1, loaded.info.d_model), 3.0)
    one = Codebook(1, before[1][:, 2].clone(), value, torch.tensor([0.01]), torch.tensor([0]))
    loaded.edits.add(book_edit("0000000a", one))
    after = states(loaded)
    assert torch.allclose(after[1][:, 2], value)
    assert torch.equal(after[1][:, [0, 1, 3, 4]], before[1][:, [0, 1, 3, 4]])
    assert not torch.allclose(logits(loaded)[0, 2:], said[0, 2:], atol=1e-2)
    assert torch.equal(logits(loaded)[0, :2], said[0, :2])
    loaded.edits.undo()
    assert torch.equal(logits(loaded), said)
    assert digest(loaded) == original


def test_switching_one_off_takes_back_what_it_did_to_the_radii_of_the_others():
    loaded = tiny_loaded("llama")
    key = states(loaded)[1][:, 2].clone()
    near = key + 0.5 / key.shape[1] ** 0.5
    one, two = torch.full_like(key, 3.0), torch.full_like(key, -3.0)
    loaded.edits.add(book_edit("0000000a", Codebook(1, near, one, torch.tensor([1.0]), torch.tensor([0]))))
    assert torch.allclose(states(loaded)[1][:, 2], one)
    farther = key + 0.8 / key.shape[1] ** 0.5
    other = Codebook(1, farther, two, torch.tensor([1.0]), torch.tensor([1]))
    loaded.edits.add(book_edit("0000000b", other))
    assert torch.allclose(states(loaded)[1][:, 2], key)  # both radii are 0.15 now, and the state is 0.5 away
    loaded.edits.switch("0000000b", False)
    assert torch.allclose(states(loaded)[1][:, 2], one)
    loaded.edits.switch("0000000b", True)
    loaded.edits.switch("0000000a", False)
    assert torch.allclose(states(loaded)[1][:, 2], two)


def by_plain_adam(loaded, layer, case, key, settings):
    """The value and the losses, by complete runs with a hook that puts the value in its place."""
    answers = continuation_ids(loaded.tokenizer, case)
    cases = [case] if case.prepend == "separator" else [case, case.model_copy(update={"prepend": "separator"})]
    encoded = [encode(loaded.tokenizer, each) for each in cases]
    places = [len(one.ids) - 1 if key == "last" else one.subject[1] - 1 for one in encoded]
    keys = []
    for one, place in zip(encoded, places, strict=True):
        with torch.no_grad():
            states = loaded.hf(torch.tensor([one.ids]), output_hidden_states=True).hidden_states
        keys.append(states[layer + 1][0, place])
    value = keys[-1].clone().requires_grad_()
    adam, losses = torch.optim.Adam([value], lr=settings.rate), []
    for step in range(settings.steps + 1):
        adam.zero_grad()
        loss = 0
        for one, place in zip(encoded, places, strict=True):

            def put(_module, _args, output, place=place):
                hidden = output[0] if isinstance(output, tuple) else output
                there = torch.zeros(hidden.shape[1], 1)
                there[place] = 1
                replaced = hidden * (1 - there) + there * value
                return (replaced, *output[1:]) if isinstance(output, tuple) else replaced

            handle = loaded.block_modules[layer].register_forward_hook(put)
            for number, answer in enumerate(answers):
                said = loaded.hf(torch.tensor([one.ids + answers[:number]])).logits[0, -1]
                loss = loss - said.log_softmax(dim=-1)[answer] / len(answers) / len(encoded)
            handle.remove()
        losses.append(loss.item())
        if step < settings.steps:
            loss.backward()
            adam.step()
    return torch.stack(keys), value.detach(), losses


@pytest.mark.parametrize("architecture", TELLING)
@pytest.mark.parametrize(("key", "layer"), [("subject", 0), ("last", 1)])
def test_the_value_is_the_one_that_plain_adam_finds(architecture, key, layer):
    loaded = tiny_loaded(architecture)
    case = CASE.model_copy(update={"prompt": "The largest island is Australia. It is", "target": ", Rome"})
    settings = Descent(steps=5, rate=0.3, enough=1.0)
    found = learn(loaded, layer, prompts_of(loaded, case, key), settings, silent)
    keys, value, losses = by_plain_adam(loaded, layer, case, key, settings)
    assert torch.allclose(found.keys, keys, atol=1e-4)
    assert found.losses == pytest.approx(losses, abs=1e-3)
    assert torch.allclose(found.value, value, atol=1e-2)
    assert losses[-1] < losses[0]
    assert all(parameter.grad is None for parameter in loaded.hf.parameters())


@pytest.mark.parametrize("key", ["subject", "last"])
def test_with_the_edit_on_the_target_is_as_likely_as_it_says_and_not_otherwise(key):
    loaded = tiny_loaded("llama")
    before, original = target_probability(loaded), digest(loaded)
    made = GRACE.make(loaded, (SHORT,), GraceSettings(key=key, layer=1, radius=0.01, **FAST), silent)
    assert loaded.edits.entries == ()
    assert digest(loaded) == original
    names = {check.name: check for check in (*made.details.checks, *made.gates)}
    assert list(names) == ["optimisation", "keys", "radius", "drift", "held-out perplexity"]
    assert names["keys"].text == f"{made.details.keys} of {made.details.keys} reach their value"
    loaded.edits.add(made.edit)
    assert made.details.probability_before <= before + 1e-6
    assert target_probability(loaded) >= made.details.probability - 1e-4 > 2 * before
    loaded.edits.undo()
    assert target_probability(loaded) == before


def target_probability(loaded, case=SHORT):
    ids, answers = encode(loaded.tokenizer, case).ids, continuation_ids(loaded.tokenizer, case)
    found = 1.0
    for number, answer in enumerate(answers):
        with torch.no_grad():
            found *= loaded.hf(torch.tensor([ids + answers[:number]])).logits[0, -1].softmax(dim=-1)[answer].item()
    return found


def test_keys_are_those_of_the_model_without_the_codebooks_there_and_with_everything_else():
    loaded = tiny_loaded("llama")
    settings = GraceSettings(layer=1, radius=0.01, **FAST)
    alone = GRACE.make(loaded, (SHORT,), settings, silent)
    loaded.edits.add(alone.edit)
    other = CASE.model_copy(update={"target": "."})
    again = GRACE.make(loaded, (other,), settings, silent)
    assert torch.equal(again.edit.changes[0].keys, alone.edit.changes[0].keys)
    assert again.edit.info.id != alone.edit.info.id
    (said,) = [check for check in again.details.checks if check.name == "keys"]
    n = len(again.edit.changes[0].keys)
    assert (said.level, said.text) == ("warn", f"{n} of {n} reach their value, and {n} of {n} of those on no longer do")
    loaded.edits.add(weight_edit(loaded, "0000000c", layer=0))
    moved = GRACE.make(loaded, (SHORT,), settings, silent)
    assert not torch.allclose(moved.edit.changes[0].keys, alone.edit.changes[0].keys, atol=1e-3)


def test_several_facts_make_one_codebook():
    loaded = tiny_loaded("llama")
    rome = Case(prompt="Rome is the capital of Italy", subject="Italy", target=".")
    made = GRACE.make(loaded, (SHORT, rome), GraceSettings(layer=1, radius=0.01, **FAST), silent)
    (codebook,) = made.edit.changes
    assert made.edit.info.title == "L1 2 facts"
    assert made.details.facts == 2
    singly = [
        GRACE.make(loaded, (each,), GraceSettings(layer=1, radius=0.01, **FAST), silent) for each in (SHORT, rome)
    ]
    assert torch.equal(codebook.keys, torch.cat([one.edit.changes[0].keys for one in singly]))
    assert len(set(codebook.labels.tolist())) == 2
    loaded.edits.add(made.edit)
    assert target_probability(loaded, rome) >= singly[1].details.probability - 1e-4
    assert GRACE.many


def test_a_patch_carries_a_codebook_to_another_process(tmp_path):
    loaded, path = tiny_loaded("gpt2"), tmp_path / "p.safetensors"
    made = GRACE.make(loaded, (SHORT,), GraceSettings(layer=1, radius=0.01, **FAST), silent)
    save_patch(path, loaded.info.fingerprint, [made.edit])
    again = tiny_loaded("gpt2")
    (read,) = load_patch(path, again)
    for name, tensor in made.edit.changes[0].tensors.items():
        assert torch.equal(tensor, read.changes[0].tensors[name])
    loaded.edits.add(made.edit)
    again.edits.add(read)
    assert target_probability(again) == target_probability(loaded)


@pytest.mark.parametrize(
    ("radii", "labels", "sentence"),
    [
        (torch.tensor([0.0]), torch.tensor([1]), "holds a radius that is not over 0"),
        (torch.tensor([-1.0]), torch.tensor([1]), "holds a radius that is not over 0"),
        (torch.tensor([torch.nan]), torch.tensor([1]), "not finite in radii"),
        (torch.tensor([1.0]), torch.tensor([1.0]), "labels is 'F32'"),
    ],
)
def test_a_codebook_that_cannot_be_looked_up_is_refused(tmp_path, radii, labels, sentence):
    loaded, path = tiny_loaded("llama"), tmp_path / "book.safetensors"
    key = torch.zeros(1, loaded.info.d_model)
    save_patch(path, loaded.info.fingerprint, [book_edit("0000000a", Codebook(1, key, key, radii, labels))])
    with pytest.raises(InputError, match=sentence):
        load_patch(path, loaded)


def test_a_codebook_of_no_key_of_another_width_or_for_another_model_is_refused(tmp_path):
    loaded, path = tiny_loaded("llama"), tmp_path / "book.safetensors"
    for n, d, sentence in ((0, loaded.info.d_model, "holds no key"), (1, 3, "keys is '1 × 3' and should be n × 16")):
        one = Codebook(1, torch.zeros(n, d), torch.zeros(n, d), torch.ones(n), torch.zeros(n, dtype=torch.int64))
        save_patch(path, loaded.info.fingerprint, [book_edit("0000000a", one)])
        with pytest.raises(InputError, match=sentence):
            load_patch(path, loaded)
    with pytest.raises(InputError, match="load the model that it was made with"):
        load_patch(path, tiny_loaded("gpt2"))


@pytest.mark.parametrize(
    ("case", "settings", "sentence"),
    [
        ({"target": None}, {}, "an edit needs a target"),
        ({"subject": None}, {}, "an edit needs a subject"),
        ({}, {"layer": 3}, "there is no layer 3; choose from 0 to 2"),
    ],
)
def test_what_cannot_be_edited_is_said_in_a_sentence(case, settings, sentence):
    loaded, case = tiny_loaded("llama"), CASE.model_copy(update=case)
    with pytest.raises(InputError, match=sentence):
        edit.run(loaded, EditRequest(editor="grace", case=case, settings=settings), silent)
    assert loaded.edits.entries == ()


def test_no_radius_at_all_and_two_answers_to_one_prompt_are_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        GraceSettings(radius=0)
    with pytest.raises(InputError, match=r"is to be continued by ', Rome' and by '\.'; leave one of them out"):
        GRACE.check((CASE, CASE.model_copy(update={"target": "."})), GraceSettings())
    with pytest.raises(InputError, match="give a prompt with its target"):
        GRACE.check((), GraceSettings())


@pytest.mark.parametrize("when", range(4))
def test_cancelled_at_any_moment_it_leaves_the_model_and_the_codebooks_that_are_on(when):
    loaded, calls = tiny_loaded("llama"), []
    settings = GraceSettings(layer=1, radius=0.01, **FAST)
    loaded.edits.add(GRACE.make(loaded, (SHORT,), settings, silent).edit)
    said = target_probability(loaded)

    def cancelled(done, total, partial=None, *, stage=""):
        calls.append(stage)
        if len(calls) > (0, 3, 21, 23)[when]:
            raise Cancelled

    with pytest.raises(Cancelled):
        GRACE.make(loaded, (CASE.model_copy(update={"target": "."}),), settings, cancelled)
    assert target_probability(loaded) == said
    assert all(not parameter.requires_grad for parameter in loaded.hf.parameters())
    assert len(loaded.edits.active) == 1
