"""The schema of a session file has the settings and the details of every editor."""

from __future__ import annotations

import json

from workbench.editing.editors import EDITORS, editor
from workbench.session import Session


def test_a_request_and_a_result_have_one_shape_for_each_editor() -> None:
    every = Session.model_json_schema()["$defs"]
    for kind, field in (("EditRequest", "settings"), ("FactsEditRequest", "settings"), ("EditResult", "details")):
        text = json.dumps([every[kind]["properties"][field], every])
        for each in map(editor, EDITORS):
            model = getattr(each, field)
            assert f'"title": "{model.__name__}"' in text, (kind, each.name)
            assert all(f'"{name}": {{' in text for name in model.model_fields)
    assert all(shape.get("properties") != {} for shape in every["EditRequest"]["properties"]["settings"]["anyOf"])
