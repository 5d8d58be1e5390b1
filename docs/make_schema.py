"""Print the JSON schema of a session file: ``python docs/make_schema.py > docs/session.schema.json``.

It follows from the pydantic model, and so from the registry of methods: another method is another request and
result in it.
"""

from __future__ import annotations

import json

from workbench.session import Session


def schema() -> str:
    """The schema as JSON text, with a line break at its end."""
    header = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**header, **Session.model_json_schema()}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema(), end="")
