"""What is missing of a case is said by the editor that needs it, and not by one that does not."""

from __future__ import annotations

import pytest

from workbench.case import Case
from workbench.editing.editor import Settings
from workbench.editing.rewriting import one_continuation, one_rewrite
from workbench.errors import InputError

CASE = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra")


@pytest.mark.parametrize("check", [one_continuation, one_rewrite])
@pytest.mark.parametrize(
    ("cases", "sentence"),
    [
        ((), "needs one case"),
        ((CASE, CASE), "needs one case"),
        ((CASE.model_copy(update={"prompt": " "}),), "needs a prompt"),
        ((CASE.model_copy(update={"target": None}),), "needs a target"),
        ((CASE.model_copy(update={"target": " "}),), "needs a target"),
    ],
)
def test_one_prompt_with_a_target_is_what_every_editor_of_facts_needs(check, cases, sentence):
    with pytest.raises(InputError, match=sentence):
        check(cases, Settings())
    check((CASE,), Settings())


def test_a_subject_is_needed_where_it_is_what_is_rewritten():
    bare = (CASE.model_copy(update={"subject": " "}),)
    one_continuation(bare, Settings())
    with pytest.raises(InputError, match="needs a subject"):
        one_rewrite(bare, Settings())
