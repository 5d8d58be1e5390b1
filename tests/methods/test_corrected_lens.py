"""Corrected lenses: fits against least squares and torch's own Jacobian, files, the cache, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from tests.tiny import telling, tiny_loaded
from workbench.case import Case
from workbench.datasets.held_out import held_out_text
from workbench.errors import Cancelled, InputError, ModelError, NotConfirmed
from workbench.loading import LoadedModel
from workbench.methods.lens import jacobian, logit_lens, ridge
from workbench.methods.lens.fitting import FitLensRequest, FitLensResult, fit_figures, fit_lens
from workbench.methods.lens.fitting import run as run_fit
from workbench.methods.lens.jacobian import fit_jacobian, jacobians, valid_tokens
from workbench.methods.lens.lens_files import unembedding_hash
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.methods.lens.ridge import fit_ridge
from workbench.methods.lens.translators import HeldOutKL, LensFit, Translators, kept_lens, lens_file
from workbench.models.anatomy import tensor_of
from workbench.protocol import Frozen, silent
from workbench.registry import method
from workbench.session import Step

CASE = Case(prompt="The capital of Australia is", target="the", foil="city")
five = pytest.mark.parametrize("architecture", telling())
PROSE = "Tom has 3 apples and buys 4 more. The capital of France is Paris, they say, and Rome is large. " * 60


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path


def some_text(model: LoadedModel, rows: int = 11, tokens: int = 20) -> torch.Tensor:
    """Random tokens, each text after the separator."""
    drawn = torch.from_numpy(np.random.RandomState(1).randint(1, model.info.vocabulary, (rows, tokens)))
    return torch.cat([torch.zeros(rows, 1, dtype=torch.long), drawn], dim=1)


def states_by_hooks(model: LoadedModel, ids: torch.Tensor) -> list[torch.Tensor]:
    """The embedding and the state after each block, in float64, of plain forwards of one text each."""
    seen: list[torch.Tensor] = []
    blocks = model.block_modules

    def first(_module: Any, args: Any, kwargs: Any) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    hooks = [blocks[0].register_forward_pre_hook(first, with_kwargs=True)]
    hooks += [each.register_forward_hook(lambda _m, _a, output: seen.append(tensor_of(output))) for each in blocks]
    rows = []
    for row in ids:
        seen.clear()
        with torch.no_grad():
            model.hf(input_ids=row[None], use_cache=False)
        rows.append([each[0].double() for each in seen])
    for hook in hooks:
        hook.remove()
    return [torch.stack(list(row)) for row in zip(*rows, strict=True)]


def after_final_norm(model: LoadedModel, states: np.ndarray) -> np.ndarray:
    """What enters the unembedding, or the projection before it, of a plain model; the states where there is no norm."""
    if model.anatomy.final_norm is None:
        return states
    with torch.no_grad():
        normed: torch.Tensor = model.hf.get_submodule(model.anatomy.final_norm)(torch.from_numpy(states).float())
    return normed.double().numpy()


def from_normed(model: LoadedModel, states: torch.Tensor) -> torch.Tensor:
    """The logits of states that need no final norm, by the definition: unembedding the states that it came from."""
    wrapped = model.anatomy.final_norm
    if wrapped is None:
        return model.unembed(states)
    module = model.hf.get_submodule(wrapped)
    hook = module.register_forward_hook(lambda _m, args, _o: args[0])  # the norm does nothing
    found = model.unembed(states)
    hook.remove()
    return found


@five
def test_the_ridge_lens_is_the_ridge_regression_of_the_final_state_on_the_layer_s(architecture: str) -> None:
    model = tiny_loaded(architecture)
    text = some_text(model)
    fit = fit_ridge(model, text, 0, silent)
    *before, last = [each[:, 1:].flatten(0, 1).numpy() for each in states_by_hooks(model, text)]
    final = after_final_norm(model, last)
    assert fit.tokens == len(final)
    assert np.allclose(fit.mean_state, final.mean(axis=0), atol=1e-5)
    assert sorted(fit.translators.weights) == list(range(model.info.layers))
    for row, x in enumerate(before):
        alpha = ridge.RIDGE * np.trace(np.cov(x.T, bias=True)) / x.shape[1] * len(x)
        reference = Ridge(alpha=alpha).fit(x, final)
        factor = fit.factors[row]  # how far this is shortened is for a test of its own
        assert np.allclose(fit.translators.weights[row] / factor, reference.coef_, atol=1e-4)
        assert np.allclose(fit.translators.biases[row] / factor, reference.intercept_, atol=1e-4)
        read = fit.translators.read(row, torch.from_numpy(x).float()) / factor
        assert np.allclose(read, reference.predict(x), atol=1e-3)
        constant = np.square(final - final.mean(axis=0)).sum()
        assert np.square(final - np.asarray(read)).sum() < 0.9 * constant
        shuffled = fit.shuffled.read(row, torch.from_numpy(x).float())
        assert np.square(final - np.asarray(shuffled)).sum() > 0.9 * constant


def test_without_a_ridge_it_is_the_least_squares_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "RIDGE", 1e-12)
    model = tiny_loaded("gpt2")
    text = some_text(model, rows=30)
    fit = fit_ridge(model, text, 0, silent)
    *before, last = [each[:, 1:].flatten(0, 1) for each in states_by_hooks(model, text)]
    final = after_final_norm(model, last.numpy())
    for row, x in enumerate(before):
        with_one = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1).numpy()
        solution = np.linalg.lstsq(with_one, final, rcond=None)[0] * fit.factors[row]
        assert np.allclose(fit.translators.weights[row].T, solution[:-1], atol=1e-3)
        assert np.allclose(fit.translators.biases[row], solution[-1], atol=1e-3)


def test_a_layer_s_map_is_shortened_as_far_as_that_lowers_the_kl_on_texts_left_out() -> None:
    model = tiny_loaded("llama")
    text = some_text(model, rows=20)
    fit = fit_ridge(model, text, 0, silent)
    part, rest = text[:16], text[16:]
    *before, last = [each[:, 1:].flatten(0, 1).numpy() for each in states_by_hooks(model, part)]
    final = after_final_norm(model, last)
    *held, answers = [each[:, 1:].flatten(0, 1) for each in states_by_hooks(model, rest)]
    some = np.linspace(0, len(answers) - 1, min(ridge.TUNED_ON, len(answers))).round().astype(int)
    with torch.no_grad():
        wanted = model.unembed(answers[some].float()).log_softmax(dim=-1)
    for row, x in enumerate(before):
        alpha = ridge.RIDGE * np.trace(np.cov(x.T, bias=True)) / x.shape[1] * len(x)
        read = torch.from_numpy(Ridge(alpha=alpha).fit(x, final).predict(held[row][some].numpy())).float()
        with torch.no_grad():
            kl = [
                float((wanted.exp() * (wanted - from_normed(model, read * by).log_softmax(dim=-1))).sum(dim=-1).mean())
                for by in (1.0, *ridge.FACTORS)
            ]
        stops = next((at for at in range(len(kl) - 1) if kl[at + 1] >= kl[at]), len(kl) - 1)
        assert fit.factors[row] == (1.0, *ridge.FACTORS)[stops]


@five
def test_the_jacobian_lens_is_the_mean_of_torch_s_own_jacobians(architecture: str) -> None:
    model = tiny_loaded(architecture)
    ids = some_text(model, rows=1, tokens=8)[0]
    found = jacobians(model, ids, 5, lambda _dimension, _seconds: None)
    valid = valid_tokens(len(ids))
    assert (valid.start, valid.stop) == (2, 8)
    entered = states_by_hooks(model, ids[None])
    for row in range(model.info.layers):

        def final(state: torch.Tensor, row: int = row) -> torch.Tensor:
            """The final states of a run into whose block ``row`` this state goes."""
            seen: list[torch.Tensor] = []

            def put(_module: Any, args: Any, kwargs: Any) -> Any:
                return ((state[None], *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": state[None]})

            hooks = [
                model.block_modules[row].register_forward_pre_hook(put, with_kwargs=True),
                model.block_modules[-1].register_forward_hook(lambda _m, _a, output: seen.append(tensor_of(output)[0])),
            ]
            model.hf(input_ids=ids[None], use_cache=False)
            for hook in hooks:
                hook.remove()
            return seen[0]

        whole = torch.autograd.functional.jacobian(final, entered[row][0].float())  # (tokens, d, tokens, d)
        assert isinstance(whole, torch.Tensor)
        reference = whole[valid][:, :, valid].sum(dim=0).mean(dim=1)
        assert torch.allclose(found[row], reference, rtol=1e-3, atol=1e-4)


def test_a_jacobian_fit_is_the_mean_over_texts_and_goes_on_where_it_was_stopped() -> None:
    model = tiny_loaded("llama")
    text = some_text(model, rows=3, tokens=8)
    each = torch.stack([jacobians(model, row, 8, lambda _d, _s: None) for row in text])
    stopped: list[int] = []

    def stop(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        stopped.append(done)
        if done > 1.5 * model.info.d_model:
            raise Cancelled

    with pytest.raises(Cancelled):
        fit_jacobian(model, text, stop)
    reported: list[int] = []
    fit = fit_jacobian(model, text, lambda done, total, partial=None, *, stage="": reported.append(done))
    assert reported[0] == model.info.d_model  # the first text is not read again
    for row in range(model.info.layers):
        assert torch.allclose(fit.weights[row], each[:, row].mean(dim=0), atol=1e-5)
    assert list(lens_file(model, "jacobian").parent.glob("*.part")) == []


def test_a_long_jacobian_fit_says_what_it_costs_before_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jacobian, "LONG", 0.0)
    model = tiny_loaded("llama")
    asked = FitLensRequest(lens="jacobian", tokens=100)
    stages: list[str] = []
    with pytest.raises(NotConfirmed, match=r"2 texts of 64 tokens would take about \d+\.\d hours here"):
        run_fit(model, asked, lambda done, total, partial=None, *, stage="": stages.append(stage))
    assert stages == []
    assert run_fit(model, asked.model_copy(update={"confirmed": True}), silent).about.lens == "jacobian"


def fitted(model: LoadedModel, **asked: Any) -> FitLensResult:
    return run_fit(model, FitLensRequest(**{"tokens": 300, **asked}), silent)


@five
def test_the_held_out_figure_is_the_mean_kl_over_tokens_of_the_shipped_prose(architecture: str) -> None:
    model = tiny_loaded(architecture)
    about, translators, _ = fit_lens(model, FitLensRequest(tokens=300), silent)
    ids = model.tokenizer(held_out_text(), add_special_tokens=False)["input_ids"]
    length = model.info.context - 1
    pieces = [torch.tensor([0, *ids[at : at + length]]) for at in range(0, len(ids) - length + 1, length)]
    states = [each[:, 1:].flatten(0, 1) for each in states_by_hooks(model, torch.stack(pieces))]
    chosen = np.linspace(0, len(states[0]) - 1, 256).round().astype(int)
    assert about.held_out.tokens == 256
    final = model.unembed(states[-1][chosen].float()).log_softmax(dim=-1)

    def kl(logits: torch.Tensor) -> torch.Tensor:
        return (final.exp() * (final - logits.log_softmax(dim=-1))).sum(dim=-1)

    for row in range(model.info.layers):
        x = states[row][chosen].float()
        plain = kl(model.unembed(x))
        assert about.held_out.logit[row] == pytest.approx(float(plain.mean()), rel=1e-2, abs=1e-4)
        assert about.held_out.logit_median[row] == pytest.approx(float(plain.median()), rel=1e-2, abs=1e-4)
        mapped = kl(from_normed(model, x @ translators.weights[row].T + translators.biases[row]))
        assert about.held_out.lens[row] == pytest.approx(float(mapped.mean()), rel=1e-2, abs=1e-4)
        assert about.held_out.lens_median[row] == pytest.approx(float(mapped.median()), rel=1e-2, abs=1e-4)
    assert about.held_out.lens[-1] == about.held_out.logit[-1] == 0


def test_a_lens_reads_each_layer_through_its_map_and_the_last_one_as_it_is() -> None:
    model = tiny_loaded("llama")
    _, translators, _ = fit_lens(model, FitLensRequest(tokens=300), silent)
    result = logit_lens.run(model, LensRequest(case=CASE, lens="ridge"), silent)
    plain = logit_lens.run(model, LensRequest(case=CASE), silent)
    assert (result.lens, plain.lens) == ("ridge", "logit")
    states = states_by_hooks(model, torch.tensor([result.encoded.ids]))
    target = result.encoded.target
    assert target is not None
    for token, (column, other) in enumerate(zip(result.columns, plain.columns, strict=True)):
        assert column is not None
        assert other is not None
        assert column.target is not None
        for row in range(model.info.layers):
            mapped = states[row][0, token].float() @ translators.weights[row].T + translators.biases[row]
            p = from_normed(model, mapped).softmax(dim=-1)[target.id]
            assert column.target.probability[row] == pytest.approx(float(p), abs=1e-4)
        assert column.entropy[-1] == pytest.approx(other.entropy[-1], abs=1e-5)
    assert result.checks[0].level == "ok"
    assert LensResult.model_validate_json(result.model_dump_json()) == result


def test_a_ridge_lens_that_was_not_fitted_is_fitted_when_it_is_asked_for_and_once() -> None:
    model = tiny_loaded("gpt2")
    stages: list[str] = []

    def note(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        stages.append(stage)

    first = logit_lens.run(model, LensRequest(case=CASE, lens="ridge", positions=(-1,)), note)
    assert {"sampling text", "reading the text", "solving", "measuring on held-out text"} <= set(stages)
    assert first.fit is not None
    assert "fitted on 10," in first.fit.source
    stages.clear()
    again = logit_lens.run(model, LensRequest(case=CASE, lens="ridge", positions=(-1,)), note)
    assert again.fit == first.fit
    one, other = first.columns[-1], again.columns[-1]
    assert one is not None
    assert other is not None
    assert one.kl == pytest.approx(other.kl, abs=1e-5)
    assert set(stages) == {"forward pass", "unembedding"}


@pytest.mark.parametrize("lens", ["tuned", "jacobian"])
def test_another_lens_that_is_not_there_says_how_to_get_one(lens: str) -> None:
    with pytest.raises(InputError, match=f"there is no {lens} lens for these weights yet; .*--lens-file"):
        logit_lens.run(tiny_loaded("llama"), LensRequest(case=CASE, lens=lens), silent)  # type: ignore[arg-type]


def test_the_fit_is_of_the_model_without_edits_and_kept_by_its_weights() -> None:
    model = tiny_loaded("llama")
    about = fitted(model).about
    assert kept_lens(tiny_loaded("llama", 1), "ridge") is None
    kept = kept_lens(model, "ridge")
    assert kept is not None
    assert kept[0] == about
    assert kept_lens(model, "jacobian") is None


def test_a_corpus_is_read_in_place_of_sampled_text_and_one_that_is_too_short_is_refused(tmp_path: Path) -> None:
    model = tiny_loaded("llama")
    corpus = tmp_path / "prose.txt"
    corpus.write_text(PROSE)
    assert fitted(model, corpus=str(corpus)).about.source.endswith("tokens of prose.txt")
    corpus.write_text("Too short.")
    with pytest.raises(InputError, match="a ridge lens needs at least"):
        fitted(model, corpus=str(corpus))
    with pytest.raises(InputError, match="cannot be read"):
        fitted(model, corpus=str(tmp_path / "none.txt"))


def known(**changed: Any) -> LensFit:
    held_out = {"tokens": 256, "lens": (6.0, 1.4, 0.0), "logit": (20.0, 16.2, 0.0), "mean_state": 4.1}
    held_out |= {"lens_median": (5.0, 1.2, 0.0), "logit_median": (19.0, 16.0, 0.0)}
    shuffled = changed.pop("shuffled", (4.4, 4.3, 4.2))
    return LensFit(
        lens="ridge", source="fitted", held_out=HeldOutKL(**{**held_out, "shuffled": shuffled, **changed})  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_trust_strip_compares_the_lens_with_the_plain_one_the_mean_state_and_the_shuffled_fit() -> None:
    check = known().check(0)
    assert check.name == "ridge lens"
    assert check.level == "ok"
    assert check.text == (
        "held-out KL at layer 0 1.40 nats, median 1.20 (logit lens 16.20, mean state 4.10, shuffled fit 4.30); fitted"
    )
    assert known().check(-1).level == "warn"  # worse than a constant
    assert "at embedding 6.00" in known().check(-1).text
    assert known().check(1).level == "ok"  # the model's own answer
    assert "shuffled" not in known(shuffled=None).check(0).text


def test_what_is_drawn_of_a_fit_has_every_layer_and_control() -> None:
    result = FitLensResult(about=known(), tokens=10_000)
    _, curves, table = fit_figures(result)
    assert [curve.label for curve in curves.curves] == [  # type: ignore[union-attr]
        "Ridge lens",
        "Ridge lens, median",
        "Logit lens",
        "Logit lens, median",
        "mean state",
        "shuffled fit",
    ]
    assert [cell.text for cell in table.rows[1]] == ["0", "1.40", "1.20", "16.20", "16.00", "4.10", "4.30"]  # type: ignore[union-attr]


def test_a_session_from_before_there_were_lenses_still_loads() -> None:
    model = tiny_loaded("llama")
    result = logit_lens.run(model, LensRequest(case=CASE), silent)
    old = result.model_dump(mode="json")
    del old["fit"]
    request = {"kind": "lens", "case": CASE.model_dump(mode="json"), "top_k": 5}
    step = Step.model_validate(
        {"id": 1, "started": "2026-01-01T00:00:00Z", "seconds": 1, "status": "done", "request": request, "result": old}
    )
    assert step.request == LensRequest(case=CASE)
    assert step.result == result
    assert {method("lens-fit").kind, method("patchscope").kind} == {"lens-fit", "patchscope"}


# Files


def tuned_folder(model: LoadedModel, folder: Path, **changed: Any) -> dict[str, torch.Tensor]:
    """A tuned lens as its package writes one, with random maps."""
    width, layers = model.info.d_model, model.info.layers
    generator = torch.Generator().manual_seed(3)
    state = {f"{row}.weight": torch.randn(width, width, generator=generator) / 10 for row in range(layers)}
    state |= {f"{row}.bias": torch.randn(width, generator=generator) for row in range(layers)}
    config = {
        "base_model_name_or_path": "somebody/tiny",
        "d_model": width,
        "num_hidden_layers": layers,
        "bias": True,
        "unembed_hash": unembedding_hash(model),
        "lens_type": "linear_tuned_lens",
    } | changed
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(state, folder / "params.pt")
    return state


def test_a_tuned_lens_adds_its_maps_to_the_state_that_enters_each_block(tmp_path: Path) -> None:
    model = tiny_loaded("llama")
    state = tuned_folder(model, tmp_path / "tuned")
    result = logit_lens.run(model, LensRequest(case=CASE, lens="tuned", lens_file=str(tmp_path / "tuned")), silent)
    states = states_by_hooks(model, torch.tensor([result.encoded.ids]))
    column, target = result.columns[-1], result.encoded.target
    assert column is not None
    assert column.target is not None
    assert target is not None
    for row in range(model.info.layers):
        x = states[row][0, -1].float()
        mapped = x + x @ state[f"{row}.weight"].T + state[f"{row}.bias"]
        p = model.unembed(mapped).softmax(dim=-1)[target.id]
        assert column.target.probability[row] == pytest.approx(float(p), abs=1e-4)
    assert result.fit is not None
    assert result.fit.held_out.shuffled is None
    again = logit_lens.run(model, LensRequest(case=CASE, lens="tuned"), silent)  # it is the model's from then on
    assert again.fit == result.fit


def test_a_jacobian_lens_of_others_maps_the_states_after_its_layers(tmp_path: Path) -> None:
    model = tiny_loaded("gpt2")
    width = model.info.d_model
    matrix = torch.randn(width, width, generator=torch.Generator().manual_seed(1)).half()
    torch.save({"J": {1: matrix}, "n_prompts": 10, "source_layers": [1], "d_model": width}, tmp_path / "lens.pt")
    asked = LensRequest(case=CASE, lens="jacobian", lens_file=str(tmp_path / "lens.pt"))
    result, plain = logit_lens.run(model, asked, silent), logit_lens.run(model, LensRequest(case=CASE), silent)
    column, other, target = result.columns[-1], plain.columns[-1], result.encoded.target
    assert column is not None
    assert other is not None
    assert target is not None
    assert column.target is not None
    x = states_by_hooks(model, torch.tensor([result.encoded.ids]))[2][0, -1].float()
    p = model.unembed(x @ matrix.float().T).softmax(dim=-1)[target.id]
    assert column.target.probability[2] == pytest.approx(float(p), abs=1e-4)
    assert column.entropy[0] == pytest.approx(other.entropy[0], abs=1e-5)  # what it does not map is read plainly


class Evil:
    """What a file must not get to do."""

    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_a_lens_for_other_weights_or_widths_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    model = tiny_loaded("llama")
    folder, file = tmp_path / "tuned", tmp_path / "lens.pt"

    def refused(lens: str, path: Path, why: str) -> None:
        with pytest.raises(InputError, match=why):
            logit_lens.run(model, LensRequest(case=CASE, lens=lens, lens_file=str(path)), silent)  # type: ignore[arg-type]

    tuned_folder(model, folder, unembed_hash="0" * 64)
    refused("tuned", folder, "for other weights: .*somebody/tiny")
    tuned_folder(model, folder, d_model=99)
    refused("tuned", folder, "for another model: its d_model is 99 and this model's 16")
    tuned_folder(model, folder)
    torch.save({"0.weight": torch.zeros(3, 3)}, folder / "params.pt")
    refused("tuned", folder, "has no map of layer -1 of this width")
    (folder / "params.pt").write_bytes(b"PK nothing")
    refused("tuned", folder, "cannot be read")
    refused("tuned", tmp_path / "nowhere", "there is no tuned lens at")
    torch.save({"J": {0: torch.zeros(5, 5)}, "d_model": 5}, file)
    refused("jacobian", file, "states of width 5, and the model's have 16")
    torch.save({"J": {7: torch.zeros(16, 16)}, "d_model": 16}, file)
    refused("jacobian", file, "it maps layer 7, and the model has layers 0 to 2")
    torch.save({"J": {0: torch.full((16, 16), float("nan"))}}, file)
    refused("jacobian", file, "not finite")
    torch.save({"jacobian": 1}, file)
    refused("jacobian", file, "no Jacobian lens|is no such lens")
    torch.save(Evil(), file)
    refused("jacobian", file, "something else than tensors")
    torch.save({"J": {0: torch.zeros(900, 900)}}, file)
    refused("jacobian", file, "MB and at most")
    refused("logit", file, "say which by --lens tuned or --lens jacobian")
    refused("ridge", file, "say which by --lens tuned or --lens jacobian")


def test_a_damaged_lens_in_the_cache_is_a_sentence() -> None:
    model = tiny_loaded("llama")
    path = lens_file(model, "ridge")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is a damaged lens; remove it"):
        kept_lens(model, "ridge")


def test_states_of_half_precision_are_mapped_in_float32() -> None:
    width = 4
    lens = Translators({0: torch.full((width, width), 1e-3)}, {0: torch.ones(width)})
    read = lens.read(0, torch.full((2, width), 256.0, dtype=torch.bfloat16))
    assert read.dtype == torch.bfloat16
    assert torch.allclose(read.float(), torch.full((2, width), 1 + 256 * 4e-3), rtol=1e-2)
    assert torch.equal(lens.read(1, torch.ones(width)), torch.ones(width))
