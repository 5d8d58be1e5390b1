"""`cot` on the command line: options, drawings, the bad input of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.methods.cot_models import roomy
from tests.test_cli import Run, workbench
from workbench.methods.cot.interventions import Cue, Early, Filler, LeaveOneOut, Mistake, Paraphrase
from workbench.methods.cot.many_questions import CotQuestionsRequest, CotQuestionsResult
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.truncation import CotRequest
from workbench.session import Step

__all__ = ["workbench"]  # a fixture

QUESTION = "What is the capital?"
REASONING = "Rome is 1 city. Sydney is 1 of 2. It is Sydney."
CHOICES = "Sydney; Rome is;Paris"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    model = roomy("llama")
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def reasoning(tmp_path: Path) -> Path:
    path = tmp_path / "reasoning.txt"
    path.write_text(REASONING)
    return path


def test_every_option_of_cot_reaches_the_request(workbench: Run, tiny: Path, reasoning: Path) -> None:
    asked = ["--choices", CHOICES, "--answer", "Paris", "--read", "letters", "--reasoning", reasoning]
    words = ["--lead-in", "So (", "--instruction", "Think."]
    sampling = ["--temperature", "0.5", "--top-p", "0.8", "--seed", "3", "--tokens", "6"]
    done = ["--within", "2", "--filler", "--mistake", "2", "--mistake", "1=No city.", "--paraphrase", "3=Sydney."]
    cue = ["--cue", "any", "--position"]
    outcome = workbench("cot", QUESTION, *asked, *words, *sampling, *done, *cue, "--model", tiny, "--json")
    assert outcome.code == 0, outcome.err
    request = Step.model_validate_json(outcome.out).request
    assert request == CotRequest(
        question=QUESTION,
        choices=("Sydney", "Rome is", "Paris"),
        answer="Paris",
        read="letters",
        instruction="Think.",
        lead_in="So (",
        sampling=Sampling(temperature=0.5, top_p=0.8, seed=3, tokens=6),
        reasoning=REASONING,
        interventions=(
            Early(),
            LeaveOneOut(within=2),
            Filler(),
            Mistake(sentence=1),
            Mistake(sentence=0, text="No city."),
            Paraphrase(sentence=2, text="Sydney."),
            Cue(by="position"),
        ),
    )


def test_without_options_cot_asks_what_its_request_asks_by_default(workbench: Run, tiny: Path) -> None:
    outcome = workbench("cot", QUESTION, "--model", tiny, "--tokens", "6", "--json")
    expected = CotRequest(question=QUESTION, sampling=Sampling(tokens=6))
    assert json.loads(outcome.out)["request"] == expected.model_dump(mode="json")
    assert Sampling().tokens == 256


def test_without_json_cot_prints_the_answer_after_each_sentence(workbench: Run, tiny: Path, reasoning: Path) -> None:
    options = ["--choices", CHOICES, "--reasoning", reasoning, "--filler", "--answer", "Paris"]
    outcome = workbench("cot", QUESTION, *options, "--model", tiny)
    assert outcome.code == 0, outcome.err
    for words in ("(no reasoning)", "Sydney is 1 of 2.", "settles", "filler 3", "AOC", "not a proof", "prefixes kept"):
        assert words in " ".join(outcome.out.split()), words
    assert "(wrong)" in outcome.out or "(right)" in outcome.out


def test_many_questions_are_summed_up_by_task(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    rows = [
        {"id": f"q{n}", "task": task, "question": QUESTION, "choices": ["Sydney", "Paris"], "answer": "Paris"}
        for n, task in enumerate(["cities", "cities", "capitals"])
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--questions", file, "--tokens", "6", "--model", tiny]
    outcome = workbench("cot", *options, "--json")
    assert outcome.code == 0, outcome.err
    step = Step.model_validate_json(outcome.out)
    assert isinstance(step.request, CotQuestionsRequest)
    assert isinstance(step.result, CotQuestionsResult)
    assert [summary.task for summary in step.result.tasks] == ["capitals", "cities", "all"]
    drawn = workbench("cot", *options)
    assert "accuracy without" in drawn.out
    limited = workbench("cot", *options, "--limit", "1", "--json")
    assert len(json.loads(limited.out)["result"]["outcomes"]) == 2  # one of each task
    hinted = workbench("cot", *options, "--hints", "metadata", "--json")
    request = json.loads(hinted.out)["request"]
    assert (request["hints"], request["sampling"]["temperature"]) == (["metadata"], 0.6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["no question"]),
        ((QUESTION, "--choices", "a;a"), ["twice"]),
        ((QUESTION, "--choices", "a;ab"), ["told apart"]),
        ((QUESTION, "--target", "x"), ["--choices"]),
        ((QUESTION, "--chat"), ["chat template"]),
        ((QUESTION, "--mistake", "two"), ["two", "number"]),
        ((QUESTION, "--position"), ["--cue"]),
        ((QUESTION, "--limit", "3"), ["--questions"]),
        ((QUESTION, "--reasoning", "nowhere.txt"), ["nowhere.txt"]),
        ((QUESTION, "--questions", "all"), ["--questions", "leave yours out"]),
        ((QUESTION, "--hints", "all"), ["--questions", "--cue"]),
        (("--questions", "all", "--hints", "flattery"), ["flattery", "metadata"]),
        (("--questions", "all", "--hints", "all", "--temperature", "0"), ["greedy"]),
        (("--questions", "no-such-set"), ["common-sense"]),
        (("--questions", "all", "--limit", "0"), ["--limit"]),
        ((QUESTION, "--quick"), ["--quick", "--questions"]),
        (("--questions", "all", "--hints", "all", "--quick"), ["--quick"]),
        ((QUESTION, "--tokens", "0"), ["token"]),
    ],
)
def test_what_makes_no_sense_gets_one_sentence(
    workbench: Run, tiny: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    workbench("cot", *arguments, "--model", tiny).is_refused(*words)


def test_a_step_of_cot_is_kept_and_checked(workbench: Run, tiny: Path, reasoning: Path, tmp_path: Path) -> None:
    session = tmp_path / "session.json"
    options = ["--choices", CHOICES, "--reasoning", reasoning, "--session", session, "--json"]
    outcome = workbench("cot", QUESTION, *options, "--model", tiny)
    assert outcome.code == 0, outcome.err
    assert isinstance(Step.model_validate_json(outcome.out).result, CotResult)
    checked = workbench("check", session)
    assert checked.code == 0, checked
    assert "same" in checked.out
