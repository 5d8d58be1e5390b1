"""Commands that ask a request about a case: the options they share, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.case import Case
from workbench.cli.common_options import (
    Apply,
    Chat,
    Device,
    DeviceMap,
    DryRun,
    Dtype,
    Foil,
    Json,
    ModelName,
    Prepended,
    Remote,
    SessionPath,
    Subject,
    Target,
)
from workbench.cli.options import Typed, parameters
from workbench.cli.output import echo_json, hush, remark
from workbench.editing.operations import QueueRequest
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.events import LoadRequest
from workbench.figures import Figure
from workbench.models.devices import TENSOR_PARALLEL, is_first_process
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import Frozen, Method, Request
from workbench.registry import check_divided, check_remote, method
from workbench.session import Step
from workbench.settings import filled
from workbench.sweeping.spread import Spread

CHECK_FAILED = 1
"""The exit code when what was asked for was done, and did not pass."""

CASE = ("prompt", "subject", "target", "foil", "prepend", "chat")
LOAD = ("model", "dtype", "device", "device_map", "remote")


def _of_a_case(
    *,
    prompt: Annotated[str, typer.Argument(help="The prompt, in quotes.", show_default=False)] = "",
    subject: Subject = None,
    target: Target = None,
    foil: Foil = None,
    prepend: Prepended = "as-is",
    chat: Chat = False,
) -> None:
    """Never called: its parameters are those of every command that `asks`."""


def _of_a_model(
    *,
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = None,
    remote: Remote = False,
    dry_run: DryRun = False,
    apply: Apply = None,
    session: SessionPath = None,
    json: Json = False,
) -> None:
    """Never called: and these are those of every command that runs a model."""


@dataclass(frozen=True)
class Plan:
    """A request with others to run before and after it. Its own step is the one that is printed.

    ``others`` are like it, and run and printed whatever became of those before; ``together`` draws the steps of all.
    With ``spread`` they are sweeps, answered by several workers. ``passes`` says of its result whether the command
    succeeds; ``unless`` is the sentence when it does not. A ``dry_run`` prints what would be sent to a remote model.
    """

    request: Request
    before: tuple[Request, ...] = ()
    after: tuple[Request, ...] = ()
    passes: Callable[[Any], bool] = lambda _: True
    unless: str = ""
    others: tuple[Request, ...] = ()
    together: Callable[[Sequence[Step]], tuple[Figure, ...]] = lambda _: ()
    spread: Spread | None = None
    dry_run: bool = False


def asks(
    *models: type[Frozen], chosen: Mapping[str, type[Frozen]] | None = None
) -> Callable[[Callable[..., Request | Plan]], Callable[..., None]]:
    """Make a command of a function that turns a case, and what was typed for the settings of ``models``, into a
    request, or a plan of several. ``chosen`` are models of which one is chosen by its name.

    The command has an option for each of these settings and the shared options besides; it loads the model, runs the
    request, and prints its step. The function is given those of the shared options that it names, and may declare them,
    and more options, in words of its own.
    """

    def made(to_request: Callable[..., Request | Plan]) -> Callable[..., None]:
        shared = _parameters(_of_a_case) | _parameters(_of_a_model)
        named = list(inspect.signature(to_request, eval_str=True).parameters.values())[2:]  # all but case and typed
        own = [parameter for parameter in named if parameter.name not in shared]
        also = [parameter.name for parameter in named if parameter.name in shared]
        shared |= {p.name: p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in named if p.name in shared}
        settings = parameters(models, chosen)

        def command(**given: Any) -> None:
            common = {name: given.pop(name) for name in shared}
            typed = {setting.name: given.pop(setting.name) for setting in settings}
            case = Case(**{name: common[name] for name in CASE})
            load = LoadRequest(**{name: common[name] for name in LOAD})
            plan = to_request(case, typed, **given, **{name: common[name] for name in also})
            plan = plan if isinstance(plan, Plan) else Plan(plan)
            if "apply" not in also:
                plan = _applying(common["apply"], plan)
            if getattr(plan.request, "case", None) == case and not case.prompt.strip():  # before a model is fetched
                raise InputError("the prompt is empty; give the text that the model is to continue, in quotes")
            carry_out(replace(plan, dry_run=common["dry_run"]), load, common["session"], common["json"])

        every = [*shared.values(), *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *settings]
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        command.__name__, command.__doc__ = to_request.__name__, to_request.__doc__
        return command

    return made


def asks_of_model(*models: type[Frozen]) -> Callable[[Callable[..., Request]], Callable[..., None]]:
    """As `asks`, for what is asked of a model and about no case: the function is given what was typed, and its own."""

    def made(to_request: Callable[..., Request]) -> Callable[..., None]:
        own, shared = list(_parameters(to_request).values())[1:], _parameters(_of_a_model)  # all but typed
        settings = parameters(models)

        def command(**given: Any) -> None:
            common = {name: given.pop(name) for name in shared}
            typed = {setting.name: given.pop(setting.name) for setting in settings}
            load = LoadRequest(**{name: common[name] for name in LOAD})
            plan = _applying(common["apply"], Plan(to_request(typed, **given)))
            carry_out(replace(plan, dry_run=common["dry_run"]), load, common["session"], common["json"])

        command.__signature__ = inspect.Signature([*own, *shared.values(), *settings])  # type: ignore[attr-defined]
        command.__name__, command.__doc__ = to_request.__name__, to_request.__doc__
        return command

    return made


def _applying(patch: Path | None, plan: Plan) -> Plan:
    """The plan, with the edits of a patch on."""
    if patch is None:
        return plan
    if plan.spread is not None:
        raise InputError("--apply puts edits on one model, and workers load their own: leave out --workers and --ray")
    return replace(plan, before=(QueueRequest(action="apply", path=str(patch)), *plan.before))


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function, eval_str=True).parameters)


def asks_method(method: Method) -> Callable[..., None]:
    """The command of a method: its request's own settings are all there is to say, but for a yes where it takes one."""

    def with_yes(
        case: Case,
        typed: Typed,
        yes: Annotated[bool, typer.Option("--yes", help="Begin even if it takes hours.")] = False,
    ) -> Request:
        return filled(method.request, typed, case=case, confirmed=yes)

    def without(case: Case, typed: Typed) -> Request:
        return filled(method.request, typed, case=case)

    to_request: Any = with_yes if "confirmed" in method.request.model_fields else without
    to_request.__name__ = method.kind.replace("-", "_")
    to_request.__doc__ = method.help
    return asks(method.request)(to_request)


def carry_out(plan: Plan, load: LoadRequest, session: Path | None, json: bool) -> None:
    """Load the model, run the plan, and print its step. Raises what came in between."""
    requests = (plan.request, *plan.before, *plan.after, *plan.others)
    if load.device_map == TENSOR_PARALLEL:
        if plan.spread:
            raise InputError("workers load whole models: leave out --workers and --ray, or --device-map tp")
        if not is_first_process():  # they all do the same, and the first one says it
            hush()
            session = None
        for request in requests:
            check_divided(method(request.kind))
    if load.remote:
        if plan.spread:
            raise InputError("workers load models of their own; leave out --workers and --ray, or --remote")
        if (load.dtype, load.device, load.device_map) != ("auto", "auto", None):
            raise InputError("a remote model is loaded already; leave out --dtype, --device and --device-map")
        for request in requests:
            check_remote(method(request.kind))
    if plan.dry_run:
        from workbench.cli.remotely import print_parcel

        print_parcel(plan.request, load, json)
        return
    from workbench.cli.spreading import SpreadEngine
    from workbench.cli.step_report import (  # not at the top: the app paints sooner without tables and bars
        print_figures,
        print_step,
    )
    from workbench.cli.waiting import WaitingEngine

    with SpreadEngine(load, session, plan.spread) if plan.spread else WaitingEngine(load, session) as engine:
        for request in plan.before:
            _say(_done(engine.answer(request), engine.unsaved))
        steps = []
        for request in (plan.request, *plan.others):
            steps.append(engine.answer(request))
            unsaved = engine.unsaved
            if json:
                echo_json(steps[-1])
            elif steps[-1].result is not None:
                print_step(steps[-1], engine.model)
            if steps[-1].status in ("cancelled", "partial"):
                break
        if plan.others and not json:
            print_figures(plan.together(steps))
        _done(_worst(steps), unsaved)
        for request in plan.after:
            _say(_done(engine.answer(request), engine.unsaved))
    if not all(plan.passes(step.result) for step in steps if step.result is not None):
        remark(f"workbench: {plan.unless}")
        raise typer.Exit(CHECK_FAILED)


def _worst(steps: Sequence[Step]) -> Step:
    """The step that says how the command ends: one that was cancelled, or else one that is done if there is any."""
    return max(steps, key=lambda step: (step.status in ("cancelled", "partial"), step.status == "done"))


def _done(step: Step, unsaved: str | None) -> Step:
    """The step, if it was done. Raises what came in between."""
    if wrong := [text for text in (step.error and step.error.message, unsaved) if text]:
        said = "; and ".join(wrong)
        if step.error and step.error.kind == "NotConfirmed":
            said = f"{said}; add --yes to do it all the same"
        raise WorkbenchError(said)
    if step.status != "done":
        raise Cancelled
    return step


def _say(step: Step) -> None:
    """What a step before or after the main one did."""
    if said := getattr(step.result, "done", ""):
        remark(said)
