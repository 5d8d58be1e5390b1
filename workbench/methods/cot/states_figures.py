"""What there is to draw of what the states knew: three curves on one axis, and the verdict."""

from __future__ import annotations

from workbench.figures import Cell, Column, Curve, Curves, Figure, Table, line, said
from workbench.methods.cot.figures import cot_figures
from workbench.methods.cot.states_result import CotStatesResult
from workbench.models.tokentext import display


def states_figures(result: CotStatesResult) -> tuple[Figure, ...]:
    """The curves, each sentence with its three readings, the question in other words, and the verdict."""
    if not result.words or result.base.full is None:
        return cot_figures(result.base)
    answer = display(result.base.candidates[result.base.full.answer].name)
    readings = {"words": result.words, "states (probe)": result.states, f"{result.lens_name} lens": result.lens}
    curves = Curves(
        title=f"When “{answer}” is there",
        x="sentences kept",
        y=f"p {answer}",
        curves=tuple(
            Curve(label=label, points=tuple((float(n), value) for n, value in enumerate(values)))
            for label, values in readings.items()
        ),
    )
    sentences = ["(no reasoning)", *(display(" ".join(one.split())) for one in result.base.sentences)]
    numbers = zip(sentences, *readings.values(), strict=True)
    table = Table(
        columns=(
            "",
            {"heading": "sentence", "wraps": True},
            *({"heading": label, "right": True} for label in readings),
        ),
        rows=tuple(
            (str(n), sentence, *(f"{value:.2f}" for value in values)) for n, (sentence, *values) in enumerate(numbers)
        ),
    )
    other = Table(
        title="In other words",
        columns=(Column(heading="question", wraps=True), Column(heading="answer", wraps=True)),
        rows=tuple(
            (display(one.text), Cell(text=display(one.answer), meaning="plain" if one.same else "foil"))
            for one in result.reworded
        ),
    )
    verdict = (*(line(sentence, "strong") for sentence in result.verdict), line(result.caption, "note"))
    return (curves, table, *([other] if other.rows else []), *said(*verdict))
