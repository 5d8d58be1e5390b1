"""Encoding a Case: spans, what is prepended, what really follows, and what the person is told.

Three kinds of tokenizer are built here: byte-level with and without the space in a token's span, as GPT-2 and
SmolLM2 have it, and sentencepiece's, with BOS, byte tokens and a blank before every text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from workbench.case import Case
from workbench.errors import InputError, ModelError
from workbench.models.tokens import EncodedCase, continuation_ids, encode, token_texts
from workbench.spans import find_subject

PROMPT = "The capital of Australia is"
TEXTS = [
    "The capital of Australia is Sydney or Canberra, for New York is not. Q: What? A: Sydney Sydney",
    "The capital of France is Paris Paris user assistant foo() foo() ()",
]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def bpe(merged: bool = False) -> Tokenizer:
    """Byte-level, trained on the sentences above. `merged`: words are not split first, so anything may join."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not merged)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


@cache
def byte_level(trimmed: bool = False) -> Any:
    """Its bos is a chat marker, as SmolLM2's. `trimmed`: spans leave out a token's leading space, as GPT-2's."""
    backend = bpe()
    if trimmed:
        backend.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|user|>", eos_token="<|end|>", chat_template=TEMPLATE
    )


@cache
def sentencepiece() -> Any:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    merges: list[tuple[str, str]] = []
    for word in ("▁The", "▁capital", "▁Australia", "▁is", "▁Sydney", "Sydney", "▁Paris", "▁York", "▁New"):
        for end in range(1, len(word)):
            pair = (word[:end], word[end])
            pieces += [pair[0], pair[1], word[: end + 1]]
            merges += [] if pair in merges else [pair]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=TEMPLATE
    )


@cache
def words_only() -> Any:
    """Knows a few words, drops blanks, and has no special token but <unk>."""
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "The": 1, "cat": 2, "sat": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


TOKENIZERS: list[Callable[[], Any]] = [
    byte_level,
    pytest.param(lambda: byte_level(trimmed=True), id="byte_level_trimmed"),  # type: ignore[list-item]
    sentencepiece,
]
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS)


def subject_texts(encoded: EncodedCase) -> tuple[str, ...]:
    assert encoded.subject is not None
    return encoded.texts[slice(*encoded.subject)]


def said(encoded: EncodedCase, words: str) -> bool:
    return any(words in note for note in encoded.notes)


# --- The subject ---


@every_tokenizer
def test_the_subject_is_the_tokens_that_hold_its_letters(tokenizer: Callable[[], Any]) -> None:
    assert subject_texts(encode(tokenizer(), Case(prompt=PROMPT, subject="Australia"))) == (" Australia",)


@every_tokenizer
def test_a_subject_at_the_very_beginning_has_no_blank_token(tokenizer: Callable[[], Any]) -> None:
    encoded = encode(tokenizer(), Case(prompt="你 is", subject="你"))
    assert subject_texts(encoded) == ("⟨E4⟩", "⟨BD⟩", "⟨A0⟩")


@every_tokenizer
def test_a_subject_of_several_words_is_one_span(tokenizer: Callable[[], Any]) -> None:
    assert subject_texts(encode(tokenizer(), Case(prompt="is New York", subject="New York"))) == (" New", " York")


@every_tokenizer
def test_spaces_around_a_subject_do_not_count(tokenizer: Callable[[], Any]) -> None:
    tok = tokenizer()
    bare = encode(tok, Case(prompt=PROMPT, subject="Australia"))
    assert encode(tok, Case(prompt=PROMPT, subject=" Australia ")).subject == bare.subject


@every_tokenizer
def test_of_several_occurrences_the_last_is_taken_and_said(tokenizer: Callable[[], Any]) -> None:
    encoded = encode(tokenizer(), Case(prompt="The York The York is", subject="York"))
    assert subject_texts(encoded) == (" York",)
    assert encoded.subject is not None
    assert encoded.subject[1] == len(encoded.ids) - 1
    assert said(encoded, "occurs 2 times; the last is used")


def test_a_subject_within_a_word_is_its_token_and_said() -> None:
    encoded = encode(byte_level(), Case(prompt=PROMPT, subject="ustral"))
    assert subject_texts(encoded) == (" Australia",)
    assert said(encoded, 'is a part of the token " Australia"')
    assert not said(encode(byte_level(), Case(prompt=PROMPT, subject="Australia")), "is a part of")


def test_a_subject_that_is_missing_is_an_error_that_shows_the_words() -> None:
    with pytest.raises(InputError, match=r'"australia" is not in the prompt .*The, capital, of, Australia, is'):
        encode(byte_level(), Case(prompt=PROMPT, subject="australia"))


def test_a_blank_subject_is_an_error() -> None:
    with pytest.raises(InputError, match="subject is empty"):
        encode(byte_level(), Case(prompt=PROMPT, subject=" "))


@settings(max_examples=150, deadline=None)
@given(before=st.text(max_size=8), subject=st.text(min_size=1, max_size=6), after=st.text(max_size=8))
def test_a_subject_span_holds_all_the_subjects_bytes_and_no_token_too_many(
    before: str, subject: str, after: str
) -> None:
    """Every byte is its own token here, so the span must be exactly the subject's bytes without blank edges."""
    backend = Tokenizer(models.BPE(vocab=byte_vocabulary(), merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    prompt = before + subject + after
    if not subject.strip():
        return
    found = find_subject(prompt, subject)
    if found is None:  # what stands beside it makes another letter of its first or last one
        assert not prompt.isascii()
        return
    encoded = encode(tokenizer, Case(prompt=prompt, subject=subject))
    assert encoded.subject == (len(prompt[: found.start].encode()), len(prompt[: found.stop].encode()))


@cache
def byte_vocabulary() -> dict[str, int]:
    return {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}


# --- What is prepended and appended ---


def test_as_is_is_what_the_tokenizer_does() -> None:
    bare, started = (encode(tok, Case(prompt=PROMPT)) for tok in (byte_level(), sentencepiece()))
    assert list(bare.ids) == byte_level()(PROMPT)["input_ids"]
    assert (bare.prepended, bare.appended, bare.starts_bare) == (0, 0, True)
    assert list(started.ids) == sentencepiece()(PROMPT)["input_ids"]
    assert (started.prepended, started.appended, started.starts_bare) == (1, 0, False)


def test_a_document_starts_with_the_separator_and_not_with_the_declared_bos() -> None:
    encoded = encode(byte_level(), Case(prompt=PROMPT, subject="Australia", prepend="separator"))
    assert encoded.texts[:2] == ("<|endoftext|>", "The")
    assert (encoded.prepended, encoded.starts_bare) == (1, False)
    assert subject_texts(encoded) == (" Australia",)


def test_without_a_known_separator_a_document_starts_with_eos_then_bos() -> None:
    def only(**special: str) -> Any:
        backend = Tokenizer(models.BPE(vocab=byte_vocabulary(), merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        return PreTrainedTokenizerFast(tokenizer_object=backend, **special)

    separated = Case(prompt="ab", prepend="separator")
    assert encode(only(eos_token="<e>", bos_token="<b>"), separated).texts == ("<e>", "a", "b")
    assert encode(only(bos_token="<b>"), separated).texts == ("<b>", "a", "b")
    with pytest.raises(InputError, match="neither BOS nor separator"):
        encode(only(), separated)


def test_a_start_token_is_never_doubled() -> None:
    as_is = encode(sentencepiece(), Case(prompt=PROMPT))
    assert encode(sentencepiece(), Case(prompt=PROMPT, prepend="separator")) == as_is
    typed = encode(byte_level(), Case(prompt="<|endoftext|>" + PROMPT, prepend="separator"))
    assert typed.texts[:2] == ("<|endoftext|>", "The")


@every_tokenizer
def test_a_newline_stands_between_the_start_token_and_the_prompt(tokenizer: Callable[[], Any]) -> None:
    encoded = encode(tokenizer(), Case(prompt=PROMPT, subject="Australia", prepend="newline"))
    assert encoded.texts[encoded.prepended - 1] == "⏎"
    assert "".join(encoded.texts[encoded.prepended :]).replace("·", " ") == PROMPT
    assert subject_texts(encoded) == (" Australia",)
    assert not encoded.starts_bare


def test_a_newline_that_the_tokenizer_drops_is_an_error() -> None:
    with pytest.raises(InputError, match="drops a newline"):
        encode(words_only(), Case(prompt="The cat", prepend="newline"))


def test_a_special_token_that_was_typed_is_the_prompts_own_and_said() -> None:
    encoded = encode(byte_level(), Case(prompt="<|endoftext|>The"))
    assert (encoded.prepended, encoded.starts_bare) == (0, False)
    assert said(encoded, '"<|endoftext|>", which the model reads as a special token')


def test_a_prompt_that_begins_with_a_line_break_does_not_start_bare() -> None:
    assert not encode(byte_level(), Case(prompt="\nThe")).starts_bare


def test_an_end_token_of_the_tokenizers_is_left_out_and_said() -> None:
    backend = bpe()
    backend.post_processor = processors.TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    encoded = encode(tokenizer, Case(prompt=PROMPT, target="Sydney"))
    assert encoded.texts[-1] == " is"
    assert encoded.target is not None
    assert (encoded.target.text, encoded.target.pieces) == (" Sydney", 1)
    assert said(encoded, "end token")


# --- Chat ---


@every_tokenizer
def test_a_chat_prompt_is_found_within_its_template(tokenizer: Callable[[], Any]) -> None:
    tok = tokenizer()
    encoded = encode(tok, Case(prompt="The user is", subject="user", chat=True))
    message = [{"role": "user", "content": "The user is"}]
    rendered = tok.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    assert list(encoded.ids) == tok(rendered, add_special_tokens=False)["input_ids"]
    own = encoded.texts[encoded.prepended : len(encoded.ids) - encoded.appended]
    assert "".join(own).replace("·", " ").strip() == "The user is"
    assert "".join(subject_texts(encoded)).strip() == "user"  # not the role's name in the template
    assert not encoded.starts_bare


def test_in_a_chat_the_target_begins_the_reply_and_gets_no_space() -> None:
    encoded = encode(byte_level(), Case(prompt=PROMPT, target="The", chat=True))
    assert encoded.target is not None
    assert encoded.target.text == "The"
    assert not said(encoded, "space")


def test_a_template_that_trims_the_prompt_is_followed_and_said() -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe(), chat_template="<|user|>\n{{ messages[0].content | trim }}<|end|>\n"
    )
    encoded = encode(tokenizer, Case(prompt=PROMPT + "  ", subject="is", chat=True))
    assert subject_texts(encoded) == (" is",)
    assert said(encoded, "takes away the blanks")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, "no chat template"),
        ("{{ messages[0].content | upper }}", "rewrites the prompt"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "rewrites the prompt"),
        ("{{ messages[0].content | length }} {{ messages[0].content }}", "rewrites the prompt"),
        ("{{ raise_exception('a system message is needed') }}", "a system message is needed"),
    ],
)
def test_a_template_that_cannot_be_used_is_an_error(template: str | None, words: str) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe(), chat_template=template)
    with pytest.raises(InputError, match=words):
        encode(tokenizer, Case(prompt=PROMPT, chat=True))


def test_a_start_cannot_be_asked_for_in_a_chat() -> None:
    with pytest.raises(InputError, match="a chat template decides what is prepended"):
        encode(byte_level(), Case(prompt=PROMPT, prepend="newline", chat=True))


# --- Target and foil ---


@every_tokenizer
def test_a_target_is_the_token_that_follows_with_or_without_a_typed_space(tokenizer: Callable[[], Any]) -> None:
    tok = tokenizer()
    bare = encode(tok, Case(prompt=PROMPT, target="Sydney"))
    typed = encode(tok, Case(prompt=PROMPT, target=" Sydney"))
    follows = tok(PROMPT + " Sydney")["input_ids"][len(bare.ids)]
    assert bare.target == typed.target
    assert bare.target is not None
    assert (bare.target.id, bare.target.text, bare.target.pieces) == (follows, " Sydney", 1)
    assert said(bare, 'A space is put before the target "Sydney"')
    assert typed.notes == ()


def test_no_space_is_put_where_the_script_has_none_or_no_word_begins() -> None:
    for prompt, target in (
        ("東京は日本の", "首都"),
        ("東京", "Sydney"),
        ("Sydney", "東京"),
        ("ภาษา", "ไทย"),
        ("foo", "("),
        ("foo", "()"),
        ("Australia", '"'),
        ("Australia", "’s"),
        ("20", "°C"),
        ("5", "%"),
        ("Australia", "'s"),
        ("“", "The"),
    ):
        encoded = encode(byte_level(), Case(prompt=prompt, target=target))
        assert encoded.target is not None
        assert not encoded.target.text.startswith((" ", "·"))
        assert not said(encoded, "space is put")


@every_tokenizer
@pytest.mark.parametrize("target", ["-5", "−5", "+3", "$5", "(A)", "[1]", '"Yes"', "'no'", "“Yes”", "€5", "🎉", "#1"])
def test_what_begins_with_a_sign_and_is_a_word_of_its_own_gets_its_space_and_that_is_said(
    tokenizer: Callable[[], Any], target: str
) -> None:
    tok = tokenizer()
    bare, typed = (encode(tok, Case(prompt=PROMPT, target=text)) for text in (target, f" {target}"))
    assert bare.target == typed.target
    assert said(bare, f'A space is put before the target "{target}"')
    assert continuation_ids(tok, Case(prompt=PROMPT, target=target)) == continuation_ids(
        tok, Case(prompt=PROMPT, target=f" {target}")
    )


@pytest.mark.parametrize(
    ("prompt", "target"),
    [("It is gluten", "-free"), ("5", "-3"), ("C", "#"), ("A:", "(A)"), ("It is:", "-5"), ("Well done 🎉", "Sydney")],
)
def test_where_either_may_be_meant_no_space_is_put_and_that_is_said(prompt: str, target: str) -> None:
    encoded = encode(byte_level(), Case(prompt=prompt, target=target))
    assert encoded.target is not None
    assert not encoded.target.text.startswith((" ", "·"))
    assert said(encoded, f'No space is put before the target "{target}"')


def test_a_missing_space_after_punctuation_is_said() -> None:
    encoded = encode(byte_level(), Case(prompt="What? A:", target="Sydney"))
    assert encoded.target is not None
    assert not encoded.target.text.startswith(" ")
    assert said(encoded, 'No space is put before the target "Sydney" after ":"')


@every_tokenizer
def test_after_a_space_the_target_is_tokenised_without_one(tokenizer: Callable[[], Any]) -> None:
    encoded = encode(tokenizer(), Case(prompt=PROMPT + " ", target="Sydney"))
    assert encoded.texts[-1] == "·"
    assert encoded.appended == 0
    assert encoded.target is not None
    assert encoded.target.text[0] == "S"
    assert said(encoded, "ends in a space")
    assert said(encoded, "would join the end of the prompt")


def test_a_target_that_merges_with_the_prompts_end_is_tokenised_by_itself_and_said() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe(merged=True))
    prompt = encode(tokenizer, Case(prompt="foo(")).ids
    assert tuple(tokenizer("foo()")["input_ids"][: len(prompt)]) != prompt  # or this test shows nothing
    encoded = encode(tokenizer, Case(prompt="foo(", target=")"))
    assert encoded.target is not None
    assert encoded.target.text == ")"
    assert said(encoded, "would join the end of the prompt")


def test_of_a_target_of_several_tokens_the_first_is_used_and_said() -> None:
    encoded = encode(byte_level(), Case(prompt=PROMPT, target="Sydneyzq"))
    assert encoded.target is not None
    assert (encoded.target.text, encoded.target.pieces) == (" Sydney", 3)
    assert said(encoded, 'The target " Sydneyzq" is 3 tokens; the first, " Sydney", is used')


def test_a_line_break_may_be_a_target_but_spaces_may_not() -> None:
    encoded = encode(byte_level(), Case(prompt=PROMPT, target="\n"))
    assert encoded.target is not None
    assert encoded.target.text == "⏎"
    for empty in ("", "  "):
        with pytest.raises(InputError, match="foil is empty"):
            encode(byte_level(), Case(prompt=PROMPT, foil=empty))


def test_target_and_foil_must_begin_with_different_tokens() -> None:
    with pytest.raises(InputError, match='begin with the same token, " Sydney"; choose two'):
        encode(byte_level(), Case(prompt=PROMPT, target="Sydney", foil="Sydney Sydney"))
    with pytest.raises(InputError, match='begin with the same token, "·"; type that space'):
        encode(byte_level(), Case(prompt=PROMPT, target="31", foil="47"))


def test_a_target_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(InputError, match='target " dog" is not in this model'):
        encode(words_only(), Case(prompt="The cat", target="dog"))
    assert encode(words_only(), Case(prompt="The cat", target="sat")).target is not None


# --- Prompts that cannot be used ---


@pytest.mark.parametrize("prompt", ["", "  ", "\n\t "])
def test_an_empty_prompt_is_an_error(prompt: str) -> None:
    with pytest.raises(InputError, match="prompt is empty"):
        encode(byte_level(), Case(prompt=prompt))


def test_a_prompt_may_fill_the_context_but_not_exceed_it() -> None:
    count = len(encode(byte_level(), Case(prompt=PROMPT)).ids)
    assert len(encode(byte_level(), Case(prompt=PROMPT), context=count).ids) == count
    with pytest.raises(InputError, match=f"is {count} tokens and the model reads at most {count - 1}"):
        encode(byte_level(), Case(prompt=PROMPT), context=count - 1)


def test_bytes_that_are_not_text_are_an_error() -> None:
    with pytest.raises(InputError, match="target holds bytes"):
        encode(byte_level(), Case(prompt=PROMPT, target="\udc80"))


def test_a_tokenizer_without_spans_is_an_error() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        encode(Slow(), Case(prompt=PROMPT))


@settings(max_examples=150, deadline=None)
@given(
    prompt=st.text(min_size=1, max_size=20),
    target=st.text(min_size=1, max_size=6),
    prepend=st.sampled_from(["as-is", "separator", "newline"]),
    chat=st.booleans(),
    which=st.sampled_from([byte_level, sentencepiece]),
)
def test_any_text_is_encoded_whole_or_refused_with_a_sentence(
    prompt: str, target: str, prepend: Any, chat: bool, which: Callable[[], Any]
) -> None:
    case = Case(prompt=prompt, target=target, prepend=prepend, chat=chat)
    try:
        encoded = encode(which(), case)
    except InputError:
        event("refused")
        return
    assert EncodedCase.model_validate_json(encoded.model_dump_json()) == encoded
    assert encoded.texts == token_texts(which(), encoded.ids)
    assert 0 <= encoded.prepended < len(encoded.ids) - encoded.appended
    own = which().decode(encoded.ids[encoded.prepended : len(encoded.ids) - encoded.appended])
    assert own.replace("▁", " ").strip() == prompt.replace("▁", " ").strip()  # to sentencepiece they are one


# --- The default model's own tokenizer ---


@pytest.fixture
def default_tokenizer(default_model: Any) -> Any:
    return default_model.tokenizer


@pytest.mark.real
def test_the_hero_case_on_the_default_model(default_tokenizer: Any) -> None:
    case = Case(prompt=PROMPT, subject="Australia", target="Sydney", foil=" Canberra")
    encoded = encode(default_tokenizer, case)
    assert encoded.texts == ("The", " capital", " of", " Australia", " is")
    assert (encoded.subject, encoded.starts_bare) == ((3, 4), True)
    assert encoded.target is not None
    assert encoded.foil is not None
    assert (encoded.target.text, encoded.foil.text) == (" Sydney", " Canberra")
    separated = encode(default_tokenizer, case.model_copy(update={"prepend": "separator"}))
    assert separated.ids == (0, *encoded.ids)
    assert (separated.subject, separated.target, separated.starts_bare) == ((4, 5), encoded.target, False)


@pytest.mark.real
def test_the_default_models_chat_template_surrounds_the_prompt(default_tokenizer: Any) -> None:
    encoded = encode(default_tokenizer, Case(prompt=PROMPT, subject="Australia", chat=True))
    assert encoded.texts[encoded.prepended : -encoded.appended] == ("The", " capital", " of", " Australia", " is")
    assert encoded.texts[-3:] == ("ass", "istant", "⏎")
    assert encoded.texts.count("<|im_start|>") == 3
    assert subject_texts(encoded) == (" Australia",)


@pytest.mark.real
def test_a_target_of_several_tokens_on_the_default_model(default_tokenizer: Any) -> None:
    encoded = encode(default_tokenizer, Case(prompt=PROMPT, target="Melchizedek"))
    assert said(encoded, 'The target " Melchizedek" is 4 tokens; the first, " Mel", is used')


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_continuation_is_all_the_tokens_that_follow_the_prompt_in_the_text(tokenizer):
    for target in ("Sydney", " Sydney", " New York, for Paris"):
        case = Case(prompt=PROMPT, target=target)
        ids = continuation_ids(tokenizer(), case)
        joined = encode(tokenizer(), Case(prompt=f"{PROMPT} {target.strip()}")).ids
        assert (*encode(tokenizer(), case).ids, *ids) == joined


def test_a_continuation_begins_with_the_target_s_token_whatever_stands_around_the_prompt():
    for change in ({}, {"prepend": "separator"}, {"prepend": "newline"}, {"chat": True}):
        case = Case(prompt=PROMPT, target="Canberra, for New York", **change)
        target = encode(byte_level(), case).target
        ids = continuation_ids(byte_level(), case)
        assert target is not None
        assert (ids[0], len(ids)) == (target.id, target.pieces)


@pytest.mark.parametrize(("target", "sentence"), [(None, "there is no target"), ("  ", "the target is empty")])
def test_a_case_without_a_target_has_no_continuation(target, sentence):
    with pytest.raises(InputError, match=sentence):
        continuation_ids(byte_level(), Case(prompt=PROMPT, target=target))


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("The country of Sa\u0303o Paulo is", "S\u00e3o Paulo"),
        ("The country of S\u00e3o Paulo is", "Sa\u0303o Paulo"),
        ("A\u0300 \u00e0 Sa\u0303o S\u00e3o is", "S\u00e3o Sa\u0303o"),  # neither form throughout
    ],
)
def test_a_subject_in_another_unicode_form_is_found_and_that_is_said(prompt: str, subject: str) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe())
    encoded = encode(tokenizer, Case(prompt=prompt, subject=subject))
    assert encoded.subject is not None
    spelled = tokenizer.decode(encoded.ids[slice(*encoded.subject)])
    assert unicodedata.normalize("NFC", spelled).strip() == unicodedata.normalize("NFC", subject)
    assert any("another Unicode form" in note for note in encoded.notes)


def test_a_letter_is_not_found_where_the_prompt_has_it_with_a_mark() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe())
    with pytest.raises(InputError, match="is not in the prompt"):
        encode(tokenizer, Case(prompt="The country of S\u00e3o is", subject="Sao"))
