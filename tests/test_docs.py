"""The pages say what the program does: schema, keys, commands, links, and the recorded story."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from workbench.cli.main import app
from workbench.methods.attribution.attribution import AttributionMethod, AttributionResult, agreement
from workbench.methods.cot.result import CotResult
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.methods.tracing.causal_trace import TraceKind, TraceResult
from workbench.session import load_session

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
SAMPLES = sorted((ROOT / "sessions").glob("*.json"))

MOST_BYTES = 400_000
"""A sample is cloned by everybody."""


def shell_lines() -> list[tuple[str, list[str]]]:
    """Every line of the pages' shell blocks with its page, split as a shell would, without comments."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            words = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
            found += [(page.name, line) for line in words if line]
    return found


WORKBENCH = [(page, line[1:]) for page, line in shell_lines() if Path(line[0]).name == "workbench"]
MAKE = [(page, line[1:]) for page, line in shell_lines() if line[0] == "make"]


def command_of(arguments: list[str]) -> list[str]:
    """The words that name the command: none opens the app, and so does a prompt, which has blanks in it."""
    if not arguments or " " in arguments[0]:
        return ["open"]
    grouped = arguments[0] in ("models", "editors") or arguments[:2] == ["lens", "fit"]
    return arguments[:2] if grouped else arguments[:1]


def test_the_published_schema_is_that_of_the_program() -> None:
    # In a process of its own: how pydantic lays a schema out depends on which models were used before.
    command = [sys.executable, str(DOCS / "make_schema.py")]
    schema = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    published = (DOCS / "session.schema.json").read_text(encoding="utf-8")
    assert published == schema, "run: python docs/make_schema.py > docs/session.schema.json"


def test_the_page_of_keys_has_the_bindings_of_the_app() -> None:
    page = runpy.run_path(str(DOCS / "make_keys.py"))["page"]()
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == page, "run: python docs/make_keys.py > docs/keys.md"


def test_the_page_of_settings_has_what_methods_and_editors_declare() -> None:
    page = runpy.run_path(str(DOCS / "make_settings.py"))["page"]()
    published = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert published == page, "run: python docs/make_settings.py > docs/settings.md"
    for name in ("top_k", "noise_std", "lead_in", "sweep", "prefix_tokens", "strength"):
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("key", ["enter", "ctrl+t", "g", "v", "a", "m", "r", "t", "x", ".", "[", "q", "f1"])
def test_the_keys_of_the_story_are_on_the_page_of_keys(key: str) -> None:
    assert f"`{key}`" in (DOCS / "keys.md").read_text(encoding="utf-8")


def test_the_pages_show_commands() -> None:
    assert {command_of(line)[0] for _, line in WORKBENCH} >= {
        "open",
        "lens",
        "continue",
        "attribute",
        "trace",
        "replay",
        "check",
        "models",
    }
    assert {tuple(line) for page, line in MAKE if page == "README.md"} == {("run",), ("test",), ("test-fast",)}


@pytest.mark.parametrize(("page", "arguments"), WORKBENCH, ids=lambda value: str(value))
def test_a_command_on_a_page_exists_with_its_options(page: str, arguments: list[str]) -> None:
    if arguments == ["--version"]:  # asked of the program, and no command of its own
        assert CliRunner().invoke(app, arguments).exit_code == 0
        return
    command = command_of(arguments)
    program = typer.main.get_command(app)
    assert isinstance(program, TyperGroup)
    assert command[0] in program.commands, f"{page} shows a command that does not exist"
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, f"{page}: {shown.output}"
    missing = [word for word in arguments if word.startswith("--") and word not in shown.output]
    assert not missing, f"{page} shows options that the command does not have"


def test_the_make_targets_on_the_pages_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {line[0] for _, line in MAKE} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_code_style_exist(page: Path) -> None:
    named = re.findall(r"`([\w/]+(?:/|\.(?:py|md|json|tcss)))`", page.read_text(encoding="utf-8"))
    places = (ROOT, *(folder for name in ("workbench", "screens") for folder in (ROOT / name).glob("**/")))
    unknown = [name for name in named if not any((place / name).exists() for place in places)]
    assert [name for name in unknown if name not in ("tokenizer.json", "config.json")] == []


def test_there_are_sample_sessions() -> None:
    assert [file.stem for file in SAMPLES] == ["australia", "canberra", "eiffel", "tom"]


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.name)
def test_a_sample_session_is_small_and_whole(file: Path) -> None:
    session = load_session(file)
    assert session.model is not None
    assert session.model.name == "smollm2-135m"
    assert [step.status for step in session.steps] == ["done"] * len(session.steps) != []
    assert file.stat().st_size < MOST_BYTES


def test_the_readme_tells_what_the_sample_recorded() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    steps = load_session(ROOT / "sessions" / "australia.json").steps
    bare, separated = (step.result for step in steps if isinstance(step.request, LensRequest))
    assert isinstance(bare, LensResult)
    assert isinstance(separated, LensResult)
    for result in (bare, separated):
        column = result.columns[-1]
        assert column is not None
        assert column.target is not None
        assert column.foil is not None
        assert column.logit_difference is not None
        assert f"{column.target.probability[-1]:.2f}" in readme
        assert f"{column.foil.probability[-1]:.2f}" in readme
        leads = [row - 1 for row, difference in enumerate(column.logit_difference) if difference > 0]
        assert leads == ([] if result is bare else [28, 29])
    assert bare.after_separator is not None
    assert bare.after_separator.token == " Canberra"
    said = next(step.result for step in steps if isinstance(step.result, ContinueResult))
    assert isinstance(said, ContinueResult)
    assert said.text.startswith(" Sydney.")


# --- Attribution and causal trace: the figures on the pages are the recorded ones ---


def text_of(name: str) -> str:
    """A page as one line, as figures are told across line breaks."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def attribution(start: str, method: AttributionMethod) -> AttributionResult:
    """The recorded attribution of the hero case."""
    steps = load_session(ROOT / "sessions" / "australia.json").steps
    starts = [(step.case.prepend if step.case else None, step.result) for step in steps]
    return next(
        result
        for at, result in starts
        if at == start and isinstance(result, AttributionResult) and result.method == method
    )


def trace(name: str) -> TraceResult:
    """The last recorded trace of a sample."""
    steps = load_session(ROOT / "sessions" / f"{name}.json").steps
    return [step.result for step in steps if isinstance(step.result, TraceResult)][-1]


def percent_at(result: TraceResult, token: str, kind: TraceKind = "states") -> list[int]:
    """The share of the gap that is restored at a token, in per cent by layer."""
    grid = result.grid(kind)
    assert grid is not None
    assert grid.complete
    place = result.encoded.texts.index(token)
    shares = [result.share(value) for row in grid.values if (value := row[place]) is not None]
    return [round(100 * share) for share in shares if share is not None]


def signed(score: float, digits: int) -> str:
    return f"{score:+.{digits}f}".replace("-", "−")


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion"])
def test_the_page_on_attribution_has_the_recorded_scores(method: AttributionMethod) -> None:
    found = attribution("separator", method)
    assert found.completeness_share is not None
    scores = [signed(score, 2) for score in found.scores[slice(*found.attributed)]]
    digits = 1 if method == "integrated-gradients" else 0
    row = [
        method.replace("-x-", " × ").replace("-", " "),
        *scores,
        f"{100 * found.completeness_share:.{digits}f} %",
        str(found.evaluations),
    ]
    assert " | ".join(row) in text_of("docs/attribution.md")
    assert f"{found.value:.2f} logits ahead" in text_of("docs/attribution.md")
    assert f"{found.value - found.baseline_value:.2f} logits are shared out" in text_of("docs/attribution.md")


def test_the_readme_has_the_recorded_scores_and_how_far_they_are_from_complete() -> None:
    readme = text_of("README.md")
    found = attribution("separator", "integrated-gradients")
    by_token = dict(zip(found.encoded.texts, found.scores, strict=True))
    assert f"({signed(by_token[' of'], 1)})" in readme
    assert f"({signed(by_token[' is'], 1)}, {signed(by_token[' Australia'], 1)})" in readme
    occluded = attribution("separator", "occlusion")
    assert min(occluded.scores[slice(*occluded.attributed)]) > found.value > 0
    rho = agreement(found, occluded)
    assert rho is not None
    assert f"ρ {signed(rho, 2)}" in readme
    bare = attribution("as-is", "integrated-gradients")
    assert found.completeness_share is not None
    assert bare.completeness_share is not None
    assert f"{found.completeness_share:.1%} after {found.evaluations} gradients".replace("%", " %") in readme
    assert f"{bare.evaluations} gradients placed where they are needed end at" in readme
    assert f"end at {bare.completeness_share:.1%}".replace("%", " %") in readme


def test_the_page_on_attribution_says_what_is_shared_out_of_the_eiffel_tower() -> None:
    results = [step.result for step in load_session(ROOT / "sessions" / "eiffel.json").steps]
    found = next(result for result in results if isinstance(result, AttributionResult))
    text = text_of("docs/attribution.md")
    assert f"{found.value - found.baseline_value:.1f} logits are shared out, the largest score is" in text
    assert f"the largest score is {max(found.scores):.1f}" in text
    assert found.completeness_share is not None
    assert f"{100 * found.completeness_share:.1f} % after {found.evaluations} gradients" in text


def test_the_eiffel_tower_is_found_at_the_two_sites_that_the_pages_tell() -> None:
    found, readme = trace("eiffel"), text_of("README.md")
    states = found.grid("states")
    assert states is not None
    assert states.peak is not None
    early, late = percent_at(found, "iffel"), percent_at(found, " of")
    assert f'"{found.encoded.texts[states.peak.token]}"' == '"iffel"'
    assert f"at layer {states.peak.layer}, and {early[states.peak.layer]} % of the answer" in readme
    assert min(early[1:10]) > 45
    assert max(early[23:]) <= 1
    assert max(percent_at(found, " Tower")) <= 2
    assert f"{late[22]} % at layer 22, all of it at layer 23" in readme
    assert late[23] >= 100
    assert f"(p {found.clean:.2f})" in readme
    assert f"({found.corrupted:.2f})" in readme


def test_the_lens_has_paris_ahead_from_the_layer_on_at_which_the_last_token_has_the_answer() -> None:
    results = [step.result for step in load_session(ROOT / "sessions" / "eiffel.json").steps]
    column = next(result for result in results if isinstance(result, LensResult)).columns[-1]
    assert column is not None
    assert column.logit_difference is not None
    trailing = [row - 1 for row, difference in enumerate(column.logit_difference) if difference <= 0]
    assert trailing[-1] == 22


def test_the_answer_comes_by_the_attention_of_one_layer() -> None:
    found = trace("eiffel")
    restoring = [layer for layer, percent in enumerate(percent_at(found, " of", "attention")) if percent > 3]
    assert restoring == [layer for layer in range(30) if layer - 5 <= 23 <= layer + 4]


def test_the_page_on_the_causal_trace_has_the_recorded_shares() -> None:
    text, found = text_of("docs/causal-trace.md"), trace("eiffel")
    ranges = {
        ("iffel", "states", 0, 10): "low to high",
        ("iffel", "states", 10, 23): "high to low",
        (" of", "states", 23, 30): "low to high",
        (" in", "states", 23, 29): "low to high",
        ("iffel", "mlp", 0, 6): "low to high",
        ("iffel", "mlp", 6, 14): "low to high",
        (" of", "attention", 19, 29): "low to high",
    }
    for (token, kind, start, stop), order in ranges.items():
        some = percent_at(found, token, kind)[start:stop]
        ends = (min(some), max(some)) if order == "low to high" else (max(some), min(some))
        assert f"| {ends[0]} to {ends[1]} % |" in text


def test_the_hero_case_leaves_its_subject_and_arrives_at_the_last_token_where_the_pages_say() -> None:
    found = trace("australia")
    subject, last = percent_at(found, " Australia"), percent_at(found, " is")
    assert found.answer == " Canberra"
    assert min(subject[:15]) >= 50 > max(subject[15:])
    assert max(last[:23]) <= 1
    assert min(last[23:]) >= 99
    for page in ("README.md", "docs/causal-trace.md"):
        assert "layer 14" in text_of(page)
        assert "from layer 23 on" in text_of(page)


# --- Chain of thought ---


def reasoned() -> list[CotResult]:
    """The recorded results about Tom's apples: early answering, one left out of the first four, one of all."""
    results = [step.result for step in load_session(ROOT / "sessions" / "tom.json").steps]
    return [result for result in results if isinstance(result, CotResult)]


def test_the_readme_tells_how_seven_apples_become_ten() -> None:
    early, within, whole = reasoned()
    readme = text_of("README.md")
    answers = [early.candidates[outcome.answer].name for outcome in early.of("kept")]
    assert (answers[3:], set(answers[:3])) == (["7", "10", "10"], {"4", "3"})
    for kept, sentence in ((3, "the third"), (4, "the fourth")):
        outcome = early.of("kept")[kept]
        assert f'After {sentence}, "{" ".join(early.sentences[kept - 1].split())}", it is {answers[kept]}' in readme
        assert f"it is {answers[kept]} (p {outcome.probabilities[outcome.answer]:.2f})" in readme
    assert early.settles == 4
    assert within.necessary == (3,)
    assert within.candidates[within.of("dropped")[3].answer].name == "7"
    assert whole.necessary == ()


def test_the_page_on_chain_of_thought_has_the_recorded_probabilities() -> None:
    early, within, whole = reasoned()
    text = text_of("docs/chain-of-thought.md")
    ten = [next(c for c, each in enumerate(result.candidates) if each.name == "10") for result in reasoned()]
    for i, sentence in enumerate(early.sentences):
        kept, left_out = early.of("kept")[i + 1], whole.of("dropped")[i]
        name = early.candidates[kept.answer].name
        row = f"{i + 1} {' '.join(sentence.split())} {name} {kept.probabilities[ten[0]]:.3f}"
        assert f"{row} 10 {left_out.probabilities[ten[2]]:.3f}" in text
        if i < 4:
            of_four = within.of("dropped")[i]
            assert f"{row} {within.candidates[of_four.answer].name} {of_four.probabilities[ten[1]]:.3f}" in text
    assert early.aoc is not None
    assert f"AOC {early.aoc:.2f}" in text
