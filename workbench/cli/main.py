"""The command line: the same requests and engine as the app, results on stdout and the rest on stderr.

Exit codes: 0 done, 1 a check failed, 2 bad usage or input, 130 cancelled (by ctrl+c, terminate or hang-up).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.case import Case
from workbench.cli import output
from workbench.cli.asking import CHECK_FAILED, Plan, asks, asks_method
from workbench.cli.common_options import Apply, ModelName, NoMouse, SessionPath
from workbench.cli.editors import editors_app
from workbench.cli.evidence import COMMANDS, recorded
from workbench.cli.lenses import lens_app
from workbench.cli.measure import measure
from workbench.cli.models import models
from workbench.cli.opening import commands
from workbench.cli.options import Typed, only_of
from workbench.cli.running import need_terminal, run
from workbench.cli.spreading import OnRay, ShardOption, Workers, collect, spread
from workbench.cli.transcripts import transcript
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editors
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.editing.fix import FixRequest
from workbench.editing.fix_cases import FixCasesRequest
from workbench.editing.steer_sweep import SteerSweepRequest
from workbench.errors import InputError
from workbench.events import LoadRequest
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.heads.controls import ControlPrompt
from workbench.methods.heads.knock_out import KnockoutRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.methods.tracing.facts import FactsTraceRequest, read_facts
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import Request
from workbench.registry import methods
from workbench.settings import filled

SAVE_PATCH = "Save the edits as a patch: a file, which ends in .safetensors."
REPLACE = "Replace a patch that is there."


def _names(of: Literal["fact", "concept"]) -> str:
    return f"[{'|'.join(each.name for each in editors(of))}]"


app = commands()
app.add_typer(lens_app, name="lens")
models.command("measure")(measure)
app.add_typer(models, name="models")
app.add_typer(editors_app, name="editors")


@app.command()
def replay(
    file: Annotated[
        Path,
        typer.Argument(help="A session file, or a shipped one: australia, canberra, eiffel, tom.", show_default=False),
    ],
    mouse: NoMouse = True,
) -> None:
    """View a recorded session. Needs no model and opens at once."""
    session = recorded(file)
    if not session.steps:
        raise InputError(f"the session {file} has no steps to show")
    need_terminal(f"workbench check {file}")
    from screens.replay import ReplayApp

    ReplayApp(session, file, mouse).start()


@app.command()
def serve(
    session: SessionPath = None,
    model: ModelName = DEFAULT_MODEL,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="And the port.")] = 8000,
    remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen at an address that other machines reach, unencrypted.")
    ] = False,
) -> None:
    """Serve the app to a browser on this machine, behind a token; ssh -L 8000:127.0.0.1:8000 brings it to yours."""
    from workbench.cli.serve import serve as run

    run(host, port, [*(["--session", str(session.absolute())] if session else []), "--model", model], remote)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A session file.", show_default=False)],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Another model than the recorded one.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference of two numbers that passes.")] = 1e-3,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Run every step of a session again and compare the results; exit code 1 where they drifted."""
    from workbench.checking import check_session
    from workbench.cli.check_report import print_check
    from workbench.cli.waiting import WaitingEngine

    session = recorded(file)
    made_with = session.model
    if made_with is None:
        raise InputError(f"the session {file} has nothing to check: no step of it was made with a model")
    with WaitingEngine(LoadRequest(model=model or made_with.name, dtype=made_with.dtype)) as engine:
        report = check_session(session, engine.model, engine.answer, tolerance)
    if json:
        output.echo_json(report)
    else:
        print_check(report)
    if not report.passed:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def doctor() -> None:
    """Say what this machine and terminal have, and what to set: devices, memory, folders, colours, clipboard."""
    from workbench.cli.doctor import print_doctor

    print_doctor()


@app.command()
@asks(AttributionRequest)
def attribute(case: Case, typed: Typed) -> Request:
    """Print which tokens pull towards the target, and which towards the foil."""
    return filled(AttributionRequest, typed, case=case)


@app.command()
@asks(TraceRequest)
def trace(
    case: Case,
    typed: Typed,
    facts: Annotated[
        Path | None, typer.Option(help="Average over the facts of this file (JSON lines), by role of the token.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only so many of the facts.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Begin even if it takes hours.")] = False,
    shard: ShardOption = None,
    workers: Workers = None,
    ray: OnRay = None,
) -> Plan:
    """Print which states carry the fact: the causal trace of a prompt, or the average over many facts."""
    if facts is None:
        return spread(Plan(filled(TraceRequest, typed, case=case, confirmed=yes)), shard, workers, ray)
    if case.prompt or case.subject or typed["replacement"] or typed["read"] or typed["answer"]:
        raise InputError("--facts brings prompts, subjects and answers of its own: leave yours out")
    given = {"facts": read_facts(facts)[:limit], "prepend": case.prepend, "confirmed": yes}
    request = filled(FactsTraceRequest, only_of(FactsTraceRequest, typed, "a trace of facts"), **given)
    return spread(Plan(request), shard, workers, ray)


@app.command()
@asks(KnockoutRequest)
def knockout(
    case: Case,
    typed: Typed,
    control: Annotated[
        list[str] | None, typer.Option(help="A prompt whose answer must stay what it is; give as many as you like.")
    ] = None,
) -> Request:
    """Print what becomes of the answer without a head, an edge of attention, or some of them together."""
    controls = tuple(ControlPrompt(prompt=prompt) for prompt in control or ())
    return filled(KnockoutRequest, typed, case=case, controls=controls)


@app.command()
@asks(EditRequest, chosen={each.name: each.settings for each in editors("fact")})
def edit(
    case: Case,
    typed: Typed,
    by: Annotated[str, typer.Option("--editor", help="What makes the edit.", metavar=_names("fact"))] = "rome",
    suite: Annotated[Path | None, typer.Option(help="A regression suite, instead of one of the shipped facts.")] = None,
    save: Annotated[Path | None, typer.Option(help=SAVE_PATCH)] = None,
    save_model: Annotated[Path | None, typer.Option(help="Save the whole edited model into this folder.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help=REPLACE)] = False,
    apply: Apply = None,
    together: Annotated[
        Path | None, typer.Option("--with", help="Write the facts of this file of records in the same edit.")
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="Edit each record of this file by itself, and print the scores.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only so many of the records.")] = None,
    sequence: Annotated[bool, typer.Option("--sequence", help="Keep every record's edit: how many are borne?")] = False,
    batch: Annotated[int | None, typer.Option(help="Edit so many records together, and keep each batch.")] = None,
    several: Annotated[
        str | None, typer.Option("--editors", help="Edit the records by each of these, or all, and compare them.")
    ] = None,
    require_score: Annotated[
        float | None, typer.Option(help="Exit with 1 where the harmonic score, 0 … 100, is lower.")
    ] = None,
    shard: ShardOption = None,
    workers: Workers = None,
    ray: OnRay = None,
    session: SessionPath = None,
) -> Plan:
    """Rewrite a fact in the weights, and say what else that changed; or measure that over many records."""
    from workbench.cli import edit_plans

    if facts is not None:
        own = (case.prompt, case.subject, case.target, typed["sweep"], suite, save, save_model, apply, together)
        if any(own):
            raise InputError("--facts brings prompts, subjects, targets and suites of its own: leave yours out")
        chosen = edit_plans.chosen_editors(by, several, typed)
        plan = edit_plans.facts_plan(facts, limit, require_score, chosen, sequence=sequence, batch=batch)
        return spread(plan, shard, workers, ray)
    if several or sequence or batch is not None or limit is not None:
        raise InputError("--editors, --sequence, --batch and --limit are for records of edits; name a file by --facts")
    settings = edit_plans.settings_of(by, "fact", typed)
    after = edit_plans.saving(save, save_model, yes)
    request = None
    if case.target or together or not apply:
        others = edit_plans.other_records(by, together)
        attached = edit_plans.attached_suite(suite)
        given = {"editor": by, "case": case, "others": others, "settings": settings, "suite": attached}
        request = edit_plans.with_traced_layer(filled(EditRequest, typed, **given), session)
    return spread(edit_plans.edit_plan(case, request, apply, after, require_score), shard, workers, ray)


@app.command()
@asks(FixRequest)
def fix(
    case: Case,
    typed: Typed,
    cases: Annotated[
        Path | None,
        typer.Option(help="Mend all failures of this file of records, and print the same table for all of them."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only so many of the records.")] = None,
) -> Request:
    """Try fixes of a failure, prompt, context, weights or steering, test all by one suite, and recommend one."""
    from workbench.cli import edit_plans

    if cases is not None:
        if case != Case(prompt=""):
            raise InputError("--cases brings prompts, subjects, targets and starts of its own: leave yours out")
        return filled(FixCasesRequest, typed, records=edit_plans.records_of(cases, limit))
    if limit is not None:
        raise InputError("--limit is for records of failures; name a file by --cases")
    return filled(FixRequest, typed, case=case)


@app.command()
@asks(CotRequest)
def cot(
    case: Case,
    typed: Typed,
    choices: Annotated[str | None, typer.Option(help="The answers to choose from, between semicolons.")] = None,
    reasoning: Annotated[Path | None, typer.Option(help="A text file with the reasoning.")] = None,
    within: Annotated[int | None, typer.Option(help="Leave one out of the first so many sentences.")] = None,
    filler: Annotated[bool, typer.Option("--filler", help="Replace the reasoning by dots.")] = False,
    mistake: Annotated[
        list[str] | None, typer.Option(help="A sentence to spoil: 2 (its number, from 1), or 2=Another sentence.")
    ] = None,
    paraphrase: Annotated[
        list[str] | None, typer.Option(help="A sentence to reword: 2 (the model does), or 2=Another sentence.")
    ] = None,
    cue: Annotated[str | None, typer.Option(help="Suggest this answer in the question, or any wrong one.")] = None,
    position: Annotated[bool, typer.Option("--position", help="Suggest its place, not an opinion.")] = False,
    questions: Annotated[
        str | None, typer.Option(help="Ask many: a file of JSON lines, or all, arithmetic, common-sense …")
    ] = None,
    hints: Annotated[
        str | None, typer.Option(help="Hint at wrong answers in these ways: all, or names such as metadata,position.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Draw only so many questions of each task.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Of many: early answers alone, no sentence left out.")] = False,
    shard: ShardOption = None,
    workers: Workers = None,
    ray: OnRay = None,
) -> Plan:
    """Print how far the answer to a question depends on the model's reasoning, for one question or for many."""
    from workbench.cli import question_plans as questioning

    questioning.check_case(case)
    if questions is not None:
        own = (case.prompt, choices, typed["answer"], reasoning, within, filler, mistake, paraphrase, position)
        if any(own) or cue not in (None, questioning.ANY):
            raise InputError("--questions brings questions, choices and answers of its own: leave yours out")
        if hints is not None and quick:
            raise InputError("--hints leaves no sentence out in any case: leave --quick out")
        if hints is not None:
            request: Request = questioning.hinted_questions(questions, hints, limit, typed)
        else:
            request = questioning.many_questions(questions, limit, typed, quick)
        return spread(Plan(request), shard, workers, ray)
    if hints is not None:
        raise InputError("--hints is for --questions; for one question suggest an answer by --cue")
    if limit is not None or quick:
        option = "--quick" if quick else "--limit"
        raise InputError(f"{option} is for --questions: leave it out, or name some")
    asked = questioning.interventions(within, filler, mistake or (), paraphrase or (), cue, position)
    plan = Plan(questioning.one_question(case.prompt, choices, reasoning, asked, typed))
    return spread(plan, shard, workers, ray)


@app.command()
@asks(chosen={each.name: each.settings for each in editors("concept")})
def erase(
    case: Case,
    typed: Typed,
    prompt: Annotated[
        str,
        typer.Argument(metavar="[DATA]", help="A file of texts and labels: .csv, .tsv or .jsonl.", show_default=False),
    ] = "",
    by: Annotated[str, typer.Option("--editor", help="What makes the edit.", metavar=_names("concept"))] = "leace",
    watch: Annotated[str | None, typer.Option("--prompt", help="A prompt to watch, with --target and --foil.")] = None,
    save: Annotated[Path | None, typer.Option(help=SAVE_PATCH)] = None,
    yes: Annotated[bool, typer.Option("--yes", help=REPLACE)] = False,
) -> Plan:
    """Erase a concept from the states, or steer along it, and say what can still be read."""
    from workbench.cli import edit_plans

    if not watch and (case.subject or case.target or case.foil):
        raise InputError("--subject, --target and --foil are about a prompt that is watched; give it by --prompt")
    typed = {**typed, "data": typed["data"] or prompt or None}
    settings = edit_plans.concept_settings(by, typed, case.prepend)
    watched = case.asking(watch) if watch else None
    request = EditRequest(editor=by, case=watched, settings=settings, test=False)
    return Plan(request, after=edit_plans.saving(save, yes=yes))


@app.command()
@asks(chosen={"one": ContrastSettings, "--sweep": SteerSweepRequest})
def steer(
    case: Case,
    typed: Typed,
    prompt: Annotated[
        str,
        typer.Argument(metavar="[SET]", help="A shipped set of contrast pairs, or a file (.json).", show_default=False),
    ] = "",
    sweep: Annotated[bool, typer.Option("--sweep", help="Try several strengths; no edit is made.")] = False,
    save: Annotated[Path | None, typer.Option(help=SAVE_PATCH)] = None,
    gguf: Annotated[
        Path | None, typer.Option(help="Save a control vector for llama.cpp: a file, which ends in .gguf.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Replace a patch or a control vector that is there.")] = False,
) -> Plan:
    """Steer behaviour along a direction read from contrast pairs, and say what that does and what it costs."""
    from workbench.cli import edit_plans

    if case != Case(prompt=prompt):
        raise InputError(
            "steering takes no --subject, --target, --foil, --prepend or --chat; it brings its own prompts"
        )
    typed = {**typed, "contrast": typed["contrast"] or prompt or None}
    if sweep:
        if save or gguf:
            raise InputError("--sweep makes no edit to save; leave --save and --gguf out, or name one --strength")
        return Plan(edit_plans.sweep_request(typed))
    return Plan(edit_plans.steer_request(typed), after=edit_plans.saving(save, yes=yes, vector=gguf))


for _command in (*COMMANDS, collect, transcript):
    app.command()(_command)

_HAVE = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
for _method in methods():
    if _method.help and _method.kind not in _HAVE:
        app.command(_method.kind)(asks_method(_method))


def main() -> None:
    """The console script, with all commands."""
    run(app)


if __name__ == "__main__":
    main()
