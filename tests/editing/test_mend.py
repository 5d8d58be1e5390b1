"""MEND on tiny models: the gradient and an untrained network's edit against autograd, training against itself."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from tests.editing.test_fine_tuning import CASE, TELLING, target_probability
from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded, tiny_model
from workbench.case import Case
from workbench.datasets.suites import EditRecord, Suite, SuiteFact
from workbench.editing import edit
from workbench.editing.changes import DenseChange, WeightChange
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editors
from workbench.editing.editors.mend import training
from workbench.editing.editors.mend.gradients import edited, gradients, norms
from workbench.editing.editors.mend.kept import (
    History,
    MendScores,
    TrainedNetwork,
    checkpoint_file,
    keep,
    kept,
    network_file,
)
from workbench.editing.editors.mend.material import material, shipped_records
from workbench.editing.editors.mend.mend import MEND, MendSettings
from workbench.editing.editors.mend.network import FIRST_STEP, untrained
from workbench.editing.editors.mend.training_result import TrainRequest, TrainResult, figures
from workbench.editing.patches import load_patch, save_patch
from workbench.editing.sequence import outcome_file
from workbench.errors import Cancelled, InputError, ModelError, NumericalError
from workbench.models.forward.upper import Texts, UpperLayers
from workbench.models.tokens import continuation_ids, encode
from workbench.protocol import silent
from workbench.registry import method

NAMES = ("Tom", "Paris", "Rome", "Canberra", "Sydney", "Eiffel", "France", "Australia")
CASES = (
    CASE,
    Case(prompt="Tom has", target=" apples"),
    Case(prompt="What is it?", target=" Paris", prepend="separator"),
)


def a_record(place: int) -> EditRecord:
    """A record about one of the names."""
    name, other = NAMES[place], NAMES[(place + 3) % len(NAMES)]
    new, old = (", 7", " is") if place % 2 else (" The", ".")
    facts = (
        SuiteFact(role="rewrite", prompt=f"The city of {name}", subject=name, target=new, against=old),
        SuiteFact(role="paraphrase", prompt=f"What is {name}", subject=name, target=new, against=old),
        SuiteFact(role="neighborhood", prompt=f"The city of {other}", target=old, against=new),
        SuiteFact(role="unrelated", prompt="Tom buys 3 apples and", target=" 4"),
    )
    case = Case(prompt=f"The city of {name}", subject=name, target=new, foil=old)
    return EditRecord(id=str(place), case=case, suite=Suite(name=name, facts=facts))


RECORDS = tuple(map(a_record, range(len(NAMES))))
TRAIN = TrainRequest(records=RECORDS, steps=6, batch=3, rank=4, rate=0.01, step_rate=0.1, every=2, layers=(1, 2))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@dataclasses.dataclass
class Uninterrupted:
    """A training, and the cache that it left."""

    result: TrainResult
    cache: Path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A tiny model's training, from its beginning to its end."""
    home = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LM_WORKBENCH_HOME", str(home))
        return Uninterrupted(training.run(tiny_loaded("llama"), TRAIN, silent), home / "cache")


def asked_of(loaded, cases):
    """The cases as texts, and what is asked of them."""
    texts = Texts()
    asked = [texts.continued(encode(loaded.tokenizer, c).ids, continuation_ids(loaded.tokenizer, c)) for c in cases]
    return texts, asked


def plain_gradients(architecture, case, layers):
    """The gradient of one case's loss by each whole matrix ``(d_model, d_mlp)``, by autograd on a model of its own."""
    loaded, model = tiny_loaded(architecture), tiny_model(architecture).requires_grad_(False)
    prompt, answers = encode(loaded.tokenizer, case).ids, continuation_ids(loaded.tokenizer, case)
    anatomy = loaded.anatomy
    weights = [model.get_submodule(f"{anatomy.blocks}.{layer}.{anatomy.down_projection}").weight for layer in layers]
    for weight in weights:
        weight.requires_grad_()
    logits = model(input_ids=torch.tensor([prompt + answers[:-1]])).logits[0, len(prompt) - 1 :]
    (-logits.log_softmax(dim=-1)[range(len(answers)), list(answers)].mean()).backward()
    return [weight.grad.T if anatomy.down_projection_in_first else weight.grad for weight in weights]


def matrix(pair, edit=0):
    left, right = pair
    return (left[edit].T @ right[edit]).detach()


@pytest.mark.parametrize("architecture", TELLING)
def test_the_factors_of_a_batch_multiply_to_the_gradient_of_each_case_by_itself(architecture):
    loaded = tiny_loaded(architecture)
    texts, asked = asked_of(loaded, CASES)
    found = gradients(loaded, (1, 2), UpperLayers(loaded, 1, texts.ids), asked)
    for number, case in enumerate(CASES):
        for layer, expected in zip((1, 2), plain_gradients(architecture, case, (1, 2)), strict=True):
            assert expected.abs().max() > 1e-4
            assert torch.allclose(matrix(found[layer], number), expected, atol=1e-5)
            assert norms(found[layer])[number] == pytest.approx(expected.norm().item(), rel=1e-3)
    assert all(parameter.grad is None for parameter in loaded.hf.parameters())


@pytest.mark.parametrize("architecture", TELLING)
def test_an_untrained_networks_edit_is_a_step_of_gradient_descent(architecture):
    loaded = tiny_loaded(architecture)
    texts, asked = asked_of(loaded, CASES)
    gradient = gradients(loaded, (1, 2), UpperLayers(loaded, 1, texts.ids), asked)
    network = untrained(loaded, (1, 2), rank=4, seed=0, sample=[gradient])
    changes = network.edits(gradient)
    for place, layer in enumerate((1, 2)):
        step = network.tensors["log_step"][place].exp()
        for number, case in enumerate(CASES):
            expected = plain_gradients(architecture, case, (1, 2))[place]
            assert torch.allclose(matrix(changes[layer], number), -step * expected, atol=1e-5)
        sizes = norms(changes[layer]).mean() / loaded.down_projection(layer).weight.norm()
        assert sizes.item() == pytest.approx(FIRST_STEP, rel=1e-3)


def test_another_network_maps_factors_as_the_formula_says_token_by_token():
    loaded = tiny_loaded("llama")
    texts, asked = asked_of(loaded, CASES)
    gradient = gradients(loaded, (1, 2), UpperLayers(loaded, 1, texts.ids), asked)
    network = untrained(loaded, (1, 2), rank=4, seed=0, sample=[gradient])
    generator = torch.Generator().manual_seed(1)
    for tensor in network.learned.values():
        tensor += 0.3 * torch.randn(tensor.shape, generator=generator)
    t = network.tensors
    for place, layer in enumerate((1, 2)):
        left, right = gradient[layer]
        new_left, new_right = network.edits(gradient)[layer]
        for number in range(len(CASES)):
            for token in range(left.shape[1]):
                if not left[number, token].any():
                    assert not new_left[number, token].any()
                    continue
                raw = torch.cat([left[number, token], right[number, token]])
                z = ((raw - t["mean"][place]) / t["deviation"][place]).clamp(-10, 10)
                first = t["scale_1"][place] * (t["up_1"] @ (t["down_1"] @ z) + t["bias_1"]) + t["offset_1"][place]
                h = z + 0.5 * first * (1 + torch.erf(first / math.sqrt(2)))
                out = h + t["scale_2"][place] * (t["up_2"] @ (t["down_2"] @ h)) + t["offset_2"][place]
                mapped = raw + t["deviation"][place] * (out - z)
                step = t["log_step"][place].exp()
                assert torch.allclose(new_left[number, token], -step * mapped[:16], atol=1e-4)
                assert torch.allclose(new_right[number, token], mapped[16:], atol=1e-4)


@pytest.mark.parametrize("architecture", TELLING)
def test_rows_of_a_batch_have_each_the_change_of_their_own_edit(architecture):
    loaded = tiny_loaded(architecture)
    texts, asked = asked_of(loaded, CASES)
    upper = UpperLayers(loaded, 1, texts.ids)
    gradient = gradients(loaded, (1, 2), upper, asked)
    changes = {layer: (-left, right) for layer, (left, right) in gradient.items()}
    owners = [1, 0, 2]
    with edited(loaded, changes, owners), torch.no_grad():
        together = upper.states([0, 1, 2])
    for row, owner in enumerate(owners):
        own = [WeightChange(layer, changes[layer][0][owner].T, changes[layer][1][owner].T) for layer in (1, 2)]
        alone = dataclasses.replace(weight_edit(loaded, "one"), changes=tuple(own))
        with loaded.edits.added(alone), torch.no_grad():
            expected = upper.states([row])[0]
        assert torch.allclose(together[row, : len(expected)], expected, atol=1e-4)


# --- Training ---


def test_training_lowers_the_loss_and_the_network_that_did_best_is_kept():
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    request = TRAIN.model_copy(update={"steps": 60, "every": 20})
    result = training.run(loaded, request, silent)
    assert digest(loaded) == original
    history = result.history
    assert (history.step, history.layers, history.records, history.held_out) == (60, (1, 2), 7, 1)
    assert [loss.step for loss in history.losses] == [20, 40, 60]
    assert history.losses[-1].edit < history.losses[0].edit - 1
    assert [scores.step for scores in history.scores] == [20, 40, 60]
    there = kept(network_file(loaded.info.fingerprint), loaded)
    assert there.history.best == history.best
    assert not there.state
    assert result.checks[0].name == "held out"
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in loaded.hf.parameters())


class Stopping:
    """A progress that is cancelled at its ``when``-th report of a step."""

    def __init__(self, when: int) -> None:
        self.left, self.results = when, []

    def __call__(self, done, total, partial=None, *, stage=""):
        if isinstance(partial, TrainResult):
            self.results.append(partial)
            self.left -= 1
        if self.left <= 0:
            raise Cancelled


@pytest.mark.parametrize("when", [1, 2, 4, 5, 7])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(when, home, uninterrupted):
    loaded, broken = tiny_loaded("llama"), home / "broken"
    checkpoint = checkpoint_file(loaded.info.fingerprint)
    stopping = Stopping(when)
    with pytest.raises(Cancelled):
        training.run(loaded, TRAIN, stopping)
    stopped = kept(checkpoint, loaded).history.step
    assert stopped < 6
    assert stopping.results[-1].history.step == stopped
    resumed = training.run(loaded, TRAIN, silent)
    (home / "cache").rename(broken)
    assert resumed.resumed == stopped
    assert resumed.history == uninterrupted.result.history
    for file in (checkpoint, network_file(loaded.info.fingerprint)):
        one, other = (load_file(folder / file.relative_to(home / "cache")) for folder in (uninterrupted.cache, broken))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_more_steps_go_on_and_other_settings_or_records_begin_anew():
    loaded = tiny_loaded("llama")
    assert training.run(loaded, TRAIN, silent).resumed == 0
    assert training.run(loaded, TRAIN.model_copy(update={"steps": 8}), silent).resumed == 6
    assert training.run(loaded, TRAIN.model_copy(update={"steps": 8}), silent).history.step == 8
    assert training.run(loaded, TRAIN.model_copy(update={"steps": 8, "rate": 0.02}), silent).resumed == 0
    assert training.run(loaded, TRAIN.model_copy(update={"records": RECORDS[:7]}), silent).resumed == 0


def test_it_is_trained_without_the_edits_that_are_on():
    loaded = tiny_loaded("llama")
    alone = training.run(loaded, TRAIN, silent)
    checkpoint_file(loaded.info.fingerprint).unlink()
    loaded.edits.add(weight_edit(loaded, "other"))
    now = digest(loaded)
    assert training.run(loaded, TRAIN, silent).history == alone.history
    assert digest(loaded) == now


@pytest.mark.parametrize("architecture", TELLING)
def test_models_of_any_kind_can_be_trained_and_edited(architecture):
    loaded = tiny_loaded(architecture)
    original = digest(loaded)
    training.run(loaded, TRAIN.model_copy(update={"steps": 1, "layers": ()}), silent)
    made = MEND.make(loaded, (CASE,), MendSettings(), silent)
    assert digest(loaded) == original
    assert made.details.probability_before == pytest.approx(target_probability(loaded), rel=1e-3)
    loaded.edits.add(made.edit)
    assert target_probability(loaded) == pytest.approx(made.details.probability, rel=1e-3)
    loaded.edits.undo()
    assert digest(loaded) == original


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_too(dtype):
    loaded = tiny_loaded("llama", dtype=dtype)
    training.run(loaded, TRAIN, silent)
    made = MEND.make(loaded, (CASE,), MendSettings(), silent)
    with loaded.edits.added(made.edit):
        assert target_probability(loaded) == pytest.approx(made.details.probability, rel=0.1)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"records": RECORDS[:1]}, InputError, "1 records are too few to train on"),
        ({"layers": (1, 3)}, InputError, "there is no layer 3; choose from 0 to 2"),
        ({"c_edit": 1e39}, NumericalError, "the loss of step 1 is not finite in float32; use a smaller rate"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_sentence(change, error, sentence):
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    if error is NumericalError:
        norm = loaded.hf.get_submodule(loaded.anatomy.final_norm)
        norm.register_forward_hook(lambda _module, _args, output: output * float("nan"))
    with pytest.raises(error, match=sentence):
        training.run(loaded, TRAIN.model_copy(update=change), silent)
    assert digest(loaded) == original
    assert not network_file(loaded.info.fingerprint).exists()


def test_records_without_old_answers_or_targets_are_refused_or_counted():
    loaded = tiny_loaded("llama")
    bare = [r.model_copy(update={"suite": Suite(name="none", facts=())}) for r in RECORDS]
    with pytest.raises(InputError, match="do not say what was true before"):
        material(loaded, bare, 0)
    without = RECORDS[0].model_copy(update={"case": RECORDS[0].case.model_copy(update={"target": None})})
    assert material(loaded, (*RECORDS[1:], without), 0).unusable == 1
    with pytest.raises(ModelError, match="mixture of experts"):
        training.run(tiny_loaded("mixtral"), TRAIN, silent)


def test_no_subject_is_both_held_out_and_trained_on_and_the_shipped_records_are_plenty():
    loaded = tiny_loaded("llama")
    records = tuple(each.model_copy(update={"id": f"{each.id} {n}"}) for each in RECORDS for n in range(3))
    found = material(loaded, records, 0)
    assert (len(found.examples), len(found.held_out)) == (21, 3)
    assert len({example.rewrite for example in (*found.examples, *found.held_out)}) == 8
    assert all(example.questions and not example.stays for example in found.held_out)
    assert all(example.stays and example.paraphrases for example in found.examples)
    shipped = shipped_records(0)
    assert len(shipped) > 1000
    assert shipped == shipped_records(0) != shipped_records(1)
    assert len({record.id for record in shipped}) == len(shipped)
    assert all(record.suite.facts[0].target == record.case.target for record in shipped)


# --- The editor ---


@pytest.fixture
def trained(uninterrupted, home):
    """A tiny model with a network of its own."""
    shutil.copytree(uninterrupted.cache, home / "cache")
    return tiny_loaded("llama")


def test_an_edit_is_the_networks_and_twice_as_large_at_twice_the_scale(trained):
    short = Case(prompt="Tom has", subject="Tom", target=" apples")
    made = MEND.make(trained, (short,), MendSettings(), silent)
    texts, asked = asked_of(trained, (short,))
    network = kept(network_file(trained.info.fingerprint), trained).network
    expected = network.edits(gradients(trained, (1, 2), UpperLayers(trained, 1, texts.ids), asked))
    for change in made.edit.changes:
        assert isinstance(change, WeightChange)
        assert torch.allclose(change.update(), matrix(expected[change.layer]), atol=1e-6)
    twice = MEND.make(trained, (short,), MendSettings(scale=2), silent)
    assert torch.allclose(twice.edit.changes[0].update(), 2 * made.edit.changes[0].update(), atol=1e-6)
    assert made.edit.info.title == "L1-2 Tom → apples"
    assert twice.edit.info.id != made.edit.info.id
    names = [check.name for check in (*made.details.checks, *made.gates)]
    assert names == ["edit", "network", "size", "drift", "held-out perplexity"]


def test_a_text_longer_than_the_matrix_is_wide_gives_a_change_of_full_rank(trained, tmp_path):
    long = Case(prompt="Tom has 3 apples and buys 4 more, so Tom has 3 + 4 = 7 apples. The answer is", target=" 7.")
    made = MEND.make(trained, (long,), MendSettings(), silent)
    assert {type(change) for change in made.edit.changes} == {DenseChange, WeightChange}  # few tokens in the last
    for case, name in ((long, "long"), (CASE, "short")):
        made = MEND.make(trained, (case,), MendSettings(), silent)
        save_patch(tmp_path / name, trained.info.fingerprint, [made.edit])
        again = tiny_loaded("llama")
        (read,) = load_patch(tmp_path / name, again)
        again.edits.add(read)
        with trained.edits.added(made.edit):
            assert digest(again) == digest(trained)


def test_without_a_network_it_is_said_how_to_train_one_and_how_long_that_takes(home):
    loaded = tiny_loaded("llama")
    sentence = r"train it once by `workbench editors train mend --model tiny-llama` \(about 45 minutes"
    with pytest.raises(ModelError, match=sentence):
        edit.check(loaded, MEND, (CASE,), MendSettings())
    training.run(loaded, TRAIN, silent)
    edit.check(loaded, MEND, (CASE,), MendSettings())
    other = tiny_loaded("llama", seed=1)
    with pytest.raises(ModelError, match=sentence):
        edit.check(other, MEND, (CASE,), MendSettings())
    file = network_file(other.info.fingerprint)
    file.parent.mkdir(parents=True)
    file.write_bytes(network_file(loaded.info.fingerprint).read_bytes())  # whatever folder it is in
    with pytest.raises(ModelError, match=sentence):
        MEND.make(other, (CASE,), MendSettings(), silent)


SCORES = MendScores(step=1, efficacy=1.0, generalization=0.5, specificity=0.5)


@pytest.mark.parametrize("how", ["cut", "another shape", "not finite", "no history", "a layer too many"])
def test_a_damaged_network_is_a_sentence(trained, how):
    file = network_file(trained.info.fingerprint)
    there = kept(file, trained)
    tensors, history = dict(there.network.tensors), there.history
    if how == "another shape":
        tensors["up_1"] = tensors["up_1"][:3]
    if how == "not finite":
        tensors["up_1"] = tensors["up_1"] / 0
    if how == "a layer too many":
        history = history.model_copy(update={"layers": (1, 7)})
    if how == "no history":
        history = history.model_copy(update={"step": None})
    keep(
        file, trained.info.fingerprint, TrainedNetwork(dataclasses.replace(there.network, tensors=tensors), history, {})
    )
    if how == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="is a damaged network of MEND; remove it and train again"):
        MEND.make(trained, (CASE,), MendSettings(), silent)


@pytest.mark.parametrize("when", range(5))
def test_cancelled_at_any_moment_an_edit_leaves_the_model_as_it_was(trained, when):
    original, calls = digest(trained), []

    def cancelled(done, total, partial=None, *, stage=""):
        calls.append(stage)
        if len(calls) > when:
            raise Cancelled

    with pytest.raises(Cancelled):
        MEND.make(trained, (CASE,), MendSettings(), cancelled)
    assert digest(trained) == original
    assert trained.edits.entries == ()


@pytest.mark.parametrize(
    ("case", "sentence"),
    [({"target": None}, "an edit needs a target"), ({"prompt": " "}, "an edit needs a prompt")],
)
def test_what_cannot_be_edited_is_said_in_a_sentence(trained, case, sentence):
    with pytest.raises(InputError, match=sentence):
        edit.check(trained, MEND, (CASE.model_copy(update=case),), MendSettings())
    with pytest.raises(ValidationError, match="scale"):
        MendSettings(scale=0)


def test_requests_of_both_come_back_from_files_and_the_edit_goes_through_the_queue(trained):
    assert MEND in editors("fact")
    original = digest(trained)
    result = edit.run(trained, EditRequest(editor="mend", case=CASE, test=False), silent)
    assert [entry.info for entry in result.queue.entries] == [result.edit]
    read = edit.EditResult.model_validate_json(result.model_dump_json())
    assert read.details == result.details.model_copy(update={"checks": ()})
    trained.edits.undo()
    assert digest(trained) == original
    assert method("train-editor").request is TrainRequest
    assert TrainRequest.model_validate_json(TRAIN.model_dump_json()) == TRAIN
    done = training.run(trained, TRAIN, silent)
    assert TrainResult.model_validate_json(done.model_dump_json()) == done
    assert json.loads(done.model_dump_json())["history"]["step"] == 6


def test_outcomes_of_records_are_those_of_the_network_that_was_in_use(trained):
    before = outcome_file(trained, MEND, MendSettings(), "a record")
    assert outcome_file(trained, MEND, MendSettings(), "a record") == before
    training.run(trained, TRAIN.model_copy(update={"rate": 0.02}), silent)
    assert outcome_file(trained, MEND, MendSettings(), "a record") != before


def test_what_there_is_to_draw():
    scores = (SCORES, SCORES.model_copy(update={"step": 2, "generalization": None}))
    history = History(
        training="x", layers=(1, 2), records=9, held_out=2, step=2, unedited=SCORES.model_copy(update={"step": 0}),
        scores=scores, losses=({"step": 2, "edit": 1.0, "locality": 0.5},),
    )  # fmt: skip
    lines, losses, curves = figures(TrainResult(editor="mend", steps=5, resumed=1, history=history))
    texts = [one.text for one in lines.lines]
    assert texts[0] == "MEND at layers 1, 2: step 2 of 5, taken up at 1; 9 records, 2 held out"
    assert texts[2] == "best 100.0 / – / 50.0, at step 2; this network is used from now on"
    assert [curve.label for curve in losses.curves] == ["targets", "divergence of what is to stay"]
    assert curves.curves[1].points == ((0.0, 50.0), (1.0, 50.0), (2.0, None))
