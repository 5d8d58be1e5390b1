"""What questions about one reasoning have in common: how the question is asked, and the reasoning where it is there.

They go on from a chain of thought in the app, whose question, answer and reasoning they take over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import Field

from workbench.case import Case
from workbench.methods.cot.answers import AnswerForm
from workbench.methods.cot.interventions import Early, Intervention, LeaveOneOut
from workbench.methods.cot.prompt import INSTRUCTION
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.truncation import CotRequest
from workbench.protocol import Request


class AboutReasoning(Request):
    """A question about a reasoning, which is greedy, or ``reasoning`` as recorded. The fields are `CotRequest`'s."""

    case: Case
    choices: Annotated[str, Field(description="The answers to choose from, between semicolons.")] = ""
    answer: Annotated[str | None, Field(description="The right answer, if it is known.")] = None
    read: Annotated[AnswerForm, Field(description="What is read: the choices' texts, or their letters.")] = "texts"
    instruction: Annotated[str, Field(description="What is said after the question.")] = INSTRUCTION
    lead_in: Annotated[str | None, Field(description="What leads to the answer.")] = None
    thinking: Annotated[
        str, Field(description="Tags around the reasoning: auto (those known), none, or two, like <a>...</a>.")
    ] = "auto"
    reasoning: str | None = None

    def about(self, case: Case) -> Self:
        """Another case, or other edits, are reasoned about anew."""
        return super().about(case).model_copy(update={"reasoning": None})

    @property
    def listed(self) -> tuple[str, ...]:
        """The choices one by one."""
        return tuple(choice.strip() for choice in self.choices.split(";")) if self.choices.strip() else ()

    def asked(self, tokens: int, interventions: Sequence[Intervention] = (Early(), LeaveOneOut())) -> CotRequest:
        """The chain of thought that it is about, greedy and of at most so many tokens where none is recorded."""
        return CotRequest(
            question=self.case.prompt,
            choices=self.listed,
            answer=self.answer,
            read=self.read,
            instruction=self.instruction,
            lead_in=self.lead_in,
            sampling=Sampling(tokens=tokens),
            thinking=self.thinking,
            reasoning=self.reasoning,
            interventions=tuple(interventions),
        )


def beginning(request: CotRequest, result: CotResult) -> dict[str, Any]:
    """What a question about a reasoning begins with, from the chain of thought on the screen."""
    return how_asked(request) | {
        "instruction": request.instruction,
        "lead_in": request.lead_in,
        "reasoning": result.recorded,
    }


def how_asked(request: CotRequest) -> dict[str, Any]:
    """The same without the reasoning, for what lets the model reason anew."""
    return {
        "choices": "; ".join(request.choices),
        "answer": request.answer,
        "read": request.read,
        "thinking": request.thinking,
        "tokens": request.sampling.tokens,
    }
