"""Fine-tuning on tiny models, against plain Adam on the one matrix of a model of its own."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from tests.test_edits import digest, weight_edit
from tests.tiny import telling, tiny_loaded, tiny_model
from workbench.case import Case
from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editors
from workbench.editing.editors.fine_tuning import FT_L, FT_M, FtLSettings, FtMSettings
from workbench.editing.layers import chosen_layer
from workbench.editing.patches import load_patch, save_patch
from workbench.errors import Cancelled, InputError, ModelError, NumericalError
from workbench.models.tokens import continuation_ids, encode
from workbench.protocol import silent

CASE = Case(prompt="The largest island of all is Australia", subject="Australia", target=", Rome", foil=".")
SHORT = CASE.model_copy(update={"target": ","})
EDITORS = (FT_L, FT_M)
TELLING = ("gpt2", "opt", "falcon", "gemma2", "llama")
"""Stored the other way round; on flattened tokens; attention and MLP side by side; norms after; gated."""

BOTH = pytest.mark.parametrize(
    ("editor", "settings"),
    [
        (FT_M, FtMSettings(layer=1, steps=5, rate=0.01)),
        (FT_L, FtLSettings(layer=1, steps=5, rate=0.01, clamp=0.02)),
        (FT_M, FtMSettings(layer=0, steps=3, rate=0.01, weight_decay=0.5)),
    ],
)


def plain_adam(architecture, case, settings):
    """ΔW as stored, and the loss before each step and after the last: a model, one parameter, one loop."""
    loaded, model = tiny_loaded(architecture), tiny_model(architecture).requires_grad_(False)
    prompt, answers = encode(loaded.tokenizer, case).ids, continuation_ids(loaded.tokenizer, case)
    path = f"{loaded.anatomy.blocks}.{settings.layer}.{loaded.anatomy.down_projection}"
    weight = model.get_submodule(path).weight.requires_grad_()
    original = weight.detach().clone()
    adam, losses = torch.optim.Adam([weight], lr=settings.rate), []
    for step in range(settings.steps + 1):
        adam.zero_grad()
        loss = 0
        for place, answer in enumerate(answers):
            logits = model(input_ids=torch.tensor([prompt + answers[:place]])).logits[0, -1]
            loss = loss - logits.log_softmax(dim=-1)[answer] / len(answers)
        losses.append(loss.item())
        if step == settings.steps:
            break
        loss.backward()
        weight.grad += settings.weight_decay * (weight.detach() - original)
        adam.step()
        if isinstance(settings, FtLSettings):
            weight.data = torch.minimum(
                torch.maximum(weight.data, original - settings.clamp), original + settings.clamp
            )
    return weight.detach() - original, losses


@pytest.mark.parametrize("architecture", TELLING)
@BOTH
def test_the_change_is_the_one_that_plain_adam_makes(architecture, editor, settings):
    loaded = tiny_loaded(architecture)
    assert len(continuation_ids(loaded.tokenizer, CASE)) > 1
    made = editor.make(loaded, (CASE,), settings, silent)
    expected, losses = plain_adam(architecture, CASE, settings)
    (change,) = made.edit.changes
    found = change.update().T if loaded.anatomy.down_projection_in_first else change.update()
    assert change.layer == settings.layer
    assert expected.abs().max() > 0.01
    assert torch.allclose(found, expected, atol=1e-5)
    assert made.details.losses == pytest.approx(losses, abs=1e-4)
    assert made.details.largest == pytest.approx(expected.abs().max().item(), abs=1e-5)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("architecture", telling(mixtral="llama"))
@pytest.mark.parametrize("editor", EDITORS, ids=lambda editor: editor.name)
def test_the_target_is_likelier_with_the_edit_and_undoing_gives_the_original_bits(architecture, editor):
    loaded = tiny_loaded(architecture)
    original, before = digest(loaded), target_probability(loaded)
    made = editor.make(loaded, (CASE,), editor.settings(layer=1, steps=10, rate=0.02), silent)
    assert digest(loaded) == original
    assert made.details.probability_before == pytest.approx(before, rel=1e-3)
    loaded.edits.add(made.edit)
    assert target_probability(loaded) == pytest.approx(made.details.probability, rel=1e-3)
    assert made.details.probability > before
    loaded.edits.undo()
    assert digest(loaded) == original
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in loaded.hf.parameters())


def target_probability(loaded, case=CASE):
    ids, answers = encode(loaded.tokenizer, case).ids, continuation_ids(loaded.tokenizer, case)
    found = 1.0
    for place, answer in enumerate(answers):
        with torch.no_grad():
            found *= loaded.hf(torch.tensor([ids + answers[:place]])).logits[0, -1].softmax(dim=-1)[answer].item()
    return found


def test_no_entry_leaves_the_box_and_without_one_they_do():
    loaded = tiny_loaded("llama")
    boxed = FT_L.make(loaded, (CASE,), FtLSettings(layer=1, steps=10, rate=0.01, clamp=0.015), silent)
    free = FT_M.make(loaded, (CASE,), FtMSettings(layer=1, steps=10, rate=0.01), silent)
    assert boxed.details.largest == pytest.approx(0.015)
    assert free.details.largest > 0.03
    assert boxed.details.size < free.details.size
    (said,) = [check.text for check in boxed.details.checks if check.name == "change"]
    assert said.startswith("largest |ΔW| 1.5e-02 of 1.5e-02, which ")
    assert said.endswith("% of the entries reach")


def test_the_descent_ends_when_the_target_is_likely_enough():
    loaded = tiny_loaded("llama")
    made = FT_M.make(loaded, (SHORT,), FtMSettings(layer=1, steps=200, rate=0.02, enough=0.03), silent)
    *before, last = map(math.exp, (-loss for loss in made.details.losses))
    assert max(before) < 0.03 <= last
    assert made.details.probability == pytest.approx(last, rel=1e-4)
    steps = len(before)
    assert 1 < steps < 200
    assert (made.details.checks[0].name, made.details.checks[0].level) == ("optimisation", "warn")  # not over a half
    assert made.details.checks[0].text.startswith(f"{steps} steps, p ")
    names = [check.name for check in (*made.details.checks, *made.gates)]
    assert names == ["optimisation", "change", "size", "drift", "held-out perplexity"]


def test_an_edit_builds_on_those_that_are_on_and_has_another_name_then():
    loaded = tiny_loaded("llama")
    settings = FtMSettings(layer=1, steps=2, rate=0.01)
    alone = FT_M.make(loaded, (CASE,), settings, silent)
    again = FT_M.make(loaded, (CASE,), settings, silent)
    assert again.edit.info == alone.edit.info
    assert torch.equal(again.edit.changes[0].delta, alone.edit.changes[0].delta)
    loaded.edits.add(weight_edit(loaded, "other"))
    edited = digest(loaded)
    after = FT_M.make(loaded, (CASE,), settings, silent)
    assert after.edit.info.id != alone.edit.info.id
    assert not torch.allclose(after.edit.changes[0].delta, alone.edit.changes[0].delta, atol=1e-4)
    assert digest(loaded) == edited


def test_a_patch_carries_the_edit_to_another_process(tmp_path):
    loaded, path = tiny_loaded("gpt2"), tmp_path / "p.safetensors"
    made = FT_L.make(loaded, (CASE,), FtLSettings(layer=1, steps=2, rate=0.01), silent)
    save_patch(path, loaded.info.fingerprint, [made.edit])
    loaded.edits.add(made.edit)
    again = tiny_loaded("gpt2")
    (read,) = load_patch(path, again)
    again.edits.add(read)
    assert read.info == made.edit.info
    assert digest(again) == digest(loaded)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_loss_is_that_of_the_weights_as_they_will_be_rounded(dtype):
    loaded = tiny_loaded("llama", dtype=dtype)
    made = FT_M.make(loaded, (SHORT,), FtMSettings(layer=1, steps=10, rate=0.02), silent)
    loaded.edits.add(made.edit)
    assert made.details.probability > 2 * made.details.probability_before
    assert target_probability(loaded, SHORT) == pytest.approx(made.details.probability, rel=0.1)


@pytest.mark.parametrize("when", range(4))
def test_cancelled_at_any_moment_it_leaves_the_model_as_it_was(when):
    loaded = tiny_loaded("llama")
    original, calls = digest(loaded), []

    def cancelled(done, total, partial=None, *, stage=""):
        calls.append(stage)
        if len(calls) > (0, 2, 4, 6)[when]:
            raise Cancelled

    with pytest.raises(Cancelled):
        FT_M.make(loaded, (CASE,), FtMSettings(layer=1, steps=3, rate=0.01), cancelled)
    assert digest(loaded) == original
    assert loaded.edits.entries == ()
    assert all(not parameter.requires_grad for parameter in loaded.hf.parameters())
    assert when < 3 or "unrelated" in calls[-1] or "facts" in calls[-1] or "prose" in calls[-1]


@pytest.mark.parametrize(
    ("case", "settings", "sentence"),
    [
        ({"target": None}, {}, "an edit needs a target"),
        ({"target": " "}, {}, "an edit needs a target"),
        ({}, {"layer": 3}, "there is no layer 3; choose from 0 to 2"),
    ],
)
@pytest.mark.parametrize("editor", EDITORS, ids=lambda editor: editor.name)
def test_what_cannot_be_edited_is_said_in_a_sentence_before_anything_long(editor, case, settings, sentence):
    loaded, case = tiny_loaded("llama"), CASE.model_copy(update=case)
    with pytest.raises(InputError, match=sentence):
        edit.check(loaded, editor, (case,), editor.settings(**settings))


def test_a_mixture_of_experts_and_a_loss_that_blows_up_are_sentences_too():
    with pytest.raises(ModelError, match="mixture of experts"):
        edit.check(tiny_loaded("mixtral"), FT_M, (CASE,), FtMSettings())
    loaded = tiny_loaded("llama", dtype=torch.float16)
    original = digest(loaded)
    with pytest.raises(NumericalError, match="use a smaller rate"):
        FT_M.make(loaded, (CASE,), FtMSettings(layer=1, rate=1.0, steps=1000, enough=1.0), blown_up(loaded))
    assert digest(loaded) == original


def blown_up(loaded):
    """A progress during which the model's norm becomes infinite, as a rate that is too large makes it."""
    norm = loaded.hf.get_submodule(loaded.anatomy.final_norm)

    def progress(done, total, partial=None, *, stage=""):
        norm.register_forward_hook(lambda _module, _args, output: output * float("inf"))

    return progress


@pytest.mark.parametrize(
    "wrong",
    [{"layer": -1}, {"steps": 0}, {"rate": 0.0}, {"enough": 1.5}, {"weight_decay": -0.1}, {"clamp": 0.0}, {"what": 1}],
)
def test_settings_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        FtLSettings(**wrong)


def test_the_settings_say_what_they_mean_and_ft_m_has_no_clamp():
    for editor in EDITORS:
        assert all(field.description for field in editor.settings.model_fields.values())
        assert editor.settings() == editor.settings.model_validate_json(editor.settings().model_dump_json())
    assert "clamp" not in FtMSettings.model_fields


def test_without_a_layer_it_is_the_models_own():
    loaded = tiny_loaded("llama")
    made = FT_M.make(loaded, (CASE,), FtMSettings(steps=1), silent)
    assert (made.details.layer, made.details.layer_from) == chosen_layer(loaded, None)


def test_the_descent_is_drawn():
    made = FT_M.make(tiny_loaded("llama"), (CASE,), FtMSettings(layer=1, steps=3, rate=0.01), silent)
    lines, drawn = FT_M.figures(made.details)
    assert lines.lines[0].text.startswith("layer 1 (asked for), ")
    assert [value for _, value in drawn.curves[0].points] == list(made.details.losses)
    assert drawn.places == (0, 1, 2, 3)


def test_a_request_of_it_goes_through_the_queue_and_comes_back_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))
    assert set(EDITORS) <= set(editors("fact"))
    loaded, original = tiny_loaded("llama"), digest(tiny_loaded("llama"))
    request = EditRequest(editor="ft-l", case=CASE, settings={"layer": 1, "steps": 2, "rate": 0.01}, test=False)
    result = edit.run(loaded, request, silent)
    assert [entry.info for entry in result.queue.entries] == [result.edit]
    assert [check.name for check in result.checks] == [
        "rewrite", "size", "drift", "held-out perplexity", "optimisation", "change",
    ]  # fmt: skip
    assert EditRequest.model_validate_json(request.model_dump_json()) == request
    read = edit.EditResult.model_validate_json(result.model_dump_json())
    assert read.details == result.details.model_copy(update={"checks": ()})
    loaded.edits.undo()
    assert digest(loaded) == original


def test_a_prompt_without_a_subject_is_enough(tmp_path):
    loaded, bare = tiny_loaded("llama"), CASE.model_copy(update={"subject": None})
    settings = FtMSettings(layer=1, steps=1, rate=0.01)
    edit.check(loaded, FT_M, (bare,), settings)
    assert FT_M.make(loaded, (bare,), settings, silent).edit.info.title == f"L1 {CASE.prompt} → , Rome"
