"""`lens`, `lens fit` and `patchscope` on the command line: options, drawings, the bad input of each."""

from __future__ import annotations

from pathlib import Path

from tests.test_cli import PROMPT, Run, tiny, workbench
from workbench.methods.lens.fitting import FitLensRequest, FitLensResult
from workbench.methods.lens.logit_lens import LensResult
from workbench.methods.lens.patchscope import PatchscopeRequest, PatchscopeResult
from workbench.session import Step

__all__ = ["tiny", "workbench"]  # fixtures


def test_a_lens_is_fitted_and_looked_through(workbench: Run, tiny: Path) -> None:
    outcome = workbench("lens", "fit", "ridge", "--tokens", "300", "--seed", "2", "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert step.request == FitLensRequest(lens="ridge", tokens=300, seed=2)
    assert isinstance(step.result, FitLensResult)
    outcome = workbench("lens", PROMPT, "--lens", "ridge", "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    found = Step.model_validate_json(outcome.out).result
    assert isinstance(found, LensResult)
    assert found.fit == step.result.about
    drawn = workbench("lens", PROMPT, "--lens", "ridge", "--model", tiny)
    assert "Ridge lens at" in drawn.out
    assert "held-out KL at layer" in " ".join(drawn.out.split())


def test_a_fit_prints_its_controls_and_a_jacobian_one_is_fitted_too(workbench: Run, tiny: Path) -> None:
    outcome = workbench("lens", "fit", "jacobian", "--tokens", "60", "--yes", "--model", tiny)
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.out.split())
    assert "Jacobian lens fitted on" in said
    assert "mean state" in said
    assert "KL to the final distribution on" in said


def test_a_prompt_that_is_a_command_s_name_is_shown_by_show(workbench: Run, tiny: Path) -> None:
    assert "Logit lens at" in workbench("lens", "show", "fit", "--model", tiny).out


def test_help_and_errors_name_the_command_as_it_is_called(workbench: Run) -> None:
    assert workbench("lens", "--help").out.startswith("Usage: workbench lens [OPTIONS] [prompt]\n")
    assert workbench("lens", "--no-such").err.rstrip().endswith("; workbench lens --help says what there is")
    assert workbench("lens", "fit", "--help").out.startswith("Usage: workbench lens fit [OPTIONS] {lens}\n")


def test_a_patchscope_is_a_command(workbench: Run, tiny: Path) -> None:
    outcome = workbench("patchscope", PROMPT, "--layer", "1", "--position", "2", "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, PatchscopeRequest)
    assert (step.request.layer, step.request.position) == (1, 2)
    assert isinstance(step.result, PatchscopeResult)


def test_a_lens_that_is_not_there_is_no_file_or_cannot_be_fitted_is_refused(
    workbench: Run, tiny: Path, tmp_path: Path
) -> None:
    workbench("lens", PROMPT, "--lens", "jacobian", "--model", tiny).is_refused("workbench lens fit jacobian")
    workbench("lens", PROMPT, "--lens", "tuned", "--lens-file", tmp_path, "--model", tiny).is_refused(
        "there is no tuned lens at"
    )
    workbench("lens", PROMPT, "--lens", "magic", "--model", tiny).is_refused("'magic' is not one of")
    workbench("lens", "fit", "tuned", "--model", tiny).is_refused("choose ridge or jacobian")
    workbench("lens", "fit", "ridge", "--corpus", tmp_path / "none.txt", "--model", tiny).is_refused("cannot be read")
    workbench("patchscope", PROMPT, "--layer", "99", "--model", tiny).is_refused("there is no layer 99")
