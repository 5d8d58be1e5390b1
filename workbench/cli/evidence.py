"""What is found as evidence: a session as a report, its tables and pictures as files, a step as a command."""

from __future__ import annotations

import sys
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from pydantic import RootModel, TypeAdapter, ValidationError

from workbench.cli.asking import Plan, carry_out
from workbench.cli.common_options import Device, DeviceMap, Dtype, Json, ModelName, SessionPath
from workbench.cli.output import MOST_COPIED, copy, echo, echo_json, remark
from workbench.errors import InputError
from workbench.events import LoadRequest
from workbench.files import write_atomically
from workbench.models.store import DEFAULT_MODEL
from workbench.paths import samples, sessions_folder, written_path
from workbench.reading import BadJson, first_problem, parse
from workbench.registry import AnyRequest
from workbench.session import Session, SessionFile, Step, read_session

RecordedSession = Annotated[Path, typer.Argument(metavar="SESSION", help="A session file.", show_default=False)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Replace a file that is there.")]


_NOT_COPIED = f"there is no terminal here, or it is more than {MOST_COPIED // 1000} kB"


class ExportFormat(StrEnum):
    """What a step, or a figure of it, can be written as."""

    csv = "csv"
    json = "json"
    svg = "svg"
    txt = "txt"
    html = "html"
    md = "md"
    command = "command"
    python = "python"


def recorded(file: Path) -> Session:
    """The session in a file, or the shipped one of that name; where its end had to be mended, that is said."""
    read = read_session(file if file.exists() else samples().get(str(file), file))
    if read.mended is not None:
        remark(f"workbench: {read.mended}")
    return read.session


def report(
    session: RecordedSession,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write: .html, .md or .json.", show_default=False)
    ],
    model_card: Annotated[
        bool, typer.Option("--model-card", help="Write only a section for a model card, in Markdown.")
    ] = False,
    reviewer: Annotated[str, typer.Option(help="Who has reviewed it.", show_default=False)] = "",
    decision: Annotated[str, typer.Option(help="What was decided.", show_default=False)] = "",
    yes: Yes = False,
) -> None:
    """Write what a session found as a file of its own, for somebody who does not have this program."""
    from workbench.reporting.making import Source, report_of
    from workbench.reporting.model_card import model_card_section
    from workbench.reporting.pages import PAGE_FORMATS, markdown_page, page

    as_ = output.suffix.lower().removeprefix(".")
    as_ = {"htm": "html", "markdown": "md"}.get(as_, as_)
    if as_ not in PAGE_FORMATS or (model_card and as_ != "md"):
        wanted = ".md" if model_card else ".html, .md or .json"
        raise InputError(f"the name {output.name!r} does not say what to write; end it in {wanted}")
    found = recorded(session)
    source = Source.of(session)
    if model_card:
        content = markdown_page(model_card_section(found, source, reviewer, decision))
    else:
        content = page(report_of(found, source, reviewer, decision), as_)
    _write(output, content, yes)


def export(
    session: RecordedSession,
    step: Annotated[int | None, typer.Option(help="The step's number; the last one if left out.")] = None,
    as_: Annotated[
        ExportFormat | None,
        typer.Option("--as", help="The format; else what the file's name ends in, or csv.", show_default=False),
    ] = None,
    figure: Annotated[
        int | None, typer.Option(help="Which table or picture of the step, from 1; all if left out.")
    ] = None,
    output: Output = None,
    yes: Yes = False,
    copied: Annotated[bool, typer.Option("--copy", help="Put it on the terminal's clipboard as well.")] = False,
) -> None:
    """Write the tables and pictures of a step, or the command or the Python that asks for it again."""
    from workbench.reporting.exporting import exported

    format_ = as_ or _format_of(output)
    found = recorded(session)
    content = exported(found, step_of(found, step), format_.value, figure)
    if output is None:
        echo(content.rstrip("\n"))
    else:
        _write(output, content, yes)
    if copied:
        remark("workbench: copied" if copy(content) else f"workbench: not copied: {_NOT_COPIED}")


def _format_of(output: Path | None) -> ExportFormat:
    """What a file's name says; csv where there is none. Raises `InputError` where it says nothing."""
    from workbench.reporting.exporting import ENDINGS

    if output is None:
        return ExportFormat.csv
    named = next((name for name, ending in ENDINGS.items() if output.suffix.lower() == f".{ending}"), None)
    if named is None:
        endings = ", ".join(f".{ending}" for ending in ENDINGS.values())
        raise InputError(
            f"the name {output.name!r} does not say what to write; end it in {endings}, or name it by --as"
        )
    return ExportFormat(named)


def run(
    request: Annotated[str, typer.Argument(help="A request as JSON, as in a session; - reads it from stdin.")],
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = None,
    session: SessionPath = None,
    json: Json = False,
) -> None:
    """Ask anything that a session can hold: run a request that is given as JSON."""
    text = sys.stdin.read() if request == "-" else request
    try:
        asked = TypeAdapter(AnyRequest).validate_python(parse(text))
    except BadJson as error:
        raise InputError(f"the request is not JSON: {error.why}; copy one from a session or a report") from None
    except ValidationError as error:
        raise InputError(f"this is no request: {first_problem(error)}; copy one from a session or a report") from None
    load = LoadRequest(model=model, dtype=dtype, device=device, device_map=device_map)
    carry_out(Plan(asked), load, session, json)


def compare(
    first: RecordedSession,
    second: Annotated[Path | None, typer.Argument(help="Another session file.", show_default=False)] = None,
    steps: Annotated[
        tuple[int, int] | None, typer.Option(help="Compare only these two steps, of one session or of both.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON, and nothing else.")] = False,
) -> None:
    """Compare what two sessions found, or two steps: the second minus the first, summed up."""
    from workbench.cli.step_report import print_figures
    from workbench.reporting.exporting import together
    from workbench.reporting.side_by_side import compare_sessions, compare_steps

    one = recorded(first)
    other = recorded(second) if second is not None else one
    if steps is not None:
        found = compare_steps(step_of(one, steps[0]), step_of(other, steps[1]))
    elif second is None:
        raise InputError("there is one session, and no --steps of it; name another session, or two steps")
    else:
        found = compare_sessions(one, other)
    if json:
        echo(together(found, "json").rstrip("\n"))
    else:
        print_figures(found)


def sessions(
    search: Annotated[list[str] | None, typer.Argument(help="Words that it must have, of any kind.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Look in this folder, instead of the sessions' own.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the latest first.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """List recorded sessions: when, about what, what came of it, with which model; or find them by words."""
    from workbench.figures import Column, Table, line, said
    from workbench.reporting.listing import sessions_in

    place = written_path(str(folder)) if folder is not None else sessions_folder()
    words = " ".join(search or ())
    found = list(islice((each for each in sessions_in([place]) if each.has(words)), max(0, limit)))
    if json:
        echo_json(RootModel(found), indent=1)
        return
    from workbench.cli.step_report import print_figures

    rows = tuple(
        (
            f"{each.changed:%Y-%m-%d %H:%M}", each.title or each.prompt or "–", str(each.steps),
            each.why or each.verdict or "–", each.model or "–", each.path.name,
        )
        for each in found
    )  # fmt: skip
    about, came = Column(heading="about", wraps=True), Column(heading="came to", wraps=True)
    changed = Column(heading="changed", right=True, spare=1)  # files have such names already, if none was given
    columns = (changed, about, Column(heading="steps", right=True, spare=2), came)
    if rows:
        print_figures(
            (
                Table(
                    columns=(*columns, Column(heading="model", spare=3), Column(heading="file", right=True)), rows=rows
                ),
            )
        )
    none = f"no session has {words!r}" if words else "there is no session yet"
    print_figures(said(line(f"in {place}" if rows else f"{none} in {place}", "muted")))


def note(
    session: RecordedSession,
    text: Annotated[str | None, typer.Argument(help="The note.", show_default=False)] = None,
    title: Annotated[str | None, typer.Option(help="A title for it.", show_default=False)] = None,
    step: Annotated[int | None, typer.Option(help="Of this step, not of the session.", show_default=False)] = None,
) -> None:
    """Give a session, or one of its steps, a note or a title; lists, reports and searches have them."""
    if text is None and title is None:
        raise InputError("there is neither a note nor a --title to give; type one")
    if not session.exists():
        raise InputError(f"there is no session file {session}")
    file = SessionFile.open(session, "a note")
    try:
        for said in file.notes:
            remark(f"workbench: {said}")
        file.annotate(step, title=title, note=text)
    finally:
        file.close()


COMMANDS = (report, export, compare, sessions, note, run)
"""Each becomes a command of its name."""


def step_of(session: Session, number: int | None) -> Step:
    """A step by its number, or the last one. Raises `InputError`."""
    if not session.steps:
        raise InputError("the session has no steps")
    if number is None:
        return session.steps[-1]
    found = [step for step in session.steps if step.id == number]
    if not found:
        raise InputError(f"there is no step {number}; the steps are {session.steps[0].id} to {session.steps[-1].id}")
    return found[0]


def _write(output: Path, content: str, yes: bool) -> None:
    """Write a file, and say where. Raises `InputError`."""
    path = written_path(str(output))
    if path.exists() and not yes:
        raise InputError(f"{path} is there already; name another file, or replace it by --yes")
    try:
        write_atomically(path, content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another place") from error
    remark(f"workbench: written to {path}")
