"""The process that chat templates are rendered in: it has limits of time, memory and output, and nothing to lose.

``python -m workbench.models.template_child`` reads one JSON object a line (template, variables, contents) and answers
each with one (texts, or error). The environment is the one that transformers renders templates with; it is made here
because importing transformers takes a second, and jinja2 a tenth of that. A template that takes too long is ended by
the timer's signal, process and all, as neither a loop nor one huge power can be interrupted otherwise.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

SECONDS = 0.5
"""Processor time for one request: a hundred times what the templates of published models take."""

CHARACTERS = 1_000_000
"""The longest text beyond what the prompt itself may make of it."""

_MEMORY = 512 << 20  # bytes of address space


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks a reply for training; here its contents count."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """The contents, as if the marks were not there."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(jinja2.utils.Namespace):
    """Jinja's, without names that begin with an underscore."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace has no {name}")
        super().__setitem__(name, value)


def _raise_exception(message: object) -> None:
    raise jinja2.TemplateError(str(message))


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _Dict:
    """``dict``, to call and nothing else."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """``dict.fromkeys``."""
        return dict.fromkeys(*args)


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception,
        strftime_now=lambda form: datetime.now().strftime(form),
        dict=_Dict(),
        namespace=_Namespace,
    )
    return environment.from_string(template)


def _rendered(template: str, variables: dict[str, Any], content: str) -> str:
    messages = [{"role": "user", "content": content}]
    stream = _compiled(template).generate(
        messages=messages, tools=None, documents=None, add_generation_prompt=True, **variables
    )
    return "".join(_bounded(stream, CHARACTERS + 10 * len(content)))


def _bounded(pieces: Iterator[str], limit: int) -> Iterator[str]:
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            raise jinja2.TemplateError(f"it writes more than {CHARACTERS:,} characters")
        yield piece


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"texts": [_rendered(asked["template"], asked["variables"], content) for content in asked["contents"]]}
    except MemoryError:
        return {"error": f"it needs more than {_MEMORY >> 20} MB of memory"}
    except RecursionError:
        return {"error": "it calls itself without end"}
    except Exception as error:  # noqa: BLE001 - whatever a stranger's template makes of one message is its fault
        return {"error": str(error) or type(error).__name__}


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows and macOS know no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _set_timer(seconds: float) -> None:
    if hasattr(signal, "setitimer"):  # elsewhere the one who waits ends this process
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    _limit_memory()
    for line in sys.stdin:
        _set_timer(SECONDS)
        reply = json.dumps(_answer(json.loads(line)))
        _set_timer(0)
        print(reply, flush=True)  # noqa: T201
