"""The JSON schemas are those of the models, and the files under config/ fit them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from nunatak.config import schemas

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.mark.parametrize("name", ["config", "recipe", "sources"])
def test_schemas_have_not_drifted(name: str) -> None:
    kept = json.loads((CONFIG / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert kept == json.loads(json.dumps(schemas()[name])), "run `make generate`"


FILES = [
    *((path, "config") for path in CONFIG.glob("*.yaml") if path.name != "sources.yaml"),
    *((path, "recipe") for path in CONFIG.glob("recipes/*.yaml")),
    (CONFIG / "sources.yaml", "sources"),
]


@pytest.mark.parametrize(("path", "kind"), FILES, ids=[str(f[0].name) for f in FILES])
def test_files_fit_their_schema(path: Path, kind: str) -> None:
    schema = json.loads((CONFIG / "schema" / f"{kind}.schema.json").read_text(encoding="utf-8"))
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    # To JSON, and so to a schema, a date is a text.
    jsonschema.validate(json.loads(json.dumps(content, default=str)), schema)
