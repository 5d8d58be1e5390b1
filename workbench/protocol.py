"""What every method is made of: a frozen request, a frozen result, and progress that can be cancelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from workbench.case import Case
    from workbench.figures import Figure


class Frozen(BaseModel):
    """Plain immutable data: numbers, strings and tuples, never tensors. Unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", defer_build=True)


class Check(Frozen):
    """One entry of the trust strip: how far a result is to be believed, by the method's own measure.

    ``level`` is ``ok`` where the check held, ``warn`` where the reader must take care, ``info`` for a plain fact.
    """

    name: str
    text: str
    level: Literal["ok", "warn", "info"] = "info"


class Request(Frozen):
    """What a method is asked. Holds everything that is needed to run it again."""

    kind: str

    def about(self, case: Case) -> Self:
        """The same asked about another case, or anew; for requests that have one."""
        return self.model_copy(update={"case": case})


class Result(Frozen):
    """What a method found. ``checks`` is the method's part of the trust strip."""

    kind: str
    checks: tuple[Check, ...] = ()

    def _repr_html_(self) -> str:
        """The figures, for a notebook. Named as text: what draws them stands far above."""
        return str(resolve_name("workbench.reporting.notebook:html_of")(self))


class Progress(Protocol):
    """How a running method reports.

    ``done`` of ``total`` units of work are finished; ``partial`` is an unfinished result that a pane can already
    draw, or inside a method what one is made of; ``stage`` says in a few words what is being done. Raises
    `workbench.errors.Cancelled` when the job was asked to stop, so calling it often is what makes a method easy to
    cancel.
    """

    def __call__(self, done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None: ...


def silent(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
    """The progress of somebody who does not want to know: for tests and scripts."""


def part(
    progress: Progress,
    before: int,
    share: int,
    whole: int,
    stage: str = "{}",
    found: Callable[[Frozen | None], Frozen | None] = lambda partial: partial,
) -> Progress:
    """The progress of a part that begins at ``before`` and takes ``share`` of the ``whole``.

    ``stage`` says where in it the part's own stage stands; ``found`` makes a partial result of the part's.
    """

    def report(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        progress(before + share * done // max(total, 1), whole, found(partial), stage=template.format(stage))

    template = stage
    return report


def partly(progress: Progress, found: Callable[[Frozen | None], Frozen | None]) -> Progress:
    """The same progress, with partial results made of those that are reported."""

    def report(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        progress(done, total, found(partial), stage=stage)

    return report


class Answered(Protocol):
    """What a method is told of another one that it asked: a step of the session.

    ``id`` is the step's number, 0 where nothing records it. ``result`` is None where it failed; then ``why`` says so.
    """

    @property
    def id(self) -> int: ...

    @property
    def result(self) -> Result | None: ...

    @property
    def why(self) -> str: ...


class Asking(Protocol):
    """Asks another method, as a step of its own, and shows ``seen`` the partial results that this one reports.

    Raises `workbench.errors.Cancelled` where that is cancelled.
    """

    def __call__(self, request: Request, seen: Callable[[Result], None] = ..., /) -> Answered: ...


@dataclass(frozen=True)
class Method:
    """What a method's module declares, for everything that is to know it.

    ``figures`` says what there is to draw of a result. With ``help`` it is a command of its own, named by its kind and
    made of its request's settings. With a ``key`` it can be asked for in the app, where a pane of figures shows it if
    it has none of its own. Where it ``opens`` anything, that is made of a request, its result, one of its figures and a
    place (row, column) in it: what is asked when a person opens that place, None where there is nothing to ask. A
    method that ``asks`` others is run with an `Asking` as its fourth argument; it changes no edit itself. A method of
    sweeps has ``collect``: from the whole request and the results of its shards to that of one run; with ``records``,
    which reads so many of those that a file or a shipped set has (None: all), it can be asked for in the app.
    A method that ``follows`` a kind of request is offered in the pane of that one: ``begins`` makes of such a request
    and its result what it then begins with, settings (for its form) and fields that nobody types.
    ``remote`` runs it, as ``run`` does, on a model that is elsewhere (`workbench.remote.RemoteModel`).
    ``divided``: it finds the same of a model whose matrices are divided over several processes.
    ``limits`` is a sentence about what its results cannot show, for reports. ``background`` is the stage of its
    progress from which on nobody waits for the rest: whatever is asked then goes first. Such a method changes no edit.
    """

    title: str
    request: type[Request]
    result: type[Result]
    run: Callable[..., Result]
    figures: Callable[[Any], tuple[Figure, ...]] = lambda _: ()
    help: str = ""
    key: str = ""
    opens: Callable[[Any, Any, Any, tuple[int, int]], Request | None] | None = None
    asks: bool = False
    follows: type[Request] | None = None
    begins: Callable[[Any, Any], Mapping[str, Any]] = lambda _request, _result: {}
    limits: str = ""
    collect: Callable[[Any, Any], Result] | None = None
    records: Callable[[str, int | None], tuple[Any, ...]] | None = None
    background: str = ""
    remote: Callable[..., Result] | None = None
    divided: bool = False

    @property
    def kind(self) -> str:
        """The tag by which requests and results of this method are told apart in files."""
        return str(self.request.model_fields["kind"].default)
