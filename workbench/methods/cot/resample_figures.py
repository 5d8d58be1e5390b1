"""What there is to draw of a resampled reasoning."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.figures import Bar, Bars, Cell, Column, Curve, Curves, Figure, Scale, Table, line, said
from workbench.methods.cot.figures import about_answer, cot_figures
from workbench.methods.cot.importance import Difference
from workbench.methods.cot.resample_result import ResampleResult, SentenceImportance
from workbench.models.tokentext import display
from workbench.wording import count

ANSWERS = 4
"""Answers that have a curve of their own."""


def resample_figures(result: ResampleResult) -> tuple[Figure, ...]:
    """What each sentence changes, where the measures disagree, and the answers of rollouts along the reasoning."""
    if not result.rollouts:
        return cot_figures(result.base)
    resampled = _bars("Resampling importance", [one.resampling for one in result.sentences])
    counterfactual = _bars("Counterfactual importance", [one.counterfactual for one in result.sentences])
    table, said_of_them = _table(result), _disagreements(result)
    return (table, *said_of_them, resampled, counterfactual, _curves(result), *_summary(result))


def _table(result: ResampleResult) -> Table:
    answer = display(result.answers[0])
    rows = tuple(
        (
            str(nth),
            display(" ".join(sentence.split())),
            f"{one.forced:.2f}",
            _difference(one.resampling),
            _difference(one.counterfactual),
            _shares(one),
            Cell(text="yes" if one.necessary else "no", meaning="warning" if one.disagree else "plain"),
        )
        for nth, (sentence, one) in enumerate(zip(result.base.sentences, result.sentences, strict=True), 1)
    )
    columns = (
        "",
        Column(heading="sentence", wraps=True),
        Column(heading="forced", right=True),
        Column(heading="resampled", right=True),
        Column(heading="counterfactual", right=True),
        about_answer("to", answer),
        Column(heading="necessary", right=True),
    )
    return Table(title="What each sentence changes", columns=columns, rows=rows)


def _difference(found: Difference | None) -> Cell:
    if found is None:
        return Cell(text="–", meaning="muted")
    text = f"{found.value:.2f}"
    return Cell(text=text, meaning="strong") if found.beyond_chance else Cell(text=f"({text})", meaning="muted")


def _shares(one: SentenceImportance) -> str:
    before, after = ("–" if share is None else f"{share:.0%}" for share in (one.share_before, one.share))
    return f"{before}→{after}"


def _bars(title: str, differences: Sequence[Difference | None]) -> Bars:
    bars = tuple(
        Bar(
            label=f"sentence {nth}",
            value=found.value if found else None,
            interval=(found.low, found.high) if found else None,
            meaning="strong" if found and found.beyond_chance else "muted",
        )
        for nth, found in enumerate(differences, 1)
    )
    return Bars(title=title, bars=bars, scale=Scale(low=0, high=1))


def _disagreements(result: ResampleResult) -> tuple[Figure, ...]:
    lines = [
        line(f"sentence {nth}: {one.disagreement}", "warning")
        for nth, one in enumerate(result.sentences, 1)
        if one.disagreement
    ]
    if not lines and all(one.resampling for one in result.sentences):
        lines = [line("leaving one out and resampling say the same of every sentence", "note")]
    return said(*lines)


def _curves(result: ResampleResult) -> Curves:
    n = len(result.base.sentences)
    shares = [result.shares(after) for after in range(n + 1)]
    total = [sum(share.get(answer, 0) for share in shares) for answer in range(len(result.answers))]
    most = sorted(range(1, len(total)), key=lambda answer: -total[answer])[: ANSWERS - 1]
    curves = tuple(
        Curve(
            label=display(result.answers[answer]),
            points=tuple((float(n), share.get(answer, 0.0) if share else None) for n, share in enumerate(shares)),
        )
        for answer in [0, *most]
    )
    return Curves(title="Answers of rollouts", x="sentences kept", y="share of rollouts", curves=curves)


def _summary(result: ResampleResult) -> tuple[Figure, ...]:
    answer = display(result.answers[0])
    done = f"{len(result.rollouts)} of {count(result.asked, 'rollout')}"
    return said(
        line(f"answer {answer} · {done} · {count(len(result.answers), 'answer')} found", "strong"),
        line("in brackets: no more than chance makes of so few rollouts", "note"),
        line(result.caption, "note"),
    )
