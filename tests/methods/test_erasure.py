"""Erasure does what the theorem says, as it is applied by the edit queue, in every dtype and five architectures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch
from concept_erasure import LeaceEraser, LeaceFitter

from tests.tiny import telling, tiny_loaded
from workbench.case import Case
from workbench.datasets.concepts import shipped_concept
from workbench.editing import edit
from workbench.editing import queue as edits
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors import editor
from workbench.editing.editors.erasure.effects import unrelated_facts
from workbench.editing.editors.erasure.erasure import Erased, ErasureSettings, concept_of
from workbench.editing.editors.erasure.fit import Fitted, Pooling, fit_eraser, fit_steering
from workbench.editing.editors.erasure.probes import largest_coefficient, linear
from workbench.editing.operations import QueueRequest
from workbench.editing.operations import run as run_queue
from workbench.editing.patches import load_patch
from workbench.errors import Cancelled, InputError, NumericalError
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward import maps
from workbench.models.forward.layerwise import Layerwise
from workbench.models.tokens import encode
from workbench.protocol import Frozen, Progress, silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

DTYPES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""How near to nothing "nothing" is, after rounding to the dtype."""

SETTINGS = ErasureSettings(concept="pronoun-gender", limit=160, layers=(0, 1))


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the non-linear probe learns is tested where it stands; here it is trained to be there."""
    monkeypatch.setattr("workbench.editing.editors.erasure.probes.EPOCHS", 6)


def erased(model: LoadedModel, progress: Progress = silent, **changed: Any) -> EditResult:
    """What an erasure of the settings above gives, but for what is changed."""
    by, case = changed.pop("by", "leace"), changed.pop("case", None)
    settings = editor(by).settings(**{**SETTINGS.model_dump(), **changed})
    return edit.run(model, EditRequest(editor=by, case=case, settings=settings, test=False), progress)


def found(result: EditResult) -> Erased:
    assert isinstance(result.details, Erased)
    return result.details


def states_of_classes(n_classes: int = 3, count: int = 900, width: int = 24) -> tuple[torch.Tensor, np.ndarray]:
    """States with class means apart, not centred, correlated, with directions of very different sizes."""
    generator = torch.Generator().manual_seed(1)
    classes = torch.arange(count) % n_classes
    mix = torch.randn(width, width, generator=generator) * torch.logspace(-1, 1, width)
    means = 2 * torch.randn(n_classes, width, generator=generator)
    return (torch.randn(count, width, generator=generator) + means[classes]) @ mix + 3, classes.numpy()


def applied(fitted: Fitted, states: torch.Tensor) -> torch.Tensor:
    """The states after a block to which the edit queue gave the change; to the bit what they are while fitting."""
    block = torch.nn.Linear(1, 1)
    block.forward = lambda hidden: hidden  # type: ignore[method-assign]
    maps.end_with_maps(block)
    vars(block)[maps.MAPS][:] = [edits._mapping([fitted.change], torch.device("cpu"))]
    found: torch.Tensor = block(states)
    assert torch.equal(found, fitted(states))
    return found


def class_means(states: torch.Tensor, classes: np.ndarray) -> torch.Tensor:
    x = states.double()
    return torch.stack([x[torch.from_numpy(classes == each)].mean(dim=0) for each in sorted(set(classes))])


def file_of(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def logits(model: LoadedModel, prompt: str = "The doctor told us that she") -> torch.Tensor:
    ids = encode(model.tokenizer, Case(prompt=prompt)).ids
    with torch.no_grad():
        found: torch.Tensor = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits
    return found


# --- The six properties of the theorem, on what the edit queue applies ---


@pytest.mark.parametrize("method", ["leace", "orth"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_class_means_are_equal_after_erasure_and_were_not_before(dtype: torch.dtype, method: Any) -> None:
    states, classes = states_of_classes()
    states = states.to(dtype)
    erased = applied(fit_eraser(0, states, classes, 3, method), states)
    assert erased.dtype == dtype
    before, after = class_means(states, classes), class_means(erased, classes)
    apart = (before - before.mean(dim=0)).norm(dim=1).max()
    assert apart > 1
    assert (after - after.mean(dim=0)).norm(dim=1).max() < DTYPES[dtype] * apart


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_probe_has_no_coefficients_after_erasure_and_had_some_before(dtype: torch.dtype) -> None:
    states, classes = states_of_classes()
    states = states.to(dtype)
    erased = applied(fit_eraser(0, states, classes, 3, "leace"), states)
    before = linear(states.float().numpy(), classes)
    after = linear(erased.float().numpy(), classes)
    assert before.score(states.float().numpy(), classes) > 0.9
    assert largest_coefficient(before) > 0.3
    assert largest_coefficient(after) < 5 * DTYPES[dtype]
    assert after.score(erased.float().numpy(), classes) == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_best_linear_reader_that_sees_nothing_has_no_gradient(dtype: torch.dtype) -> None:
    """At zero weights and the classes' own frequencies the gradient of the cross-entropy is the cross-covariance."""
    states, classes = states_of_classes()
    states = states.to(dtype)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(classes), 3).float()

    def gradient(x: torch.Tensor) -> float:
        weight = torch.zeros(x.shape[1], 3, requires_grad=True)
        bias = one_hot.mean(dim=0).log()
        loss = torch.nn.functional.cross_entropy(x.float() @ weight + bias, torch.from_numpy(classes))
        loss.backward()
        assert weight.grad is not None
        return float(weight.grad.norm())

    erased = applied(fit_eraser(0, states, classes, 3, "leace"), states)
    assert gradient(states) > 1
    assert gradient(erased) < DTYPES[dtype] * gradient(states)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erasing_twice_is_erasing_once(dtype: torch.dtype) -> None:
    states, classes = states_of_classes()
    states = states.to(dtype)
    fitted = fit_eraser(0, states, classes, 3, "leace")
    once = applied(fitted, states)
    twice = applied(fitted, once)
    assert (once.float() - states.float()).norm() > 0.1 * states.float().norm()
    assert (twice.float() - once.float()).norm() < DTYPES[dtype] * states.float().norm()


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_rank_is_the_number_of_classes_less_one(n_classes: int) -> None:
    states, classes = states_of_classes(n_classes)
    fitted = fit_eraser(0, states, classes, n_classes, "leace")
    assert fitted.rank == n_classes - 1
    assert fitted.change.left.shape == fitted.change.right.shape == (24, n_classes - 1)
    assert len(fitted.singular_values) == n_classes - 1
    changed = applied(fitted, states).double() - states.double()
    assert int((torch.linalg.svdvals(changed) > 1e-3).sum()) == n_classes - 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mean_of_all_states_is_kept(dtype: torch.dtype) -> None:
    states, classes = states_of_classes()
    states = states.to(dtype)
    erased = applied(fit_eraser(0, states, classes, 3, "leace"), states)
    before, after = states.double().mean(dim=0), erased.double().mean(dim=0)
    assert (after - before).norm() < DTYPES[dtype] * states.double().norm(dim=1).mean()


def test_what_is_applied_is_what_the_library_computes() -> None:
    states, classes = states_of_classes()
    x = states.double()
    library = LeaceEraser.fit(x, torch.nn.functional.one_hot(torch.from_numpy(classes), 3).double(), svd_tol=1e-4)
    torch.testing.assert_close(
        fit_eraser(0, states, classes, 3, "leace")(states), library(x).float(), rtol=1e-4, atol=1e-4
    )


def test_states_elsewhere_are_moved_less_when_the_eraser_knows_them_and_as_much_is_erased() -> None:
    states, classes = states_of_classes()
    elsewhere = 50 * torch.ones(300, 24) + torch.randn(300, 24, generator=torch.Generator().manual_seed(2))
    alone = fit_eraser(0, states, classes, 3, "leace")
    knowing = fit_eraser(0, states, classes, 3, "leace", [states[:500], states[500:], elsewhere])
    for fitted in (alone, knowing):
        means = class_means(fitted(states), classes)
        assert (means - means.mean(dim=0)).norm() < 1e-4
        assert fitted.rank == 2
    moved = [(fitted(elsewhere) - elsewhere).norm() for fitted in (alone, knowing)]
    assert moved[1] < 0.2 * moved[0]


def test_a_class_of_one_in_two_hundred_is_still_erased() -> None:
    states, _ = states_of_classes(2, count=4000)
    classes = (np.arange(4000) % 200 == 0).astype(int)
    states = states + 3 * torch.from_numpy(classes)[:, None]
    fitted = fit_eraser(0, states, classes, 2, "leace")
    assert fitted.rank == 1
    assert LeaceEraser.fit(states.double(), torch.from_numpy(classes).double()[:, None]).proj_left.norm() > 0


def test_states_that_say_nothing_about_the_classes_give_an_eraser_of_rank_nothing() -> None:
    states, _ = states_of_classes()
    twice, classes = torch.cat([states, states]), np.repeat([0, 1], len(states))
    assert fit_eraser(0, twice, classes, 2, "leace").rank == 0


# --- Fitting through the layers ---


def fits_by_the_obvious_loop(
    model: LoadedModel, texts: list[tuple[int, ...]], classes: np.ndarray, layers: tuple[int, ...]
) -> dict[int, LeaceEraser]:
    """For each layer a forward of every text by itself, with the library's erasers hooked in below."""
    erasers: dict[int, LeaceEraser] = {}

    def hook(eraser: LeaceEraser) -> Callable[..., Any]:
        def erase(_module: Any, _args: Any, output: Any) -> Any:
            states = tensor_of(output)
            return with_tensor(output, eraser(states.double()).to(states.dtype))

        return erase

    for layer in layers:
        seen: list[torch.Tensor] = []
        hooks = [model.block_modules[below].register_forward_hook(hook(eraser)) for below, eraser in erasers.items()]
        hooks.append(
            model.block_modules[layer].register_forward_hook(lambda _m, _a, out, to=seen: to.append(tensor_of(out)[0]))
        )
        with torch.no_grad():
            for ids in texts:
                model.hf.base_model(input_ids=torch.tensor([ids]), use_cache=False)
        for each in hooks:
            each.remove()
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(classes), 2).double()
        fitter = LeaceFitter.fit(torch.stack([states[-1] for states in seen]).double(), one_hot, svd_tol=1e-4)
        tokens = torch.cat(seen).double()
        fitter.sigma_xx_ = torch.cov(tokens.T, correction=0) * fitter.n
        erasers[layer] = fitter.eraser
    return erasers


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_every_layer_is_fitted_on_states_that_are_erased_below(architecture: str) -> None:
    model = tiny_loaded(architecture)
    data = concept_of(SETTINGS)
    training = data.of("train")
    texts = [encode(model.tokenizer, Case(prompt=example.text)).ids for example in training]
    classes = np.array([data.classes.index(example.label) for example in training])
    expected = fits_by_the_obvious_loop(model, texts, classes, (0, 1, 2))
    result = erased(model, layers=(0, 1, 2))
    assert result.edit is not None
    for change in model.edits.get(result.edit.id).changes:
        library = expected[change.layer]
        found = change.left.double() @ change.right.double().T  # type: ignore[union-attr]
        torch.testing.assert_close(found, library.proj_left @ library.proj_right, rtol=1e-3, atol=1e-4)


def test_all_layers_cost_one_forward_of_every_text_and_probing_before_another() -> None:
    model = tiny_loaded("llama")
    calls = [0] * model.info.layers
    for layer, block in enumerate(model.block_modules):
        block.register_forward_pre_hook(lambda _module, args, at=layer: calls.__setitem__(at, calls[at] + len(args[0])))
    data = concept_of(SETTINGS)
    texts = [encode(model.tokenizer, Case(prompt=example.text)).ids for example in data.examples]
    walk = Layerwise(model, texts)
    calls[:] = [0] * len(calls)
    for _ in range(model.info.layers):
        list(walk.advance())
        walk.map(lambda states: states)
    assert calls == [len(texts)] * model.info.layers


@pytest.mark.parametrize("pool", ["last", "mean", "all"])
def test_what_is_pooled_has_equal_class_means_in_the_model_itself(pool: Any) -> None:
    model = tiny_loaded("llama")
    settings = SETTINGS.model_copy(update={"pool": pool, "layers": (1,), "prepend": "separator"})
    result = found(edit.run(model, EditRequest(editor="leace", settings=settings), silent))
    row = result.at(1)
    assert row is not None
    assert row.rank == 1
    assert row.class_means[0] > 1e-3
    assert row.class_means[1] < 1e-5
    pooled: dict[str, list[torch.Tensor]] = {label: [] for label in result.classes}
    for example in concept_of(settings).of("train"):
        encoded = encode(model.tokenizer, Case(prompt=example.text, prepend="separator"))
        outputs: list[torch.Tensor] = []
        hook = model.block_modules[1].register_forward_hook(
            lambda _m, _a, out, to=outputs: to.append(tensor_of(out)[0])
        )
        with torch.no_grad():
            model.hf(input_ids=torch.tensor([encoded.ids]), use_cache=False)
        hook.remove()
        own = outputs[0][encoded.prepended :]
        pooled[example.label] += {"last": [own[-1]], "mean": [own.mean(dim=0)], "all": list(own)}[pool]
    means = [torch.stack(pooled[label]).double().mean(dim=0) for label in result.classes]
    assert (means[0] - means[1]).norm() < 1e-5 * means[0].norm()


@pytest.mark.parametrize("architecture", telling())
def test_the_edit_does_in_the_model_what_was_fitted(architecture: str) -> None:
    model = tiny_loaded(architecture)
    before = logits(model)
    result = erased(model, limit=120, pool="mean")
    assert result.edit is not None
    assert result.edit.layers == (0, 1)
    assert not torch.equal(logits(model), before)
    model.edits.switch(result.edit.id, False)
    assert torch.equal(logits(model), before)
    checks = {check.name: check for check in result.checks}
    assert checks["in the model"].level == "ok"
    assert checks["guarantee"].level == "ok"
    assert checks["after"].level == "ok"
    assert [row.layer for row in found(result).probed] == list(range(model.info.layers))
    assert [row.changed for row in found(result).probed] == [row.layer < 2 for row in found(result).probed]
    assert all(row.rank == 1 for row in found(result).probed if row.changed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_are_fitted_in_double_precision(dtype: torch.dtype) -> None:
    model = tiny_loaded("llama", dtype=dtype)
    before = logits(model)
    result = erased(model)
    assert result.edit is not None
    for row in found(result).probed[:2]:
        assert row.class_means[1] < 0.02
        assert row.before.texts > row.after.texts or row.before.texts < 0.6
    levels = {check.name: check.level for check in result.checks}
    assert (levels["guarantee"], levels["in the model"]) == ("ok", "ok")
    assert logits(model).dtype == dtype
    assert not torch.equal(logits(model), before)
    model.edits.remove(result.edit.id)
    assert torch.equal(logits(model), before)


def test_several_classes_are_erased_together(tmp_path: Path) -> None:
    places = ("garden", "river", "street")
    rows = [{"text": f"{i} Tom is in the {places[i % 3]}", "label": places[i % 3]} for i in range(150)]
    result = found(erased(tiny_loaded("llama"), concept=None, limit=None, data=file_of(tmp_path, rows), layers=(1,)))
    row = result.at(1)
    assert row is not None
    assert row.rank == 2
    assert row.before.texts > 0.9
    assert row.after.texts < 0.45
    assert row.before.templates is None


# --- In the queue ---


def test_an_erasure_is_undone_to_the_bit() -> None:
    model = tiny_loaded("llama")
    before = logits(model)
    result = erased(model)
    assert result.edit is not None
    edited = logits(model)
    assert not torch.equal(edited, before)
    model.edits.switch(result.edit.id, False)
    assert torch.equal(logits(model), before)
    model.edits.switch(result.edit.id, True)
    assert torch.equal(logits(model), edited)
    model.edits.remove(result.edit.id)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("method", ["leace", "orth", "steer"])
def test_a_patch_does_the_same_in_a_fresh_model(method: Any, tmp_path: Path) -> None:
    model, path = tiny_loaded("llama"), tmp_path / "edit.safetensors"
    erased(model, by=method)
    run_queue(model, QueueRequest(action="save", path=str(path)), silent)
    fresh = tiny_loaded("llama")
    for each in load_patch(path, fresh):
        fresh.edits.add(each)
    assert torch.equal(logits(fresh), logits(model))


def test_an_erasure_stands_on_the_edits_that_were_on() -> None:
    model = tiny_loaded("llama")
    first = erased(model)
    again = erased(model, concept="tense")
    assert first.edit is not None
    assert again.edit is not None
    assert model.edits.active == (first.edit.id, again.edit.id)
    assert {check.name: check for check in again.checks}["in the model"].level == "ok"


def test_the_same_request_makes_the_same_edit() -> None:
    one, other = (erased(tiny_loaded("llama")) for _ in range(2))
    assert one == other


def test_nothing_has_changed_when_it_is_cancelled_before_the_edit_is_there() -> None:
    model = tiny_loaded("llama")
    partial: list[Frozen] = []

    def progress(done: int, total: int, partly: Frozen | None = None, *, stage: str = "") -> None:
        partial.extend([partly] if partly else [])
        if partial:
            raise Cancelled

    before = logits(model)
    with pytest.raises(Cancelled):
        erased(model, progress)
    assert isinstance(partial[0], EditResult)
    assert [row.layer for row in found(partial[0]).probed] == [0]
    assert partial[0].edit is None
    assert model.edits.entries == ()
    assert torch.equal(logits(model), before)


def test_progress_ends_where_it_said_it_would() -> None:
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int, partly: Frozen | None = None, *, stage: str = "") -> None:
        seen.append((done, total))

    erased(tiny_loaded("llama"), progress, above=False)
    of_blocks = [pair for pair in seen if pair[1] == seen[-1][1]]
    assert of_blocks == sorted(of_blocks)
    assert max(done for done, _ in of_blocks) == of_blocks[-1][1]


def test_progress_moves_while_the_model_is_read_before_and_after() -> None:
    parts: dict[str, float] = {}

    def progress(done: int, total: int, partly: Frozen | None = None, *, stage: str = "") -> None:
        parts.setdefault(stage, done / total)

    erased(tiny_loaded("llama"), progress)
    for when in ("before", "after"):
        assert parts[f"{when}: open prompts"] < parts[f"{when}: prose"] < parts[f"{when}: facts"]


# --- Effects, steering ---


def test_the_case_is_read_before_and_after() -> None:
    model = tiny_loaded("llama")
    case = Case(prompt="The doctor told us that", target=".", foil=",", prepend="separator")
    before = logits_of(model, case)
    result = erased(model, case=case)
    after = logits_of(model, case)
    assert found(result).effects is not None
    watched = found(result).effects.case
    assert watched is not None
    assert watched.encoded.target is not None
    assert watched.before.target is not None
    assert watched.after.target is not None
    target = watched.encoded.target.id
    assert watched.before.target.probability[-1] == pytest.approx(float(before.softmax(-1)[target]), rel=1e-4)
    assert watched.after.target.probability[-1] == pytest.approx(float(after.softmax(-1)[target]), rel=1e-4)


def logits_of(model: LoadedModel, case: Case) -> torch.Tensor:
    ids = encode(model.tokenizer, case).ids
    with torch.no_grad():
        found: torch.Tensor = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return found


def test_words_of_a_class_have_the_probability_that_the_model_gives_them() -> None:
    model = tiny_loaded("gpt2")
    data = shipped_concept("tense")
    result = erased(model, concept="tense")
    assert found(result).effects is not None
    assert [effect.prompt for effect in found(result).effects.words] == list(data.prompts)
    effect = found(result).effects.words[0]
    tokens = set()
    for word in data.words["present"]:
        choice = encode(model.tokenizer, Case(prompt=effect.prompt, target=word)).target
        assert choice is not None
        tokens.add(choice.id)
    p = logits_of(model, Case(prompt=effect.prompt)).softmax(dim=-1)
    assert effect.after[data.classes.index("present")] == pytest.approx(float(p[list(tokens)].sum()), rel=1e-4)
    assert effect.before != effect.after


@pytest.mark.parametrize("towards", ["feminine", "masculine"])
def test_steering_moves_states_towards_the_class(towards: str) -> None:
    result = found(erased(tiny_loaded("llama"), by="steer", towards=towards, layers=(1,), strength=8.0))
    row = result.at(1)
    assert row is not None
    assert row.towards is not None
    before, after = row.towards
    assert after > max(before, 0.9)
    assert row.rank == 0
    assert result.towards == towards


def test_steering_adds_the_difference_of_class_means_times_the_strength() -> None:
    states, classes = states_of_classes(2)
    means = class_means(states, classes)
    fitted: Fitted = fit_steering(0, states, classes, 1, 2.5)
    torch.testing.assert_close(fitted(states), states + 2.5 * (means[1] - means[0]).float(), rtol=1e-4, atol=1e-4)


# --- What is refused ---


def test_an_eraser_that_would_erase_nothing_is_an_error_and_no_edit(tmp_path: Path) -> None:
    rows = [{"text": f"text {i // 2}", "label": "ab"[i % 2], "split": "train" if i < 60 else "test"} for i in range(90)]
    model = tiny_loaded("llama")
    with pytest.raises(InputError, match="erase nothing"):
        erased(model, concept=None, limit=None, data=file_of(tmp_path, rows), layers=(1,))
    assert model.edits.entries == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"concept": None}, "name a concept"),
        ({"data": "x.csv"}, "not both"),
        ({"concept": "colour"}, "there is no concept 'colour'"),
        ({"layers": (3,)}, "layers 0 to 2"),
        ({"layers": ()}, "layers 0 to 2"),
        ({"layers": (-1,)}, "layers 0 to 2"),
        ({"limit": 20}, "examples of"),
        ({"limit": 0}, "higher limit"),
        ({"by": "steer", "towards": "neuter"}, "no class 'neuter'"),
        ({"by": "steer", "strength": float("inf")}, "no strength"),
        ({"digest": "0123"}, "not what it was"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(changed: dict[str, Any], said: str) -> None:
    model = tiny_loaded("llama")
    with pytest.raises(InputError, match=said):
        erased(model, **changed)
    assert model.edits.entries == ()


def test_states_that_are_not_finite_are_refused() -> None:
    model = tiny_loaded("llama")
    walk = Layerwise(model, [[1, 2, 3]])
    walk.states[0][0, 0, 0] = float("nan")
    data = concept_of(SETTINGS)
    with pytest.raises(NumericalError, match="not finite"):
        Pooling(walk, "mean", data.examples[:1], data.classes, [0], 0).rows(walk)


def test_more_texts_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * 4096))
    with pytest.raises(InputError, match="--limit"):
        erased(tiny_loaded("llama"))


def test_the_unrelated_facts_are_forty_and_of_every_relation() -> None:
    suite = unrelated_facts()
    assert len(suite.facts) == 40
    assert len({fact.prompt for fact in suite.facts}) == 40
