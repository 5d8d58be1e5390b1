"""A forked program is as a started one: arguments, environment, folder, terminal, signals, exit codes, last words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.fork_server import HASHED, LETTERS
from tests.forked import ForkedPopen, ForkedSpawn, run, server
from tests.tiny import save_tiny
from workbench.datasets.held_out import held_out_text
from workbench.models.store.checkpoint import fingerprint, stored_tensors

ENDS = {
    "sys.exit()": (0, ""),
    "sys.exit(7)": (7, ""),
    "sys.exit('wrong')": (1, "wrong\n"),
    "1 / 0": (1, "ZeroDivisionError: division by zero\n"),
    "os.kill(os.getpid(), signal.SIGTERM)": (-signal.SIGTERM, ""),
    "atexit.register(print, 'last', file=sys.stderr)": (0, "last\n"),
    "threading.Timer(0.01, lambda: print('later', file=sys.stderr)).start()": (0, "later\n"),
}


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_the_interpreter_ends(end: str) -> None:
    done = run("-c", f"import atexit, os, signal, sys, threading; {end}")
    code, said = ENDS[end]
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.endswith(said)


def test_it_has_its_own_arguments_environment_and_folder(tmp_path: Path) -> None:
    program = "import os, sys; print(sys.argv, dict(os.environ), os.getcwd(), __name__)"
    done = run("-c", program, "a", "é", env={"ONE": "1"}, cwd=tmp_path)
    assert done.stdout == f"{['-c', 'a', 'é']} {{'ONE': '1'}} {tmp_path} __main__\n"


def test_it_measures_perplexity_on_as_many_letters_as_it_is_told_to() -> None:
    program = "from workbench.editing.suite import held_out; print(len(held_out.held_out_text()))"
    assert run("-c", program, env={LETTERS: "1000"}).stdout == "1000\n"
    assert run("-c", program, env={}).stdout == f"{len(held_out_text())}\n"


def test_weights_are_hashed_once_for_all_programs_as_long_as_they_are_the_same(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    program = f"""
from pathlib import Path
from workbench.models.store.checkpoint import fingerprint, stored_tensors
tensors = stored_tensors(Path({str(folder)!r}))
Path.open = None  # nothing can be read any more
print(fingerprint(tensors))
"""
    for byte in (b"\0", b"\1"):
        with (folder / "model.safetensors").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(byte)
        own = fingerprint(stored_tensors(folder))
        assert run("-c", program, env={HASHED: str(folder)}).stdout == f"{own}\n"
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(file.read(1))  # to the same byte, but who knows
    assert run("-c", program, env={}).returncode == 1


def test_it_is_talked_to_and_interrupted() -> None:
    program = "import sys, time\nfor line in sys.stdin: print(line[::-1].strip(), flush=True)\ntime.sleep(600)"
    pipe, command = subprocess.PIPE, [sys.executable, "-c", program]
    with ForkedPopen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("abc\n")
        process.stdin.flush()
        assert process.stdout.readline() == "cba\n"
        assert process.poll() is None
        assert os.getsid(process.pid) == process.pid
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate()[1]
    assert process.returncode == -signal.SIGINT


def test_in_a_terminal_it_leads_a_session_and_hears_of_ctrl_c_of_a_new_size_and_of_a_hang_up() -> None:
    program = """
import os, signal, sys
heard, hears = os.pipe()
os.set_blocking(hears, False)
signal.set_wakeup_fd(hears)  # what is heard just before the reading begins ends it, too
signal.signal(signal.SIGWINCH, lambda *_: print("now", *os.get_terminal_size()))
print(os.getsid(0) == os.getpid() == os.tcgetpgrp(0), os.get_terminal_size(), os.ttyname(2), sys.stdout.isatty())
while True:
    try:
        os.read(heard, 1)
    except KeyboardInterrupt:
        print("interrupted")
"""
    child = ForkedSpawn(sys.executable, ["-c", program], dimensions=(30, 100), timeout=60)
    child.expect(r"True os.terminal_size\(columns=100, lines=30\) /dev/\S+ True")
    child.setwinsize(24, 80)
    child.expect("now 80 24")
    child.send("\x03")
    child.expect("interrupted")
    assert child.isalive()
    assert child.pid in [each.pid for each in server().running]
    child.ptyproc.fileobj.close()
    child.ptyproc.wait()
    assert child.ptyproc.signalstatus == signal.SIGHUP
    assert not child.isalive()


def test_what_it_writes_last_is_read_before_its_end() -> None:
    child = ForkedSpawn(sys.executable, ["-c", "print('x' * 100_000); raise SystemExit(3)"], timeout=60)
    child.expect(pexpect.EOF)
    child.wait()
    assert child.before.count(b"x") == 100_000
    assert child.exitstatus == 3
