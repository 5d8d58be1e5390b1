"""A section for a model card: what was found, what was changed, and what is not known, in Markdown."""

from __future__ import annotations

from workbench.figures import Column, Figure, Table, line, said
from workbench.reporting.account import case_figures, finding_figures, in_plain_language, last_queue
from workbench.reporting.edits import edits_of
from workbench.reporting.interventions import limit_figures, regression_figures
from workbench.reporting.making import Source, model_figures
from workbench.reporting.report import Blank, Code, Report, Section
from workbench.session import Session


def model_card_section(session: Session, source: Source, reviewer: str = "", decision: str = "") -> Report:
    """What a card's readers need: a known failure, its evidence, the interventions, the limits."""
    hashed = f"{source.sha256}  {source.path.name}"
    return Report(
        title="Known failure, intervention and evidence",
        sections=(
            Section(heading="Summary", anchor="summary", blocks=in_plain_language(session)),
            Section(heading="Known failure", anchor="failure", blocks=case_figures(session)),
            Section(heading="Finding", anchor="finding", blocks=finding_figures(session)),
            Section(heading="Interventions", anchor="interventions", blocks=_edits(session)),
            Section(heading="Regressions", anchor="regressions", blocks=regression_figures(session)),
            Section(heading="Limits", anchor="limits", blocks=limit_figures(session)),
            Section(heading="Model", anchor="model", blocks=model_figures(session)),
            Section(
                heading="Evidence",
                anchor="evidence",
                blocks=(*said("The whole record is a session file with this SHA-256:"), Code(text=hashed)),
            ),
            Section(
                heading="Review",
                anchor="review",
                blocks=(Blank(label="Reviewed by", value=reviewer), Blank(label="Decision", value=decision)),
            ),
        ),
    )


def _edits(session: Session) -> tuple[Figure, ...]:
    queue = last_queue(session)
    on = {entry.info.id for entry in queue.entries if entry.on} if queue and not queue.bypassed else set()
    rows = tuple(
        (edit.id, edit.method, edit.title, ", ".join(map(str, edit.layers)), "on" if edit.id in on else "off")
        for edit in edits_of(session)
    )
    columns = ("edit", "by", Column(heading="what", wraps=True), "layers", "at the end")
    return (Table(columns=columns, rows=rows),) if rows else said(line("None.", "muted"))
