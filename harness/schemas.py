# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks documents against harness/schema/*.schema.json and says in one line what does not fit."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from harness.errors import ResultsError

FOLDER = Path(__file__).parent / "schema"


def check(kind: str, document: Any, *, path: Path, line: int | None = None, hint: str = "") -> None:
    """Raise ResultsError when the document is not a valid one of its kind (record, plan, run, observation, …)."""
    error = best_match(_validator(kind).iter_errors(document))
    if error is not None:
        raise ResultsError(f"not a valid {kind}: {_in_words(error)}", path=path, line=line, hint=hint)


def check_values(kind: str, values: Any, *, path: Path, line: int, hint: str) -> None:
    """The values of an observation of this kind, where schema/values.KIND.schema.json says what they are."""
    if (FOLDER / f"values.{kind}.schema.json").is_file():
        check(f"values.{kind}", values, path=path, line=line, hint=hint)


def load(kind: str) -> Any:
    return json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))


@cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(load(f"{kind}.schema"))


def _in_words(error: ValidationError) -> str:
    # JSON path without the leading "$.", e.g. values.clock.name
    place = error.json_path.removeprefix("$").removeprefix(".")
    text = error.message if len(error.message) <= 200 else error.message[:197] + "..."
    return f"{place}: {text}" if place else text
