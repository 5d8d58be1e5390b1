"""Files of every kind that the workbench reads, damaged at random: what a stranger, a bad disk or malice may send.

Everything is drawn from a seed, so that a mutant that does harm can be made again: `python -m tests.mutant_files` says
how many of each kind are refused, accepted, or end in anything but a `WorkbenchError`.
"""

from __future__ import annotations

import copy
import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError

STRINGS = ("", " ", "\ud800", "x" * 5_000, "\x1b[31m", "[bold]", "../../outside", "NaN", "a\0b", "1", "\u2028", "é")
NUMBERS = (0, 1, -1, 2, 99, 10**9, 10**17, 10**30, -(10**30), 0.5, -0.5, 1e308, 1e-308, float("nan"), float("inf"))
OTHERS = (None, True, False, [], {}, [[]], [None], {"a": 1}, [1, 2, 3], "Infinity")

LONG = 20
"""Seconds of this process's own time after which a mutant counts as one that never ends; each takes some hundredths."""

Descend = tuple[Any, Any]


# --- JSON ---


def mutate_json(value: Any, dice: random.Random, places: int | None = None) -> Any:
    """A copy with one to three places changed."""
    holder = [copy.deepcopy(value)]
    for _ in range(places or dice.choice((1, 1, 1, 2, 3))):
        _mutate_place(holder, dice)
    return holder[0]


def _mutate_place(holder: list[Any], dice: random.Random) -> None:
    parent, key = _place(holder, dice)
    value = parent[key]
    what = dice.randrange(9)
    if what == 0 and parent is not holder:
        del parent[key]
    elif what == 1 and isinstance(parent, list) and parent is not holder:
        parent.insert(dice.randrange(len(parent) + 1), copy.deepcopy(dice.choice(parent)))
    elif what == 2 and isinstance(parent, dict):
        parent[dice.choice((f"{key}_", "extra", *STRINGS))] = parent.pop(key)
    elif what == 3 and isinstance(value, list) and value:
        parent[key] = value[: dice.randrange(len(value))] if dice.random() < 0.5 else value * 2
    elif what == 4 and isinstance(value, list | dict):
        parent[key] = type(value)()
    elif what == 5 and isinstance(value, int | float) and not isinstance(value, bool):
        parent[key] = dice.choice((value + 1, value - 1, -value, value * 2, float(value), value + 1000))
    elif what == 6 and dice.random() < 0.1:
        deep: Any = value
        for _ in range(dice.choice((5, 70, 500, 3_000))):
            deep = [deep] if dice.random() < 0.5 else {"a": deep}
        parent[key] = deep
    elif what == 7:
        other, place = _place(holder, dice)
        parent[key] = copy.deepcopy(other[place])
    elif isinstance(value, str):
        parent[key] = dice.choice((*STRINGS, value + dice.choice(STRINGS), value[: len(value) // 2], value * 2))
    elif isinstance(value, int | float) and dice.random() < 0.8:
        parent[key] = dice.choice(NUMBERS)
    else:
        parent[key] = copy.deepcopy(dice.choice((*STRINGS, *NUMBERS, *OTHERS)))


def _place(holder: list[Any], dice: random.Random) -> Descend:
    """Some place in a value, each level as likely as its neighbors."""
    parent: Any = holder
    key: Any = 0
    while isinstance(parent[key], list | dict) and parent[key] and dice.random() < 0.85:
        parent = parent[key]
        key = dice.choice(list(parent)) if isinstance(parent, dict) else dice.randrange(len(parent))
    return parent, key


def mutate_bytes(content: bytes, dice: random.Random) -> bytes:
    """The same bytes cut off, flipped, put in twice, or in another encoding."""
    at = dice.randrange(len(content) + 1)
    what = dice.randrange(8)
    if what == 0:
        return content[:at]
    if what == 1:
        return content[at:]
    if what == 2:
        return content[:at] + bytes([dice.randrange(256)]) + content[at + 1 :]
    if what == 3:
        return content[:at] + dice.randbytes(dice.choice((1, 4, 40))) + content[at:]
    if what == 4:
        return content[:at] + content[at // 2 :]
    if what == 5:
        return content.decode("utf-8", "replace").encode(dice.choice(("utf-16", "utf-8-sig", "utf-32")))
    if what == 6:
        return (
            content[:at]
            + dice.choice((b"[" * 50_000, b'{"a":' * 5_000, b"9" * 5_000, b"\0", b"\\ud800"))
            + content[at:]
        )
    return dice.choice((b"", b"\0" * 100, b"null", b"[]", b"{}", b'"', b"[[[[", b"NaN", content * 2))


def dumped(value: Any) -> bytes:
    """JSON as a careless program writes it: half surrogates as escapes, and NaN. Deep values by hand."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 3_000 + b"]" * 3_000
    except (TypeError, ValueError):
        return b"{}"


def mutate_document(content: bytes, dice: random.Random) -> bytes:
    """One JSON value: mostly mutated as that, sometimes as bytes."""
    if dice.random() < 0.15:
        return mutate_bytes(content, dice)
    return dumped(mutate_json(json.loads(content), dice))


def mutate_lines(content: bytes, dice: random.Random) -> bytes:
    """JSON lines, of which one is mutated."""
    lines = content.split(b"\n")
    at = dice.randrange(len(lines))
    what = dice.randrange(6)
    if what == 0:
        return mutate_bytes(content, dice)
    if what == 1:
        lines.insert(at, dice.choice(lines))
    elif what == 2:
        lines[at] = mutate_bytes(lines[at], dice)
    elif what == 3:
        lines = [b"[" + b",".join(line for line in lines if line.strip()) + b"]"]
    elif lines[at].strip():
        lines[at] = dumped(mutate_json(json.loads(lines[at]), dice))
    return b"\n".join(lines)


def mutate_table(content: bytes, dice: random.Random) -> bytes:
    """A table of which cells, rows, or the heading are mutated."""
    if dice.random() < 0.3:
        return mutate_bytes(content, dice)
    rows = [line.split(b",") for line in content.split(b"\n")]
    for _ in range(dice.choice((1, 3, 40))):
        row = rows[0] if dice.random() < 0.2 else dice.choice(rows)
        at, what = dice.randrange(len(row)) if row else 0, dice.randrange(5)
        if what == 0 and row:
            del row[at]
        elif what == 1 and row:
            row.insert(at, dice.choice(row))
        elif what == 2 and row:
            row[at] = dice.choice(STRINGS).encode("utf-8", "surrogatepass")
        elif what == 3 and row:
            row[at] = dice.choice((b'"', b'""', b'a "quoted" text', b"\r", b"\0", b"=1+1"))
        elif what == 4:
            rows.remove(row)
            rows = rows or [[b""]]
    return b"\n".join(b",".join(row) for row in rows)


# --- Safetensors ---


def mutate_tensors(content: bytes, dice: random.Random) -> bytes:
    """A safetensors file with another header, other metadata, other shapes or other numbers."""
    what = dice.randrange(8)
    if what == 0:
        return mutate_bytes(content, dice)
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    metadata = header.get("__metadata__", {})
    names = [name for name in header if name != "__metadata__"]
    if what in (1, 2, 3) and "edits" in metadata:
        edits = mutate_json(json.loads(metadata["edits"]), dice)
        metadata["edits"] = dumped(edits).decode()
    elif what == 4:
        header = mutate_json(header, dice)
    elif what == 5 and names:
        name = dice.choice(names)
        header[name]["shape"] = dice.choice(
            ([1], [1, 1], [], [2, 2], header[name]["shape"][::-1], [*header[name]["shape"], 1])
        )
        _lay_out(header, data, dice)
    elif what == 6 and names:
        header[dice.choice(names)]["dtype"] = dice.choice(("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "X"))
        _lay_out(header, data, dice)
    elif data:
        at = dice.randrange(0, max(1, len(data) - 4), 4)
        data[at : at + 4] = dice.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", dice.randbytes(4)))
    if isinstance(header, dict) and dice.random() < 0.1 and names:
        header[dice.choice(("0.0.extra", "9.0.left", "left"))] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = dumped(header)
    return len(text).to_bytes(8, "little") + text + bytes(data)


_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1, "BOOL": 1, "F8_E4M3": 1}


def _lay_out(header: dict[str, Any], data: bytearray, dice: random.Random) -> None:
    """Give every tensor the bytes that its shape and dtype take, so that the file is whole again."""
    at = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = _BYTES.get(entry["dtype"], 4)
            for length in entry["shape"]:
                size *= length
            entry["data_offsets"] = [at, at + size]
            at += size
    data[:] = (bytes(data) + bytes(at))[:at]


# --- What becomes of them ---


@dataclass
class Tally:
    """Of the mutants of one kind: how many were refused in a sentence, were accepted, and did harm."""

    refused: int = 0
    accepted: int = 0
    harmful: int = 0
    examples: dict[str, str] | None = None

    @property
    def total(self) -> int:
        """All of them."""
        return self.refused + self.accepted + self.harmful

    def harm(self, seed: int, error: BaseException) -> None:
        """Count one, and keep an example of each error at each line."""
        self.harmful += 1
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        at = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
        self.examples = self.examples or {}
        self.examples.setdefault(f"{type(error).__name__} {at}", f"seed {seed}: {str(error)[:160]!a}")


@contextmanager
def in_time() -> Iterator[None]:
    """Raise `TimeoutError` within what takes far longer than any mutant may."""

    def out_of_time(*_: object) -> None:
        raise TimeoutError("it takes too long")

    before = signal.signal(signal.SIGPROF, out_of_time)
    signal.setitimer(signal.ITIMER_PROF, LONG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def judge(tally: Tally, seed: int, read: Callable[[], Any]) -> Any:
    """Read a mutant; what it holds where it was accepted, else None."""
    try:
        with in_time():
            found = read()
    except WorkbenchError as error:
        text = str(error)
        if "\n" in text or len(text) > 1_000:
            tally.harm(seed, AssertionError(f"no sentence: {text[:80]}"))
        else:
            tally.refused += 1
        return None
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        tally.harm(seed, error)
        return None
    tally.accepted += 1
    return found
