"""What there is to draw of a continuation."""

from __future__ import annotations

from workbench.figures import Column, Figure, Table, notes, said
from workbench.methods.generation.continuation import ContinueResult
from workbench.models.tokentext import display


def continuation_figures(result: ContinueResult) -> tuple[Figure, ...]:
    """The generated tokens with their probabilities and what came second, and the text they make."""
    number = Column(heading="p", right=True)
    table = Table(
        columns=(Column(heading="token"), number, Column(heading="instead"), number),
        rows=tuple(
            (token.text, f"{token.probability:.3f}", token.runner_up, f"{token.runner_up_probability:.3f}")
            for token in result.generated
        ),
    )
    ended = notes(["the model ended its text here"] if result.ended else [])
    return (table, *ended, *said(*map(display, result.text.split("\n"))))
