"""`watch` on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.test_cli import PROMPT, Run, tiny, workbench
from workbench.methods.watch.result import WatchRequest, WatchResult
from workbench.session import Step

__all__ = ["tiny", "workbench"]  # fixtures


def test_a_watched_generation_is_printed(workbench: Run, tiny: Path) -> None:
    outcome = workbench("watch", PROMPT, "--tokens", "4", "--fork", "1", "--model", tiny)
    assert outcome.code == 0, outcome.err
    for said in ("What was said", "the smallest margin is", "Margin and entropy", "Both branches", "lens parity"):
        assert said in outcome.out


def test_every_option_reaches_the_request_and_the_step_holds_every_token(workbench: Run, tiny: Path) -> None:
    sampling = ["--temperature", "1.5", "--top-p", "0.9", "--seed", "3", "--stop-below-margin", "0"]
    outcome = workbench("watch", PROMPT, "--tokens", "4", *sampling, "--no-sources", "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, WatchRequest)
    assert isinstance(step.result, WatchResult)
    assert (step.request.temperature, step.request.top_p, step.request.seed) == (1.5, 0.9, 3)
    assert step.request.stop_below_margin == 0
    assert 1 <= len(step.result.spoken.tokens) <= 4


def test_what_is_not_there_is_refused_in_a_sentence(workbench: Run, tiny: Path) -> None:
    workbench("watch", PROMPT, "--tokens", "0", "--model", tiny).is_refused("tokens: it must be at least 1")
    workbench("watch", PROMPT, "--top-p", "2", "--model", tiny).is_refused("top-p: it must be at most 1")
    workbench("watch", PROMPT, "--monitors", "nobody", "--model", tiny).is_refused("neither an edit 'nobody'")
    workbench("watch", PROMPT, "--tokens", "3", "--fork", "9", "--model", tiny).is_refused("no generated token 9")
