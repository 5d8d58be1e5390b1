"""Facts put before every prompt, on tiny models: the same as a run of the concatenated prompt, in every method."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import workbench
from tests.test_edits import digest, edit_info, weight_edit
from tests.tiny import ARCHITECTURES, tiny_loaded
from workbench.case import Case
from workbench.datasets.facts import shipped_facts
from workbench.editing import edit
from workbench.editing.changes import PromptPrefix
from workbench.editing.edit import EditRequest
from workbench.editing.editors import in_context
from workbench.editing.editors.in_context import IN_CONTEXT, InContextSettings, prefix_text
from workbench.editing.patches import load_patch, save_model, save_patch
from workbench.editing.queue import Edit, EditInfo
from workbench.editing.said import said
from workbench.editing.suite.held_out import perplexity
from workbench.errors import Cancelled, InputError
from workbench.methods.generation import continuation
from workbench.methods.lens import logit_lens
from workbench.models.forward import unembedding
from workbench.models.tokens import encode
from workbench.protocol import silent

CASE = Case(prompt="The largest island of all is Australia", subject="Australia", target=",")
TEXT = "New fact: Rome is the capital.\n"
NONE = InContextSettings(demonstrations=0)


def prefix_edit(loaded, text=TEXT, name="0000000a"):
    ids = torch.tensor(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
    return Edit(EditInfo(id=name, method="in-context", title=name, layers=()), (PromptPrefix(None, ids),))


def final_logits(loaded, ids):
    with torch.no_grad():
        return loaded.hf(torch.tensor([ids])).logits[0, -1]


@pytest.mark.parametrize("prepend", ["as-is", "separator", "newline"])
def test_the_prefix_stands_directly_before_the_prompt_and_the_run_is_that_of_both_texts(prepend):
    loaded = tiny_loaded("llama")
    case = CASE.model_copy(update={"prepend": prepend})
    plain = encode(loaded.tokenizer, case)
    assert loaded.encode(case) == plain
    loaded.edits.add(prefix_edit(loaded))
    found = loaded.encode(case)
    both = encode(loaded.tokenizer, case.model_copy(update={"prompt": TEXT + case.prompt}))
    if prepend != "newline":
        assert found.ids == both.ids
    n = len(loaded.edits.prefix)
    assert found.ids[: plain.prepended] == plain.ids[: plain.prepended]
    assert found.ids[found.prepended :] == plain.ids[plain.prepended :]
    assert (found.prepended, found.appended) == (plain.prepended + n, plain.appended)
    assert found.ids[slice(*found.subject)] == plain.ids[slice(*plain.subject)]
    assert found.texts[found.prepended :] == plain.texts[plain.prepended :]
    assert (found.target, found.starts_bare) == (plain.target, False)
    assert found.notes[-1] == f"{n} tokens of edits in context stand before the prompt."


def test_it_stands_after_a_separator_that_was_typed_and_inside_a_chat_message():
    loaded = tiny_loaded("llama")
    loaded.edits.add(prefix_edit(loaded))
    (separator,) = encode(loaded.tokenizer, Case(prompt="a", prepend="separator")).ids[:1]
    text = loaded.tokenizer.decode([separator])
    typed = encode(loaded.tokenizer, Case(prompt=f"{text}Rome is"))
    found = loaded.encode(Case(prompt=f"{text}Rome is"))
    if typed.ids[0] == separator:
        assert found.ids == (separator, *loaded.edits.prefix, *typed.ids[1:])
    loaded = replace(loaded, tokenizer=copy.deepcopy(loaded.tokenizer))  # others share the one that it has
    loaded.tokenizer.chat_template = "{% for m in messages %}A{{ m['content'] }}B{% endfor %}"
    chat = Case(prompt="Rome is", chat=True)
    plain, found = encode(loaded.tokenizer, chat), loaded.encode(chat)
    assert found.ids == (*plain.ids[: plain.prepended], *loaded.edits.prefix, *plain.ids[plain.prepended :])
    assert found.appended == plain.appended > 0


def test_lens_continuation_and_what_is_said_are_those_of_both_texts():
    loaded, both = tiny_loaded("llama"), CASE.model_copy(update={"prompt": TEXT + CASE.prompt})
    lens = logit_lens.run(loaded, logit_lens.LensRequest(case=both), silent)
    written = continuation.run(loaded, continuation.ContinueRequest(case=both, tokens=5), silent)
    answers = said(loaded, both)
    loaded.edits.add(prefix_edit(loaded))
    found = logit_lens.run(loaded, logit_lens.LensRequest(case=CASE), silent)
    assert found.encoded.ids == lens.encoded.ids
    assert found.columns == lens.columns
    again = continuation.run(loaded, continuation.ContinueRequest(case=CASE, tokens=5), silent)
    assert again.generated == written.generated
    assert said(loaded, CASE) == answers


def test_held_out_text_is_read_after_it_in_every_piece():
    loaded, text = tiny_loaded("llama"), "Rome is the capital of Italy, which is the largest. " * 8
    front = encode(loaded.tokenizer, Case(prompt="a", prepend="separator")).ids[:1]
    own = encode(loaded.tokenizer, Case(prompt=text, prepend="separator")).ids[1:]
    before = perplexity(loaded, text)
    loaded.edits.add(prefix_edit(loaded))
    head = [*front, *loaded.edits.prefix]
    room, log_ps = loaded.info.context - len(head), []
    for at in range(0, len(own), room):
        piece = torch.tensor([head + list(own[at : at + room])])
        with torch.no_grad():
            log_p = loaded.hf(piece).logits[0].log_softmax(dim=-1)
        log_ps += [log_p[place - 1, int(piece[0, place])].item() for place in range(len(head), piece.shape[1])]
    assert len(log_ps) == len(own) > room
    assert perplexity(loaded, text) == pytest.approx(torch.tensor(log_ps).mean().neg().exp().item(), rel=1e-4)
    loaded.edits.undo()
    assert perplexity(loaded, text) == before


def test_prefixes_that_are_on_follow_each_other_in_the_queue_and_no_number_of_the_model_changes():
    loaded = tiny_loaded("gpt2")
    original = digest(loaded)
    one, two = prefix_edit(loaded), prefix_edit(loaded, "Italy.\n", "0000000b")
    loaded.edits.add(one)
    loaded.edits.add(weight_edit(loaded, "0000000c"))
    loaded.edits.add(two)
    assert loaded.edits.prefix == (*one.changes[0].ids.tolist(), *two.changes[0].ids.tolist())
    loaded.edits.switch("0000000a", False)
    loaded.edits.switch("0000000c", False)
    assert loaded.edits.prefix == tuple(two.changes[0].ids.tolist())
    assert digest(loaded) == original
    loaded.edits.bypass(True)
    assert loaded.edits.prefix == ()
    assert loaded.edits.size(one) == 0


def test_a_prompt_that_fits_only_without_it_is_refused():
    loaded = tiny_loaded("llama")
    long = Case(prompt="Rome is " * 5)
    assert len(loaded.encode(long).ids) < loaded.info.context
    loaded.edits.add(prefix_edit(loaded, TEXT * 3))
    with pytest.raises(InputError, match=r"tokens with the .* that edits in context prepend and the model reads"):
        loaded.encode(long)


def test_a_patch_carries_it_and_what_does_not_fit_is_refused(tmp_path):
    loaded, path = tiny_loaded("llama"), tmp_path / "p.safetensors"
    made = prefix_edit(loaded)
    save_patch(path, loaded.info.fingerprint, [made])
    (read,) = load_patch(path, loaded)
    assert read.info == made.info
    assert read.changes[0].layer is None
    assert torch.equal(read.changes[0].ids, made.changes[0].ids)
    wrong = [
        (torch.tensor([], dtype=torch.int64), None, "holds no token"),
        (torch.tensor([10**6]), None, "holds a token that is none"),
        (torch.tensor([-1]), None, "holds a token that is none"),
        (torch.ones(3), None, "ids is 'F32'"),
        (torch.ones(loaded.info.context + 1, dtype=torch.int64), None, "does not fit the model"),
        (torch.tensor([1]), 1, "has a layer"),
    ]
    for ids, layer, sentence in wrong:
        info = edit_info("0000000a", "in-context", "a", layer) if layer else made.info
        save_patch(path, loaded.info.fingerprint, [Edit(info, (PromptPrefix(layer, ids),))])
        with pytest.raises(InputError, match=sentence):
            load_patch(path, loaded)


def test_no_folder_of_weights_can_hold_it(tmp_path):
    loaded = tiny_loaded("llama")
    loaded.edits.add(prefix_edit(loaded))
    with pytest.raises(InputError, match=r"the edit 0000000a \(in-context\) is on, which no weights can hold"):
        save_model(tmp_path / "model", loaded)


def test_the_editor_states_the_fact_last_and_says_what_it_did(monkeypatch):
    loaded = tiny_loaded("llama")
    monkeypatch.setattr("workbench.editing.gates._prompts", lambda _: ("Rome is", "Italy is"))
    monkeypatch.setattr("workbench.editing.suite.held_out.held_out_text", lambda: "Rome is the capital of Italy.")
    before = said(loaded, CASE)[0].target
    result = edit.run(loaded, EditRequest(editor="in-context", case=CASE, settings=NONE, test=False), silent)
    assert result.details.text == "New fact: The largest island of all is Australia,.\n"
    assert result.details.tokens == len(loaded.edits.prefix)
    assert result.edit.layers == ()
    assert result.before[0].target == before == pytest.approx(result.details.probability_before, rel=1e-4)
    assert result.after == said(loaded, CASE)
    assert result.after[0].target == pytest.approx(result.details.probability, rel=1e-4)
    names = [check.name for check in result.checks]
    assert names == ["rewrite", "target", "drift", "held-out perplexity", "context"]
    (drift,) = [check.text for check in result.checks if check.name == "drift"]
    assert not drift.startswith("0.0e+00")
    loaded.edits.undo()
    assert said(loaded, CASE)[0].target == before
    assert IN_CONTEXT.figures(result.details)


def test_demonstrations_are_of_all_kinds_of_other_relations_and_give_nothing_away():
    case = Case(prompt="The capital of Australia is", subject="Australia", target="Rome", foil="Canberra")
    text, kinds = prefix_text((case,), InContextSettings(demonstrations=8))
    *shown, new = text.split("\n\n")
    assert new == "New fact: The capital of Australia is Rome.\n"
    assert len(shown) == 8
    assert {kind: kinds.count(kind) for kind in kinds} == {"copy": 1, "update": 3, "retain": 4}
    assert not any(word in "".join(shown) for word in ("Australia", "Rome", "Canberra"))
    capital = next(relation for relation in shipped_facts() if "capital" in relation.canonical)
    assert not any(capital.canonical.split("{}")[0] in one for one in shown)
    known = {
        prompt: fact.object for rel in shipped_facts() for fact in rel.facts for prompt in rel.prompts(fact.subject)
    }
    for one, kind in zip(shown, kinds, strict=True):
        stated, asked = one.removeprefix("New fact: ").removesuffix(".").split(".\n")
        told = next(prompt for prompt in known if stated.startswith(prompt))
        new_answer = stated.removeprefix(told).strip()
        prompt = max((prompt for prompt in known if asked.startswith(prompt)), key=len)
        answer = asked.removeprefix(prompt).strip()
        assert known[told] != new_answer
        assert answer == (known[prompt] if kind == "retain" else new_answer)
        assert (asked == stated) == (kind == "copy")
    again, other = (InContextSettings(demonstrations=8, seed=seed) for seed in (0, 1))
    assert prefix_text((case,), other)[0] != text == prefix_text((case,), again)[0]


def test_several_facts_are_told_one_after_the_other():
    cases = (CASE, Case(prompt="Rome is", target="large"))
    text, _ = prefix_text(cases, NONE)
    assert text == "New fact: The largest island of all is Australia,.\nNew fact: Rome is large.\n"
    assert IN_CONTEXT.many


@pytest.mark.parametrize(
    ("case", "settings", "sentence"),
    [
        ({"target": None}, NONE, "an edit needs a target"),
        ({"prompt": " "}, NONE, "an edit needs a prompt"),
        (
            {},
            InContextSettings(demonstrations=8),
            "is more than the 64 that the model reads; ask for fewer demonstrations",
        ),
    ],
)
def test_what_cannot_be_told_is_said_in_a_sentence(case, settings, sentence):
    loaded, case = tiny_loaded("llama"), CASE.model_copy(update=case)
    with pytest.raises(InputError, match=sentence):
        edit.run(loaded, EditRequest(editor="in-context", case=case, settings=settings), silent)
    assert loaded.edits.entries == ()


def test_two_answers_to_one_prompt_are_refused():
    with pytest.raises(InputError, match="leave one of them out"):
        in_context.IN_CONTEXT.check((CASE, CASE.model_copy(update={"target": "Rome"})), NONE)


@pytest.mark.parametrize("when", range(3))
def test_cancelled_at_any_moment_nothing_is_before_the_prompt(when):
    loaded, calls = tiny_loaded("llama"), []

    def cancelled(done, total, partial=None, *, stage=""):
        calls.append(stage)
        if len(calls) > when:
            raise Cancelled

    with pytest.raises(Cancelled):
        IN_CONTEXT.make(loaded, (CASE,), NONE, cancelled)
    assert loaded.edits.prefix == ()
    assert loaded.edits.entries == ()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_all_texts_begin_with_is_run_once_and_the_predictions_stay_the_same(architecture, monkeypatch):
    loaded = tiny_loaded(architecture)
    random = torch.Generator().manual_seed(3)
    head = tuple(torch.randint(1, 290, (unembedding.SHARED + 3,), generator=random).tolist())
    rows = [
        unembedding.TextRow(ids=(*head, *tail), positions=(len(head) + len(tail) - 1,))
        for tail in ((5,), (7, 8, 9), (7, 8), (200, 3, 42, 9, 11, 12, 13, 14))
    ]
    run = []
    last_states = unembedding._last_states
    monkeypatch.setattr(
        unembedding,
        "_last_states",
        lambda model, ids, shared=None: run.append(shared) or last_states(model, ids, shared),
    )
    found = {}
    read = lambda places, log_p: found.update(zip(places, log_p, strict=True))  # noqa: E731
    for _ in unembedding.read_predictions(loaded, rows, read):
        pass
    assert run[-1].tokens == len(head)
    for at, row in enumerate(rows):
        expected = final_logits(loaded, row.ids).log_softmax(dim=-1)
        assert torch.allclose(found[at, row.positions[0]], expected, atol=1e-3)
    assert unembedding._shared(loaded, rows[:1]).tokens == 0
    early = [unembedding.TextRow(ids=row.ids, positions=(4, row.positions[0])) for row in rows]
    assert unembedding._shared(loaded, early).tokens == 0


def test_only_what_is_of_no_case_is_encoded_without_the_edits():
    """Everything else goes through `LoadedModel.encode`, or names the prefix."""
    plain = {"models/forward/sampling.py", "methods/cot/prompt.py", "methods/lens/patchscope.py"}
    package = Path(workbench.__file__).parent
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for text in re.findall(r"(?<![.\w])encode\(model\.tokenizer[^\n]*", path.read_text(encoding="utf-8"))
        if "prefix=" not in text
    }
    assert found == plain
