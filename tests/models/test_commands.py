"""The command line's ``models``: results on stdout, progress on stderr."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from tests.tiny import save_tiny
from workbench.cli.models import models
from workbench.models.store import catalog

runner = CliRunner()


def test_the_list_names_the_default_model_and_what_it_takes_to_fetch_it() -> None:
    said = runner.invoke(models, ["list"], env={"COLUMNS": "140"})
    assert said.exit_code == 0
    first, second = (line.split("  ") for line in said.stdout.splitlines()[1:3])
    assert [cell.strip() for cell in first if cell][:5] == [
        "smollm2-135m",
        "not fetched",
        "135 M",
        "93 MB to fetch",
        "Apache-2.0",
    ]
    assert [cell.strip() for cell in second if cell][3:5] == ["238 MB to fetch", "Gemma terms of use"]


def test_the_list_as_json_is_the_list_and_nothing_else() -> None:
    said = runner.invoke(models, ["list", "--json"])
    listed = [(model["name"], model["state"]) for model in json.loads(said.stdout)]
    assert listed == [("smollm2-135m", "not fetched"), ("gemma3-270m", "not fetched")]


def test_a_directory_is_added_and_then_described(tmp_path: Path) -> None:
    folder = save_tiny("gpt2", tmp_path / "original")
    added = runner.invoke(models, ["add", str(folder), "--name", "little"])
    assert (added.exit_code, added.stdout) == (0, "little\n")
    said = runner.invoke(models, ["info", "little"]).stdout
    facts = dict(line.split(None, 1) for line in said.splitlines())
    assert facts["architecture"] == "GPT2LMHeadModel"
    assert (facts["layers"], facts["hidden"], facts["context"], facts["path"]) == ("3", "16", "64", str(folder))
    as_json = json.loads(runner.invoke(models, ["info", "little", "--json"]).stdout)
    assert (as_json["d_model"], as_json["chat_template"], as_json["state"]) == (16, False, "added")


def test_pulling_what_is_here_prints_its_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = save_tiny("gpt2", tmp_path / "original")
    catalog.add(folder, "little")
    said = runner.invoke(models, ["pull", "little"])
    assert (said.exit_code, said.stdout, said.stderr) == (0, f"{folder}\n", "")


def test_progress_goes_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "letter.gguf").write_text("Dear model")
    said = runner.invoke(models, ["add", str(tmp_path / "letter.gguf")])
    assert said.stdout == ""
    assert "checking letter.gguf" in said.stderr
    assert "is not a GGUF file" in str(said.exception)
