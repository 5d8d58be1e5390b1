"""What cannot be interrupted, on a helper thread: an import, a library's reading of a checkpoint or fit of a probe.

Whoever waits looks ten times a second whether the work is still wanted. What is no longer wanted goes on until it ends
by itself, and nobody hears of it; the next piece of work waits for it, as libraries change settings while they load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

Returned = TypeVar("Returned")

THREAD = "beside"

_LOOK_EVERY = 0.1  # seconds: how soon a cancelled job is noticed
_one_at_a_time = threading.Lock()


def beside(work: Callable[[], Returned], look: Callable[[], None]) -> Returned:
    """What ``work`` returns or raises; ``look`` is called before it and meanwhile, and may raise."""
    future: Future[Returned] = Future()

    def run() -> None:
        with _one_at_a_time:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
                future.set_exception(error)

    look()
    # A daemon, unlike the threads of an executor: the program does not wait for it when it ends.
    threading.Thread(target=run, name=THREAD, daemon=True).start()
    while True:
        try:
            return future.result(timeout=_LOOK_EVERY)
        except NotYet:
            if future.done():  # the work's own TimeoutError
                raise
            look()
