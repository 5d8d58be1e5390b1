"""What the command palette has of the main screen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.app import SystemCommand
from textual.keys import key_to_character

from screens.main import MainScreen
from screens.messages import CancelAsked


def commands_of(screen: MainScreen) -> Iterator[SystemCommand]:
    """What its panes ask, and what can be done with the whole of it."""
    for number, pane in enumerate(screen.others, 2):
        if pane.ASK_KEY:
            key = key_to_character(pane.ASK_KEY) or pane.ASK_KEY
            yield SystemCommand(
                pane.TITLE, f"{pane.what_asking_does()} (key {key})", partial(screen.action_ask, number)
            )
    yield SystemCommand("Continue", "Let the model continue the prompt greedily", screen.action_continue)
    yield SystemCommand("Keep continuation", "Append the continuation to the prompt", screen.action_keep)
    yield SystemCommand("Export", "Tables, pictures, a command or Python of what is shown", screen.action_export)
    yield SystemCommand("Side by side", "This step and another one of the same method", screen.action_side_by_side)
    yield SystemCommand("Report", "Write the report of this session", screen.action_report)
    yield SystemCommand("Cancel", "Stop the running job", partial(screen.post_message, CancelAsked()))
    yield SystemCommand("Prepend", "Change what is prepended to the prompt", screen.prompt.action_cycle_prepend)
    yield SystemCommand("Chat template", "Switch the chat template", screen.prompt.action_toggle_chat)
