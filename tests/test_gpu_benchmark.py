"""The script that measures on a GPU runs, in small, on what there is."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import gpu


def test_the_script_for_a_gpu_runs_in_small_and_its_numbers_agree(tmp_path: Path) -> None:
    found = gpu.main(["--small", f"--json={tmp_path / 'found.json'}"])
    agreement = next(value for name, value in found.items() if name.endswith("against CPU"))
    assert "undone to the bit" in agreement
    assert "NOT" not in agreement
    assert any("×" in value for value in found.values())
    kept = json.loads((tmp_path / "found.json").read_text())
    assert {name: kept[name] for name in found} == found
