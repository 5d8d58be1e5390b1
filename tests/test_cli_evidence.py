"""Commands that write what was found: reports, tables and pictures, commands and programs."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from tests.poison import raw_in, run_in_pty
from tests.test_cli import Run, tiny, workbench
from workbench.cli import main as cli
from workbench.methods.generation.continuation import ContinueRequest
from workbench.session import load_session

__all__ = ["tiny", "workbench"]  # fixtures

ROOT = Path(__file__).parent.parent
CANBERRA = str(ROOT / "sessions" / "canberra.json")
AUSTRALIA = str(ROOT / "sessions" / "australia.json")


@pytest.mark.parametrize("ending", ["html", "md", "json"])
def test_a_report_is_written_where_it_is_said(workbench: Run, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"report.{ending}"
    done = workbench("report", CANBERRA, "-o", str(out), "--reviewer", "Somebody")
    assert (done.code, done.out) == (0, "")
    assert done.err.strip() == f"workbench: written to {out}"
    text = out.read_text(encoding="utf-8")
    assert "Somebody" in text
    assert "6532a8be" in text
    workbench("report", CANBERRA, "-o", str(out)).is_refused("is there already", "--yes")
    assert out.read_text(encoding="utf-8") == text
    assert workbench("report", CANBERRA, "-o", str(out), "--yes").code == 0
    assert "Somebody" not in out.read_text(encoding="utf-8")


def test_a_report_says_what_is_wrong_with_its_place_and_its_session(workbench: Run, tmp_path: Path) -> None:
    workbench("report", CANBERRA, "-o", str(tmp_path / "report.pdf")).is_refused("report.pdf", ".html, .md or .json")
    workbench("report", CANBERRA, "-o", str(tmp_path / "x.html"), "--model-card").is_refused("x.html", "end it in .md")
    workbench("report", str(tmp_path / "none.json"), "-o", str(tmp_path / "x.md")).is_refused("no session file")
    workbench("report", CANBERRA, "-o", str(tmp_path / "none" / "x.md")).is_refused("cannot be written")
    assert not list(tmp_path.iterdir())


def test_a_section_for_a_model_card_is_markdown(workbench: Run, tmp_path: Path) -> None:
    out = tmp_path / "card.md"
    assert workbench("report", CANBERRA, "-o", str(out), "--model-card").code == 0
    assert out.read_text(encoding="utf-8").startswith("# Known failure, intervention and evidence\n")


def test_tables_and_pictures_are_printed_or_written(workbench: Run, tmp_path: Path) -> None:
    printed = workbench("export", AUSTRALIA, "--step", "4", "--figure", "1")
    assert printed.code == 0
    assert printed.out.splitlines()[0] == "row,token,column,layer,value,text,estimated"
    out = tmp_path / "trace.svg"
    assert workbench("export", AUSTRALIA, "--step", "4", "--figure", "1", "-o", str(out)).code == 0
    assert out.read_text(encoding="utf-8").startswith("<svg ")
    assert workbench("export", AUSTRALIA, "--as", "txt", "-o", str(out), "--yes").code == 0
    assert not out.read_text(encoding="utf-8").startswith("<svg ")
    assert workbench("export", AUSTRALIA, "-o", str(tmp_path / "step.sh")).code == 0
    assert (tmp_path / "step.sh").read_text(encoding="utf-8").startswith("workbench ")
    workbench("export", AUSTRALIA, "-o", str(tmp_path / "x.pdf")).is_refused("x.pdf", ".csv", "--as")
    figures = json.loads(workbench("export", AUSTRALIA, "--as", "json").out)
    assert [figure["kind"] for figure in figures][:1] == ["heatmap"]
    workbench("export", AUSTRALIA, "--step", "4", "--as", "svg").is_refused("one picture", "--figure", "1 Causal trace")
    workbench("export", AUSTRALIA, "--step", "4", "--figure", "9").is_refused("no figure 9", "step 4 has")
    workbench("export", AUSTRALIA, "--step", "77").is_refused("no step 77", "1 to 10")


def test_a_request_in_a_session_runs_as_json(workbench: Run, tiny: Path, tmp_path: Path) -> None:
    session = tmp_path / "s.json"
    asked = {"kind": "continue", "case": {"prompt": "The capital"}, "tokens": 2}
    done = workbench("run", json.dumps(asked), "--model", str(tiny), "--session", str(session), "--json")
    assert done.code == 0, done
    (step,) = load_session(session).steps
    assert step.request == ContinueRequest.model_validate(asked)
    assert json.loads(done.out)["result"]["generated"] == step.result.model_dump(mode="json")["generated"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "it has no kind"),
        ('{"kind": "nothing"}', "there is no method 'nothing'"),
        ('{"kind": "lens", "case": {"prompt": 1}}', "case.prompt"),
        ('{"kind": "lens", "case": {"prompt": "x"}, "top_k": "a"}', "top_k"),
    ],
)
def test_what_is_no_request_is_refused(workbench: Run, text: str, why: str) -> None:
    workbench("run", text).is_refused(why)


def test_what_is_exported_is_copied_where_there_is_a_terminal(workbench: Run, tmp_path: Path) -> None:
    arguments = ["export", AUSTRALIA, "--step", "4", "--as", "command", "--copy", "-o", str(tmp_path / "again.sh")]
    assert "not copied: there is no terminal here" in workbench(*arguments).err
    code, written = run_in_pty(cli.main, [*arguments, "--yes"])
    assert code == 0
    found = re.search(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", written)
    assert found
    assert base64.b64decode(found[1]).decode() == (tmp_path / "again.sh").read_text(encoding="utf-8")
    assert not raw_in(written.replace(found[0], b"").decode())


def test_two_steps_or_two_sessions_are_compared(workbench: Run) -> None:
    shown = workbench("compare", CANBERRA, "--steps", "1", "3")
    assert shown.code == 0
    assert "155 cells compared: the largest difference is" in shown.out
    both = workbench("compare", CANBERRA, AUSTRALIA, "--json")
    assert {figure["kind"] for figure in json.loads(both.out)} >= {"heatmap", "lines"}
    workbench("compare", CANBERRA).is_refused("--steps")
    workbench("compare", CANBERRA, "--steps", "1", "2").is_refused("only steps of one kind")
    workbench("compare", CANBERRA, "--steps", "1", "99").is_refused("no step 99")
