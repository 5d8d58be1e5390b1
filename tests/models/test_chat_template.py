"""Chat templates: rendered as transformers does, and ended where they do not end by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.tiny import tiny_tokenizer
from workbench.case import Case
from workbench.errors import InputError
from workbench.models.chat_template import render
from workbench.models.tokens import encode

CHATML = (
    "{%- if messages[0].role == 'system' %}{{ messages[0].content }}{%- endif %}\n"
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}}\n"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FEATURES = (
    "{{ bos_token }}{%- set ns = namespace(found=false, n=0) -%}\n"
    "{% macro said(m) %}[{{ m.role | upper }}] {{ m.content | trim }}{% endmacro %}\n"
    "{% for m in messages %}{% if loop.index0 > 3 %}{% break %}{% endif %}{% set ns.n = ns.n + 1 %}\n"
    "   {{ said(m) }} {{ m | tojson }} {{ {'é': [1, none]} | tojson(indent=2) }}\n"
    "{% generation %}inner {{ ns.n }}{% endgeneration %}{% endfor %}\n"
    "{% if tools %}tools{% endif %}{{ nothing }}{{ dict(a=1).a }}{{ eos_token ~ '!' * 3 }}\n"
)


def with_template(template: str | None) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        chat_template=template,
    )


@pytest.mark.parametrize("template", [CHATML, FEATURES, "{{ messages[0]['content'] }}"])
@pytest.mark.parametrize("content", ["The capital of Australia is", " {{ 1 }} ünïcode 🦘 \n\t\x1b", "["])
def test_a_template_writes_what_it_writes_in_transformers(template: str, content: str) -> None:
    tokenizer = with_template(template)
    message = [{"role": "user", "content": content}]
    wanted = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    assert render(tokenizer, [content, "other"])[0] == wanted


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "takes too long"),
        ("{{ 9 ** (9 ** 9) }}", "takes too long"),
        ("{{ 10 ** 10000000 }}", "takes too long|digits"),
        ("{{ 'a' * 10 ** 10 }}", "more than 512 MB of memory"),
        ("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "writes more than 1,000,000 characters"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "calls itself without end"),
        ("{% for %}", "Expected"),
        ("{{ messages[0].nothing.at_all }}", "has no attribute"),
        ("{{ raise_exception('only system messages') }}", "only system messages"),
        ("{{ messages.__class__.__base__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ '" + "ab" * 300 + "' | nofilter }}{{ raise_exception(1) }}", "nofilter"),
    ],
)
def test_what_a_template_does_wrong_is_said_as_its_fault(template: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"this model's chat template .*({reason}).*; turn chat off$"):
        encode(with_template(template), Case(prompt="The capital", chat=True))
    # and the next one is rendered
    assert render(with_template(CHATML), ["hello"])[0].endswith("hello<|im_end|>\n<|im_start|>assistant\n")


def test_what_a_template_says_is_shown_as_one_short_line_of_text() -> None:
    template = "{{ raise_exception('\x1b[2J no\nusers ' + 'here ' * 100) }}"
    with pytest.raises(InputError) as caught:
        render(with_template(template), ["hello"])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 320


def test_without_a_template_there_is_a_sentence() -> None:
    with pytest.raises(InputError, match="no chat template; use another model"):
        render(with_template(None), ["hello"], remedy="use another model")
