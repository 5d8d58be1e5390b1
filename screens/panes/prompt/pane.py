"""The prompt pane: where a case is written, and where the prompt is shown as the model sees it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, cast, get_args

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Static, TextArea

from screens.answers import edits_in_words
from screens.keys import Key
from screens.marking import mark
from screens.messages import CaseChanged
from screens.panes.pane import Pane
from screens.panes.prompt.folded import PREPENDED, FoldedCase
from screens.panes.prompt.past import PastCases
from screens.widgets.prompt_fields import FIELDS, PromptArea, PromptFrame
from screens.widgets.token_strip import StripToken, TokenStrip
from workbench.case import Case, Prepend
from workbench.events import Progressed
from workbench.methods.generation.continuation import ContinueRequest, ContinueResult
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.models.tokens import EncodedCase
from workbench.protocol import Request, Result
from workbench.session import Step
from workbench.wording import count


class PromptPane(Pane, PromptFrame):
    """Prompt, subject, target and foil; what is prepended; the tokens; and what the model goes on to say.

    While the keyboard is elsewhere it is folded: the tokens, or the prompt where they are not known, and a line.
    """

    TITLE = "Prompt"
    accepts = (LensRequest, ContinueRequest)

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            Key.PREPEND, "cycle_prepend", "Prepend", id="prompt.prepend", tooltip="What is prepended to the prompt"
        ),
        Binding(Key.CHAT, "toggle_chat", "Chat", id="prompt.chat", tooltip="Use the model's chat template"),
    ]

    SCOPED_CSS = False  # as whether there is room for all notes is a matter of the screen
    DEFAULT_CSS = """
    PromptPane { height: auto; max-height: 60%; }
    PromptPane #frame { height: 1; color: $text-muted; padding: 0 1; }
    PromptPane TokenStrip { margin: 0 1; max-height: 12; }
    PromptPane #notes { color: $text-muted; padding: 0 1; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    .-wide PromptPane #notes { height: auto; text-wrap: wrap; }
    PromptPane #generations { padding: 0 1; height: auto; max-height: 2; display: none; }
    PromptPane #error { color: $text-error; padding: 0 1; height: auto; }
    PromptPane PromptArea, PromptPane #fields, PromptPane #frame, PromptPane #notes { display: none; }
    PromptPane.-unfolded PromptArea, PromptPane.-unfolded #fields { display: block; }
    PromptPane.-unfolded #frame, PromptPane.-unfolded #notes { display: block; }
    PromptPane.-unfolded FoldedCase { display: none; }
    PromptPane.-edited TokenStrip { display: none; }
    PromptPane.-edited.-unfolded TokenStrip { display: block; }
    PromptPane #notes.-empty, PromptPane #error.-empty { display: none; }
    """

    prepend: reactive[Prepend] = reactive[Prepend]("as-is", init=False)
    chat: reactive[bool] = reactive(False, init=False)

    @dataclass
    class Submitted(Message):
        """The case is to be asked about."""

        case: Case

    @dataclass
    class Below(Message):
        """Down was pressed where there is no later prompt."""

    def __init__(self, case: Case | None = None, history: list[Case] | None = None, read_only: bool = False) -> None:
        super().__init__(id="prompt")
        self.set_class(not read_only, "-unfolded")  # where the keyboard is at first
        self._initial = case or Case(prompt="")
        self._given = self._initial  # whose place of the subject holds while prompt and subject stay as they are
        self._past = PastCases(history or [])
        self._read_only = read_only
        self._encoded: EncodedCase | None = None
        self._drawn: Case | None = None  # whose tokens are drawn
        self._continued: ContinueResult | None = None  # of the same case
        self._said: dict[str, str] = {}
        self.set_reactive(PromptPane.prepend, self._initial.prepend)
        self.set_reactive(PromptPane.chat, self._initial.chat)

    def compose(self) -> ComposeResult:
        """The editor, the fields in one row, and below them what the model sees."""
        case = self._initial
        yield from self.compose_fields({name: getattr(case, name) or "" for name in FIELDS}, self._read_only)
        yield Static(id="frame")
        yield TokenStrip(id="tokens")
        yield Static(id="generations")
        yield FoldedCase()
        yield Static(id="notes", classes="-empty")
        yield Static(id="error", classes="-empty")

    def on_mount(self) -> None:
        """Show the initial case."""
        self._show_frame()
        self._mark_stale()
        if self._initial.prompt:
            self.area.move_cursor(self.area.document.end)

    @on(FoldedCase.Wanted)
    def focus_content(self) -> None:
        """Put the keyboard into the editor, which unfolds the pane."""
        self.query_one(PromptArea).focus()

    def on_descendant_focus(self) -> None:
        """The keyboard has come: unfold."""
        mark(self, {"-unfolded": True}, self.children)

    def on_descendant_blur(self) -> None:
        """It has gone to another pane; where the whole terminal lost it, it will come back."""
        if self.screen.focused is not None and not self.has_focus_within:
            mark(self, {"-unfolded": False}, self.children)

    def edited(self) -> Case:
        """The case as it stands in the fields, asked about or not."""
        prompt, *others = self.texts.values()
        subject, target, foil = (text or None for text in others)
        case = Case(prompt=prompt, subject=subject, target=target, foil=foil, prepend=self.prepend, chat=self.chat)
        given = self._given
        same = (case.prompt, case.subject) == (given.prompt, given.subject)
        return case.model_copy(update={"subject_at": given.subject_at}) if same else case

    def put(self, case: Case) -> None:
        """Replace what stands in the fields."""
        self._given = case
        self.put_texts({name: getattr(case, name) or "" for name in FIELDS})
        self.prepend, self.chat = case.prepend, case.chat

    def started(self, request: Request) -> None:  # noqa: ARG002 - any request clears the error
        """A new question: the old error is no longer true."""
        self._say("error", "")

    def clear(self) -> None:
        """Forget the tokens and the continuation; what stands in the fields is the person's."""
        self._encoded, self._drawn, self._continued = None, None, None
        self._show_generations(None)
        self.query_one(TokenStrip).show([])
        self._mark_stale()
        self._say("notes", "")
        self._say("error", "")

    def show_step(self, step: Step) -> None:
        """Show tokens, notes and continuation, or why there are none."""
        self._say("error", step.error.message if step.error else "")
        if step.result is not None:
            self._show_result(step.request, step.result)
        if isinstance(step.result, ContinueResult):
            self._show_generations(step)

    def question(self, request: Request) -> Hashable:
        """Continuations with and without edits are compared."""
        return request if isinstance(request, ContinueRequest) else None

    @property
    def is_continued(self) -> bool:
        """Whether a continuation is shown."""
        return self._continued is not None

    def _show_generations(self, step: Step | None) -> None:
        """What the model says with these edits and without, where both were asked for: one above the other."""
        other = self.answers.other(self.question(step.request), step.edits) if step is not None else None
        said = sorted((one for one in (step, other) if one is not None), key=lambda one: len(one.edits))
        lines = [
            Content.assemble(
                (edits_in_words(one.edits), "$foreground 60%"), "  ", "…" + one.result.text.replace("\n", "⏎")
            )
            for one in said
            if isinstance(one.result, ContinueResult)
        ]
        generations = self.query_one("#generations", Static)
        generations.display = len(lines) == 2
        generations.update(Content("\n").join(lines))

    def show_progress(self, progress: Progressed) -> None:
        """Draw the tokens as soon as they are known, and the continuation while it grows."""
        if progress.partial is not None:
            self._show_result(progress.request, progress.partial)

    def continued(self) -> Case | None:
        """The case on screen with its continuation appended to the prompt; None where it was not continued."""
        case = self.edited()
        if self._continued is None or self._drawn != case or not self._continued.text:
            return None
        return case.model_copy(update={"prompt": case.prompt + self._continued.text})

    def _show_result(self, request: Request, result: Result) -> None:
        case = getattr(request, "case", None)
        if isinstance(result, ContinueResult):
            self._continued = result
        elif isinstance(result, LensResult):
            if self._encoded is not None and self._encoded.ids != result.encoded.ids:
                self._continued = None
                self._show_generations(None)
        else:
            return
        self._encoded, self._drawn = result.encoded, case
        self._show_tokens()
        self._mark_stale()

    def _show_tokens(self) -> None:
        encoded = self._encoded
        if encoded is None:
            return
        tokens = [StripToken(text, _role(encoded, index)) for index, text in enumerate(encoded.texts)]
        if self._continued is not None:
            tokens += [StripToken(t.text, "generated", t.probability) for t in self._continued.generated]
        strip = self.query_one(TokenStrip)
        strip.show(tokens)
        strip.cursor = self.cursor.token if self.cursor else None
        self._say("notes", " ".join(encoded.notes))

    def watch_case(self) -> None:
        """Tokens belong to the case that was asked about until the text is edited."""
        self._mark_stale()

    def watch_cursor(self) -> None:
        """Follow the shared cursor."""
        if self.is_mounted:
            self.query_one(TokenStrip).cursor = self.cursor.token if self.cursor else None

    def watch_prepend(self) -> None:
        """Say what is prepended."""
        self._show_frame()
        self._changed()

    def watch_chat(self) -> None:
        """Say whether the chat template is used."""
        self._show_frame()
        self._changed()

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """A recorded case stays as it is."""
        return action not in ("cycle_prepend", "toggle_chat") or not self._read_only

    def action_cycle_prepend(self) -> None:
        """Go to the next thing that can be prepended to the prompt; ask again if it was asked already."""
        prepends = get_args(Prepend)
        self.prepend = cast(Prepend, prepends[(prepends.index(self.prepend) + 1) % len(prepends)])
        self._ask_again()

    def action_toggle_chat(self) -> None:
        """Use the model's chat template, or not; ask again if it was asked already."""
        self.chat = not self.chat
        self._ask_again()

    @on(PromptArea.Asked)
    @on(Input.Submitted)
    def ask(self) -> None:
        """Hand the case over and remember it."""
        if self._read_only:
            return
        self.post_message(self.Submitted(self.keep()))

    def keep(self) -> Case:
        """Remember what stands in the fields, for up and down to come back to."""
        case = self.edited()
        self._past.keep(case)
        return case

    @on(PromptArea.History)
    def walk_history(self, message: PromptArea.History) -> None:
        """Show an earlier or later case; what was being typed waits at the end."""
        case = self._past.walk(message.step, self.edited())
        if case is not None:
            self.put(case)
        elif message.step > 0:
            self.post_message(self.Below())

    @on(TextArea.Changed)
    @on(Input.Changed)
    def _changed(self) -> None:
        self._mark_stale()
        self.post_message(CaseChanged())

    def _mark_stale(self) -> None:
        if not self.is_mounted:
            return
        case = self.edited()
        tokens = self.query_one(TokenStrip)
        tokens.stale = self._drawn is not None and case != self._drawn
        counted = None if tokens.stale else self._encoded
        self.say_below(count(len(counted.ids), "token") if counted is not None else "")
        as_tokens = self._drawn is not None and case.prompt == self._drawn.prompt
        mark(self, {"-edited": not as_tokens}, (tokens,))
        notes = self._encoded.notes if self._encoded is not None and case == self._drawn else ()
        self.query_one(FoldedCase).show(case, as_tokens, notes)

    def _ask_again(self) -> None:
        if self.case is not None and self.edited().prompt.strip():
            self.ask()

    def _show_frame(self) -> None:
        chat = "on" if self.chat else "off"
        keys = ("", "") if self._read_only else (" ^t", " ^r")
        text = Text.assemble(
            ("prepended ", ""),
            (PREPENDED[self.prepend], "bold"),
            (keys[0], "dim"),
            ("   chat ", ""),
            (chat, "bold"),
            (keys[1], "dim"),
        )
        self.query_one("#frame", Static).update(text)

    def _say(self, where: str, sentence: str) -> None:
        static = self.query_one(f"#{where}", Static)
        if self._said.get(where, "") == sentence:
            return
        self._said[where] = sentence
        static.update(Content(sentence))
        static.tooltip = Content(sentence) if sentence else None
        static.set_class(not sentence, "-empty")


def _role(encoded: EncodedCase, index: int) -> str:
    if index < encoded.prepended or index >= len(encoded.ids) - encoded.appended:
        return "frame"
    if encoded.subject and encoded.subject[0] <= index < encoded.subject[1]:
        return "subject"
    return "prompt"
