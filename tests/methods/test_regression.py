"""The regression suite: answers against an obvious reference, scores, baseline, and what stays when it is stopped."""

from __future__ import annotations

import copy
import io
import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch
from rich.console import Console
from tokenizers.processors import TemplateProcessing

from tests.tiny import LAYERS, telling, tiny_loaded
from workbench.cli.figures import draw_all
from workbench.datasets.suites import ROLES, SCORES, Suite, SuiteFact, overlapping
from workbench.editing.changes import StateChange
from workbench.editing.queue import Edit, EditInfo
from workbench.editing.suite import answers as suite_answers
from workbench.editing.suite.answers import evaluate
from workbench.editing.suite.figures import SAME_WORDS, suite_figures
from workbench.editing.suite.regression import Measurement, SuiteRequest, SuiteResult, baseline, measure, run, run_suite
from workbench.errors import Cancelled, InputError, NumericalError
from workbench.models.forward import unembedding
from workbench.protocol import silent


def fact(role, prompt, target, against=None, subject=None):
    return SuiteFact(role=role, prompt=prompt, subject=subject, target=target, against=against)


FACTS = (
    fact("rewrite", "The capital of Australia is", "Canberra", "Sydney", "Australia"),
    fact("paraphrase", "What is the capital of Australia? The capital of Australia is", "Canberra", "Sydney"),
    fact("paraphrase", "Australia has the capital", "Canberra", "Sydney, and", "Australia"),
    fact("ripple", "Canberra is the capital of", "Australia", None, "Canberra"),
    fact("neighborhood", "The capital of France is", "Paris", "Canberra is located in the city"),
    fact("neighborhood", "The", "capital of", "answer"),
    fact("unrelated", "The Eiffel Tower is located in the city of", "Paris"),
    fact("attribute", "The largest city of Australia is", "Sydney", None, "Australia"),
)
SUITE = Suite(name="tiny", facts=FACTS, generation_prompts=("The capital", "What is the capital of France?"))
REQUEST = SuiteRequest(suite=SUITE)


def reference(model, prompt, answers, prepend):
    """Each answer by itself, token by token, through the whole model."""
    tokenizer = model.tokenizer
    ids = tokenizer(prompt)["input_ids"]
    ids = [0, *ids] if prepend == "separator" else ids
    values = []
    for answer in answers:
        pieces = tokenizer(f"{prompt} {answer}")["input_ids"][len(tokenizer(prompt)["input_ids"]) :]
        logs = []
        for number, piece in enumerate(pieces):
            with torch.no_grad():
                logits = model.hf(torch.tensor([ids + pieces[:number]]), use_cache=False).logits[0, -1].float()
            logs.append(float(logits.log_softmax(-1)[piece]))
        values.append((math.exp(fmean(logs)), pieces[0]))
    with torch.no_grad():
        p = model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1].float().softmax(-1)
    return values, int(p.argmax()), float(p.max())


@pytest.mark.parametrize("architecture", telling(mixtral="bloom"))
def test_answers_are_those_of_every_text_run_by_itself(architecture, monkeypatch):
    monkeypatch.setitem(unembedding.TOKENS_AT_ONCE, "cpu", 60)  # several batches, of texts of different lengths
    model = tiny_loaded(architecture)
    found = evaluate(model, SUITE, ("as-is", "separator"))
    assert len(found) == 2 * len(FACTS)
    for (index, prepend), reading in found.items():
        each = FACTS[index]
        answers = [each.target] + ([each.against] if each.against else [])
        values, top, top_probability = reference(model, each.prompt, answers, prepend)
        answer = reading.answer
        assert answer.target == pytest.approx(values[0][0], rel=1e-4)
        assert answer.top_probability == pytest.approx(top_probability, rel=1e-4)
        assert answer.exact == (top == values[0][1])
        assert reading.known == (top in [first for _, first in values])
        if each.against is None:
            assert answer.against is None
            assert answer.passes == answer.exact
        else:
            assert answer.against == pytest.approx(values[1][0], rel=1e-4)
            assert answer.passes == (values[0][0] > values[1][0])


def test_logits_in_small_pieces_are_the_same(monkeypatch):
    model = tiny_loaded("llama")
    whole = evaluate(model, SUITE, ("as-is",))
    monkeypatch.setattr(unembedding, "LOGITS_BUDGET", 1)
    pieces = evaluate(model, SUITE, ("as-is",))
    assert list(pieces) == list(whole)
    for key, reading in pieces.items():
        assert reading.answer.target == pytest.approx(whole[key].answer.target, rel=1e-5)
        assert reading.answer.top == whole[key].answer.top


def test_a_text_that_begins_another_one_is_not_run_by_itself(monkeypatch):
    ran = []

    def noting(model, rows, read):
        ran.extend(row.ids for row in rows)
        return unembedding.read_predictions(model, rows, read)

    monkeypatch.setattr(suite_answers, "read_predictions", noting)
    model = tiny_loaded("gpt2")
    prompt = "The capital of Australia is"
    answers = ["Sydney", "Canberra, and", "Canberra", "the largest"]
    many = Suite(name="x", facts=tuple(fact("rewrite", prompt, a, b) for a in answers for b in answers if a != b))
    evaluate(model, many, ("as-is",))
    texts = {tuple(model.tokenizer(f"{prompt} {answer}")["input_ids"][:-1]) for answer in answers}
    longest = {text for text in texts if not any(other != text and other[: len(text)] == text for other in texts)}
    assert sorted(ran) == sorted(longest)
    assert len(ran) < len(texts)


def test_first_positions_are_those_of_subjects_that_stand_bare():
    found = evaluate(tiny_loaded("gpt2"), SUITE, ("as-is", "separator", "newline"))
    bare = {key for key, reading in found.items() if reading.bare}
    assert bare == {(2, "as-is"), (3, "as-is")}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"subject": "Narnia"}, "fact 2 of the suite, “The capital.*is not in the prompt"),
        ({"target": " "}, "fact 2 of the suite.*target is empty"),
        ({"against": "Canberra"}, "fact 2 of the suite.*target and against are the same"),
        ({"prompt": "The capital of Australia is " * 20}, "fact 2 of the suite.*shorten"),
    ],
)
def test_a_fact_that_cannot_be_encoded_is_named(change, sentence):
    bad = Suite(name="x", facts=(FACTS[0], FACTS[0].model_copy(update=change)))
    with pytest.raises(InputError, match=sentence):
        evaluate(tiny_loaded("gpt2"), bad, ("as-is",))


def test_logits_that_are_no_numbers_are_an_error():
    model = tiny_loaded("gpt2")
    model.hf.get_parameter("transformer.ln_f.weight").data.fill_(float("nan"))
    with pytest.raises(NumericalError, match="not finite"):
        evaluate(model, SUITE, ("as-is",))


# --- With edits ---


def damage(layer=LAYERS - 1, size=3.0):
    """An edit that shifts every state."""
    generator = torch.Generator().manual_seed(5)
    shift = size * torch.randn(16, generator=generator)
    nothing = torch.zeros(16, 0)
    change = StateChange(layer=layer, left=nothing, right=nothing, center=torch.zeros(16), shift=shift)
    return Edit(EditInfo(id="5" * 8, method="steering", title="damage", layers=(layer,)), (change,))


def test_without_edits_nothing_differs():
    result = run(tiny_loaded("llama"), REQUEST, silent)
    assert len(result.outcomes) == 2 * len(FACTS)
    assert all(outcome.before == outcome.after for outcome in result.outcomes)
    assert all(score.score == score.score_before and score.exact == score.exact_before for score in result.scores)
    assert result.harmonic == result.harmonic_before
    assert result.perplexity == result.perplexity_before is not None
    assert result.entropy == result.entropy_before is not None


def test_what_is_compared_is_the_model_with_and_without_its_edits():
    model = tiny_loaded("llama")
    before = evaluate(model, SUITE, REQUEST.prepends)
    model.edits.add(damage())
    after = evaluate(model, SUITE, REQUEST.prepends)
    result = run(model, REQUEST, silent)
    for outcome in result.outcomes:
        key = outcome.fact, outcome.prepend
        assert (outcome.before, outcome.after) == (before[key].answer, after[key].answer)
        assert outcome.before != outcome.after
        assert outcome.first_position == (before[key].bare and not before[key].known)
    assert result.perplexity != result.perplexity_before
    assert result.entropy != result.entropy_before
    assert evaluate(model, SUITE, REQUEST.prepends) == after  # the edit is still on


def test_an_edit_after_the_last_block_is_felt():
    model = tiny_loaded("llama")
    model.edits.add(damage(layer=LAYERS - 1))
    values, _, _ = reference(model, FACTS[0].prompt, ["Canberra", "Sydney"], "as-is")
    answer = evaluate(model, SUITE, ("as-is",))[0, "as-is"].answer
    assert (answer.target, answer.against) == pytest.approx([value for value, _ in values], rel=1e-4)


def test_scores_are_shares_of_the_outcomes_of_a_role():
    model = tiny_loaded("mistral")
    model.edits.add(damage())
    result = run(model, REQUEST, silent)
    for prepend in REQUEST.prepends:
        for role in ROLES:
            some = [o for o in result.outcomes if o.prepend == prepend and FACTS[o.fact].role == role]
            score = result.score(role, prepend)
            assert score is not None
            assert score.facts == len(some) > 0
            assert score.score == fmean(o.after.passes for o in some)
            assert score.score_before == fmean(o.before.passes for o in some)
            assert score.exact == fmean(o.after.exact for o in some)
            gaps = [o.after.target - o.after.against for o in some if o.after.against is not None]
            assert score.magnitude == (pytest.approx(fmean(gaps), rel=1e-5) if gaps else None)
            assert (score.magnitude is None) == (role in ("ripple", "unrelated", "attribute"))
    failing = result.failing()
    assert {(o.fact, o.prepend) for o in failing} == {
        (o.fact, o.prepend) for o in result.outcomes if not o.after.passes
    }
    passed = [o.before.passes for o in failing]
    assert passed == sorted(passed, reverse=True)


def test_what_the_unedited_model_did_not_know_is_no_failure_of_the_edit():
    model = tiny_loaded("mistral")
    model.edits.add(damage())
    result = run(model, REQUEST, silent)
    stay = [o for o in result.failing() if FACTS[o.fact].role in ("neighborhood", "unrelated", "attribute")]
    assert {result.is_failure(o) for o in stay} == {o.before.passes for o in stay} == {True, False}
    change = [o for o in result.failing() if o not in stay]
    assert all(result.is_failure(o) == (not o.first_position) for o in change)
    blamed = [result.is_failure(o) for o in result.failing()]
    check = next(check for check in result.checks if check.name == "suite")
    assert f", {blamed.count(False)} not known without edits either" in check.text
    assert check.level == "warn"
    for score in result.scores:
        known = [
            o.after.passes
            for o in result.outcomes
            if FACTS[o.fact].role == score.role and o.prepend == score.prepend and o.before.passes
        ]
        stays = score.role in ("neighborhood", "unrelated", "attribute")
        assert score.kept == (fmean(known) if stays and known else None)


def test_facts_that_fail_with_and_without_edits_alone_are_no_warning():
    model = tiny_loaded("gpt2")
    unknown = tuple(f for f in FACTS if f.role in ("unrelated", "attribute"))
    result = run_suite(model, Suite(name="unknown", facts=unknown), generate=False, held_out=False)
    assert result.failing()
    (check,) = (check for check in result.checks if check.name == "suite")
    assert check.level == "ok"


def with_bos(model):
    """The model with a tokenizer that prepends its BOS by itself."""
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    return replace(model, tokenizer=tokenizer)


def test_starts_that_are_the_same_prompts_are_counted_once():
    plain = tiny_loaded("llama")
    model = with_bos(plain)
    result = run(model, REQUEST, silent)
    assert {outcome.prepend for outcome in result.outcomes} == set(result.harmonic) == {"as-is"}
    assert len(result.outcomes) == len(FACTS)
    after = {o.fact: o.after for o in run(plain, REQUEST, silent).outcomes if o.prepend == "separator"}
    assert {o.fact: o.after for o in result.outcomes} == after
    check = next(check for check in result.checks if check.name == "prepended")
    assert check.text == "separator is what the tokenizer does as it is, and counted once"
    assert "prepended" not in {check.name for check in run(plain, REQUEST, silent).checks}


def test_outcomes_stand_in_the_order_of_the_facts_whatever_ran_together(monkeypatch):
    def order(tokens):
        monkeypatch.setattr(unembedding, "TOKENS_AT_ONCE", {"cpu": tokens})
        return [(outcome.prepend, outcome.fact) for outcome in run_suite(tiny_loaded("llama"), SUITE).outcomes]

    assert order(20) == order(10_000) == [(prepend, n) for prepend in REQUEST.prepends for n in range(len(FACTS))]


def test_neighbors_that_share_a_word_with_the_subject_are_scored_by_themselves_too():
    facts = (
        fact("rewrite", "The capital of the Republic of Florence is", "Rome", "Paris", "Republic of Florence"),
        fact("neighborhood", "The capital of the Duchy of Florence is", "Paris", "Rome"),
        fact("neighborhood", "The capital of France is", "Paris", "Rome"),
        fact("neighborhood", "The capital of the florence's republic is", "Paris", "Rome"),
    )
    suite = Suite(name="Florence", facts=facts)
    assert overlapping(suite) == {1, 3}
    result = run_suite(tiny_loaded("llama"), suite, generate=False, held_out=False)
    for score in result.overlapping:
        assert (score.role, score.facts) == ("neighborhood", 2)
        passing = [o.after.passes for o in result.outcomes if o.prepend == score.prepend and o.fact in (1, 3)]
        assert score.score == fmean(passing)
    assert [score.prepend for score in result.overlapping] == ["as-is", "separator"]
    (table, *_) = suite_figures(result)
    assert [row[0].text for row in table.rows].count(SAME_WORDS) == 2


def test_the_harmonic_score_is_of_rewrite_paraphrase_and_neighbor():
    result = run(tiny_loaded("gpt2"), REQUEST, silent)
    for prepend, value in result.harmonic.items():
        shares = [result.score(role, prepend).score for role in ("rewrite", "paraphrase", "neighborhood")]
        expected = 0.0 if 0 in shares else 3 / sum(1 / share for share in shares)
        assert value == pytest.approx(expected)
    without = SUITE.model_copy(update={"facts": FACTS[:2]})
    assert run(tiny_loaded("gpt2"), SuiteRequest(suite=without), silent).harmonic == {
        "as-is": None,
        "separator": None,
    }


def test_a_rerun_measures_the_baseline_no_more(monkeypatch):
    model = tiny_loaded("gpt2")
    first = run(model, REQUEST, silent)
    monkeypatch.setattr(model.edits, "all_off", lambda: pytest.fail("the baseline was measured again"))
    model.edits.add(damage())
    again = run(model, REQUEST, silent)
    assert [o.before for o in again.outcomes] == [o.before for o in first.outcomes]
    assert (again.perplexity_before, again.entropy_before) == (first.perplexity, first.entropy)


def test_the_next_session_measures_the_baseline_no_more(monkeypatch):
    first = run(tiny_loaded("gpt2"), REQUEST, silent)
    model = tiny_loaded("gpt2")
    monkeypatch.setattr(model.edits, "all_off", lambda: pytest.fail("the baseline was measured again"))
    model.edits.add(damage())
    again = run(model, REQUEST, silent)
    assert [o.before for o in again.outcomes] == [o.before for o in first.outcomes]
    assert [o.free_before for o in again.outcomes] == [o.free_before for o in first.outcomes]
    assert (again.perplexity_before, again.entropy_before) == (first.perplexity, first.entropy)
    assert again.perplexity != first.perplexity


@pytest.mark.parametrize(
    "spoil", [lambda file: file.write_bytes(b"{"), lambda file: file.write_text('{"entropy": "x"}')]
)
def test_what_was_kept_and_cannot_be_read_is_measured_again(own_home, spoil):
    first = run(tiny_loaded("gpt2"), REQUEST, silent)
    kept = list((own_home / "cache" / "unedited").rglob("*.json"))
    assert len(kept) == 4  # facts, continuations, generated text, held-out perplexity
    for file in kept:
        spoil(file)
    assert run(tiny_loaded("gpt2"), REQUEST, silent) == first


def test_records_that_ask_for_no_text_leave_no_file_each_and_look_for_none(own_home, monkeypatch):
    monkeypatch.setattr("workbench.editing.suite.unedited.remembered", lambda *_: pytest.fail("a file was looked for"))
    baseline(tiny_loaded("gpt2"), REQUEST.model_copy(update={"generate": False, "held_out": False}))
    assert not list((own_home / "cache").rglob("*.json"))


def test_another_suite_has_a_baseline_of_its_own():
    model = tiny_loaded("gpt2")
    run(model, REQUEST, silent)
    other = Suite(name="other", facts=FACTS[2:4])
    result = run(model, SuiteRequest(suite=other), silent)
    assert [o.before for o in result.outcomes] == [o.after for o in result.outcomes]
    assert result.entropy is None


def test_a_baseline_that_is_given_is_used():
    model = tiny_loaded("gpt2")
    model.edits.add(damage())
    before = measure(model, REQUEST)
    result = run_suite(model, SUITE, before=before)
    assert all(outcome.before == outcome.after for outcome in result.outcomes)
    assert model.edits.baselines == {}


def test_a_baseline_is_the_unedited_model_whatever_is_on():
    model, fresh = tiny_loaded("gpt2"), tiny_loaded("gpt2")
    model.edits.add(damage())
    assert baseline(model, REQUEST) == measure(fresh, REQUEST) != measure(model, REQUEST)


def test_what_is_not_asked_for_is_not_measured():
    result = run_suite(tiny_loaded("gpt2"), SUITE, prepends=("separator",), generate=False, held_out=False)
    assert (result.perplexity, result.perplexity_before, result.entropy, result.entropy_before) == (None,) * 4
    assert {outcome.prepend for outcome in result.outcomes} == {"separator"}


# --- Stopping ---


class StopAfter:
    """Progress that stops at a report of a stage, and remembers the last partial result."""

    def __init__(self, stage, reports):
        self.stage, self.left = stage, reports
        self.partial = None
        self.seen = []

    def __call__(self, done, total, partial=None, *, stage=""):
        assert 0 <= done <= total
        assert not self.seen or done >= self.seen[-1]
        self.seen.append(done)
        self.partial = partial or self.partial
        if stage == self.stage:
            self.left -= 1
            if self.left == 0:
                raise Cancelled


def test_what_was_answered_when_it_is_stopped_is_a_result(monkeypatch):
    monkeypatch.setitem(unembedding.TOKENS_AT_ONCE, "cpu", 30)
    model = tiny_loaded("gpt2")
    model.edits.add(damage())
    complete = run(model, REQUEST, silent)
    progress = StopAfter("facts as it is now", 4)
    with pytest.raises(Cancelled):
        run(model, REQUEST, progress)
    partial = progress.partial
    assert isinstance(partial, SuiteResult)
    assert 0 < len(partial.outcomes) < len(complete.outcomes)
    assert set(partial.outcomes) < set(complete.outcomes)
    warning = next(check for check in partial.checks if check.name == "facts")
    assert (warning.level, warning.text) == ("warn", f"{len(partial.outcomes)} of 16 answered")
    assert model.edits.active == ("5" * 8,)


def test_a_stop_in_the_baseline_leaves_the_edits_on_and_nothing_half_remembered():
    model = tiny_loaded("gpt2")
    model.edits.add(damage())
    before = evaluate(model, SUITE, ("as-is",))
    with pytest.raises(Cancelled):
        run(model, REQUEST, StopAfter("facts without edits", 2))
    assert model.edits.baselines == {}
    assert evaluate(model, SUITE, ("as-is",)) == before


def test_progress_runs_from_nothing_to_nearly_everything():
    progress = StopAfter("", -1)
    run(tiny_loaded("gpt2"), REQUEST, progress)
    assert progress.seen[0] == 0
    assert progress.seen[-1] > 190  # of 200


# --- Settings and checks ---


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (SuiteRequest(suite=Suite(name="none", facts=())), "has no facts"),
        (SuiteRequest(suite=SUITE, prepends=()), "what is prepended"),
        (SuiteRequest(suite=SUITE, prepends=("as-is", "as-is")), "each once"),
        (SuiteRequest(suite=SUITE, seed=-1), "seed"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_sentence(request_, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tiny_loaded("gpt2"), request_, silent)


def test_checks_say_what_changed():
    model = tiny_loaded("gpt2")
    before = baseline(model, REQUEST)
    worse = Measurement(before.readings, (before.perplexity or 0) / 1.02, (before.entropy or 0) / 0.85)
    checks = {check.name: check for check in run_suite(model, SUITE, before=worse).checks}
    assert checks["held-out perplexity"].level == checks["repetition"].level == "warn"
    assert "(+2.0 %)" in checks["held-out perplexity"].text
    assert "(−15.0 %)" in checks["repetition"].text
    checks = {check.name: check for check in run_suite(model, SUITE, before=before).checks}
    assert checks["held-out perplexity"].level == checks["repetition"].level == "ok"
    assert checks["suite"].level == "warn"


def test_a_fact_lost_to_the_first_position_is_said():
    model = tiny_loaded("gpt2")
    result = run(model, REQUEST, silent)
    lost = [outcome for outcome in result.failing() if outcome.first_position]
    assert lost
    assert {(outcome.fact, outcome.prepend) for outcome in lost} <= {(2, "as-is"), (3, "as-is")}
    check = next(check for check in result.checks if check.name == "first position")
    assert check.text.startswith(f"{len(lost)} of {len(result.failing())} failing")


def test_a_result_is_json_and_back():
    result = run(tiny_loaded("gpt2"), REQUEST, silent)
    assert SuiteResult.model_validate_json(result.model_dump_json()) == result
    assert SuiteRequest.model_validate_json(REQUEST.model_dump_json()) == REQUEST


def test_it_is_drawn_with_its_scores_and_every_failing_fact():
    model = tiny_loaded("gpt2")
    before = baseline(model, REQUEST)
    model.edits.add(damage())
    result = run_suite(model, SUITE, before=before)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw_all(suite_figures(result)))
    text = console.export_text()
    assert "Regression suite · tiny" in text
    for role in ROLES:
        assert SCORES[role] in text
    assert text.count("✗") == len(result.failing()) > 0
    flat = " ".join(text.split())
    for outcome in result.failing():
        said = f"says “{outcome.after.top}” {outcome.after.top_probability:.2f}"
        assert " ".join(said.split()) in flat
    assert f"harmonic score, as-is: {100 * result.harmonic['as-is']:.1f}" in text
    assert ("(not known without edits either)" in flat) == any(
        not result.is_failure(outcome) and not outcome.first_position for outcome in result.failing()
    )
