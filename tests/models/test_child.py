"""Programs run beside us: what they say, how they end, and that none is left."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from workbench.errors import Cancelled
from workbench.models.store import child
from workbench.models.store.child import run_python


def test_every_line_of_both_streams_is_heard_and_the_code_is_known() -> None:
    ended = run_python(["-c", "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"], lambda _: None)
    assert (ended.code, sorted(ended.lines)) == (3, ["one", "two"])


def test_lines_can_be_looked_at_while_the_program_runs() -> None:
    seen: list[list[str]] = []
    run_python(["-c", "import time; print('begun'); time.sleep(1)"], seen.append)
    assert ["begun"] in seen


def test_the_last_line_is_chosen_by_its_beginning_where_one_has_it() -> None:
    ended = run_python(["-c", "print('ERROR: no'); print('advice'); print()"], lambda _: None)
    assert (ended.last("ERROR: "), ended.last("WARNING: "), ended.last()) == ("no", "advice", "advice")


def test_more_output_than_a_pipe_holds_does_not_stop_the_program() -> None:
    ended = run_python(["-c", "for number in range(30000): print(number)"], lambda _: None)
    assert (ended.code, len(ended.lines)) == (0, 30000)


def test_a_program_that_is_no_longer_wanted_is_ended_even_when_it_will_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_PATIENCE", 0.1)
    began = time.monotonic()

    def unwanted(lines: list[str]) -> None:
        if lines:
            raise Cancelled

    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    with pytest.raises(Cancelled):
        run_python(["-c", program], unwanted)
    assert time.monotonic() - began < 120
    assert not [each for each in psutil.Process().children() if "deaf" in "".join(each.cmdline())]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is there on Linux")
def test_a_full_disk_is_told_from_other_failures() -> None:
    full = run_python(["-c", "open('/dev/full', 'wb', buffering=0).write(b'x')"], lambda _: None)
    other = run_python(["-c", "open('/nowhere/at/all')"], lambda _: None)
    assert (full.disk_was_full, other.disk_was_full) == (True, False)
    assert (full.code, other.code) == (1, 1)
