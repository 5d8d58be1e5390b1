"""Waiting for what is waited for: until an app is quiet, until a condition holds, until a timer has gone off.

Textual's pilot waits until the processor idles, in steps of 20 ms. That is slow on a quiet machine, and on a busy one
wrong: a process that is not given the processor looks idle. Here an app is quiet when it has nothing left to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from weakref import WeakSet

from textual._context import active_app
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.screen import Screen

LONG = 60.0
"""Seconds after which what has not happened will not; a busy machine needs some of them, a quiet one none."""

CALM = 2
"""Turns of the event loop in a row with nothing to do and nothing else that could run."""

PAUSE = 0.001
SPUN = 100


async def until_quiet(min_sleep: float = 0.0, max_sleep: float = LONG) -> None:
    """Wait until the app has nothing left to do; in place of `textual._wait.wait_for_idle`."""
    end = time.monotonic() + max_sleep
    await until_done(max_sleep=max_sleep)
    while paint(active_app.get()) and time.monotonic() < end:
        await until_done(max_sleep=max_sleep)


async def until_done(min_sleep: float = 0.0, max_sleep: float = LONG) -> None:
    """Wait until nothing is left to do but to paint, which one key has no use for that another has done before it.

    While anything else is ready to run in the event loop, widgets are not looked at, unless that does not end.
    """
    app, end, turn, calm = active_app.get(), time.monotonic() + max_sleep, 0, 0
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    while calm < CALM and app._exception is None and time.monotonic() < end:
        turn += 1
        spinning = calm or turn < SPUN
        calm = 0 if (ready and spinning) or not is_done(app) else calm + 1
        await asyncio.sleep(0 if spinning else PAUSE)


def is_done(app: App[object]) -> bool:
    """Whether no message, callback, layout, animation or worker is left, nor a key that waits for its turn."""
    waiting = getattr(app, "_type_ahead", None)
    if not app._running or not app.screen_stack or (waiting is not None and not waiting.empty):
        return not app._running
    if app._resize_timer is not None:
        app._check_resize()  # now, and not in the next hundredth of a second
        return False
    if not (_at_rest(app) and all(map(_at_rest, app._registry))):
        return False
    for screen in (*app._background_screens, app.screen):  # those beneath a dialog are seen too
        if screen._layout_required or screen._dirty_widgets:
            screen._on_timer_update()  # now, and not in the next sixtieth of a second; once for all that was asked
            return False
    if any(each._callbacks for each in app.screen_stack) or not app.animator._complete_event.is_set():
        return False
    return all(worker.is_finished for worker in app.workers)


_paint = Screen._compositor_refresh
_to_paint: WeakSet[Screen[object]] = WeakSet()


def paint(app: App[object]) -> bool:
    """Paint what has changed on the screen. Returns whether anything has."""
    if not app._running or not app.screen_stack or app.screen not in _to_paint:
        return False
    _to_paint.discard(app.screen)
    _paint(app.screen)
    return True


def paint_once(screen: Screen[object]) -> None:
    """In place of `Screen._compositor_refresh`: all that has changed is painted when the test pauses.

    Nobody looks at what a test's app shows in between, and to paint it is a fourth of what an app costs.
    """
    if screen is screen.app.screen:
        screen._dirty_widgets.clear()  # the compositor knows their regions
        _to_paint.add(screen)
    else:
        _paint(screen)


def _at_rest(pump: MessagePump) -> bool:
    if pump._closing or pump._closed:
        return True
    if not pump._is_mounted or pump._pending_message is not None or pump._next_callbacks:
        return False
    queue = pump._message_queue
    return queue.empty() and bool(queue.ready_event._waiters)  # type: ignore[attr-defined]


async def until(pilot: Pilot[object], condition: Callable[[], bool], shown: Callable[[], str] = str) -> None:
    """Wait for a condition, which may depend on another thread; ``shown`` says what there is in its place."""
    end = time.monotonic() + LONG
    await pilot.pause()
    while not condition():
        assert time.monotonic() < end, f"waited in vain; {shown()}"
        await asyncio.sleep(0.005)
        await pilot.pause()


async def until_timers_end(pilot: Pilot[object], node: DOMNode) -> None:
    """Wait until whatever a node does after a time is done."""
    await until(
        pilot, lambda: all(timer._repeat is None or timer._task is None or timer._task.done() for timer in node._timers)
    )
    await pilot.pause()
