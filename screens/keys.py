"""The one table of keys: which key means what, wherever the keyboard is on the main screen.

Panes, lists and pictures take their keys from here, so a letter that asks for something on the main screen can mean
nothing else in a pane. Where keys are typed into a field they are letters, and dialogs have the screen to themselves.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Key(StrEnum):
    """A key, or several between commas, and its meaning. As a string it is what `textual.binding.Binding` takes."""

    meaning: str

    def __new__(cls, keys: str, meaning: str) -> Key:
        """A member whose value is its keys."""
        key = str.__new__(cls, keys)
        key._value_ = keys
        key.meaning = meaning
        return key

    # On the main screen, from everywhere but the fields
    QUIT = "q", "leave"
    HELP = "f1,question_mark", "all keys that work here"
    CANCEL = "escape", "stop the running job; in a field or a dialog: back"
    JUMP = "ctrl+g", "a letter on everything that takes the keyboard"
    ZOOM = "E", "enlarge: this pane alone on the screen, or all of them again"
    WORDS = "I", "in words: legend and trust strip in full, and what the signs of this pane mean"
    SESSIONS = "ctrl+o", "open a saved session"
    MODELS = "ctrl+l", "load another model"
    PANES = "1,2,3,4,5,6,7,8,9", "to a pane"
    NEXT_PANE = "0", "to the next pane, and so to those that no number is left for"
    PROMPT = "p", "to the prompt"
    ATTRIBUTION = "a", "ask for the attribution of what is on screen"
    TRACE = "t", "ask for a causal trace of what is on screen"
    EDITS = "e", "open the form of an edit for what is on screen"
    REASONING = "r", "let the model reason about what is on screen"
    ERASURE = "z", "open the form of an erasure"
    RECORDS = "number_sign", "open the form of a sweep over the records of a file"
    CONTINUE = "g", "go on: let the model continue what is on screen"
    KEEP = "G", "append the continuation to the prompt"
    AGAIN = "Y", "ask again all that is drawn of another prompt, or with other edits, about what is on screen"
    BACK = "backspace", "back to the prompt that a pane has put another one in the place of"
    COMPARE = "b", "before/after: all edits off, or on again"
    EXPORT = "X", "tables and pictures as files and on the clipboard; copy as command, as Python"
    REPORT = "R", "write the report of this session into the working folder"
    SIDE_BY_SIDE = "vertical_line", "side by side: this step and the one before it of the same method, or another two"
    NOTE = "N", "a title and a note for this session and this step"
    PREPEND = "ctrl+t", "what is prepended to the prompt"
    CHAT = "ctrl+r", "the model's chat template, or none"
    # In a pane
    MOVE = "h,j,k,l,left,down,up,right,pageup,pagedown,home,end", "move the cursor"
    CHOOSE = "enter", "more about what is under the cursor; in a field: ask"
    SWITCH = "space", "switch on or off; play or hold a generation"
    VIEW = "v", "the next view of the same numbers"
    NEXT = "m", "the next of what is computed or coloured by"
    LENS = "L", "read by the next lens: plain, ridge, tuned, Jacobian"
    NEW = "n", "a form or line for asking anew"
    REMOVE = "x,delete", "take away: an edit from the queue, sentences from a reasoning"
    UNDO = "u", "undo what was done to the queue of edits, or the last pasted cell"
    REDO = "U", "redo it"
    LATER = "J", "later in the queue"
    EARLIER = "K", "earlier in the queue"
    CHECK = "c", "check an edit by its regression suite"
    RIVALS = "C", "let every editor try the case on screen, and compare them"
    SAVE = "s", "save the edits that are on as a patch"
    SAVE_MODEL = "S", "save the whole model as it is now"
    APPLY = "o", "open a patch and apply it"
    CONFIRM = "y", "yes: do what was asked back about"
    MARK = "asterisk", "mark a cell of the source's run, to be pasted"
    PASTE = "at", "paste the marked cell into the place under the cursor"
    PEAK = "full_stop", "to the peak; to the token that a generation is least sure of"
    STRONGER = "plus,equals_sign", "steer by more; play faster"
    WEAKER = "minus", "steer by less; play slower"
    TOKEN_BACK = "less_than_sign", "one token back in a generation"
    TOKEN_ON = "greater_than_sign", "one token on in a generation"
    REWIND = "comma", "to the token under the cursor in a generation"
    UNITS = "w", "words or tokens"
    BASELINE = "B", "the next baseline"
    INSIDE = "i", "look inside: the lens where an answer is read"
    MISTAKE = "M", "put a mistake into the reasoning"
    REWORD = "W", "reword a sentence of the reasoning"
    FILLER = "f", "filler in place of the reasoning"
    HINT = "H", "ask again with a hint at an answer"
    MORE = "Q", "questions that go on from what this pane shows"
    # In a replay
    BEFORE = "left_square_bracket", "the step before"
    AFTER = "right_square_bracket", "the step after"
    FIRST = "left_curly_bracket", "the first step"
    LAST = "right_curly_bracket", "the last step"

    @property
    def each(self) -> tuple[str, ...]:
        """Its keys, one by one."""
        return tuple(self.value.split(","))


GLOBAL = tuple(key for key in Key if list(Key).index(key) < list(Key).index(Key.MOVE))
"""Those that mean the same from everywhere on the main screen but its fields."""

NUMBERED = len(Key.PANES.each)
"""So many panes have a number key, and show it; those after them are reached as the next one."""


def of_methods() -> dict[str, str]:
    """The keys that registered methods declare, with their meanings: the same from everywhere, too."""
    from workbench.registry import methods  # not before the first paint

    return {each.key: f"ask about what is on screen: {each.title}" for each in methods() if each.key}
