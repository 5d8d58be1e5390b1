"""ROME edits on tiny models of five architectures, against the published procedure written out plainly."""

from __future__ import annotations

import math
import re
import shutil
from typing import get_args

import pytest
import torch

from tests.test_edits import digest
from tests.tiny import telling, tiny_loaded
from workbench import paths
from workbench.case import Case
from workbench.datasets.suites import Suite, SuiteFact
from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.editing.editors import key_statistics as statistics
from workbench.editing.editors.rome import rome
from workbench.editing.editors.rome.contexts import SPARE, essence_contexts, rewrite_contexts, sampled_prefixes
from workbench.editing.editors.rome.key import BALANCE, KeyVariant
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.editors.rome.value import Optimisation, optimise
from workbench.errors import Cancelled, InputError, ModelError
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward.ordinary_text import corpus_text
from workbench.models.tokens import continuation_ids, encode
from workbench.protocol import silent
from workbench.registry import method
from workbench.settings import filled

# The subject stands at the end, where a change of its state changes the answer even in a model that knows nothing.
CASE = Case(prompt="The largest island of all is Australia", subject="Australia", target=",", foil=".")
INSIDE = CASE.model_copy(update={"prompt": "The capital of Australia is", "target": " Rome", "foil": None})
five = pytest.mark.parametrize("architecture", telling(mixtral="llama"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))
    return tmp_path


def request(**given):
    own = {name: given.pop(name) for name in RomeSettings.model_fields if name in given}
    settings = RomeSettings(**{"layer": 1, "prefixes": 3, "prefix_tokens": 4, **own})
    return EditRequest(**{"case": CASE, "test": False, "settings": settings, **given})


def suite():
    fact = SuiteFact(role="rewrite", prompt=CASE.prompt, subject="Australia", target=",", against=".")
    near = fact.model_copy(
        update={"role": "neighborhood", "prompt": "The largest island of all is France", "subject": "France"}
    )
    return Suite(name="two", facts=(fact, near))


@five
def test_an_edit_makes_the_target_likelier_and_is_undone_to_the_bit(architecture):
    loaded = tiny_loaded(architecture)
    original = digest(loaded)
    result = edit.run(loaded, request(decay=0.0, clamp=20.0), silent)
    for before, after in zip(result.before, result.after, strict=True):
        assert after.target > before.target
    assert result.details.losses[-1] < result.details.losses[0]
    assert [entry.info for entry in result.queue.entries] == [result.edit]
    assert digest(loaded) != original
    loaded.edits.undo()
    assert digest(loaded) == original


@five
def test_the_value_found_in_the_middle_is_the_one_that_complete_runs_give(architecture):
    """The same descent with every prompt whole, every layer, every logit, in the plainest way."""
    loaded = tiny_loaded(architecture)
    prefixes = sampled_prefixes(loaded, 6, 4, 0)
    contexts, _ = rewrite_contexts(loaded, INSIDE, prefixes, 3)
    essence = essence_contexts(loaded, INSIDE)
    settings = Optimisation(steps=4, enough=0)
    found = optimise(loaded, 0, contexts, essence, 2.0, settings, silent)
    assert found.resumed
    delta, losses = plain_descent(loaded, 0, contexts, essence, 2.0, settings)
    assert torch.allclose(torch.tensor(found.losses), torch.tensor(losses), atol=1e-4)
    assert torch.allclose(found.delta, delta, atol=1e-3)
    assert delta.norm() > 0.1


def plain_descent(loaded, layer, contexts, essence, value_norm, settings):
    delta = torch.zeros(loaded.info.d_model, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=settings.rate)

    def log_p(group):
        def add(_module, _args, output):
            states = tensor_of(output, len(group.ids)).clone()
            states[:, group.subject_last] = states[:, group.subject_last] + delta
            return with_tensor(output, states)

        handle = loaded.down_projection(layer).register_forward_hook(add)
        found = loaded.hf(group.ids).logits.float().log_softmax(dim=-1)
        handle.remove()
        return found[:, list(group.reads)]

    before = log_p(essence).detach()[:, 0]
    losses = []
    for step in range(settings.steps):
        adam.zero_grad()
        said = []
        for group in contexts:
            for row in log_p(group):
                said.append(torch.stack([row[at, token] for at, token in enumerate(group.answers)]).mean())
        now = log_p(essence)[:, 0]
        divergence = (before.exp() * (before - now)).sum(dim=-1).mean()
        loss = -torch.stack(said).mean() + settings.kl * divergence + settings.decay * delta.norm() / value_norm**2
        losses.append(float(loss.detach()))
        if step == settings.steps - 1:
            break
        loss.backward()
        adam.step()
        with torch.no_grad():
            if delta.norm() > settings.clamp * value_norm:
                delta.mul_(settings.clamp * value_norm / delta.norm())
    return delta.detach(), losses


@pytest.mark.parametrize("variant", get_args(KeyVariant))
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_change_is_the_published_formula_or_its_balanced_form(architecture, variant):
    """W + (v − W k) (C⁻¹k̄)ᵀ / ((C⁻¹k̄)ᵀ k): k of the bare prompt as published, the mean k̄ as corrected.

    Balanced: u minimises ‖K u − 1‖² + λ uᵀC u, solved here in the space of u instead of that of contexts.
    """
    loaded = tiny_loaded(architecture)
    asked = request(variant=variant).settings
    prefixes = sampled_prefixes(loaded, SPARE * asked.prefixes, asked.prefix_tokens, asked.seed)
    contexts, used = rewrite_contexts(loaded, CASE, prefixes, asked.prefixes)
    keys = torch.cat([keys_by_hook(loaded, 1, group.ids)[:, group.subject_last] for group in contexts]).double()
    weight = loaded.down_projection(1).weight.detach().double()
    weight = weight.T if loaded.anatomy.down_projection_in_first else weight
    moment = statistics.key_statistics(loaded, 1).second_moment
    moment = moment + statistics.RIDGE * moment.diagonal().mean() * torch.eye(len(moment))
    mean = keys.mean(dim=0)
    key = keys[0] if variant == "original" else mean
    value = weight @ key
    u = torch.linalg.inv(moment) @ mean
    if variant == "balanced":
        begins = {
            encode(loaded.tokenizer, Case(prompt="Australia", prepend=prepend)).ids
            for prepend in ("as-is", "separator")
        }
        first = [keys_by_hook(loaded, 1, torch.tensor([ids]))[0, -1].double() for ids in begins if len(ids) > 1]
        every = torch.stack([*keys, *first, *first])
        assert first
        scale = torch.stack([k @ torch.linalg.inv(moment) @ k for k in every]).mean()
        u = torch.linalg.inv(every.T @ every + BALANCE * scale * moment) @ every.sum(dim=0)
    delta = optimise(
        loaded, 1, contexts, essence_contexts(loaded, CASE), float(value.norm()), settings_of(asked), silent
    )
    wanted = value + delta.delta.double()
    expected = torch.outer(wanted - weight @ key, u) / (u @ key)

    computed = rome.make(loaded, (CASE,), asked, silent)
    (change,) = computed.edit.changes
    assert computed.details.prefixes == used
    assert torch.allclose((change.left @ change.right.T).double(), expected, atol=1e-4)
    assert expected.norm() > 1e-2
    assert computed.details.size == pytest.approx(float(expected.norm() / weight.norm()), rel=1e-3)


def settings_of(asked):
    return Optimisation(asked.steps, asked.rate, asked.kl, asked.decay, asked.clamp, asked.enough)


def keys_by_hook(loaded, layer, ids):
    seen = []
    handle = loaded.down_projection(layer).register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    with torch.no_grad():
        loaded.hf(ids)
    handle.remove()
    return seen[0].view(*ids.shape, -1)


@five
def test_statistics_are_the_uncentred_second_moment_of_the_keys_of_the_text(architecture, tmp_path):
    loaded = tiny_loaded(architecture)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("Tom has 3 apples and buys 4 more. The capital of France is Paris, they say. " * 40)
    found = statistics.key_statistics(loaded, 1, corpus)
    text = corpus_text(loaded, corpus, 80, 160, "the statistics need")
    assert int(text[0, 0]) == 0  # after BOS or separator, which is no part of the statistics
    keys = torch.cat([keys_by_hook(loaded, 1, row[None])[0, 1:] for row in text]).double()
    assert found.vectors == len(keys)
    assert torch.allclose(found.second_moment, keys.T @ keys / len(keys), rtol=1e-3, atol=1e-5)
    ridged = found.second_moment + statistics.RIDGE * found.second_moment.diagonal().mean() * torch.eye(len(keys[0]))
    assert torch.allclose(ridged @ found.solve(keys[:2].T), keys[:2].T, atol=1e-6)
    assert found.condition == pytest.approx(float(torch.linalg.cond(ridged)), rel=1e-2)


def test_statistics_are_computed_once_and_from_the_unedited_model(monkeypatch):
    loaded = tiny_loaded("llama")
    first = statistics.key_statistics(loaded, 0)
    edit.run(loaded, request(layer=0), silent)
    monkeypatch.setattr(statistics, "_second_moments", None)  # must not be called again
    again = statistics.key_statistics(loaded, 0)
    assert torch.equal(again.second_moment, first.second_moment)
    assert "sampled text" in again.check().text


def test_statistics_of_several_layers_are_those_of_each_and_the_text_is_run_once(home, monkeypatch):
    loaded = tiny_loaded("llama")
    alone = {layer: statistics.key_statistics(loaded, layer) for layer in (2, 0, 1)}
    for file in home.rglob("*layer0[02]*.safetensors"):
        file.unlink()
    ran, run = [], statistics._keys_of_layers
    monkeypatch.setattr(statistics, "_keys_of_layers", lambda *a: ran.append(a[1]) or run(*a))
    together = statistics.statistics_of(loaded, (2, 0, 1))
    assert set(map(tuple, ran)) == {(2, 0)}  # that of layer 1 was kept
    assert list(together) == [2, 0, 1]
    for layer, one in alone.items():
        assert torch.equal(together[layer].second_moment, one.second_moment)
        assert (together[layer].vectors, together[layer].condition) == (one.vectors, one.condition)


def test_statistics_of_an_edited_model_are_those_of_the_unedited_one():
    plain = statistics.key_statistics(tiny_loaded("llama"), 2)
    for file in (statistics.cache_folder() / "statistics").rglob("*.safetensors"):
        file.unlink()
    edited = tiny_loaded("llama")
    edit.run(edited, request(layer=1), silent)
    assert torch.allclose(statistics.key_statistics(edited, 2).second_moment, plain.second_moment)


def test_a_damaged_cache_is_computed_anew(home):
    loaded = tiny_loaded("llama")
    first = statistics.key_statistics(loaded, 1)
    for file in home.rglob("*layer01*.safetensors"):
        file.write_bytes(b"not a safetensors file")
    assert torch.allclose(statistics.key_statistics(loaded, 1).second_moment, first.second_moment)


def test_statistics_are_decomposed_on_a_gpu_that_has_room_for_them(monkeypatch):
    gpu, numbers = torch.device("cuda:0"), 1000
    for free, where in ((3 * 8 * numbers, gpu), (3 * 8 * numbers - 1, torch.device("cpu"))):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 2**40))
        assert statistics.in_float64(gpu, numbers) == where
    assert statistics.in_float64(torch.device("mps"), numbers) == torch.device("cpu")
    assert statistics.in_float64(torch.device("cpu"), numbers) == torch.device("cpu")


def test_few_keys_are_a_warning(tmp_path):
    moment = torch.eye(40, dtype=torch.float64)
    few = statistics.KeyStatistics(1, moment, vectors=60, source="a note", condition=1.0)
    enough = statistics.KeyStatistics(1, moment, vectors=80, source="a note", condition=1.0)
    assert (few.check().level, enough.check().level) == ("warn", "info")
    assert "60 keys of a note, 1.5 × d_mlp" in few.check().text


def test_a_corpus_that_is_too_short_or_not_there_is_a_sentence(tmp_path):
    loaded = tiny_loaded("llama")
    short = tmp_path / "short.txt"
    short.write_text("Too short.")
    with pytest.raises(InputError, match=r"short\.txt has \d+ tokens .* at least 80"):
        statistics.key_statistics(loaded, 1, short)
    with pytest.raises(InputError, match="cannot be read"):
        statistics.key_statistics(loaded, 1, tmp_path / "none.txt")


def test_no_key_is_taken_in_the_first_position():
    loaded = tiny_loaded("llama")
    case = Case(prompt="A is", subject="A", target=",")
    assert encode(loaded.tokenizer, case).subject == (0, 1)
    contexts, _ = rewrite_contexts(loaded, case, sampled_prefixes(loaded, 6, 4, 0), 2)
    assert all(group.subject_last > 0 for group in contexts)


def test_prefixes_are_sampled_with_the_seed_and_recorded():
    found = [edit.run(tiny_loaded("llama"), request(seed=seed), silent) for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0].details.prefixes != found[2].details.prefixes
    assert len(found[0].details.prefixes) == 3
    assert all(prefix.endswith(".") for prefix in found[0].details.prefixes)


def test_every_token_of_a_target_is_learnt():
    loaded = tiny_loaded("llama")
    case = CASE.model_copy(update={"target": " Rome", "foil": None})
    ids = continuation_ids(loaded.tokenizer, case)
    assert len(ids) > 2

    def probability():
        encoded = encode(loaded.tokenizer, case)
        with torch.no_grad():
            log_p = loaded.hf(torch.tensor([[*encoded.ids, *ids[:-1]]])).logits[0].log_softmax(dim=-1)
        return [float(log_p[len(encoded.ids) - 1 + at, token].exp()) for at, token in enumerate(ids)]

    before = probability()
    edit.run(loaded, request(case=case, decay=0.0, clamp=20.0), silent)
    after = probability()
    assert sum(map(math.log, after)) > sum(map(math.log, before)) + 0.5
    assert after[-1] > before[-1]  # not the first token alone


def test_a_sweep_tries_layers_and_keeps_the_best():
    loaded = tiny_loaded("llama")
    result = edit.run(loaded, request(layer=None, sweep=(0, 1, 2), suite=suite(), test=True), silent)
    assert [one.layer for one in result.sweep] == [0, 1, 2]
    best = max(result.sweep, key=lambda one: (one.sound, one.score or 0, one.target_probability))
    assert (result.details.layer, result.details.layer_from) == (best.layer, "best of the sweep")
    assert f"layer {best.layer} (best of the sweep)" in "".join(map(repr, method("edit").figures(result)))
    assert len(loaded.edits.entries) == 1


def test_without_a_layer_a_part_of_the_depth_is_taken_for_a_model_nobody_measured():
    result = edit.run(tiny_loaded("llama"), request(layer=None), silent)
    assert (result.details.layer, result.details.layer_from) == (0, "20% of the depth, not measured: try --sweep")


def test_the_suite_that_is_attached_is_run_against_the_unedited_model():
    loaded = tiny_loaded("llama")
    first = edit.run(loaded, request(suite=suite(), test=True), silent).suite
    again = edit.run(loaded, request(suite=suite(), test=True, layer=2), silent).suite
    assert first is not None
    assert again is not None
    assert [outcome.before for outcome in first.outcomes] == [outcome.before for outcome in again.outcomes]
    assert first.outcomes[0].after.target > first.outcomes[0].before.target


def test_cancelled_before_the_edit_is_in_the_queue_nothing_has_changed():
    statistics.key_statistics(tiny_loaded("llama"), 1)  # so that every run below makes the same reports
    reports = []
    edit.run(tiny_loaded("llama"), request(suite=suite(), test=True), lambda *a, **k: reports.append(k["stage"]))
    assert any(stage.startswith("optimising") for stage in reports)
    stages = {stage.partition(",")[0]: stop for stop, stage in enumerate(reports)}  # the last report of each
    assert len(stages) > 6
    for stop in stages.values():
        loaded = tiny_loaded("llama")
        original = digest(loaded)
        shutil.rmtree(paths.cache_folder() / "unedited", ignore_errors=True)
        with pytest.raises(Cancelled):
            edit.run(loaded, request(suite=suite(), test=True), cancelling_after(stop))
        if reports[stop].startswith("suite"):
            assert len(loaded.edits.entries) == 1
            loaded.edits.undo()
        assert digest(loaded) == original


def cancelling_after(reports):
    left = iter(range(reports))

    def progress(done, total, partial=None, *, stage=""):
        if next(left, None) is None:
            raise Cancelled

    return progress


def test_an_edit_has_the_same_name_when_it_is_made_again_and_another_one_on_top_of_others():
    loaded = tiny_loaded("llama")
    first = edit.run(loaded, request(), silent).edit.id
    second = edit.run(loaded, request(), silent).edit.id
    loaded.edits.bypass(True)
    assert edit.run(loaded, request(), silent).edit.id == first != second


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"case": CASE.model_copy(update={"target": None})}, "needs a target"),
        ({"case": CASE.model_copy(update={"subject": None})}, "needs a subject"),
        ({"case": CASE.model_copy(update={"subject": "Narnia"})}, "not in the prompt"),
        ({"layer": 3}, "no layer 3; choose from 0 to 2"),
        ({"layer": None, "sweep": (0, -1)}, "no layer -1"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        edit.run(tiny_loaded("llama"), request(**changes), silent)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"steps": "0"}, "steps: it must be at least 1, not '0'"),
        ({"seed": "-1"}, "seed: it must be at least 0, not '-1'"),
        ({"layer": "-1"}, "layer: it must be at least 0, not '-1'"),
        ({"rate": "0"}, "rate: it must be above 0, not '0'"),
        ({"prefixes": "a few"}, "prefixes: 'a few' is not a whole number"),
        ({"variant": "published"}, "variant: 'published' is not one of 'balanced', 'corrected' or 'original'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(typed, sentence):
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        filled(RomeSettings, typed)


def test_a_mixture_of_experts_is_refused_in_a_sentence():
    with pytest.raises(ModelError, match="mixture of experts"):
        edit.run(tiny_loaded("mixtral"), request(), silent)


def test_a_quantised_down_projection_is_refused_in_a_sentence():
    loaded = tiny_loaded("llama")
    for layer in range(loaded.info.layers):
        module = loaded.down_projection(layer)
        module.weight = torch.nn.Parameter(module.weight.to(torch.uint8), requires_grad=False)
    with pytest.raises(ModelError, match="quantised"):
        edit.run(loaded, request(), silent)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_edited_and_undone_too(dtype):
    loaded = tiny_loaded("llama", dtype=dtype)
    original = digest(loaded)
    result = edit.run(loaded, request(), silent)
    assert result.after[0].target > 2 * result.before[0].target
    loaded.edits.undo()
    assert digest(loaded) == original


def test_a_model_whose_blocks_cannot_be_resumed_is_edited_by_complete_runs(monkeypatch):
    from workbench.editing.editors.rome import value as rome_value

    expected = edit.run(tiny_loaded("llama"), request(), silent)
    monkeypatch.setattr(rome_value._Reading, "_is_the_same", lambda self: False)
    result = edit.run(tiny_loaded("llama"), request(), silent)
    assert any("complete runs" in check.text for check in result.checks)
    assert result.details.losses == pytest.approx(expected.details.losses, abs=1e-4)
