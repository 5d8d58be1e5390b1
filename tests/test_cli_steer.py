"""`steer` on the command line: one strength with its files, a sweep, and what is refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGUFReader

from tests.contrast_sets import PAIRS, write_contrast
from tests.test_cli import Run, tiny, workbench
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.editing.steer_sweep import SteerSweepRequest, SteerSweepResult
from workbench.session import Step

__all__ = ["tiny", "workbench"]  # fixtures

SHORT = ["--tokens", "4"]


def test_steering_is_printed_and_saved_as_a_patch_and_a_control_vector(
    workbench: Run, tiny: Path, tmp_path: Path
) -> None:
    patch, vector = tmp_path / "steer.safetensors", tmp_path / "steer.gguf"
    asked = ("steer", write_contrast(tmp_path), *SHORT, "--layers", "1", "--strength", "3", "--model", tiny)
    outcome = workbench(*asked, "--save", patch, "--gguf", vector)
    assert outcome.code == 0, outcome.err
    for words in ("words · towards positive, 3 ×", "held-out perplexity", "Replies to held-out prompts", "effect "):
        assert words in outcome.out
    assert str(patch) in outcome.err
    assert "a control vector of 1 edit was saved to" in outcome.err
    assert [tensor.name for tensor in GGUFReader(vector).tensors] == ["direction.1"]
    again = workbench(*asked, "--gguf", vector)
    again.is_refused("would be replaced", "by --yes")
    assert workbench(*asked, "--gguf", vector, "--yes").code == 0
    applied = workbench("edit", "--apply", patch, "--model", tiny)
    assert applied.code == 0, applied.err
    assert "L1 words +3 ×" in applied.out


def test_every_option_reaches_the_request(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    options = ["--layers", "0-1", "--by", "pca", "--strength", "-2", "--tokens", "5", "--seed", "3"]
    file = write_contrast(tmp_path, "length")
    outcome = workbench("steer", "--contrast", file, *options, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, EditRequest)
    settings = step.request.settings
    assert isinstance(settings, ContrastSettings)
    assert (settings.contrast, settings.layers, settings.by) == (str(file), (0, 1), "pca")
    assert (settings.strength, settings.tokens, settings.seed) == (-2, 5, 3)
    assert settings.digest
    assert isinstance(step.result, EditResult)


def test_a_sweep_tries_strengths_at_each_layer(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    asked = ("steer", write_contrast(tmp_path), "--sweep", *SHORT, "--layers", "0,2", "--strengths", "-2,2")
    outcome = workbench(*asked, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, SteerSweepRequest)
    assert isinstance(step.result, SteerSweepResult)
    assert [(one.layer, one.strength) for one in step.result.swept] == [(0, -2), (0, 2), (2, -2), (2, 2)]
    assert step.request.digest == step.result.digest


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name a contrast set (brevity, "),
        (["politeness"], "there is no contrast set 'politeness'"),
        (["formality", "--strength", "0"], "0 is no strength to steer by"),
        (["formality", "--strength", "much"], "strength: 'much' is not a number"),
        (["formality", "--strengths", "1,2"], "has no setting --strengths"),
        (["formality", "--sweep", "--strength", "2"], "--sweep has no setting --strength"),
        (["formality", "--sweep", "--save", "x"], "--sweep makes no edit to save"),
        (["formality", "--sweep", "--gguf", "x"], "--sweep makes no edit to save"),
        (["formality", "--by", "guess"], "by: 'guess' is not one of"),
        (["formality", "--tokens", "2"], "tokens: it must be at least 3"),
        (["formality", "--target", "x"], "it brings its own prompts"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_model_is_looked_for(
    workbench: Run, tmp_path: Path, options: list[str], said: str
) -> None:
    workbench("steer", *options, "--model", tmp_path / "no-model").is_refused(said)


def test_equal_pairs_are_refused_before_a_model_is_looked_for(workbench: Run, tmp_path: Path) -> None:
    file = write_contrast(tmp_path, pairs=[*PAIRS, {"positive": "the same", "negative": "the same"}])
    workbench("steer", file, "--model", tmp_path / "no-model").is_refused("pair 6 is twice the same text, 'the same'; ")
