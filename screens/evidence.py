"""Out of the terminal: tables and pictures as files and on the clipboard, a step as a command, a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from screens.dialog import Framed
from screens.widgets.options import Options
from workbench.cli.output import MOST_COPIED
from workbench.errors import InputError
from workbench.figures import Figure, Lines
from workbench.files import write_atomically
from workbench.reporting.exporting import ENDINGS, StepFormat, exported
from workbench.reporting.making import Source, report_of
from workbench.reporting.pages import page
from workbench.reporting.steps import figures_of
from workbench.session import Session, Step

FORMATS: dict[str, tuple[StepFormat, str]] = {
    "c": ("csv", "CSV"),
    "j": ("json", "JSON"),
    "s": ("svg", "SVG"),
    "t": ("txt", "text"),
    "m": ("md", "Markdown"),
    "h": ("html", "HTML"),
}
"""By the key that chooses them in the dialog."""


@dataclass(frozen=True)
class Wanted:
    """What is to be written: a figure of the step, counted from 1, or all of the step where ``figure`` is None."""

    as_: StepFormat
    figure: int | None = None


class ExportScreen(Framed[Wanted | None]):
    """Which table or picture of a step, and as what; or its command, or its program. Dismissed with that, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(key, f"figure('{as_}')", name, id=f"export.{as_}", tooltip=f"Write it as {name}")
            for key, (as_, name) in FORMATS.items()
        ),
        Binding("escape", "dismiss(None)", "Back", id="export.back", tooltip="Write nothing"),
    ]

    HINT = "c CSV  j JSON  s SVG  t text  m Markdown  h HTML  esc back"
    SHARE, WIDEST = 90, 100

    DEFAULT_CSS = """
    ExportScreen > #frame { max-height: 80%; }
    ExportScreen Options { height: auto; max-height: 14; border: none; }
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step
        self._figures = figures_of(step)

    def compose_inside(self) -> ComposeResult:
        """The figures, and what else there is."""
        yield Label("A file in this folder, and the clipboard. Enter: text, a command, a program.")
        titles = [name_of(figure) for figure in self._figures]
        texts = [*titles, "All of these", "Copy as command", "Copy as Python"]
        yield Options(*(Option(Text(text, no_wrap=True, overflow="ellipsis")) for text in texts))

    def on_mount(self) -> None:
        """Begin with the first figure."""
        self.entitle(f"Export step {self._step.id}")
        self.query_one(Options).focus()
        self.query_one(Options).highlighted = 0

    @on(OptionList.OptionSelected)
    def chosen(self, message: OptionList.OptionSelected) -> None:
        """Enter: text of a figure, or one of the others."""
        message.stop()
        others: tuple[Literal["txt", "command", "python"], ...] = ("txt", "command", "python")
        place = message.option_index - len(self._figures)
        self.dismiss(Wanted("txt", message.option_index + 1) if place < 0 else Wanted(others[place]))

    def action_figure(self, as_: StepFormat) -> None:
        """Write the highlighted figure, or all of them."""
        place = self.query_one(Options).highlighted or 0
        if place < len(self._figures):
            self.dismiss(Wanted(as_, place + 1))
        elif place == len(self._figures):
            self.dismiss(Wanted(as_))


def name_of(figure: Figure) -> str:
    """Its title, or what it says first."""
    if isinstance(figure, Lines) and figure.lines and not figure.title:
        return figure.lines[0].text
    return figure.title or figure.kind.replace("-", " ")


def export(session: Session, step: Step, wanted: Wanted) -> tuple[str, str]:
    """Write what is wanted into the working folder. Returns what was written, and the sentence about it.

    Raises `InputError`.
    """
    content = exported(session, step, wanted.as_, wanted.figure)
    part = f"-{wanted.figure}" if wanted.figure else ""
    path = _write(f"{step.request.kind}-{step.id}{part}", ENDINGS[wanted.as_], content)
    if len(content.encode()) > MOST_COPIED:
        return "", f"Written to {path}; it is too large for the clipboard."
    return content, f"Written to {path}, and copied."


def offer(app: App[None], recorded: Callable[[], Session], step: Step) -> None:
    """Let the person choose what of a step leaves the terminal; write it, copy it, and say where it is."""

    def write(wanted: Wanted | None) -> None:
        if wanted is None:
            return
        try:
            content, said = export(recorded(), step, wanted)
        except InputError as error:
            app.notify(str(error), title="Export", severity="error")
            return
        if content:
            app.copy_to_clipboard(content)
        app.notify(said, title="Export", timeout=12)

    app.push_screen(ExportScreen(step), write)


def write_report(session: Session, file: Path | None) -> tuple[str, SeverityLevel]:
    """Write the session's report into the working folder. Returns the sentence about it, and how bad it is."""
    try:
        source = Source.of(file) if file is not None and file.exists() else None
        path = _write("report", "html", page(report_of(session, source), "html"))
    except InputError as error:
        return str(error), "error"
    return f"The report was written to {path}.", "information"


def _write(name: str, ending: str, content: str) -> Path:
    """A new file in the working folder. Raises `InputError`."""
    folder = Path.cwd()
    path, number = folder / f"{name}.{ending}", 2
    while path.exists():
        path, number = folder / f"{name}-{number}.{ending}", number + 1
    try:
        write_atomically(path, content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; start the program in another folder") from error
    return path
