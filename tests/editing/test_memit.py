"""MEMIT and AlphaEdit on tiny models, against dense normal equations and complete runs written out plainly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.editing import edit
from workbench.editing.changes import DenseChange, KeyedChange, WeightChange
from workbench.editing.edit import EditRequest
from workbench.editing.editors.key_statistics import key_statistics
from workbench.editing.editors.memit import values as memit_values
from workbench.editing.editors.memit.alphaedit import ALPHAEDIT, AlphaEditSettings, earlier_keys
from workbench.editing.editors.memit.anchor import anchored, mean_length
from workbench.editing.editors.memit.facts import facts_of
from workbench.editing.editors.memit.memit import MEMIT, MemitSettings
from workbench.editing.editors.memit.null_space import null_space
from workbench.editing.editors.memit.solve import Keys, cholesky, directions, kept_keys
from workbench.editing.editors.memit.values import values_of
from workbench.editing.editors.rome import value as rome_value
from workbench.editing.editors.rome.value import Optimisation, optimise_all
from workbench.editing.layers import chosen_layers
from workbench.editing.patches import load_patch, save_patch
from workbench.editing.said import said
from workbench.errors import Cancelled, InputError, ModelError, NumericalError
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward.runs import record
from workbench.protocol import silent

CASES = (
    Case(prompt="The largest island of all is Australia", subject="Australia", target=", Rome"),
    Case(prompt="The capital of France is", subject="France", target=" Rome"),
    Case(prompt="What is the capital of Tom? It", subject="Tom", target="7"),
)
SHORT = {"layers": (0, 1), "prefixes": 2, "prefix_tokens": 4, "steps": 3, "enough": 0.0}
BOTH = (MEMIT, ALPHAEDIT)
TELLING = ("gpt2", "opt", "falcon", "gemma2", "llama")
"""Stored the other way round; on flattened tokens; attention and MLP side by side; norms after; gated."""

each = pytest.mark.parametrize("editor", BOTH, ids=lambda editor: editor.name)
many = pytest.mark.parametrize("architecture", TELLING)


def settings_of(editor, **given):
    return editor.settings(**{**SHORT, **({"energy": 0.5} if editor is ALPHAEDIT else {}), **given})


def plain(architecture, facts, values, layers, solved, before=()):
    """The changes ``(d_model, d_mlp)`` by layer: whole runs of a model of its own, each text alone, dense in numpy."""
    loaded = tiny_loaded(architecture)
    for done in before:
        loaded.edits.add(done)
    turned, last = loaded.anatomy.down_projection_in_first, layers[-1]
    aims, found = None, {}
    for number, layer in enumerate(layers):
        keys, states = [], []
        for fact in facts:
            read = [subject_reading(loaded, text, layer, last) for text in fact.texts]
            keys.append(np.stack([key for key, _ in read]))
            states.append(np.stack([state for _, state in read]))
        if aims is None:
            aims = [state + value.delta.double().numpy() for state, value in zip(states, values, strict=True)]
        columns, weights, lacking = [], [], []
        for fact, key, state, aim in zip(facts, keys, states, aims, strict=True):
            weight = np.array(fact.weights)
            columns.append(key)
            weights.append(weight)
            lacking.append(weight @ (aim - state) / (len(layers) - number))
        update = solved(layer, lacking, columns, weights)
        found[layer] = update
        with torch.no_grad():
            weight = loaded.down_projection(layer).weight
            weight += torch.tensor(update.T if turned else update).to(weight)
    return found


def subject_reading(loaded, text, layer, last):
    """The key at one layer and the state after another at the text's last token."""
    seen = {}
    handles = [
        loaded.down_projection(layer).register_forward_pre_hook(
            lambda _module, args: seen.update(key=args[0].reshape(-1, args[0].shape[-1])[-1])
        ),
        loaded.block_modules[last].register_forward_hook(
            lambda _module, _args, output: seen.update(state=tensor_of(output)[0, -1])
        ),
    ]
    with torch.no_grad():
        loaded.hf(torch.tensor([text]))
    for handle in handles:
        handle.remove()
    return seen["key"].double().numpy(), seen["state"].double().numpy()


def dense(lacking, columns, weights, inverse):
    """R times the weighted sum of each fact's keys, times an inverse: one fact, one key after the other."""
    update = 0
    for lack, keys, weight in zip(lacking, columns, weights, strict=True):
        for one, share in zip(keys, weight, strict=True):
            update = update + np.outer(lack, share * one)
    return update @ inverse


def gram(columns, weights):
    pairs = [pair for some in zip(columns, weights, strict=True) for pair in zip(*some, strict=True)]
    return sum(share * np.outer(one, one) for one, share in pairs)


@many
@pytest.mark.parametrize("count", [1, 3])
def test_memit_is_what_the_dense_normal_equations_give_layer_by_layer(architecture, count):
    loaded, settings = tiny_loaded(architecture), settings_of(MEMIT, covariance=3.0)
    made = MEMIT.make(loaded, CASES[:count], settings, silent)
    facts = facts_of(loaded, CASES[:count], settings, silent)
    values = values_of(loaded, 1, facts, settings.optimisation, silent)
    assert min(float(value.delta.norm()) for value in values) > 0.05

    def solved(layer, lacking, columns, weights):
        moment = key_statistics(loaded, layer).second_moment.numpy()
        moment = moment + 1e-3 * np.diag(moment).mean() * np.eye(len(moment))
        return dense(lacking, columns, weights, np.linalg.inv(3.0 * moment + gram(columns, weights)))

    expected = plain(architecture, facts, values, (0, 1), solved)
    assert [change.layer for change in made.edit.changes] == [0, 1] == list(made.edit.info.layers)
    for change in made.edit.changes:
        scale = np.abs(expected[change.layer]).max()
        assert np.abs(change.update().double().numpy() - expected[change.layer]).max() < 1e-3 * scale


@many
def test_alphaedit_is_its_published_equation_with_the_keys_of_an_earlier_edit(architecture):
    loaded, settings = tiny_loaded(architecture), settings_of(ALPHAEDIT, l2=0.5)
    earlier = ALPHAEDIT.make(loaded, CASES[:1], settings, silent).edit
    loaded.edits.add(earlier)
    made = ALPHAEDIT.make(loaded, CASES[1:], settings, silent)
    facts = facts_of(loaded, CASES[1:], settings, silent)
    values = values_of(loaded, 1, facts, settings.optimisation, silent)

    def solved(layer, lacking, columns, weights):
        moment = key_statistics(loaded, layer).second_moment.numpy()
        numbers, vectors = np.linalg.eigh(moment)
        free = [at for at in range(len(numbers)) if numbers[: at + 1].sum() <= 0.5 * numbers.sum()]
        projector = vectors[:, free] @ vectors[:, free].T
        before = next(change.keys.double().numpy() for change in earlier.changes if change.layer == layer)
        system = (before @ before.T + gram(columns, weights)) @ projector + 0.5 * np.eye(len(projector))
        return dense(lacking, columns, weights, projector @ np.linalg.inv(system))

    expected = plain(architecture, facts, values, (0, 1), solved, before=(earlier,))
    for change in made.edit.changes:
        scale = np.abs(expected[change.layer]).max()
        assert np.abs(change.update().double().numpy() - expected[change.layer]).max() < 1e-3 * scale


@many
def test_a_value_after_a_layer_is_the_one_that_complete_runs_of_its_fact_alone_give(architecture):
    loaded, settings = tiny_loaded(architecture), Optimisation(steps=4, enough=0.0, clamp=0.3)
    (fact,) = facts_of(loaded, CASES[:1], settings_of(MEMIT), silent)
    (found,) = optimise_all(loaded, 1, [fact.sought], settings, silent, "residual")
    assert found.resumed
    delta, losses = plain_descent(loaded, 1, fact.sought, settings)
    assert found.losses == pytest.approx(losses, abs=1e-4)
    assert torch.allclose(found.delta, delta, atol=1e-3)
    assert delta.norm() > 0.1


def plain_descent(loaded, layer, sought, settings):
    delta = torch.zeros(loaded.info.d_model, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=settings.rate)
    lengths = []

    def log_p(group):
        def add(_module, _args, output):
            states = tensor_of(output, len(group.ids)).clone()
            if group.answers and len(lengths) < sum(len(some.ids) for some in sought.rewrites):
                lengths.extend(states[:, group.subject_last].norm(dim=-1).tolist())
            states[:, group.subject_last] = states[:, group.subject_last] + delta
            return with_tensor(output, states)

        handle = loaded.block_modules[layer].register_forward_hook(add)
        found = loaded.hf(group.ids, use_cache=False).logits.float().log_softmax(dim=-1)
        handle.remove()
        return found[:, list(group.reads)]

    before, losses = log_p(sought.essence).detach()[:, 0], []
    for step in range(settings.steps):
        adam.zero_grad()
        rows = [row[range(len(some.answers)), some.answers].mean() for some in sought.rewrites for row in log_p(some)]
        norm = sum(lengths) / len(lengths)
        divergence = (before.exp() * (before - log_p(sought.essence)[:, 0])).sum(dim=-1).mean()
        loss = -torch.stack(rows).mean() + settings.kl * divergence + settings.decay * delta.norm() / norm**2
        losses.append(float(loss.detach()))
        if step == settings.steps - 1:
            break
        loss.backward()
        adam.step()
        with torch.no_grad():
            delta *= min(1.0, settings.clamp * norm / float(delta.norm()))
    return delta.detach(), losses


@many
def test_values_found_together_are_those_found_one_at_a_time_each_with_an_end_of_its_own(architecture):
    loaded, settings = tiny_loaded(architecture), Optimisation(steps=12, rate=0.3, enough=6.3, clamp=2.0)
    # the last case's subject is out of Gemma 2's window: it has no gradient, and rounding decides where it goes
    facts = facts_of(loaded, CASES[:2] if architecture == "gemma2" else CASES, settings_of(MEMIT), silent)
    together = optimise_all(loaded, 1, [fact.sought for fact in facts], settings, silent, "residual")
    for fact, value in zip(facts, together, strict=True):
        (alone,) = optimise_all(loaded, 1, [fact.sought], settings, silent, "residual")
        assert len(alone.losses) == len(value.losses)
        assert value.losses == pytest.approx(alone.losses, abs=1e-4)
        assert float((value.delta - alone.delta).norm()) <= 1e-4 * float(alone.delta.norm())
        assert value.target_probability == pytest.approx(alone.target_probability, rel=1e-4)
    if architecture == "llama":
        assert [len(value.losses) for value in together] == [12, 1, 3]


def test_contexts_that_are_alike_from_the_subject_on_run_padded_together_or_by_length_where_padding_shows(monkeypatch):
    loaded, settings = tiny_loaded("llama"), Optimisation(steps=3, enough=0.0)
    (fact,) = facts_of(loaded, CASES[:1], settings_of(MEMIT), silent)
    ran = []

    def recorded(model, ids, added, mask=None):
        ran.append((len(ids), mask is not None))
        return replace(record(model, ids, added, mask if honest else None), mask=mask)

    monkeypatch.setattr(rome_value, "record", recorded)
    found = {}
    for honest in (True, False):
        ran.clear()
        (found[honest],) = optimise_all(loaded, 1, [fact.sought], settings, silent, "residual")
        rows = [rows for rows, padded in ran if padded]
        assert rows == [sum(len(some.ids) for some in fact.sought.rewrites)]
        alone = sum(not padded for _, padded in ran)
        assert alone == (2 if honest else 1 + len(fact.sought.rewrites))  # the essence, and a row to compare with
    assert found[True].losses == pytest.approx(found[False].losses, abs=1e-5)
    assert torch.allclose(found[True].delta, found[False].delta, atol=1e-4)


@each
@many
def test_the_target_is_likelier_with_the_edit_and_undoing_gives_the_original_bits(architecture, editor):
    loaded, case = tiny_loaded(architecture), CASES[0].model_copy(update={"target": ","})
    original = digest(loaded)
    given = {"covariance": 0.1} if editor is MEMIT else {"l2": 0.1, "energy": 0.2}
    made = editor.make(loaded, (case,), settings_of(editor, steps=10, clamp=20.0, decay=0.0, **given), silent)
    assert digest(loaded) == original
    assert loaded.edits.active == ()
    before = said(loaded, case)
    loaded.edits.add(made.edit)
    assert all(now.target > then.target for now, then in zip(said(loaded, case), before, strict=True))
    assert made.details.losses[-1] < made.details.losses[0]
    loaded.edits.undo()
    assert digest(loaded) == original


def test_values_are_found_once_whatever_solves_and_again_on_another_model(monkeypatch):
    loaded, found = tiny_loaded("llama"), []
    real = memit_values.optimise_all

    def counted(model, layer, sought, *rest):
        found.append(len(sought))
        return real(model, layer, sought, *rest)

    monkeypatch.setattr(memit_values, "optimise_all", counted)
    first = MEMIT.make(loaded, CASES, settings_of(MEMIT), silent)
    assert found == [3]
    other = MEMIT.make(loaded, CASES, settings_of(MEMIT, covariance=1.0, layers=(1,)), silent)
    ALPHAEDIT.make(loaded, CASES, settings_of(ALPHAEDIT), silent)
    again = MEMIT.make(loaded, CASES[:2], settings_of(MEMIT), silent)
    assert found == [3]
    assert other.details.probabilities == first.details.probabilities
    assert again.details.probabilities == first.details.probabilities[:2]
    MEMIT.make(loaded, CASES[:1], settings_of(MEMIT, steps=2), silent)
    MEMIT.make(loaded, CASES[:1], settings_of(MEMIT, layers=(0,)), silent)
    MEMIT.make(loaded, (CASES[0].model_copy(update={"target": " Paris"}),), settings_of(MEMIT), silent)
    loaded.edits.add(weight_edit(loaded, "other"))
    MEMIT.make(loaded, CASES[:1], settings_of(MEMIT), silent)
    assert found == [3, 1, 1, 1, 1]


def test_values_that_were_found_before_a_cancel_are_kept(monkeypatch):
    loaded, found = tiny_loaded("llama"), []
    monkeypatch.setitem(memit_values.TOGETHER, "cpu", 1)

    def cancelled(done, total, partial=None, *, stage=""):
        found.append(stage)
        if "2 found" in stage:
            raise Cancelled

    facts = facts_of(loaded, CASES, settings_of(MEMIT), silent)
    with pytest.raises(Cancelled):
        values_of(loaded, 1, facts, settings_of(MEMIT).optimisation, cancelled)
    stages = []
    values_of(
        loaded, 1, facts, settings_of(MEMIT).optimisation, lambda *_, stage="": stages.append(stage)
    )  # fmt: skip
    assert any("0 found" in stage for stage in found)
    assert not any("0 found" in stage or "1 found" in stage for stage in stages)


@each
@pytest.mark.parametrize("at", ["prefixes", "optimising", "states after layer", "solving", "prose"])
def test_cancelled_at_any_moment_it_leaves_the_model_as_it_was(editor, at):
    loaded = tiny_loaded("llama")
    original = digest(loaded)

    def cancelled(done, total, partial=None, *, stage=""):
        if at in stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        editor.make(loaded, CASES[:2], settings_of(editor), cancelled)
    assert digest(loaded) == original
    assert loaded.edits.entries == ()
    assert loaded.edits.active == ()
    assert not any(module._forward_pre_hooks for layer in range(3) for module in [loaded.down_projection(layer)])


@each
def test_progress_never_goes_back_and_counts_facts(editor):
    loaded, seen = tiny_loaded("llama"), []
    editor.make(
        loaded, CASES, settings_of(editor), lambda done, total, *_, stage="": seen.append((done / total, stage))
    )
    shares = [share for share, stage in seen if "statistics" not in stage and "sampling" not in stage]
    assert max(shares) <= 1
    assert any("values of 3 facts, 0 found" in stage for _, stage in seen)


def test_the_null_space_leaves_the_energy_alone_and_its_projector_is_one():
    loaded = tiny_loaded("llama")
    statistics = key_statistics(loaded, 1)
    spaces = {energy: null_space(loaded, statistics, energy, silent) for energy in (0.5, 0.9, 0.99)}
    for energy, space in spaces.items():
        basis = space.basis
        projector = basis @ basis.T
        assert torch.allclose(projector @ projector, projector, atol=1e-12)
        assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1], dtype=torch.float64), atol=1e-12)
        rest = torch.trace(statistics.second_moment - projector @ statistics.second_moment @ projector)
        assert float(rest / torch.trace(statistics.second_moment)) == pytest.approx(space.kept, abs=1e-9)
        assert space.kept >= energy
    assert spaces[0.5].basis.shape[1] > spaces[0.9].basis.shape[1] > 0
    again = null_space(loaded, statistics, 0.9, lambda *_, **__: pytest.fail("it is in the cache"))
    assert torch.equal(again.basis, spaces[0.9].basis)


def test_alphaedit_changes_nothing_outside_the_null_space_and_counts_what_is_used():
    loaded, settings = tiny_loaded("llama"), settings_of(ALPHAEDIT, l2=0.01)
    made = ALPHAEDIT.make(loaded, CASES[:1], settings, silent)
    for change in made.edit.changes:
        basis = null_space(loaded, key_statistics(loaded, change.layer), 0.5, silent).basis
        update = change.update().double()
        assert update.norm() > 1e-3
        assert torch.allclose(update @ basis @ basis.T, update, atol=1e-6)
    first = made.details.capacity
    assert [each.layer for each in first] == [0, 1]
    assert all(0 < each.used <= each.free for each in first)
    loaded.edits.add(made.edit)
    second = ALPHAEDIT.make(loaded, CASES[1:], settings, silent).details.capacity
    assert all(now.used > before.used for now, before in zip(second, first, strict=True))
    loaded.edits.switch(made.edit.info.id, on=False)
    assert earlier_keys(loaded, 0).shape == (loaded.anatomy.d_mlp, 0)


def test_a_later_alphaedit_hardly_changes_what_the_keys_of_an_earlier_one_give():
    loaded, settings = tiny_loaded("llama"), settings_of(ALPHAEDIT, l2=1e-3, layers=(1,), prefixes=0, energy=0.2)
    first = ALPHAEDIT.make(loaded, CASES[:1], settings, silent).edit
    keys = first.changes[0].keys.double()
    alone = ALPHAEDIT.make(loaded, CASES[1:2], settings, silent).edit
    loaded.edits.add(first)
    later = ALPHAEDIT.make(loaded, CASES[1:2], settings, silent).edit
    felt = [float((made.changes[0].update().double() @ keys).norm()) for made in (alone, later)]
    assert felt[1] < 0.3 * felt[0]


def test_keys_are_kept_in_no_more_columns_than_the_null_space_has_directions():
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(12, 30, dtype=torch.float64, generator=generator)
    keys = Keys(columns, torch.rand(30, dtype=torch.float64, generator=generator), torch.arange(30), 30)
    basis = torch.linalg.qr(torch.randn(12, 5, dtype=torch.float64, generator=generator))[0]
    kept = kept_keys(keys, basis)
    assert kept.shape == (12, 5)
    projector = basis @ basis.T
    assert torch.allclose(kept @ kept.T, projector @ keys.gram @ projector)


def test_directions_count_fully_where_their_keys_outweigh_the_ridge():
    held = torch.diag(torch.tensor([1e6, 1e6, 1.0, 0.0], dtype=torch.float64))
    assert directions(held, 1.0) == pytest.approx(2.5, abs=1e-5)


def test_a_change_is_kept_in_what_takes_fewer_bytes():
    loaded = tiny_loaded("llama")
    one = MEMIT.make(loaded, CASES[:1], settings_of(MEMIT), silent)
    assert all(isinstance(change, WeightChange) and change.left.shape[1] == 1 for change in one.edit.changes)
    cases = tuple(Case(prompt=f"Apple {number} is", subject=f"{number}", target="7") for number in range(20))
    many = MEMIT.make(loaded, cases, settings_of(MEMIT, steps=1), silent)
    assert all(isinstance(change, DenseChange) for change in many.edit.changes)
    keyed = ALPHAEDIT.make(loaded, cases, settings_of(ALPHAEDIT, steps=2), silent)
    assert all(change.left.shape == (loaded.info.d_model, loaded.info.d_model) for change in keyed.edit.changes)


@each
def test_a_patch_carries_the_edit_and_its_keys_to_another_process(editor, tmp_path):
    loaded, path = tiny_loaded("gpt2"), tmp_path / "p.safetensors"
    made = editor.make(loaded, CASES, settings_of(editor), silent)
    save_patch(path, loaded.info.fingerprint, [made.edit])
    loaded.edits.add(made.edit)
    again = tiny_loaded("gpt2")
    (read,) = load_patch(path, again)
    again.edits.add(read)
    assert read.info == made.edit.info
    assert digest(again) == digest(loaded)
    assert torch.equal(earlier_keys(again, 1), earlier_keys(loaded, 1))
    assert (earlier_keys(again, 1).shape[1] > 0) == (editor is ALPHAEDIT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each
def test_half_precision_models_are_edited_too(editor, dtype):
    loaded = tiny_loaded("llama", dtype=dtype)
    original = digest(loaded)
    made = editor.make(loaded, CASES[:1], settings_of(editor, steps=8, clamp=3.0), silent)
    loaded.edits.add(made.edit)
    assert digest(loaded) != original
    loaded.edits.undo()
    assert digest(loaded) == original


def test_values_far_over_the_anchor_are_scaled_to_it_and_others_are_not():
    values = torch.tensor([[3.0, 4.0], [0.6, 0.8]], dtype=torch.float64)
    scaled = anchored(values, 2.0)
    assert torch.allclose(scaled, torch.tensor([[1.2, 1.6], [0.6, 0.8]], dtype=torch.float64))
    loaded = tiny_loaded("llama")
    mean = mean_length(loaded, 1, silent)
    loaded.edits.add(weight_edit(loaded, "other", layer=0))
    loaded.edits.baselines.clear()
    assert mean_length(loaded, 1, silent) == pytest.approx(mean)  # the unedited model's
    assert loaded.edits.active == ("other",) or len(loaded.edits.active) == 1
    free = MEMIT.make(loaded, CASES[:1], settings_of(MEMIT, clamp=20.0, steps=30, rate=2.0), silent)
    held = MEMIT.make(loaded, CASES[:1], settings_of(MEMIT, clamp=20.0, steps=30, rate=2.0, norm_anchor=True), silent)
    assert held.details.probabilities == free.details.probabilities
    assert sum(held.details.sizes) < sum(free.details.sizes)


@each
@pytest.mark.parametrize(
    ("cases", "given", "sentence"),
    [
        ((), {}, "an edit needs a case"),
        ((CASES[0].model_copy(update={"target": None}),), {}, "an edit needs a target; name"),
        ((CASES[0], CASES[1].model_copy(update={"subject": " "})), {}, "needs a subject.*of the case 'The cap"),
        ((*CASES, CASES[1].model_copy(update={"target": "7"})), {}, "conflict: 'The cap.*'Rome' and by '7'"),
        ((CASES[0], CASES[0]), {}, "two cases conflict"),
        (CASES, {"layers": (1, 3)}, "there is no layer 3; choose from 0 to 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_edited_is_said_in_a_sentence_before_anything_long(editor, cases, given, sentence):
    with pytest.raises(InputError, match=sentence):
        edit.check(tiny_loaded("llama"), editor, cases, settings_of(editor, **given))


@each
def test_a_mixture_of_experts_is_refused(editor):
    with pytest.raises(ModelError, match="mixture of experts"):
        edit.check(tiny_loaded("mixtral"), editor, CASES, editor.settings())


@each
def test_a_ridge_that_leaves_the_system_singular_is_a_sentence_and_the_queue_stays(editor):
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    given = {"covariance": 0.0} if editor is MEMIT else {"l2": 0.0}
    with pytest.raises(NumericalError, match="leaves the system singular; use a larger one"):
        editor.make(loaded, CASES[:1], settings_of(editor, prefixes=0, **given), silent)
    assert digest(loaded) == original
    assert loaded.edits.entries == ()


def test_where_no_direction_is_free_it_says_so():
    with pytest.raises(InputError, match=r"no direction of layer 0 is left.*use a smaller energy"):
        ALPHAEDIT.make(tiny_loaded("llama"), CASES[:1], settings_of(ALPHAEDIT, energy=1 - 1e-9), silent)


def test_a_matrix_that_rounding_decides_about_is_singular_too():
    assert torch.allclose(cholesky(torch.eye(2).double(), "no"), torch.eye(2).double())
    for matrix in ([[1.0, 0.0], [0.0, 1e-17]], [[1.0, 2.0], [2.0, 1.0]], [[float("nan"), 0.0], [0.0, 1.0]]):
        with pytest.raises(NumericalError, match="no"):
            cholesky(torch.tensor(matrix).double(), "no")


@pytest.mark.parametrize("wrong", [{"covariance": -1.0}, {"clamp": 0.0}, {"keys": "all"}, {"what": 1}])
def test_settings_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        MemitSettings(**wrong)
    with pytest.raises(ValidationError, match="energy"):
        AlphaEditSettings(energy=1.0)


def test_layers_are_the_models_own_or_those_around_a_fifth_of_its_depth():
    loaded = tiny_loaded("llama")
    assert chosen_layers(loaded, (2, 0)) == ((0, 2), "asked for")
    assert chosen_layers(loaded, ()) == ((0, 1, 2), "around 20% of the depth, not measured")


@each
def test_titles_name_the_layers_and_the_fact_or_how_many_there_are(editor):
    loaded = tiny_loaded("llama")
    one = editor.make(loaded, CASES[1:2], settings_of(editor, steps=1), silent).edit.info
    assert (one.title, one.layers, one.method) == ("L0–1 France → Rome", (0, 1), editor.name)
    apart = editor.make(loaded, CASES, settings_of(editor, steps=1, layers=(0, 2)), silent).edit.info
    assert (apart.title, apart.layers) == ("L0,2 3 facts", (0, 2))
    assert editor.many


@each
def test_a_request_of_it_goes_through_the_queue_and_is_drawn(editor):
    loaded, original = tiny_loaded("llama"), digest(tiny_loaded("llama"))
    request = EditRequest(editor=editor.name, case=CASES[0], settings=settings_of(editor), test=False)
    result = edit.run(loaded, request, silent)
    assert [entry.info for entry in result.queue.entries] == [result.edit]
    own = ["capacity"] if editor is ALPHAEDIT else []
    assert [check.name for check in result.checks] == [
        "rewrite", "size", "written", "drift", "held-out perplexity", "statistics", "optimisation", *own, "defaults",
    ]  # fmt: skip
    assert EditRequest.model_validate_json(request.model_dump_json()) == request
    assert edit.EditResult.model_validate_json(result.model_dump_json()).details.layers == (0, 1)
    _, table, curves = editor.figures(result.details)
    assert len(table.rows) == 2
    assert len(curves.curves[0].points) == 3
    loaded.edits.undo()
    assert digest(loaded) == original


def test_the_mean_key_receives_the_change_alone_where_that_is_asked_for():
    loaded = tiny_loaded("llama")
    balanced = MEMIT.make(loaded, CASES[:1], settings_of(MEMIT), silent)
    mean = MEMIT.make(loaded, CASES[:1], settings_of(MEMIT, keys="mean"), silent)
    assert mean.edit.info.id != balanced.edit.info.id
    assert not torch.allclose(mean.edit.changes[0].update(), balanced.edit.changes[0].update(), atol=1e-5)
    assert isinstance(
        ALPHAEDIT.make(loaded, CASES, settings_of(ALPHAEDIT, keys="mean"), silent).edit.changes[0], KeyedChange
    )
