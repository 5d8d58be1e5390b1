"""`resample`, `cot-states` and `transcript` on the command line: options, drawings, the bad input of each."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest

from tests.test_cli import Run, workbench
from tests.test_cli_cot import tiny
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.resample_result import ResampleRequest, ResampleResult
from workbench.methods.cot.states_result import CotStatesRequest, CotStatesResult
from workbench.session import Step

__all__ = ["tiny", "workbench"]  # fixtures

QUESTION = "What is the capital?"
CHOICES = "Sydney; Rome is; Paris"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.jsonl"
    rows = [
        {"id": f"q{n}", "task": "cities", "question": f"What is city {n}?", "choices": order}
        for n, order in enumerate(permutations(("Sydney", "Rome is", "Paris")))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_every_option_of_resample_reaches_the_request(workbench: Run, tiny: Path) -> None:
    asked = ["--choices", CHOICES, "--answer", "Paris", "--read", "letters", "--rollouts", "2"]
    sampling = ["--temperature", "0.9", "--seed", "3", "--tokens", "4"]
    outcome = workbench("resample", QUESTION, *asked, *sampling, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, ResampleRequest)
    assert step.request.listed == ("Sydney", "Rome is", "Paris")
    assert (step.request.answer, step.request.read, step.request.rollouts) == ("Paris", "letters", 2)
    assert step.request.sampling == Sampling(temperature=0.9, top_p=0.95, seed=3, tokens=4)  # top-p as the help says
    assert isinstance(step.result, ResampleResult)
    assert len(step.result.rollouts) == step.result.asked == 2 * (len(step.result.base.sentences) + 1)


def test_without_json_resample_says_what_each_sentence_changes(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    session = tmp_path / "session.json"
    options = ["--choices", CHOICES, "--rollouts", "4", "--tokens", "6", "--session", session]
    outcome = workbench("resample", QUESTION, *options, "--model", tiny)
    assert outcome.code == 0, outcome.err
    drawn = " ".join(outcome.out.split())
    for words in ("What each sentence changes", "counterfactual", "Answers of rollouts", "something else", "rollouts"):
        assert words in drawn, words
    checked = workbench("check", session)
    assert checked.code == 0, checked


def test_every_option_of_cot_states_reaches_the_request(workbench: Run, tiny: Path, questions: Path) -> None:
    asked = ["--choices", CHOICES, "--questions", questions, "--limit", "6", "--layer", "1", "--rewordings", "1"]
    outcome = workbench("cot-states", QUESTION, *asked, "--tokens", "6", "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, CotStatesRequest)
    assert (step.request.limit, step.request.layer, step.request.rewordings) == (6, 1, 1)
    assert isinstance(step.result, CotStatesResult)
    assert len(step.result.reworded) == 1
    assert len(step.result.states) == len(step.result.base.sentences) + 1


def test_without_json_cot_states_ends_with_a_verdict_in_words(workbench: Run, tiny: Path, questions: Path) -> None:
    options = ["--choices", CHOICES, "--questions", questions, "--tokens", "6", "--model", tiny]
    outcome = workbench("cot-states", QUESTION, *options)
    assert outcome.code == 0, outcome.err
    drawn = " ".join(outcome.out.split())
    for words in ("states (probe)", "In other words", "words: with", "behaviour: in", "they do not say", "held out"):
        assert words in drawn, words


def test_suppress_prints_the_answer_without_attention_to_each_sentence(workbench: Run, tiny: Path) -> None:
    outcome = workbench("suppress", QUESTION, "--choices", CHOICES, "--tokens", "6", "--model", tiny)
    assert outcome.code == 0, outcome.err
    drawn = " ".join(outcome.out.split())
    for words in ("nothing attends to this sentence", "with nothing suppressed", "eager", "before it"):
        assert words in drawn, words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resample", ""), ["prompt is empty"]),
        (("resample", QUESTION, "--rollouts", "1"), ["rollouts", "at least 2"]),
        (("resample", QUESTION, "--choices", "a;a"), ["twice"]),
        (("resample", QUESTION, "--read", "letters"), ["letters", "choices"]),
        (("resample", QUESTION, "--temperature", "-1"), ["temperature"]),
        (("resample", QUESTION, "--temperature", "0"), ["greedy", "temperature"]),
        (("resample", QUESTION, "--thinking", "<a>"), ["thinking"]),
        (("suppress", QUESTION, "--choices", "a;a"), ["twice"]),
        (("suppress", QUESTION, "--tokens", "0"), ["tokens", "at least 1"]),
        (("receivers", QUESTION, "--apart", "0"), ["apart", "at least 1"]),
        (("receivers", QUESTION, "--tokens", "3"), ["4 sentences", "longer"]),
        (("cot-states", ""), ["prompt is empty"]),
        (("cot-states", QUESTION, "--words", "mine"), ["words", "shipped"]),
        (("cot-states", QUESTION), ["choices"]),
        (("cot-states", QUESTION, "--choices", CHOICES, "--layer", "99"), ["99", "layer"]),
        (("cot-states", QUESTION, "--choices", CHOICES, "--rewordings", "7"), ["rewordings", "at most 6"]),
        (("cot-states", QUESTION, "--choices", CHOICES, "--questions", "no-such-set"), ["common-sense"]),
        (("cot-states", QUESTION, "--choices", CHOICES), ["3 choices", "--questions"]),
    ],
)
def test_what_makes_no_sense_gets_one_sentence(
    workbench: Run, tiny: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    workbench(*arguments, "--model", tiny).is_refused(*words)


def test_a_transcript_is_printed_and_its_json_says_the_same(workbench: Run, tmp_path: Path) -> None:
    drawn = workbench("transcript", "faster-sort")
    assert drawn.code == 0, drawn.err
    assert "not taken" in drawn.out
    assert "clock.py" in drawn.out
    found = json.loads(workbench("transcript", "faster-sort", "--json").out)
    assert found["unplanned"] == [1]
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"plan": ["Read dates.py"], "actions": [{"tool": "read", "input": "dates.py"}]}))
    assert json.loads(workbench("transcript", own, "--json").out)["unplanned"] == []


def test_what_is_no_transcript_is_refused_in_a_sentence(workbench: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    workbench("transcript", broken).is_refused("broken.json")
    broken.write_text('{"plan": []}')
    workbench("transcript", broken, "--json").is_refused("plan")
    workbench("transcript", tmp_path).is_refused("transcript")
    workbench("transcript", "nothing-there").is_refused("failing-test", "faster-sort")
