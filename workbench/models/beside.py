"""What cannot be interrupted, on a helper thread: an import, a checkpoint that is read by a library.

Whoever waits looks ten times a second whether the work is still wanted. What is no longer wanted goes on until it ends
by itself, and nobody hears of it; the next piece of work waits for it, as libraries change settings while they load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

from workbench.methods.base import Progress

Found = TypeVar("Found")

_LOOK_EVERY = 0.1  # seconds: how soon a cancelled job is noticed
_one_at_a_time = threading.Lock()


def beside(work: Callable[[], Found], progress: Progress, done: int, total: int, stage: str) -> Found:
    """What ``work`` returns or raises, with ``progress(done, total, stage=stage)`` meanwhile, which may raise."""
    future: Future[Found] = Future()

    def run() -> None:
        with _one_at_a_time:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
                future.set_exception(error)

    progress(done, total, stage=stage)
    # A daemon, unlike the threads of an executor: the program does not wait for it when it ends.
    threading.Thread(target=run, name="beside", daemon=True).start()
    while True:
        try:
            return future.result(timeout=_LOOK_EVERY)
        except NotYet:
            if future.done():  # the work's own TimeoutError
                raise
            progress(done, total, stage=stage)
