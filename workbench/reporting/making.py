"""Makes the report of a session, part by part. Needs no model and no torch."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from workbench import __version__
from workbench.figures import Figure, line, said
from workbench.reading import read_bytes
from workbench.reporting.account import (
    NO_PROOF,
    case_figures,
    finding_figures,
    in_plain_language,
    prompts_in_words,
    title_of,
)
from workbench.reporting.interventions import intervention_sections, limit_figures, regression_figures
from workbench.reporting.report import Blank, Code, Report, Section
from workbench.reporting.steps import settings_table, step_section, warnings_table
from workbench.session import Session
from workbench.visible import visible

DECISIONS = "accept the answer as it is · prepend to the prompt · edit · fine-tune · do not use the model for this"


@dataclass(frozen=True)
class Source:
    """The file of a session, by which a report is checked: its name and the SHA-256 of its bytes."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Source:
        """The file as it is now. Raises `workbench.reading.Unreadable`."""
        return cls(path, hashlib.sha256(read_bytes(path)).hexdigest())


def report_of(session: Session, source: Source | None = None, reviewer: str = "", decision: str = "") -> Report:
    """The whole report of a session."""
    changes = tuple(intervention_sections(session))
    prompts = tuple(prompts_in_words(session))
    no_change = () if changes else (line("Nothing was changed in the model.", "muted"),)
    return Report(
        title=title_of(session),
        sections=(
            Section(heading="In plain language", anchor="plain", blocks=in_plain_language(session)),
            Section(heading="Finding", anchor="finding", blocks=(*finding_figures(session), *_notes(session))),
            Section(heading="Case and answers", anchor="case", blocks=case_figures(session)),
            Section(heading="Interventions", anchor="interventions", blocks=said(*prompts, *no_change)),
            *changes,
            Section(heading="Regressions", anchor="regressions", blocks=regression_figures(session)),
            Section(heading="Warnings", anchor="warnings", blocks=warnings_table(session)),
            Section(heading="Known limits", anchor="limits", blocks=(*limit_figures(session), *said(NO_PROOF))),
            Section(heading="Model and versions", anchor="model", blocks=model_figures(session)),
            _replay(source),
            _review(reviewer, decision),
            Section(heading="Every step", anchor="steps"),
            *(step_section(session, step) for step in session.steps),
        ),
    )


def _notes(session: Session) -> tuple[Figure, ...]:
    return said(line(session.note, "note")) if session.note else ()


def model_figures(session: Session) -> tuple[Figure, ...]:
    """Which weights, on which machine, with which versions, and when."""
    times = [step.started for step in session.steps]
    when = (
        {"first step": f"{min(times):%Y-%m-%d %H:%M} UTC", "last step": f"{max(times):%Y-%m-%d %H:%M} UTC"}
        if times
        else {}
    )
    about = {
        name: f"{value:,}".replace(",", " ") if isinstance(value, int) and not isinstance(value, bool) else str(value)
        for name, value in (session.model.model_dump(mode="json") if session.model else {}).items()
    }
    if not about:
        about = {"name": "unknown: no model was loaded"}
    written = {"report written by": f"lm-workbench {__version__}"}
    return (
        *settings_table("Model", about | when),
        *settings_table("Versions when it was recorded", session.environment | written),
    )


def _replay(source: Source | None) -> Section:
    if source is None:
        blocks: tuple[Figure | Code, ...] = said("The session was not read from a file.")
    else:
        file = shlex.quote(visible(source.path.name))
        commands = f"workbench replay {file}   # look at it again, without the model\n"
        commands += f"workbench check {file}    # run it again and compare the numbers\n"
        hashed = f"{source.sha256}  {visible(source.path.name)}   # sha256sum"
        blocks = (*said("With the session's file and the program:"), Code(text=commands + hashed))
    return Section(heading="How to replay this", anchor="replay", blocks=blocks)


def _review(reviewer: str, decision: str) -> Section:
    return Section(
        heading="Review and decision",
        anchor="review",
        blocks=(
            *said("To be filled in by the person who is responsible."),
            Blank(label="Reviewed by", value=reviewer),
            Blank(label="Date"),
            Blank(label=f"Decision ({DECISIONS})", value=decision),
            Blank(label="Reasons, and what else was looked at"),
        ),
    )
