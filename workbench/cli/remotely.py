"""``--remote --dry-run``: what would be sent to a model that is elsewhere, printed instead."""

from __future__ import annotations

from workbench.cli.output import echo, echo_json
from workbench.errors import InputError
from workbench.events import LoadRequest
from workbench.protocol import Request, silent
from workbench.registry import method


def print_parcel(request: Request, load: LoadRequest, json: bool) -> None:
    """Print host, model, size, source and what goes with it. Nothing is sent or fetched."""
    from workbench.remote import NotSent, reach

    if not load.remote:
        raise InputError("--dry-run prints what --remote would send; give --remote as well")
    run = method(request.kind).remote
    assert run is not None, "it has been checked"
    try:
        run(reach(load.model, silent, dry=True), request, silent)
    except NotSent as found:
        parcel = found.parcel
    if json:
        echo_json(parcel)
        return
    echo(f"to     {parcel.host}")
    echo(f"model  {parcel.model}")
    echo(f"size   {parcel.bytes} bytes, with the names of the model's parts and without weights")
    for title, text in (("source", parcel.code), ("inputs", parcel.inputs), *(("with", name) for name in parcel.names)):
        echo("")
        echo(f"{title}: {text}" if "\n" not in text else f"{title}:\n{text}")
    echo("")
    echo("nothing was sent")
