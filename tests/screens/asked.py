"""What the tests of the screens ask about, and what the tiny model that answered has learned to say of it."""

from __future__ import annotations

from typing import Any

from workbench.case import Case
from workbench.datasets.concepts import shipped_concept
from workbench.datasets.suites import Suite, SuiteFact
from workbench.editing.edit import EditRequest
from workbench.methods.cot.interventions import Cue, Early, Filler, Intervention, LeaveOneOut, Mistake
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.lens.logit_lens import LensRequest

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
BARE = HERO.model_copy(update={"subject": None})
FRANCE = Case(prompt="The capital of France is", subject="France", target="Paris", foil="Lyon")
OTHER = Case(prompt="The largest city there is", target="Sydney", foil="Canberra")
NASTY = Case(prompt="[red]not red[/red] \x1b[31m 🙂 ‮rtl \t end")
LONG = Case(
    prompt=" ".join(f"{letter}{other}" for letter in "bcdfghklmnprst" for other in ("an", "en", "in", "on", "un")),
    target="old",
    foil="new",
)
"""Made of words that stand nowhere else."""

SUITE = Suite(
    name="Australia → Canberra",
    facts=(
        SuiteFact(role="rewrite", prompt="The capital of Australia is", target="Canberra", against="Sydney"),
        SuiteFact(role="paraphrase", prompt="Australia's capital city is", target="Canberra", against="Sydney"),
        SuiteFact(role="paraphrase", prompt="Australia is governed from", target="Canberra", against="Sydney"),
        SuiteFact(role="neighborhood", prompt="The capital of France is", target="Paris", against="Canberra"),
        SuiteFact(
            role="neighborhood", prompt="The capital of South Australia is", target="Adelaide", against="Canberra"
        ),
        SuiteFact(role="neighborhood", prompt="The capital of Italy is", target="Rome", against="Canberra"),
        SuiteFact(role="attribute", prompt="The city of Australia is", target="Sydney", against="Canberra"),
        SuiteFact(role="unrelated", prompt="The Colosseum is located in the city of", target="Rome"),
    ),
)
EDITED = (
    HERO,
    Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower", target="Rome", foil="Paris"),
    Case(prompt="Mount Everest is a mountain in", subject="Mount Everest", target="Peru", foil="Nepal"),
)
"""What three edits, one after the other, are made of."""

TOM = "Tom has 3 apples and buys 4 more. How many apples does he have?"
SENTENCES = (
    "Let's break it down step by step:\n\n",
    "Tom has 3 apples and buys 4 more apples. ",
    "This means he has 3 + 4 = 7 apples. ",
    "So, Tom has 3 + 7 = 10 apples. ",
    "The answer is 10.",
)
REASONING = "".join(SENTENCES)
ANSWERS = ("4", "3", "4", "7", "10", "10")
"""The answer after each number of sentences."""
FIRST = CotRequest(question=TOM, interventions=(Early(),))
CHOICES = FIRST.model_copy(update={"choices": ("10", "7", "4", "3"), "answer": "7"})

DONE = FIRST.model_copy(
    update={
        "interventions": (Early(), LeaveOneOut(within=4), Mistake(sentence=1), Filler(), Cue(answer="7")),
        "answer": "7",
    }
)
"""All at once."""


def about(*interventions: Intervention, request: CotRequest = FIRST) -> CotRequest:
    """What is asked about the reasoning as it was recorded."""
    return request.model_copy(update={"reasoning": REASONING, "interventions": interventions})


def inside(case: Case) -> LensRequest:
    """The lens at the end of a case, which may be long."""
    return LensRequest(case=case, positions=(-1,))


def erasure_request(editor: str, **settings: Any) -> EditRequest:
    """As the form asks it, with these of the editor's settings."""
    return EditRequest(editor=editor, settings=settings, test=False)  # type: ignore[arg-type]


LIMIT = 200
ERASED = {
    "concept": "pronoun-gender",
    "digest": shipped_concept("pronoun-gender").limited(LIMIT).digest,
    "layers": (2, 3),
    "limit": LIMIT,
}
LEACE, ORTH, STEER = (erasure_request(editor, **ERASED) for editor in ("leace", "orth", "steer"))


def stronger(request: EditRequest, strength: float) -> EditRequest:
    """The same steering, so many times."""
    return request.model_copy(update={"settings": request.settings.model_copy(update={"strength": strength})})
