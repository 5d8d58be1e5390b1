"""A process that has imported what the program needs, and forks off it every program that a test asks for.

It never runs a model, but hashes the weights of one for all programs that are to run it. Requests come over a socket,
which is its standard input (`tests/forked.py` sends them): the program's arguments as python gets them, its environment
and folder, the files that become its 0, 1 and 2 (or its terminal), and the end of a pipe, which is open for as long as
the program runs. What is forked leaves the loop and is the program from there on, to the interpreter's own end. With
the other side of the socket gone, because the tests are over or were interrupted, whatever still runs is killed and the
server ends.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.models.store.checkpoint import StoredTensor

IMPORTED = (  # not nnsight, which changes every object there is and so what is imported after it
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "screens.app",
    "screens.live",
    "screens.replay",
    "workbench.cli.main",
    "workbench.editing.suite.held_out",
    "workbench.loading",
    "workbench.methods.lens.logit_lens",
)

LETTERS = "LETTERS_OF_PROSE"
"""The variable that says how many letters of the held-out prose a program reads, where it is not all of it."""

TOKENS = 20
"""Such a program writes texts of so many tokens to tell whether it repeats itself."""

HASHED = "FOLDER_HASHED_ONCE"
"""The variable that names a model's folder whose weights are hashed once: half a second for each program otherwise."""

Hashed = tuple[int, int, int, int, str]
"""A file as it was when it was hashed (where it is, its size and its time), and the name of a tensor in it."""

KNOWN: dict[Hashed, bytes] = {}
"""The hashes of tensors, which all programs that are forked later have."""


def asked(line: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next request and the files that come with it; none when nobody asks any more."""
    size, files, _, _ = socket.recv_fds(line, 8, 4)
    return (json.loads(line.recv(int.from_bytes(size), socket.MSG_WAITALL)), files) if size else None


def become(environment: dict[str, str], folder: str, session: bool, files: list[int]) -> None:
    """Be a process as one that was just started: one file is a terminal of its own, three are its 0, 1 and 2."""
    if len(files) == 1:
        os.login_tty(*files)
    else:
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        if session:
            os.setsid()
    at_once = bool(environment.get("PYTHONUNBUFFERED"))
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=at_once)  # type: ignore[union-attr]
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def read_and_write_little(letters: str | None) -> None:
    """Measure the suite's texts on the beginnings of them only, as the tests do that run a model themselves."""
    if letters is not None:
        import_module("workbench.editing.suite.repetition").TOKENS = TOKENS  # type: ignore[attr-defined]
        held_out = import_module("workbench.editing.suite.held_out")
        beginning = held_out.held_out_text()[: int(letters)]
        held_out.held_out_text = lambda: beginning  # type: ignore[attr-defined]


def hashed(tensor: StoredTensor) -> Hashed:
    """What a tensor is known by, so that one of a file that was changed is not."""
    file = tensor.file.stat()
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, tensor.name


def hash_once(folder: str) -> None:
    """Hash the weights in a folder, as far as they are not known, and have programs take what is known."""
    checkpoint = import_module("workbench.models.store.checkpoint")
    if not KNOWN:
        checkpoint._digest = functools.partial(known, checkpoint._digest)  # type: ignore[attr-defined]
    for tensor in checkpoint.stored_tensors(Path(folder)):
        KNOWN[hashed(tensor)] = checkpoint._digest(tensor, threading.Event())


def known(
    digest: Callable[[StoredTensor, threading.Event], bytes], tensor: StoredTensor, stopped: threading.Event
) -> bytes:
    """What ``digest`` says of a tensor, or has said of it."""
    return KNOWN.get(hashed(tensor)) or digest(tensor, stopped)


def serve(line: socket.socket) -> list[str]:
    """Fork whenever asked; returns in what was forked, with the arguments of the program that it is to be."""
    running: set[int] = set()
    while request := asked(line):
        said, files = request
        if folder := said.get("environment", {}).get(HASHED):
            hash_once(folder)
        if (ended := said.get("ended")) is not None:
            _, answer = os.waitpid(ended, 0)
            running.remove(ended)
        elif answer := os.fork():
            running.add(answer)
            for file in files:
                os.close(file)
        else:
            line.close()
            become(said["environment"], said["folder"], said["session"], files[:-1])
            read_and_write_little(said["environment"].get(LETTERS))
            return list(said["arguments"])
        with suppress(BrokenPipeError):
            line.sendall(answer.to_bytes(8))
    for child in running:
        os.kill(child, signal.SIGKILL)
    os._exit(0)


def run(arguments: list[str]) -> None:
    """What python does with these arguments."""
    how, what, *others = arguments[arguments[0] == "-P" :]  # what -P keeps out is not there to be imported
    sys.argv = [how, *others]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif how == "-c":
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), vars(main))
    else:
        raise ValueError(f"{how} is neither -m nor -c")


if __name__ == "__main__":
    own_line = socket.socket(fileno=os.dup(0))
    for each in IMPORTED:
        import_module(each)
    gc.collect()
    gc.freeze()  # or looking for garbage would copy every page that the forked share
    run(serve(own_line))
