"""`erase` on the command line: options, drawing, the bad input that is refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_cli import Run, tiny, workbench
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import ErasureSettings, SteeringSettings
from workbench.session import Step

__all__ = ["tiny", "workbench"]  # fixtures

CONCEPT = ["--concept", "tense", "--limit", "120"]


def test_every_option_of_erase_reaches_the_request(workbench: Run, tiny: Path) -> None:
    options = ["--layers", "0-1", "--pool", "mean", "--editor", "steer", "--towards", "past", "--strength", "2"]
    more = ["--seed", "3", "--no-above", "--prepend", "separator", "--prompt", "The old house (", "--target", ","]
    outcome = workbench("erase", *CONCEPT, *options, *more, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    request = Step.model_validate_json(outcome.out).request
    assert isinstance(request, EditRequest)
    settings = request.settings
    assert isinstance(settings, SteeringSettings)
    assert (settings.concept, settings.data, settings.limit) == ("tense", None, 120)
    assert (settings.layers, settings.pool, request.editor) == ((0, 1), "mean", "steer")
    assert (settings.towards, settings.strength, settings.seed, settings.above) == ("past", 2.0, 3, False)
    assert settings.prepend == "separator"
    assert not request.test
    assert request.case is not None
    assert (request.case.prompt, request.case.target, request.case.prepend) == ("The old house (", ",", "separator")
    assert settings.digest


def test_erase_prints_a_row_for_each_layer_and_saves_a_patch(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    patch = tmp_path / "tense.safetensors"
    outcome = workbench("erase", *CONCEPT, "--layers", "1", "--model", tiny, "--save", patch)
    assert outcome.code == 0, outcome.err
    assert "Tense · leace" in outcome.out
    assert "guessing the most frequent class: 0.50 / 0.50" in outcome.out
    assert "held-out perplexity" in outcome.out
    assert patch.is_file()
    assert str(patch) in outcome.err


def test_erase_reads_a_file_of_ones_own(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = (f"{i} it is {'hot' if i % 2 else 'cold'},{'warm' if i % 2 else 'chilly'}" for i in range(80))
    file.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    outcome = workbench("erase", file, "--layers", "1", "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.result, EditResult)
    assert isinstance(step.result.details, Erased)
    assert step.result.details.classes == ("chilly", "warm")
    assert isinstance(step.request, EditRequest)
    assert isinstance(step.request.settings, ErasureSettings)
    assert step.request.settings.data == str(file)


def test_bad_data_are_refused_before_a_model_is_looked_for(workbench: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("text,label\na,b\nc\n", encoding="utf-8")
    outcome = workbench("erase", file, "--model", tmp_path / "no-model")
    assert outcome.code == 2
    assert "row 3: 1 fields where the heading has 2" in outcome.err
    assert "name a concept (language, " in workbench("erase", "--model", tmp_path / "no-model").err
    assert "and not both" in workbench("erase", file, "--concept", "tense", "--model", tmp_path / "no-model").err
    assert "there is no concept" in workbench("erase", "--concept", "colour", "--model", tmp_path / "no-model").err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layers", "x"], "'x' does not name layers"),
        (["--limit", "12"], "raise the limit"),
        (["--limit", "0"], "name a higher limit"),
        (["--editor", "steer", "--towards", "future"], "no class 'future' to steer to; choose one of present, past"),
        (["--editor", "steer", "--strength", "nan"], "no strength"),
        (["--towards", "past"], "LEACE has no setting --towards; leave it out"),
        (["--editor", "orth", "--strength", "2"], "Orthogonal projection has no setting --strength; leave it out"),
        (["--editor", "rome"], "there is no editor 'rome' of a concept; choose one of leace, orth, steer"),
        (["--limit", "many"], "limit: 'many' is not a whole number"),
        (["--pool", "first"], "pool: 'first' is not one of"),
        (["--target", "she"], "give it by --prompt"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_a_model_is_looked_for(
    workbench: Run, tmp_path: Path, options: list[str], said: str
) -> None:
    outcome = workbench("erase", "--concept", "tense", *options, "--model", tmp_path / "no-model")
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_an_eraser_that_would_erase_nothing_is_one_sentence(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "same.csv"
    rows = (f"text {i // 2},{'ab'[i % 2]},{'train' if i < 60 else 'test'}" for i in range(90))
    file.write_text("text,label,split\n" + "\n".join(rows) + "\n", encoding="utf-8")
    outcome = workbench("erase", file, "--layers", "1", "--model", tiny, "--save", tmp_path / "p.safetensors")
    assert outcome.code == 2
    assert "would erase nothing" in outcome.err
    assert not (tmp_path / "p.safetensors").exists()
