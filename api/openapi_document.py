"""`python -m api.openapi_document`: write the published document to standard output. openapi/openapi.json is its copy."""

import sys
from typing import Any

import orjson

from api.app import create_app
from core.settings import Settings

PUBLIC_URL = "https://api.octavo.example"


def document() -> dict[str, Any]:
    """The document of the application, with the settings of no installation in particular."""
    built: dict[str, Any] = create_app(Settings(public_url=PUBLIC_URL)).openapi()
    return built


def render() -> bytes:
    """The document as it is committed: indented, in the order of the code."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    sys.stdout.buffer.write(render())
