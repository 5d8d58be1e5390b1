"""What there is to draw of a diagnosis: the finding with its numbers, the variants, and the changed prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.figures import Cell, Column, Figure, Line, Table, line, notes, said

if TYPE_CHECKING:
    from workbench.methods.diagnose.counterfactual import CounterfactualResult
    from workbench.methods.diagnose.diagnosis import DiagnoseResult
    from workbench.methods.diagnose.stability import FollowedToken, StabilityResult, VariedAnswer


def finding_figures(result: DiagnoseResult) -> tuple[Figure, ...]:
    """The finding, what to try, what was proposed, and the steps it rests on."""
    found: list[Figure] = []
    if result.failure is not None:
        title = line(result.title, "strong")
        sentences = [Line(text=f"{each.text}{_of(each.step, each.method)}") for each in result.sentences]
        tries = [line(f"try: {', '.join(result.fixes)}", "good")] if result.fixes else []
        found += said(title, *sentences, line(result.advice, "note"), *tries)
    case = result.case
    parts = [(name, getattr(case, name)) for name in ("subject", "target", "foil")]
    origins = {each.part: each.origin for each in result.proposals}
    rows = tuple((Cell(text=name), Cell(text=text or "–"), origins.get(name, "named")) for name, text in parts)
    found.append(Table(title="The case", columns=("part", "text", Column(heading="from", wraps=True)), rows=rows))
    steps = tuple(
        (
            Cell(text=str(each.step or "–")),
            Cell(text=each.method),
            Cell(text=each.about),
            Cell(text=each.why or "done", meaning="warning" if each.why else "plain"),
        )
        for each in result.steps
    )
    columns = (Column(heading="step", right=True), "method", Column(heading="about", spare=1), Column(wraps=True))
    found.append(Table(title="Asked", columns=columns, rows=steps))
    return tuple(found)


def _of(step: int, method: str) -> str:
    return f" (step {step}, {method})" if step else f" ({method})"


def stability_figures(result: StabilityResult) -> tuple[Figure, ...]:
    """A row for each variant."""
    named = result.encoded.target is not None and result.encoded.foil is not None
    columns: list[Column] = [
        Column(heading="variant", wraps=True),
        Column(heading="first choice"),
        Column(heading="p", right=True),
    ]
    if named:
        columns += [
            Column(heading="target", right=True),
            Column(heading="rank", right=True, spare=1),
            Column(heading="foil", right=True),
            Column(heading="rank", right=True, spare=1),
            Column(),
        ]
    table = Table(
        title="The same question",
        columns=tuple(columns),
        rows=tuple(tuple(_cells(answer, named)) for answer in result.answers),
    )
    return (table, *notes(f"left out: {each}" for each in result.left_out))


def _cells(answer: VariedAnswer, named: bool) -> list[Cell]:
    cells = [
        Cell(text=answer.variant.label),
        Cell(text=answer.top.strip() or answer.top),
        Cell(text=f"{answer.probability:.3f}"),
    ]
    if named:
        cells += _followed(answer.target) + _followed(answer.foil)
        ahead = "target first" if answer.right else "target ahead" if answer.ahead else "foil ahead"
        cells.append(Cell(text=ahead, meaning="target" if answer.ahead else "foil"))
    return cells


def _followed(token: FollowedToken | None) -> list[Cell]:
    if token is None:
        return [Cell(text="–"), Cell(text="–")]
    return [Cell(text=f"{token.probability:.3f}"), Cell(text=str(token.rank))]


def changed_figures(result: CounterfactualResult) -> tuple[Figure, ...]:
    """What was changed, in order, and the prompt that comes of it."""
    number = f"{result.difference:+.2f}".replace("-", "−")
    lines: list[str | Line] = [f"“{result.target.strip()}” − “{result.foil.strip()}” is {number} logits as asked"]
    if result.changes:
        lines.append(line(result.prompt, "good" if result.turned else "plain"))
    verdict = "this turns the answer" if result.turned else "no change that was tried turns the answer"
    lines.append(line(verdict, "good" if result.turned else "warning"))
    rows = tuple(
        (
            Cell(text=str(change.place)),
            Cell(text=change.before),
            Cell(text="left out" if change.after is None else change.after),
            Cell(text=f"{change.difference:+.2f}".replace("-", "−")),
        )
        for change in result.changes
    )
    columns = (Column(heading="token", right=True), "before", "after", Column(heading="target − foil", right=True))
    table = (Table(title="Changes", columns=columns, rows=rows),) if rows else ()
    return (*said(*lines), *table)
