"""Commands that ask one request about a case: the options they share, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.case import Case, Start
from workbench.engine import LoadRequest
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.methods.base import Request
from workbench.models.catalog import DEFAULT_MODEL

Subject = Annotated[str | None, typer.Option("--subject", "-s", help="What the prompt is about: words of it.")]
Target = Annotated[str | None, typer.Option("--target", "-t", help="The continuation that is wanted.")]
Foil = Annotated[str | None, typer.Option("--foil", "-f", help="The continuation it is compared with.")]
InFront = Annotated[Start, typer.Option("--start", help="What stands in front of the prompt.")]
Chat = Annotated[bool, typer.Option("--chat/--no-chat", help="Put the prompt through the chat template.")]
ModelName = Annotated[str, typer.Option("--model", "-m", help="Catalogue name, directory, GGUF file or hub id.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]
SessionPath = Annotated[
    Path | None, typer.Option("--session", help="Append the step to this session file.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the step as JSON, and nothing else.")]

CASE = ("prompt", "subject", "target", "foil", "start", "chat")
LOAD = ("model", "dtype", "device")


def _shared(
    *,
    prompt: Annotated[str, typer.Argument(help="The prompt, in quotes.", show_default=False)] = "",
    subject: Subject = None,
    target: Target = None,
    foil: Foil = None,
    start: InFront = "as-is",
    chat: Chat = False,
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    session: SessionPath = None,
    json: Json = False,
) -> None:
    """Never called: its parameters are those of every command that `asks`."""


def asks(to_request: Callable[..., Request]) -> Callable[..., None]:
    """Make a command of a function that turns a case and options of its own into a request.

    The command has the shared options besides, loads the model, runs the request, and prints its step.
    """
    shared = inspect.signature(_shared, eval_str=True).parameters
    own = list(inspect.signature(to_request, eval_str=True).parameters.values())[1:]  # all but the case

    def command(**given: Any) -> None:
        common = {name: given.pop(name) for name in shared}
        case = Case(**{name: common[name] for name in CASE})
        load = LoadRequest(**{name: common[name] for name in LOAD})
        request = to_request(case, **given)
        if getattr(request, "case", None) == case and not case.prompt.strip():  # before a model is fetched for it
            raise InputError("the prompt is empty; give the text that the model is to continue, in quotes")
        _run(request, load, common["session"], common["json"])

    parameters = [*shared.values(), *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__name__, command.__doc__ = to_request.__name__, to_request.__doc__
    return command


def _run(request: Request, load: LoadRequest, session: Path | None, json: bool) -> None:
    from workbench.reports import print_step  # not at the top: the app paints sooner without tables and bars
    from workbench.waiting import WaitingEngine

    with WaitingEngine(load, session) as engine:
        step = engine.answer(request)
    if json:
        typer.echo(step.model_dump_json())
    elif step.result is not None:
        print_step(step, engine.model)
    if wrong := [text for text in (step.error and step.error.message, engine.unsaved) if text]:
        confirm = " Add --yes to start it all the same." if step.error and step.error.kind == "NotConfirmed" else ""
        raise WorkbenchError("; and ".join(wrong) + confirm)
    if step.status != "done":
        raise Cancelled
