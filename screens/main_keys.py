"""The keys of the main screen: to its panes, for what they ask, and for what is done with the whole of it."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from screens.keys import Key
from screens.panes import PANES
from screens.panes.prompt.pane import PromptPane

MAIN_KEYS: list[BindingType] = [
    *(
        Binding(key, f"pane({key})", title, id=f"pane.{key}", show=False)
        for key, title in zip(Key.PANES.each, (PromptPane.TITLE, *(pane.TITLE for pane in PANES)), strict=False)
    ),
    Binding(Key.NEXT_PANE, "next_pane", "Next pane", id="pane.next", tooltip="The one after this", show=False),
    *(
        Binding(pane.ASK_KEY, f"ask({number})", pane.TITLE, id=f"ask.{number}", tooltip=pane.what_asking_does())
        for number, pane in enumerate(PANES, 2)
        if pane.ASK_KEY
    ),
    Binding(Key.PROMPT, "pane(1)", "Prompt", id="pane.prompt", tooltip="Edit the prompt"),
    Binding(Key.CONTINUE, "continue", "Go on", id="continue", tooltip="Let the model continue the prompt greedily"),
    Binding(Key.AGAIN, "again", "Ask again", id="again", tooltip="Ask anew what is of another prompt", show=False),
    Binding(Key.BACK, "back", "Back", id="back", tooltip="To the prompt and pane before", show=False),
    Binding(Key.KEEP, "keep", "Keep continuation", id="continue.keep", show=False),
    Binding(Key.COMPARE, "compare", "Before/after", id="compare", tooltip="All edits off, or on again"),
    Binding(Key.EXPORT, "export", "Export", id="export", tooltip="Tables, pictures, a command, Python", show=False),
    Binding(Key.REPORT, "report", "Report", id="report", tooltip="Write the session's report", show=False),
    Binding(Key.SIDE_BY_SIDE, "side_by_side", "Side by side", id="side", tooltip="This step and another", show=False),
    Binding(Key.NOTE, "note", "Note", id="note", tooltip="A title and a note for session and step", show=False),
    Binding(Key.ZOOM, "zoom", "Enlarge", id="zoom", tooltip="This pane alone, or all again", show=False),
    Binding(Key.WORDS, "words", "In words", id="words", tooltip="Legend, trust strip, signs", show=False),
    Binding(Key.JUMP, "jump", "Jump", id="jump", tooltip="A letter on everything", show=False, priority=True),
    Binding(Key.CANCEL, "cancel", "Cancel", id="cancel", tooltip="Stop the running job", show=False),
]
