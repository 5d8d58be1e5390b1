"""What there is to draw of a ROME edit: what the model says and said, what the edit is, and its suite."""

from __future__ import annotations

from workbench.editing.editors.rome.rome import RomeResult, Said, SweptLayer
from workbench.editing.suite.figures import suite_figures
from workbench.figures import Column, Curve, Curves, Figure, Table, line, notes, said
from workbench.wording import points


def rome_figures(result: RomeResult) -> tuple[Figure, ...]:
    """What the model said to the prompt and says now, the losses, the gates, and the suite."""
    size = f"layer {result.layer} ({result.layer_from}), {result.size:.1%} of the matrix; "
    losses = f"loss {result.losses[0]:.2f} → {result.losses[-1]:.2f} in {len(result.losses)} steps"
    suspicious = "suspicious: a check below warns; trust no more than its suite says"
    return (
        _said(result),
        *said(
            size + losses,
            *(line(_swept(one), "muted") for one in result.sweep),
            *([] if result.sound else [line(suspicious, "warning")]),
        ),
        *_losses(result),
        *notes(result.encoded.notes),
        *(suite_figures(result.suite) if result.suite else ()),
    )


def _said(result: RomeResult) -> Table:
    foil = result.encoded.foil
    answers = [f"p “{result.target.strip()}”", *([f"p “{foil.text.strip()}”"] if foil else [])]
    rows = []
    for before, after in zip(result.before, result.after, strict=True):
        pairs = [(after.target, before.target), *([(after.foil, before.foil)] if foil else [])]
        cells = ["–" if value is None else f"{value:.3f}" for pair in pairs for value in pair]
        rows.append((after.start, _top(after), _top(before), *cells))
    numbers = (Column(heading=heading, right=True) for answer in answers for heading in (answer, "was"))
    title = f"Edit {result.edit.id} · {result.edit.title}"
    return Table(title=title, columns=("start", "says", "said", *numbers), rows=tuple(rows))


def _losses(result: RomeResult) -> tuple[Figure, ...]:
    """The optimisation of the value, where there is more than a start."""
    if len(result.losses) < 2:
        return ()
    curve = Curve(label="loss", points=tuple(enumerate(result.losses, 1)))
    return (Curves(title="Optimisation of the value", x="step", y="nats", curves=(curve,)),)


def _swept(one: SweptLayer) -> str:
    suspicious = "" if one.sound else ", suspicious"
    p = f"p {one.target_probability:.2f}"
    return f"layer {one.layer}: score {points(one.score)}, {p}, drift {one.drift:.1e} nats{suspicious}"


def _top(said: Said) -> str:
    return f"{said.top.strip() or said.top} {said.top_probability:.2f}"
