"""`heads`, `attention` and `knockout` on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.test_cli import PROMPT, Run, tiny, workbench
from workbench.methods.heads.attention import AttentionRequest
from workbench.methods.heads.controls import ControlPrompt
from workbench.methods.heads.head_attribution import HeadsRequest
from workbench.methods.heads.knock_out import KnockoutRequest, KnockoutResult
from workbench.session import Step

__all__ = ["tiny", "workbench"]  # fixtures

AGAINST = ["--target", ",", "--foil", "."]


def test_heads_and_attention_are_printed(workbench: Run, tiny: Path) -> None:
    outcome = workbench("heads", PROMPT, *AGAINST, "--largest", "3", "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert "Added by each head and MLP" in outcome.out
    assert "The heads that add most" in outcome.out
    assert "sum off by" in outcome.out
    outcome = workbench("attention", PROMPT, *AGAINST, "--head", "L1H2", "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert "L1H2 looks from" in outcome.out
    assert "What it writes" in outcome.out


def test_every_option_reaches_the_request(workbench: Run, tiny: Path) -> None:
    outcome = workbench("heads", PROMPT, *AGAINST, "--position", "2", "--model", tiny, "--json")
    request = Step.model_validate_json(outcome.out).request
    assert isinstance(request, HeadsRequest)
    assert (request.position, request.largest) == (2, 8)
    outcome = workbench("attention", PROMPT, "--position", "2", "--head", "0.1", "--model", tiny, "--json")
    request = Step.model_validate_json(outcome.out).request
    assert isinstance(request, AttentionRequest)
    assert (request.position, request.head) == (2, "0.1")


def test_heads_edges_and_control_prompts_are_given_to_a_knock_out(workbench: Run, tiny: Path) -> None:
    chosen = ["--heads", "L0H1, 2.3", "--edges", "1", "--ablate", "mean", "--everywhere", "--no-made"]
    controls = ["--control", "The capital of France, is", "--control", "The capital of Italy is"]
    outcome = workbench("knockout", PROMPT, *AGAINST, *chosen, *controls, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, KnockoutRequest)
    assert isinstance(step.result, KnockoutResult)
    assert step.request.controls == tuple(ControlPrompt(prompt=prompt) for prompt in (controls[1], controls[3]))
    assert (step.request.heads, step.request.ablate, step.request.everywhere) == (("L0H1", "2.3"), "mean", True)
    assert not step.request.made
    assert [outcome.control.prompt for outcome in step.result.controls] == [controls[1], controls[3]]
    (tried,) = step.result.tried
    assert tried.heads == ("L0H1", "L2H3")
    assert len(tried.edges) == step.result.layers


def test_each_edge_is_printed_by_layer_and_token(workbench: Run, tiny: Path) -> None:
    outcome = workbench("knockout", PROMPT, *AGAINST, "--each", "edges", "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert "each layer's attention to a token knocked out by itself" in outcome.out


def test_what_is_not_there_is_refused_in_a_sentence(workbench: Run, tiny: Path) -> None:
    workbench("knockout", PROMPT, "--heads", "L9H1", "--model", tiny).is_refused("there is no layer 9")
    workbench("knockout", PROMPT, "--heads", "all", "--model", tiny).is_refused("knocks out all 12 heads")
    workbench("knockout", PROMPT, "--ablate", "noise", "--model", tiny).is_refused("ablate")
    workbench("attention", PROMPT, "--head", "x", "--model", tiny).is_refused("does not name a head")
    workbench("knockout", "", "--control", "x", "--model", tiny).is_refused("the prompt is empty")
