"""The average over facts: read, sorted by role, averaged, and continued where it was interrupted."""

from __future__ import annotations

import json
from statistics import fmean, stdev

import pytest
import torch

from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.errors import Cancelled, InputError, NotConfirmed
from workbench.methods.tracing import causal_trace
from workbench.methods.tracing import facts as trace_facts
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.methods.tracing.facts import (
    TOKEN_ROLES,
    FactsTraceRequest,
    FactsTraceResult,
    TracedFact,
    read_facts,
    run,
    token_roles,
)
from workbench.models.tokens import EncodedCase, encode
from workbench.paths import cache_folder
from workbench.protocol import silent

PROMPTS = (
    ("The capital of France is the city of ", "France"),
    ("The capital of Australia is ", "Australia"),
    ("in Paris is the city of ", "Paris"),
    ("The city of Rome is in ", "Rome"),
    ("Sydney is a city in ", "Sydney"),
    ("The city in Australia is ", "Australia"),
)


@pytest.fixture
def model():
    """It says nothing that cannot be typed."""
    loaded = tiny_loaded("gpt_neox")
    unembedding = loaded.hf.get_submodule(loaded.anatomy.unembedding).weight
    for token in range(len(unembedding)):
        text = loaded.tokenizer.decode([token])
        if not (text.isalnum() and text.isascii()):
            unembedding[token] = 0
    return loaded


@pytest.fixture
def known(model):
    """What this random model goes on with is what it knows."""
    facts = []
    for prompt, subject in PROMPTS:
        ids = encode(model.tokenizer, Case(prompt=prompt)).ids
        target = model.tokenizer.decode([int(model.hf(torch.tensor([ids])).logits[0, -1].argmax())])
        facts.append(TracedFact(prompt=prompt, subject=subject, target=target))
    return tuple(facts)


def _ask(facts, **settings):
    return FactsTraceRequest(facts=facts, **{"samples": 2, "noise_std": 0.5, "kinds": ("states", "mlp"), **settings})


# --- Reading ---


def test_both_layouts_are_read_and_the_prompt_goes_before_the_template(tmp_path):
    lines = [
        {"prompt": "Rome is in", "subject": "Rome", "target": "Italy"},
        {"known_id": 3, "subject": "Rome", "attribute": "Italy", "template": "{} lies in", "prompt": "Rome is in"},
        {"subject": "Rome", "attribute": "Italy", "template": "{} lies in"},
    ]
    file = tmp_path / "facts.jsonl"
    for text in ("\n\n".join(map(json.dumps, lines)), json.dumps(lines, indent=1)):
        file.write_text(text, encoding="utf-8")
        facts = read_facts(file)
        assert [fact.prompt for fact in facts] == ["Rome is in", "Rome is in", "Rome lies in"]
        assert {(fact.subject, fact.target) for fact in facts} == {("Rome", "Italy")}


@pytest.mark.parametrize(
    "line",
    ["[]", '"Rome"', "3", '{"prompt": "Rome is in"}', '{"prompt": 3, "subject": "Rome", "target": "Italy"}'],
)
def test_a_line_that_is_no_fact_is_named(tmp_path, line):
    file = tmp_path / "facts.jsonl"
    file.write_text('{"prompt": "Rome is in", "subject": "Rome", "target": "Italy"}\n' + line, encoding="utf-8")
    with pytest.raises(InputError, match=r"^line 2 of .*facts\.jsonl is not a fact: it needs"):
        read_facts(file)


@pytest.mark.parametrize("line", ["{", "Rome is in Italy", "[" * 1000])
def test_a_line_that_is_no_json_is_named(tmp_path, line):
    file = tmp_path / "facts.jsonl"
    file.write_text('{"prompt": "Rome is in", "subject": "Rome", "target": "Italy"}\n' + line, encoding="utf-8")
    with pytest.raises(InputError, match=r"facts\.jsonl is not complete JSON: it breaks at line 2 \(.+\); mend"):
        read_facts(file)


def test_a_file_that_is_missing_empty_or_not_text_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_facts(tmp_path / "nothing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds no facts"):
        read_facts(tmp_path / "empty.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_facts(tmp_path / "bytes.jsonl")


# --- Roles ---


def _encoded(tokens, subject):
    return EncodedCase(
        ids=tuple(range(tokens)),
        texts=("x",) * tokens,
        prepended=0,
        appended=0,
        starts_bare=False,
        subject=subject,
        target=None,
        foil=None,
        notes=(),
    )


@pytest.mark.parametrize(
    ("tokens", "subject", "expected"),
    [
        (9, (1, 5), [[1], [2, 3], [4], [5], [6, 7], [8]]),
        (6, (1, 3), [[1], [], [2], [3], [4], [5]]),
        (5, (1, 2), [[], [], [1], [2], [3], [4]]),
        (4, (1, 2), [[], [], [1], [2], [], [3]]),
        (3, (1, 2), [[], [], [1], [], [], [2]]),
        (4, (1, 4), [[1], [2], [3], [], [], []]),
    ],
)
def test_every_token_from_the_subject_on_has_one_role(tokens, subject, expected):
    roles = token_roles(_encoded(tokens, subject))
    assert [list(roles[role]) for role in TOKEN_ROLES] == expected
    assert sorted(token for role in TOKEN_ROLES for token in roles[role]) == list(range(subject[0], tokens))


# --- Averaging ---


def test_the_average_is_that_of_the_single_traces(model, known):
    result = run(model, _ask(known), silent)
    assert (result.used, result.unknown, result.unusable) == (len(known), 0, 0)
    traces = [
        causal_trace.run(
            model,
            TraceRequest(
                case=Case(prompt=fact.prompt, subject=fact.subject, target=fact.target),
                kinds=("states", "mlp"),
                samples=2,
                noise_std=0.5,
            ),
            silent,
        )
        for fact in known
    ]
    assert result.clean == pytest.approx(fmean(trace.clean for trace in traces), abs=1e-6)
    assert result.corrupted == pytest.approx(fmean(trace.corrupted for trace in traces), abs=1e-6)
    for effect in result.effects:
        for layer in range(3):
            each = []
            for trace in traces:
                tokens = token_roles(trace.encoded)[effect.role]
                row = trace.grid(effect.kind).values[layer]
                if tokens:
                    each.append(fmean(row[token] for token in tokens) - trace.corrupted)
            assert effect.facts == len(each)
            assert effect.mean[layer] == pytest.approx(fmean(each), abs=1e-6)
            if len(each) > 1:
                assert effect.error[layer] == pytest.approx(stdev(each) / len(each) ** 0.5, abs=1e-6)
            else:
                assert effect.error is None
    assert {effect.role for effect in result.effects} <= set(TOKEN_ROLES)
    assert FactsTraceResult.model_validate_json(result.model_dump_json()) == result


def test_facts_that_are_not_known_or_cannot_be_traced_are_counted(model, known):
    unknown = known[0].model_copy(update={"target": "?"})
    elsewhere = known[0].model_copy(update={"subject": "Narnia"})
    whole = TracedFact(prompt="France", subject="France", target=".")
    result = run(model, _ask((unknown, known[0], elsewhere, whole)), silent)
    assert (result.used, result.unknown, result.unusable) == (1, 1, 2)
    assert result.checks[0].text == "1 used, 1 not known by the model, 2 unusable"
    nothing = run(model, _ask((unknown,)), silent)
    assert (nothing.used, nothing.clean, nothing.effects) == (0, None, ())
    assert nothing.checks[0].level == "warn"


def test_the_noise_is_measured_on_the_facts_own_subjects(model, known):
    facts = known[:2]
    ids = [token for fact in facts for token in model.tokenizer(fact.subject)["input_ids"]]
    std = model.embedding.weight[ids].std().item()
    result = run(model, _ask(facts, noise_std=None, samples=1, kinds=("states",)), silent)
    assert result.noise_std == pytest.approx(3 * std, rel=1e-5)


def test_settings_that_make_no_sense_are_errors_of_the_request(model, known):
    with pytest.raises(InputError, match="at least 1 sample"):
        run(model, _ask(known, samples=0), silent)
    with pytest.raises(InputError, match="must be 1 to 3 layers"):
        run(model, _ask(known, window=9), silent)
    with pytest.raises(InputError, match="no facts to trace"):
        run(model, _ask(()), silent)


# --- Interrupted ---


@pytest.fixture
def traced(monkeypatch):
    """The prompts that were really traced, in order."""
    prompts, trace = [], causal_trace.run

    def counted(model, request, progress):
        result = trace(model, request, progress)
        prompts.append(request.case.prompt)
        return result

    monkeypatch.setattr(causal_trace, "run", counted)
    return prompts


def test_an_interrupted_run_goes_on_where_it_stopped(model, known, traced):
    partials = []

    def stop_after_one(done, total, partial=None, *, stage=""):
        if partial is not None:
            partials.append(partial)
        if len(traced) == 1 and done % 100:
            raise Cancelled  # in the middle of the second fact

    with pytest.raises(Cancelled):
        run(model, _ask(known), stop_after_one)
    assert partials[-1].used == 1
    assert traced == [known[0].prompt]
    resumed = run(model, _ask(known), silent)
    assert traced == [fact.prompt for fact in known]  # each once
    for file in cache_folder().rglob("*.json"):
        file.unlink()
    assert run(model, _ask(known), silent) == resumed
    assert len(traced) == 2 * len(known)


def test_what_is_remembered_is_not_used_for_other_settings_weights_or_edits(model, known, traced):
    run(model, _ask(known[:1]), silent)
    for settings in ({"samples": 1}, {"noise_std": 0.25}, {"seed": 2}, {"kinds": ("mlp",)}, {"window": 1}):
        run(model, _ask(known[:1], **settings), silent)
    assert len(traced) == 6
    run(model, _ask(known[:1]), silent)
    assert len(traced) == 6
    model.down_projection(1).weight.mul_(1.01)  # an edit, which the fingerprint does not know
    result = run(model, _ask(known[:1]), silent)
    assert len(traced) == 6 + result.used


def test_a_cache_file_that_is_broken_is_computed_anew(model, known, traced):
    expected = run(model, _ask(known[:1]), silent)
    (file,) = cache_folder().rglob("*.json")
    file.write_text(file.read_text()[:40])
    assert run(model, _ask(known[:1]), silent) == expected
    assert len(traced) == 2
    assert run(model, _ask(known[:1]), silent) == expected
    assert len(traced) == 2


def test_facts_that_take_hours_are_traced_only_when_that_is_confirmed(model, known, traced, monkeypatch):
    monkeypatch.setattr(trace_facts, "LONG", 0.0)
    with pytest.raises(NotConfirmed, match=r"about 0\.0 hours;.*what is traced already is kept"):
        run(model, _ask(known), silent)
    assert len(traced) == 1
    assert run(model, _ask(known, confirmed=True), silent).used == len(known)
    assert len(traced) == len(known)


def test_progress_counts_the_facts_and_never_goes_back(model, known):
    reports = []
    run(model, _ask(known), lambda done, total, partial=None, *, stage="": reports.append((stage, done, total)))
    done = [report[1] for report in reports if report[0] == "tracing"]
    assert done == sorted(done)
    assert done[-1] == 100 * len(known) == reports[-1][2]
