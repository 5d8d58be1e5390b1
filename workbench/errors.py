"""The errors a user can act on. Each carries one sentence: what was wrong, and what to do.

Anything else that is raised is a bug and deserves its traceback.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """Base of all errors whose message is meant for the person at the terminal."""


class InputError(WorkbenchError):
    """What was typed, or the file that was named, cannot be used as it is."""


class NotConfirmed(InputError):
    """What was asked would take hours, or would replace a file, and is done only when that is confirmed.

    The sentence says what would happen; each surface adds how to confirm there (a key, an option).
    """


class ModelError(WorkbenchError):
    """A model cannot be found, fetched, read or understood."""


class SessionError(WorkbenchError):
    """A session file cannot be read or written."""


class SessionHeld(SessionError):
    """A session file is being recorded by another program."""


class OutOfMemory(WorkbenchError):
    """The model's device ran out of memory even at the smallest batch."""


class NumericalError(WorkbenchError):
    """The model produced numbers that mean nothing (NaN or infinity)."""


class Cancelled(Exception):
    """The running job was asked to stop and has stopped: a request that was honoured, not an error."""
