"""Chat templates: programs that come with a model, rendered in a process of their own that is ended at a limit.

The process starts with the first template and stays, so that a prompt costs a millisecond and not a start.
"""

from __future__ import annotations

import atexit
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MODULE = "workbench.models.template_child"
_PATIENCE = 30.0  # seconds: the process ends itself after half a second of work, unless the system knows no such timer
_LONGEST_REASON = 200  # characters


def render(tokenizer: PreTrainedTokenizerBase, contents: Sequence[str], remedy: str = "turn chat off") -> list[str]:
    """Each content as one user message in the chat template, with the beginning of a reply.

    Raises `InputError` where the tokenizer has no template, or the template fails, does not end or writes too much;
    ``remedy`` is what the sentence advises.
    """
    if not tokenizer.chat_template:
        raise InputError(f"this model's tokenizer has no chat template; {remedy}, or use an instruct model")
    asked = {"variables": tokenizer.special_tokens_map, "contents": list(contents)}
    try:
        asked["template"] = tokenizer.get_chat_template()
        line = json.dumps(asked, default=str)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"this model's chat template cannot be used ({_reason(str(error))}); {remedy}") from error
    answer = _child.ask(line)
    if "texts" in answer:
        return [str(text) for text in answer["texts"]]
    raise InputError(
        f"this model's chat template does not take one user message ({_reason(answer['error'])}); {remedy}"
    )


def _reason(text: str) -> str:
    """What a stranger's template says is wrong, as one short line that can be shown."""
    line = "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split()))
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


class _Child:
    """The rendering process, started where there is none, one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask(self, line: str) -> dict[str, Any]:
        """The answer to one line, or an error where the process ended over it."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write(line + "\n")
                process.stdin.flush()
                answer = self._answers.get(timeout=_PATIENCE)
            except (OSError, queue.Empty):
                answer = None
            if answer is None:
                self._end()
                return {"error": "it takes too long, or more memory than there is"}
            return dict(json.loads(answer))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._answers = queue.SimpleQueue()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",  # JSON, escaped
                start_new_session=True,  # ctrl+c on the terminal is not for it; it ends when our end of the pipe closes
            )
            threading.Thread(target=_collect, args=(self._process, self._answers), daemon=True).start()
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            try:
                process.stdin.close()
            except OSError:  # what it did not read any more
                return


def _collect(process: subprocess.Popen[str], answers: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            answers.put(line)
    answers.put(None)


_child = _Child()
atexit.register(_child.close)
