"""Steering by contrast: directions, behaviour, sweeps and control vectors, against the obvious way on tiny models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from sklearn.decomposition import PCA

from tests.contrast_sets import contrast_dict, write_contrast
from tests.test_edits import digest, state_edit, weight_edit
from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.cli.figures import draw_all
from workbench.datasets.contrasts import ContrastSet, Property
from workbench.editing import edit, operations, steer_sweep
from workbench.editing.changes import StateChange
from workbench.editing.control_vectors import save_control_vector
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.steering.directions import By, encoded_pairs, read_directions
from workbench.editing.editors.steering.steered import Steered
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.editing.operations import QueueRequest
from workbench.editing.patches import load_patch
from workbench.editing.steer_sweep import SteerSweepRequest, SteerSweepResult
from workbench.editing.suite.behaviour import (
    Behaviour,
    compare,
    log_probabilities,
    measured,
    observe,
    replies_perplexity,
)
from workbench.editing.suite.repetition import repeated
from workbench.errors import Cancelled, InputError, NotConfirmed
from workbench.methods.cot.bootstrap import Estimate
from workbench.models.anatomy import tensor_of
from workbench.models.tokens import encode
from workbench.protocol import silent
from workbench.registry import method

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

SET = ContrastSet.model_validate({"name": "toy", **contrast_dict()})


def states_after(model: LoadedModel, ids: tuple[int, ...], layer: int) -> Any:
    """The states ``(tokens, d_model)`` after a layer, read by a plain hook."""
    seen: list[torch.Tensor] = []
    hook = model.block_modules[layer].register_forward_hook(lambda _m, _a, output: seen.append(tensor_of(output)[0]))
    with torch.no_grad():
        model.hf(torch.tensor([ids]))
    hook.remove()
    return seen[0].double().numpy()


def differences(model: LoadedModel, layer: int) -> Any:
    """Positive less negative of each pair of `SET`, pooled the obvious way: the mean over the reply's tokens."""
    rows = []
    for pair in SET.pairs:
        both = []
        for text in (pair.positive, pair.negative):
            whole = encode(model.tokenizer, Case(prompt=(pair.prompt or "") + text)).ids
            front = encode(model.tokenizer, Case(prompt=pair.prompt)).ids if pair.prompt else whole[:-1]
            assert whole[: len(front)] == front
            both.append(states_after(model, whole, layer)[len(front) :].mean(axis=0))
        rows.append(both[0] - both[1])
    return np.array(rows)


def close(found: torch.Tensor, expected: Any) -> bool:
    return bool(np.allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5))


# --- Directions ---


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "opt_norm_after"])
def test_the_mean_direction_is_the_mean_difference_of_pooled_states(architecture: str) -> None:
    model = tiny_loaded(architecture)
    for found in read_directions(model, SET, (2, 0), "mean"):
        own = differences(model, found.layer)
        assert close(found.vector, own.mean(axis=0))
        apart = [row @ np.delete(own, at, axis=0).mean(axis=0) > 0 for at, row in enumerate(own)]
        assert found.told_apart == np.mean(apart)


def test_the_pca_direction_is_the_first_component_with_sign_and_length_of_the_mean() -> None:
    model = tiny_loaded("llama")
    (found,) = read_directions(model, SET, (1,), "pca")
    own = differences(model, 1)
    component = PCA(n_components=1).fit(np.concatenate([own, -own])).components_[0]
    unit = found.vector.double().numpy() / float(found.vector.double().norm())
    assert abs(unit @ component) == pytest.approx(1, abs=1e-5)
    assert found.vector.double().numpy() @ own.mean(axis=0) > 0
    assert float(found.vector.norm()) == pytest.approx(abs(own.mean(axis=0) @ component), rel=1e-4)


def test_directions_are_read_with_the_edits_that_are_on() -> None:
    model = tiny_loaded("llama")
    (plain,) = read_directions(model, SET, (2,), "mean")
    model.edits.add(weight_edit(model, "a", layer=0))
    (edited,) = read_directions(model, SET, (2,), "mean")
    assert close(edited.vector, differences(model, 2).mean(axis=0))
    assert not torch.allclose(plain.vector, edited.vector)


def test_a_pair_too_long_for_the_model_is_named() -> None:
    pair = {"prompt": "a " * 60, "positive": "b", "negative": "c"}
    long = ContrastSet.model_validate({"name": "x", **contrast_dict(pairs=[*contrast_dict()["pairs"], pair])})
    with pytest.raises(InputError, match=r"^pair 6: "):
        encoded_pairs(tiny_loaded("llama"), long)


def test_reading_stops_when_it_is_asked_to() -> None:
    def stopping(done: int, total: int, found: Any = None, *, stage: str = "") -> None:
        if stage == "states after layer 1":
            raise Cancelled

    with pytest.raises(Cancelled):
        read_directions(tiny_loaded("llama"), SET, (2,), "mean", stopping)


# --- Behaviour ---


@pytest.mark.parametrize(
    ("measure", "text", "value"),
    [
        ({"kind": "length"}, "One two,  three.\n", 3),
        ({"kind": "length"}, "", 0),
        ({"kind": "words", "more": ["Kindly"], "less": ["don't", "hey"]}, "Kindly don’t do it. KINDLY!", 20),
        ({"kind": "words", "less": ["hey"]}, "", 0),
        ({"kind": "phrases", "phrases": ["I can't", "as an AI"]}, "Well, i  can’t say.", 1),
        ({"kind": "phrases", "phrases": ["I can't"]}, "I can.", 0),
    ],
)
def test_a_property_of_a_reply_is_what_it_says(measure: dict[str, Any], text: str, value: float) -> None:
    assert measured(Property(name="x", **measure), text) == pytest.approx(value)


def test_replies_are_greedy_and_measured_one_by_one() -> None:
    model = tiny_loaded("llama")
    found = observe(model, SET, 6)
    for held, reply, text, value in zip(SET.held_out, found.replies, found.texts, found.values, strict=True):
        ids = list(encode(model.tokenizer, Case(prompt=held.prompt)).ids)
        expected: list[int] = []
        for _ in range(6):
            with torch.no_grad():
                token = int(model.hf(torch.tensor([ids + expected])).logits[0, -1].argmax())
            if token == model.tokenizer.eos_token_id:
                break
            expected.append(token)
        assert list(reply) == expected
        assert text == model.tokenizer.decode(reply)
        assert value == measured(SET.measure, text)
    assert found.repeated == repeated(found.replies)


def test_log_probabilities_and_the_perplexity_of_replies_are_those_of_a_plain_forward() -> None:
    model = tiny_loaded("gpt2")
    found = observe(model, SET, 5)
    expected = []
    for prompt, reply in zip(found.prompts, found.replies, strict=True):
        with torch.no_grad():
            log_p = model.hf(torch.tensor([prompt + reply])).logits[0].log_softmax(dim=-1)
        expected.append([float(log_p[len(prompt) + at - 1, token]) for at, token in enumerate(reply)])
    pairs = list(zip(found.prompts, found.replies, strict=True))
    for own, slow in zip(log_probabilities(model, pairs), expected, strict=True):
        assert own == pytest.approx(slow, abs=1e-4)
    mean = np.mean([value for some in expected for value in some])
    assert replies_perplexity(model, found) == pytest.approx(math.exp(-mean), rel=1e-4)
    assert found.own == pytest.approx(math.exp(-mean), rel=1e-4)


def test_completions_are_compared_by_their_log_probabilities() -> None:
    model = tiny_loaded("llama")
    contrast = ContrastSet.model_validate({"name": "toy", **contrast_dict("completions")})
    found = observe(model, contrast, 3)
    for held, value in zip(contrast.held_out, found.values, strict=True):
        sums = []
        for text in (held.positive, held.negative):
            front, whole = (encode(model.tokenizer, Case(prompt=p)).ids for p in (held.prompt, held.prompt + str(text)))
            with torch.no_grad():
                log_p = model.hf(torch.tensor([whole])).logits[0].log_softmax(dim=-1)
            sums.append(sum(float(log_p[at - 1, whole[at]]) for at in range(len(front), len(whole))))
        assert value == pytest.approx(sums[0] - sums[1], abs=1e-3)


def test_repetition_is_the_share_of_3_grams_that_were_there_before() -> None:
    assert repeated([[1, 2, 3, 4]]) == 0
    assert repeated([[1, 1, 1, 1, 1]]) == pytest.approx(2 / 3)
    assert repeated([[1, 2], [], [1, 2, 1, 2, 1]]) == pytest.approx((1 / 3) / 3)
    assert repeated([]) == 0


def behaviour(low: float, high: float, wanted: str = "higher", **changed: Any) -> Behaviour:
    """One whose effect lies between these, and which costs nothing unless it is ``changed``."""
    given = {
        "measure": "x", "wanted": wanted, "before": 0, "after": (low + high) / 2, "perplexity_before": 20,
        "effect": Estimate(value=(low + high) / 2, low=low, high=high, questions=5), "perplexity": 20,
        "replies_perplexity_before": 2, "replies_perplexity": 2, "repeated_before": 0.1, "repeated": 0.1,
    }  # fmt: skip
    return Behaviour.model_validate({**given, **changed})


@pytest.mark.parametrize(
    ("found", "sign", "works", "fluent"),
    [
        (behaviour(0.1, 2), 1, True, True),
        (behaviour(0.1, 2), -1, False, True),
        (behaviour(-0.1, 2), 1, False, True),
        (behaviour(-3, -1), 1, False, True),
        (behaviour(-3, -1), -1, True, True),
        (behaviour(-3, -1, "lower"), 1, True, True),
        (behaviour(1, 2, perplexity=22.1), 1, True, False),
        (behaviour(1, 2, replies_perplexity=4.1), 1, True, False),
        (behaviour(1, 2, replies_perplexity=None), 1, True, True),
        (behaviour(1, 2, repeated=0.16), 1, True, False),
    ],
)
def test_what_works_and_what_is_fluent(found: Behaviour, sign: int, works: bool, fluent: bool) -> None:
    assert (found.works(sign), found.fluent) == (works, fluent)


def test_the_effect_is_the_mean_difference_over_prompts() -> None:
    model = tiny_loaded("llama")
    before = observe(model, SET, 6)
    model.edits.add(state_edit(model, "s"))
    after = observe(model, SET, 6)
    found = compare(SET, before, after, (2.0, 3.0), seed=1, shown=2)
    assert found.effect.value == pytest.approx(np.mean(np.array(after.values) - before.values), abs=1e-5)
    assert found.effect.low <= found.effect.value <= found.effect.high
    assert [reply.after for reply in found.replies] == list(after.texts[:2])
    assert found.replies_growth == pytest.approx(0.5)


# --- The edit ---


def settings(folder: Path, kind: str = "words", **given: Any) -> ContrastSettings:
    return ContrastSettings(contrast=str(write_contrast(folder, kind)), **{"tokens": 5, **given})


def asked(folder: Path, kind: str = "words", **given: Any) -> EditRequest:
    return EditRequest(editor="contrast", settings=settings(folder, kind, **given), test=False)


@pytest.mark.parametrize("by", ["mean", "pca"])
@pytest.mark.parametrize("kind", ["words", "length", "phrases", "completions"])
def test_the_edit_adds_the_direction_and_is_taken_back_to_the_bit(tmp_path: Path, kind: str, by: By) -> None:
    model = tiny_loaded("llama")
    original, text = digest(model), encoded_pairs(model, SET)[1][0]
    before = states_after(model, text.ids, 1)
    result = edit.run(model, asked(tmp_path, kind, layers=(1,), strength=-2.5, by=by), silent)
    (direction,) = read_vector(model, by)
    assert np.allclose(states_after(model, text.ids, 1), before - 2.5 * direction, atol=1e-4)
    assert isinstance(result.details, Steered)
    assert result.details.towards == "negative"
    assert result.edit is not None
    assert result.edit.title == f"L1 {kind} −2.5 ×"
    assert {"effect", "held-out perplexity", "repetition", "in the model", "pairs"} <= {c.name for c in result.checks}
    assert next(check for check in result.checks if check.name == "in the model").level == "ok"
    assert draw_all(method("edit").figures(result))
    model.edits.undo()
    assert digest(model) == original
    assert np.array_equal(states_after(model, text.ids, 1), before)


def read_vector(model: LoadedModel, by: By) -> list[Any]:
    """The direction of `SET` after layer 1 of the model without edits."""
    with model.edits.all_off():
        return [found.vector.double().numpy() for found in read_directions(model, SET, (1,), by)]


def test_several_layers_are_steered_at_once_and_one_is_chosen_where_none_is_asked_for(tmp_path: Path) -> None:
    model = tiny_loaded("gpt2")
    result = edit.run(model, asked(tmp_path, layers="0-1"), silent)
    assert result.edit is not None
    assert (result.edit.layers, result.edit.title) == ((0, 1), "L0–1 words +1 ×")
    result = edit.run(model, asked(tmp_path), silent)
    assert result.edit is not None
    assert result.edit.layers == (1,)


def test_what_makes_no_sense_is_refused_and_the_queue_is_untouched(tmp_path: Path) -> None:
    model = tiny_loaded("llama")
    for given, said in (
        ({"layers": (3,)}, "there are layers 0 to 2 to steer at"),
        ({"strength": 0}, "0 is no strength"),
        ({"strength": math.inf}, "inf is no strength"),
        ({"digest": "another"}, "is not what it was"),
    ):
        with pytest.raises(InputError, match=said):
            edit.run(model, asked(tmp_path, **given), silent)
    nothing = EditRequest(editor="contrast", settings=ContrastSettings(), test=False)
    with pytest.raises(InputError, match="name a contrast set"):
        edit.run(model, nothing, silent)
    assert model.edits.entries == ()


def test_a_cancelled_edit_leaves_everything_as_it_was(tmp_path: Path) -> None:
    model = tiny_loaded("llama")
    original = digest(model)

    def stopping(done: int, total: int, found: Any = None, *, stage: str = "") -> None:
        if stage.startswith("after: "):
            assert model.edits.active
            raise Cancelled

    with pytest.raises(Cancelled):
        edit.run(model, asked(tmp_path), stopping)
    assert (model.edits.active, model.edits.entries, digest(model)) == ((), (), original)


def test_a_patch_applied_elsewhere_steers_alike(tmp_path: Path) -> None:
    here, there = tiny_loaded("llama"), tiny_loaded("llama")
    made = edit.run(here, asked(tmp_path, layers=(0, 2), strength=3), silent)
    operations.run(here, QueueRequest(action="save", path=str(tmp_path / "patch")), silent)
    (read,) = load_patch(tmp_path / "patch.safetensors", there)
    assert read.info == made.edit
    there.edits.add(read)
    ids = encoded_pairs(here, SET)[0][0].ids
    assert np.array_equal(states_after(here, ids, 2), states_after(there, ids, 2))


# --- Control vectors ---


def test_a_control_vector_holds_what_is_added_after_each_layer(tmp_path: Path) -> None:
    model, path = tiny_loaded("llama"), tmp_path / "new" / "vector.gguf"
    edit.run(model, asked(tmp_path, layers=(1, 2), strength=2), silent)
    edit.run(model, asked(tmp_path, layers=(2,), strength=-1), silent)
    said = operations.run(model, QueueRequest(action="save-control-vector", path=str(path.with_suffix(""))), silent)
    assert "a control vector of 2 edits was saved to" in said.done
    read = GGUFReader(path)
    fields = {name: read.fields[name].contents() for name in read.fields if not name.startswith("GGUF.")}
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    assert fields["controlvector.layer_count"] == 2
    found = {tensor.name: tensor for tensor in read.tensors}
    assert set(found) == {"direction.1", "direction.2"}
    assert all(tensor.tensor_type.name == "F32" for tensor in found.values())
    added: dict[int, Any] = {}
    for active in model.edits.active:
        for change in model.edits.get(active).changes:
            assert isinstance(change, StateChange)
            added[change.layer] = added.get(change.layer, 0) + change.shift.numpy()
    for layer in (1, 2):
        assert np.array_equal(found[f"direction.{layer}"].data, added[layer])


def test_what_a_control_vector_cannot_hold_is_refused(tmp_path: Path) -> None:
    model, path = tiny_loaded("llama"), tmp_path / "vector.gguf"
    for edits, said in (
        ([], "no edit to save"),
        ([weight_edit(model, "w")], "does more than add a direction"),
        ([state_edit(model, "s", rank=1)], "does more than add a direction"),
        ([state_edit(model, "s", layer=0, rank=0)], "after layer 0, where llama.cpp adds no control vector"),
    ):
        with pytest.raises(InputError, match=said):
            save_control_vector(path, model, edits)
    assert not path.exists()


def test_a_control_vector_takes_the_place_of_a_control_vector_and_of_nothing_else(tmp_path: Path) -> None:
    model, steering_edit = tiny_loaded("llama"), [state_edit(tiny_loaded("llama"), "s", rank=0)]
    path, other = tmp_path / "vector.gguf", tmp_path / "model.gguf"
    save_control_vector(path, model, steering_edit)
    with pytest.raises(NotConfirmed, match="would be replaced"):
        save_control_vector(path, model, steering_edit)
    save_control_vector(path, model, steering_edit, confirmed=True)
    other.write_bytes(b"GGUF" + bytes(200))
    for taken in (other, tmp_path):
        with pytest.raises(InputError, match=r"is no control vector|is a folder"):
            save_control_vector(taken, model, steering_edit, confirmed=True)
    assert other.read_bytes() == b"GGUF" + bytes(200)


# --- The sweep of strengths ---


def swept(folder: Path, progress: Any = silent, kind: str = "words", **given: Any) -> SteerSweepResult:
    request = SteerSweepRequest(
        contrast=str(write_contrast(folder, kind)), **{"tokens": 5, "layers": (0, 2), "strengths": (-4, 4), **given}
    )
    return steer_sweep.run(tiny_loaded("llama"), request, progress)


def test_a_sweep_is_each_edit_by_itself_and_leaves_the_queue_alone(tmp_path: Path) -> None:
    partial: list[int] = []

    def noting(done: int, total: int, found: Any = None, *, stage: str = "") -> None:
        assert done <= total
        if isinstance(found, SteerSweepResult):
            partial.append(len(found.swept))
            assert draw_all(method("steer-sweep").figures(found))

    result = swept(tmp_path, noting)
    assert [(one.layer, one.strength) for one in result.swept] == [(0, -4), (0, 4), (2, -4), (2, 4)]
    assert set(partial) == {0, 1, 2, 3}
    for one in result.swept:
        made = edit.run(tiny_loaded("llama"), asked(tmp_path, layers=(one.layer,), strength=one.strength), silent)
        assert isinstance(made.details, Steered)
        own = made.details.behaviour
        assert one.behaviour.model_copy(update={"replies": ()}) == own.model_copy(update={"replies": ()})
        assert one.works == own.works(1 if one.strength > 0 else -1)
    assert SteerSweepResult.model_validate_json(result.model_dump_json()).swept == result.swept


def test_the_best_strength_is_the_usable_one_with_the_largest_effect_and_the_window_is_marked(tmp_path: Path) -> None:
    result = swept(tmp_path, layers=(1,), strengths=(-1, 0.5, 1, 2, 4))
    effects = {-1: (-3, -2), 0.5: (-0.1, 1), 1: (0.5, 1), 2: (1, 2), 4: (5, 9)}
    rows = []
    for one in result.swept:
        cost = {"perplexity": 40} if one.strength == 4 else {}
        found = behaviour(*effects[one.strength], **cost)
        rows.append(one.model_copy(update={"behaviour": found, "works": found.works(1 if one.strength > 0 else -1)}))
    result = result.model_copy(update={"swept": tuple(rows)})
    assert [one.strength for one in result.swept if one.usable] == [-1, 1, 2]
    assert result.best is not None
    assert result.best.strength == 2
    figures = method("steer-sweep").figures(result)
    usable = next(curve for curve in figures[0].curves if curve.label == "usable")  # type: ignore[union-attr]
    assert [x for x, y in usable.points if y is not None] == [-1, 1, 2]
    drawn = " ".join(figure.model_dump_json() for figure in figures)
    for words in ("no effect that is sure", "not fluent", "best towards positive: 2 × at layer 1", "−1, 1, 2"):
        assert words in drawn


def test_a_sweep_in_which_nothing_is_usable_says_so(tmp_path: Path) -> None:
    result = swept(tmp_path, kind="phrases", layers=(1,), strengths=(0.001,))
    assert result.best is None
    assert result.checks[0].level == "warn"
    assert "no strength above 0 that was tried is usable" in "".join(
        figure.model_dump_json() for figure in method("steer-sweep").figures(result)
    )


def test_a_cancelled_sweep_takes_its_edit_off(tmp_path: Path) -> None:
    model = tiny_loaded("llama")

    def stopping(done: int, total: int, found: Any = None, *, stage: str = "") -> None:
        if stage.startswith("layer 0, +4.00 ×"):
            raise Cancelled

    request = SteerSweepRequest(contrast=str(write_contrast(tmp_path)), tokens=5, layers=(0,), strengths=(-4, 4))
    with pytest.raises(Cancelled):
        steer_sweep.run(model, request, stopping)
    assert model.edits.active == ()


@pytest.mark.parametrize(
    ("strengths", "said"),
    [((0,), "0 is no strength"), ((math.nan, 1), "nan is no strength"), ((), "0 strengths"), (range(1, 200), "199")],
)
def test_strengths_that_make_no_sense_are_refused(tmp_path: Path, strengths: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        swept(tmp_path, strengths=tuple(strengths))


def test_an_edit_is_read_back_from_a_file(tmp_path: Path) -> None:
    result = edit.run(tiny_loaded("llama"), asked(tmp_path), silent)
    read = EditResult.model_validate_json(result.model_dump_json())
    assert isinstance(read.details, Steered)
    assert read.model_dump() == result.model_dump()
    assert method("edit").figures(read) == method("edit").figures(result)
