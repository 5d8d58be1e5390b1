"""Fine-tuning on many facts together, against plain Adam on the one matrix of a model of its own."""

from __future__ import annotations

import math

import pytest
import torch
from numpy.random import RandomState

from tests.editing.test_fine_tuning import CASE, TELLING, blown_up, target_probability
from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded, tiny_model
from workbench.case import Case
from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editors
from workbench.editing.editors.fine_tuning import FT_M, FtMSettings
from workbench.editing.editors.fine_tuning_batch import FT_BATCH, FtBatchSettings
from workbench.editing.patches import load_patch, save_patch
from workbench.errors import Cancelled, InputError, ModelError, NumericalError
from workbench.models.tokens import continuation_ids, encode
from workbench.protocol import silent

CASES = (
    CASE,
    Case(prompt="The capital of France is", target=" Tom", prepend="separator"),
    Case(prompt="Tom has", subject="Tom", target=" 7 apples"),
    Case(prompt="The Eiffel Tower is located in", target="."),
    Case(prompt="Paris", target=" is"),
)
SETTINGS = FtBatchSettings(layer=1, epochs=3, mini_batch=2, rate=0.01, weight_decay=0.1, seed=5)


def plain_adam(architecture, settings):
    """ΔW as stored and the mean loss met in each epoch: a model, one parameter, one case after the other."""
    loaded, model = tiny_loaded(architecture), tiny_model(architecture).requires_grad_(False)
    facts = [(encode(loaded.tokenizer, case).ids, continuation_ids(loaded.tokenizer, case)) for case in CASES]
    weight = model.get_submodule(f"{loaded.anatomy.blocks}.{settings.layer}.{loaded.anatomy.down_projection}").weight
    weight.requires_grad_()
    original = weight.detach().clone()
    adam, losses, random = torch.optim.Adam([weight], lr=settings.rate), [], RandomState(settings.seed)

    def loss_of(fact):
        prompt, answers = facts[fact]
        loss = 0
        for place, answer in enumerate(answers):
            logits = model(input_ids=torch.tensor([prompt + answers[:place]])).logits[0, -1]
            loss = loss - logits.log_softmax(dim=-1)[answer] / len(answers)
        return loss

    for _ in range(settings.epochs):
        order, met = random.permutation(len(facts)).tolist(), []
        for begin in range(0, len(facts), settings.mini_batch):
            adam.zero_grad()
            found = [loss_of(fact) for fact in order[begin : begin + settings.mini_batch]]
            met += [loss.item() for loss in found]
            (sum(found) / len(found)).backward()
            weight.grad += settings.weight_decay * (weight.detach() - original)
            adam.step()
        losses.append(sum(met) / len(met))
    with torch.no_grad():
        losses.append(sum(loss_of(fact).item() for fact in range(len(facts))) / len(facts))
    return weight.detach() - original, losses


@pytest.mark.parametrize("architecture", TELLING)
def test_the_change_is_the_one_that_plain_adam_makes_in_the_same_batches(architecture):
    loaded = tiny_loaded(architecture)
    made = FT_BATCH.make(loaded, CASES, SETTINGS, silent)
    expected, losses = plain_adam(architecture, SETTINGS)
    (change,) = made.edit.changes
    found = change.update().T if loaded.anatomy.down_projection_in_first else change.update()
    assert expected.abs().max() > 0.01
    assert torch.allclose(found, expected, atol=1e-4)
    assert made.details.losses == pytest.approx(losses, abs=1e-3)
    assert losses[-1] < losses[0]


def test_on_one_fact_it_is_fine_tuning_without_bounds():
    alone = FT_M.make(tiny_loaded("llama"), (CASE,), FtMSettings(layer=1, steps=4, rate=0.01), silent)
    settings = FtBatchSettings(layer=1, epochs=4, rate=0.01)
    together = FT_BATCH.make(tiny_loaded("llama"), (CASE,), settings, silent)
    assert together.edit.info.title == alone.edit.info.title
    assert together.details.losses == pytest.approx(alone.details.losses, abs=1e-4)
    assert torch.allclose(together.edit.changes[0].delta, alone.edit.changes[0].delta, atol=1e-5)


@pytest.mark.parametrize("architecture", TELLING)
def test_all_targets_are_likelier_with_the_edit_and_undoing_gives_the_original_bits(architecture):
    loaded = tiny_loaded(architecture)
    original, before = digest(loaded), [target_probability(loaded, case) for case in CASES]
    made = FT_BATCH.make(loaded, CASES, FtBatchSettings(layer=1, epochs=15, mini_batch=2, rate=0.01), silent)
    assert digest(loaded) == original
    assert made.edit.info.title == "L1 5 facts"
    loaded.edits.add(made.edit)
    after = [target_probability(loaded, case) for case in CASES]
    assert made.details.probability_before == pytest.approx(sum(before) / 5, rel=1e-3)
    assert made.details.probability == pytest.approx(sum(after) / 5, rel=1e-3)
    assert made.details.reached == sum(probability > 0.5 for probability in after)
    assert sum(now > then for now, then in zip(after, before, strict=True)) >= 4
    loaded.edits.undo()
    assert digest(loaded) == original
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in loaded.hf.parameters())


def test_it_ends_when_no_batch_holds_a_target_that_is_not_likely_enough():
    loaded = tiny_loaded("llama")
    settings = FtBatchSettings(layer=1, epochs=200, mini_batch=2, rate=0.02, enough=0.03)
    made = FT_BATCH.make(loaded, CASES[3:], settings, silent)
    epochs = len(made.details.losses)
    assert 1 < epochs < 200
    with loaded.edits.added(made.edit):
        assert min(target_probability(loaded, case) for case in CASES[3:]) >= 0.03 * 0.999
    assert made.details.losses[-1] == pytest.approx(-sum(map(math.log, probabilities(loaded, made))) / 2, rel=1e-3)
    assert made.details.checks[0].name == "optimisation"
    assert made.details.checks[0].level == "warn"
    assert made.details.checks[0].text.endswith("0 of 2 over one half")
    names = [check.name for check in (*made.details.checks, *made.gates)]
    assert names == ["optimisation", "change", "size", "drift", "held-out perplexity"]


def probabilities(loaded, made):
    with loaded.edits.added(made.edit):
        return [target_probability(loaded, case) for case in CASES[3:]]


def test_the_same_facts_and_seed_give_the_same_edit_and_another_order_another():
    loaded = tiny_loaded("llama")
    first, again = (FT_BATCH.make(loaded, CASES, SETTINGS, silent) for _ in range(2))
    assert again.edit.info == first.edit.info
    assert torch.equal(again.edit.changes[0].delta, first.edit.changes[0].delta)
    other = FT_BATCH.make(loaded, CASES, SETTINGS.model_copy(update={"seed": 6}), silent)
    assert other.edit.info.id != first.edit.info.id
    assert not torch.equal(other.edit.changes[0].delta, first.edit.changes[0].delta)


def test_it_builds_on_the_edits_that_are_on():
    loaded = tiny_loaded("llama")
    alone = FT_BATCH.make(loaded, CASES, SETTINGS, silent)
    loaded.edits.add(weight_edit(loaded, "other"))
    edited = digest(loaded)
    after = FT_BATCH.make(loaded, CASES, SETTINGS, silent)
    assert after.edit.info.id != alone.edit.info.id
    assert not torch.allclose(after.edit.changes[0].delta, alone.edit.changes[0].delta, atol=1e-4)
    assert digest(loaded) == edited


def test_a_patch_carries_the_edit_to_another_process(tmp_path):
    loaded, path = tiny_loaded("gpt2"), tmp_path / "p.safetensors"
    made = FT_BATCH.make(loaded, CASES, SETTINGS, silent)
    save_patch(path, loaded.info.fingerprint, [made.edit])
    loaded.edits.add(made.edit)
    again = tiny_loaded("gpt2")
    (read,) = load_patch(path, again)
    again.edits.add(read)
    assert digest(again) == digest(loaded)


def test_cancelled_between_two_batches_it_leaves_the_model_as_it_was():
    loaded = tiny_loaded("llama")
    original, stages = digest(loaded), []

    def cancelled(done, total, partial=None, *, stage=""):
        stages.append(stage)
        if sum("epoch 2" in each for each in stages) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        FT_BATCH.make(loaded, CASES, SETTINGS, cancelled)
    assert sum("epoch 1" in stage for stage in stages) == 3 + 3  # the measurement before it counts as its own
    assert digest(loaded) == original
    assert loaded.edits.entries == ()
    assert all(not parameter.requires_grad for parameter in loaded.hf.parameters())


@pytest.mark.parametrize(
    ("cases", "settings", "sentence"),
    [
        ((), {}, "an edit needs a case"),
        ((*CASES, CASE.model_copy(update={"target": None})), {}, "an edit needs a target"),
        ((*CASES, CASE.model_copy(update={"prompt": " "})), {}, "an edit needs a prompt"),
        ((*CASES, CASE.model_copy(update={"target": " Paris"})), {}, "conflict: .* by ', Rome' and by 'Paris'"),
        (CASES, {"layer": 3}, "there is no layer 3; choose from 0 to 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_edited_is_said_in_a_sentence_before_anything_long(cases, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        edit.check(tiny_loaded("llama"), FT_BATCH, cases, FtBatchSettings(**settings))


def test_a_mixture_of_experts_and_a_loss_that_blows_up_are_sentences_too():
    with pytest.raises(ModelError, match="mixture of experts"):
        edit.check(tiny_loaded("mixtral"), FT_BATCH, CASES, FtBatchSettings())
    loaded = tiny_loaded("llama", dtype=torch.float16)
    original = digest(loaded)
    with pytest.raises(NumericalError, match="use a smaller rate"):
        FT_BATCH.make(loaded, CASES, FtBatchSettings(layer=1, rate=1.0, epochs=50), blown_up(loaded))
    assert digest(loaded) == original


def test_without_a_layer_it_is_a_late_one_and_the_loss_is_drawn_by_epoch():
    made = FT_BATCH.make(tiny_loaded("llama"), CASES, FtBatchSettings(epochs=2, rate=0.01), silent)
    assert made.details.layer == 1
    lines, drawn = FT_BATCH.figures(made.details)
    assert lines.lines[0].text.startswith("layer 1 (70% of the depth, not measured on this model), ")
    assert [value for _, value in drawn.curves[0].points] == list(made.details.losses)
    assert (drawn.x, drawn.places) == ("epoch", (0, 1, 2))


def test_a_request_of_it_goes_through_the_queue_and_comes_back_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))
    assert FT_BATCH in editors("fact")
    assert FT_BATCH.many
    loaded, original = tiny_loaded("llama"), digest(tiny_loaded("llama"))
    request = EditRequest(editor="ft-batch", case=CASE, settings={"layer": 1, "epochs": 2, "rate": 0.01}, test=False)
    result = edit.run(loaded, request, silent)
    assert [entry.info for entry in result.queue.entries] == [result.edit]
    assert EditRequest.model_validate_json(request.model_dump_json()) == request
    read = edit.EditResult.model_validate_json(result.model_dump_json())
    assert read.details == result.details.model_copy(update={"checks": ()})
    loaded.edits.undo()
    assert digest(loaded) == original
