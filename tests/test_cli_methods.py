"""`attribute` and `trace` on the command line: options, drawings, the bad input of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import PROMPT, Run, tiny, workbench
from workbench.case import Case
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.tracing import sweep
from workbench.methods.tracing.causal_trace import TraceRequest, TraceResult
from workbench.methods.tracing.facts import FactsTraceResult
from workbench.session import Step

__all__ = ["tiny", "workbench"]  # fixtures

OPEN = f"{PROMPT} ("  # no space is put between a bracket and what follows
ABOUT = ["--subject", "Australia"]
AGAINST = ["--target", ",", "--foil", "."]  # a tiny vocabulary begins all words with the same token


def fact_file(folder: Path, targets: list[str]) -> Path:
    """Facts in the published layout, one JSON object a line."""
    facts = [{"prompt": OPEN, "subject": "Australia", "attribute": target} for target in targets]
    path = folder / "facts.jsonl"
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    return path


def test_every_option_of_attribute_reaches_the_request(workbench: Run, tiny: Path) -> None:
    options = ["--method", "shapley", "--position", "3", "--baseline", "zero", "--unit", "word"]
    numbers = ["--samples", "2", "--seed", "5", "--tolerance", "0.1", "--limit", "50"]
    outcome = workbench("attribute", PROMPT, *AGAINST, *options, *numbers, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    request = Step.model_validate_json(outcome.out).request
    assert isinstance(request, AttributionRequest)
    assert (request.method, request.position, request.baseline, request.unit) == ("shapley", 3, "zero", "word")
    assert (request.samples, request.seed, request.tolerance, request.limit) == (2, 5, 0.1, 50)


def test_without_json_attribute_prints_a_row_for_each_token(workbench: Run, tiny: Path) -> None:
    outcome = workbench("attribute", PROMPT, *AGAINST, "--method", "occlusion", "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert "occlusion" in outcome.out
    assert "at the baseline (mean embedding)" in outcome.out


def test_every_option_of_trace_reaches_the_request(workbench: Run, tiny: Path) -> None:
    options = ["--kinds", "mlp, states", "--noise-std", "0.2", "--samples", "2", "--seed", "5", "--window", "2"]
    outcome = workbench(
        "trace", PROMPT, *ABOUT, *AGAINST, *options, "--read", "difference", "--yes", "--model", tiny, "--json"
    )
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, TraceRequest)
    assert step.request.kinds == ("mlp", "states")
    assert (step.request.noise_std, step.request.samples, step.request.seed) == (0.2, 2, 5)
    assert (step.request.window, step.request.read, step.request.confirmed) == (2, "difference", True)
    assert isinstance(step.result, TraceResult)
    assert all(grid.complete for grid in step.result.grids)


def test_without_json_trace_prints_a_heatmap_with_the_subject_starred(workbench: Run, tiny: Path) -> None:
    outcome = workbench("trace", PROMPT, *ABOUT, "--noise-std", "0.5", "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert "Causal trace · states" in outcome.out
    assert any("*" in line and ("▁" in line or "█" in line) for line in outcome.out.splitlines())
    assert "peak at layer" in outcome.out


def test_trace_averages_over_a_file_of_facts(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    outcome = workbench("continue", OPEN, "--tokens", "1", "--model", tiny, "--json")
    known = json.loads(outcome.out)["result"]["text"]
    facts = fact_file(tmp_path, [known, "never that"])
    options = ["--noise-std", "0.5", "--samples", "2", "--kinds", "states", "--model", tiny]
    outcome = workbench("trace", "--facts", facts, *options, "--json")
    assert outcome.code == 0, outcome.err
    result = Step.model_validate_json(outcome.out).result
    assert isinstance(result, FactsTraceResult)
    assert (result.used, result.unknown) == (1, 1)
    drawn = workbench("trace", "--facts", facts, *options)
    assert "1 fact used, 1 not known" in drawn.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((PROMPT,), ["subject"]),
        ((PROMPT, "--subject", PROMPT), ["whole prompt"]),
        ((PROMPT, *ABOUT, "--kinds", "states,magic"), ["magic", "attention"]),
        ((PROMPT, *ABOUT, "--samples", "0"), ["sample"]),
        ((PROMPT, *ABOUT, "--window", "99"), ["window"]),
        ((PROMPT, *ABOUT, "--replacement", "Australia"), ["Australia"]),
        ((PROMPT, *ABOUT, "--target", "Sydney", "--foil", "Sydney"), ["same"]),
        (("a", "--subject", "a"), ["single token"]),
    ],
)
def test_a_trace_that_makes_no_sense_gets_one_sentence(
    workbench: Run, tiny: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    workbench("trace", *arguments, "--model", tiny).is_refused(*words)


def test_facts_take_no_prompt_of_ones_own(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    facts = fact_file(tmp_path, ["x"])
    workbench("trace", PROMPT, "--facts", facts, "--model", tiny).is_refused("--facts", "leave yours out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "Sydney", "--foil", "Sydney"), ["same"]),
        ((*AGAINST, "--baseline", "two whole words"), ["two whole words"]),
        ((*AGAINST, "--position", "99"), ["99"]),
        ((*AGAINST, "--method", "shapley", "--samples", "0"), ["sample"]),
        ((*AGAINST, "--unit", "word"), ["one by one"]),
    ],
)
def test_an_attribution_that_makes_no_sense_gets_one_sentence(
    workbench: Run, tiny: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    workbench("attribute", PROMPT, *arguments, "--model", tiny).is_refused(*words)


def test_a_trace_of_hours_begins_only_with_yes(workbench: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LONG", 0.0)
    workbench("trace", PROMPT, *ABOUT, "--model", tiny).is_refused("would take about", "add --yes")
    assert workbench("trace", PROMPT, *ABOUT, "--yes", "--model", tiny).code == 0


def test_patching_takes_a_second_prompt_and_begins_what_takes_hours_only_with_yes(
    workbench: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    against = ("--target", ",", "--foil", ".", "--model", tiny)
    source = PROMPT.replace("Australia", "France")
    workbench("patch", PROMPT, *against).is_refused("source: it is missing")
    workbench("patch", PROMPT, *against, "--source", source, "--align", "3").is_refused("'3' is no pair of tokens")
    workbench("patch", PROMPT, *against, "--source", PROMPT).is_refused("the source is the prompt itself")
    outcome = workbench("patch", PROMPT, *against, "--source", source, "--kinds", "states,mlp", "--align", "0:1,1:0")
    assert outcome.code == 0
    assert "Patched states" in outcome.out
    assert "Patched mlp" in outcome.out
    monkeypatch.setattr(sweep, "LONG", 0.0)
    workbench("patch", PROMPT, *against, "--source", source).is_refused("would take about", "add --yes")
    assert workbench("patch", PROMPT, *against, "--source", source, "--yes").code == 0


def test_without_options_a_command_asks_what_its_request_asks_by_default(workbench: Run, tiny: Path) -> None:
    case = Case(prompt=PROMPT, subject="Australia", target=",", foil=".")
    for command, request in (("attribute", AttributionRequest(case=case)), ("trace", TraceRequest(case=case))):
        outcome = workbench(command, PROMPT, *ABOUT, *AGAINST, "--model", tiny, "--json")
        assert json.loads(outcome.out)["request"] == request.model_dump(mode="json")
