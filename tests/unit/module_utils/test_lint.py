# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule finds its failing example and nothing in the mended one; the pages that people read manifests from."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible.module_utils.nightbench import lint_document, lint_main
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.lint import RULES, lint
from ansible.module_utils.nightbench.lint_confirm import Answer
from ansible.module_utils.nightbench.lint_document import Document, in_words, read
from ansible.module_utils.nightbench.lint_output import as_sarif

from tests.fakes.lint_examples import EXAMPLES, Manifest

TABLE = {rule.name: rule for rule in RULES}


def found(manifests: list[Manifest]) -> list[str]:
    return [one.rule for one in lint([lint_document.of_object(n, body) for n, body in enumerate(manifests)])]


def test_every_rule_has_its_examples_and_is_tied_to_one_thing_that_shows_it() -> None:
    assert sorted(EXAMPLES) == sorted(TABLE)
    assert len(TABLE) == len(RULES) >= 25
    assert [rule.name for rule in RULES if bool(rule.refused) == bool(rule.shown)] == []


@pytest.mark.parametrize("rule", sorted(EXAMPLES))
def test_a_rule_finds_what_fails_and_nothing_in_what_is_mended(rule: str) -> None:
    assert found(EXAMPLES[rule].fails).count(rule) == 1
    assert rule not in found(EXAMPLES[rule].passes)


@pytest.mark.parametrize("rule", sorted(EXAMPLES))
def test_mending_one_thing_breaks_no_other(rule: str) -> None:
    assert set(found(EXAMPLES[rule].passes)) <= set(found(EXAMPLES[rule].fails)) - {rule}


TRAINING = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: distributed-training
spec:
  parallelism: 8
  template:
    spec:
      containers:
      - name: trainer
        image: pytorch/pytorch:latest
        resources:
          limits:
            nvidia.com/gpu: 1
            memory: 32Gi
        volumeMounts:
        - {name: dataset, mountPath: /data}
      volumes:
      - name: dataset
        persistentVolumeClaim:
          claimName: dataset
"""


def test_a_published_training_job_is_explained_in_full_with_the_line_of_each_field() -> None:
    places = [(one.line, one.severity, one.rule, one.field) for one in lint(read("training.yml", TRAINING))]
    container, pod = "spec.template.spec.containers[0]", "spec.template.spec"
    assert places == [
        (5, "warning", "job-disruptions", "spec.backoffLimit"),
        (5, "warning", "job-time-to-live", "spec.ttlSecondsAfterFinished"),
        (6, "error", "job-completions", "spec.parallelism"),
        (6, "warning", "job-gang", "spec.parallelism"),
        (8, "warning", "job-checkpoint-on-termination", f"{pod}.terminationGracePeriodSeconds"),
        (8, "error", "job-restart-policy", f"{pod}.restartPolicy"),
        (11, "warning", "image-tag", f"{container}.image"),
        (21, "warning", "claim", f"{pod}.volumes[0].persistentVolumeClaim.claimName"),
    ]


def test_parts_that_may_fail_by_themselves_are_no_gang() -> None:
    (training,) = read("training.yml", TRAINING)
    spec = {**training.body["spec"], "completions": 8, "completionMode": "Indexed"}
    whole, parts = (
        Document("x", {**training.body, "spec": {**spec, **more}}) for more in ({}, {"backoffLimitPerIndex": 2})
    )
    assert "job-gang" in {one.rule for one in lint([whole])}
    assert "job-gang" not in {one.rule for one in lint([parts])}


def test_items_of_a_list_are_manifests_of_their_own_with_their_lines() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: A_b\n"
    assert [(one.object, one.line) for one in lint(read("list.yml", text))] == [("Pod A_b", 7)]


POD = "kind: Pod\napiVersion: v1\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "x.yml, line 1, column 5: no YAML: expected the node content"),
        ("kind: Pod\n---\nkind: [\n---\nkind: Pod\n", "x.yml, line 4, column 1: no YAML: "),
        ("kind: Pod\nkind: Job\napiVersion: v1\n", "x.yml, line 2: no manifest, for kind is there twice."),
        (POD + "metadata:\n  labels: {a: b, a: c}\n", "x.yml, line 4: no manifest, for a is there twice."),
        (POD + "metadata: {at: 2024-13-45}\n", "x.yml: no YAML: month must be in 1..12."),
        (POD + "spec: &a [*a]\n", "x.yml: no manifest, for it is nested too deep or holds itself."),
        (POD + "spec: " + "[" * 3000 + "]" * 3000, "x.yml: no manifest, for it is nested too deep or holds itself."),
        ("kind: List\napiVersion: v1\nitems:\n- text\n", "x.yml, line 4: item 0 of the list is no manifest."),
        ("- 1\n- 2\n", "x.yml, line 1: no manifest, for it lacks apiVersion or kind."),
        ("---\nkind: Pod\n", "x.yml, line 2: no manifest, for it lacks apiVersion or kind."),
        ("!!python/object:os.system {}\n", "x.yml, line 1, column 1: no YAML: could not determine a constructor"),
    ],
)
def test_what_is_no_manifest_is_said_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read("x.yml", text)
    assert error.value.message.startswith(told)


NONSENSE: list[Any] = [None, True, 7, "text", [], ["text"], [7], [None], {}, {"text": 7}, {7: []}]


def spoiled(body: Any, nonsense: Any) -> Iterator[Any]:
    """The same with nonsense in one place after the other."""
    yield nonsense
    if isinstance(body, dict):
        for name, value in body.items():
            yield from ({**body, name: other} for other in spoiled(value, nonsense))
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from ([*body[:number], other, *body[number + 1 :]] for other in spoiled(value, nonsense))


@pytest.mark.parametrize("rule", sorted(EXAMPLES))
def test_nonsense_anywhere_is_never_a_traceback(rule: str) -> None:
    manifests = EXAMPLES[rule].fails
    for nonsense in NONSENSE:
        for bodies in spoiled(manifests, nonsense):
            if isinstance(bodies, list) and all(isinstance(body, dict) for body in bodies):
                lint([Document("nonsense", body) for body in bodies])


def test_a_path_is_written_as_people_write_it() -> None:
    assert in_words(("spec", "containers", 0, "image")) == "spec.containers[0].image"


class Program:
    """The linter as it is called."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        try:
            code = lint_main.main(list(words))
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def write(self, name: str, *manifests: Manifest) -> str:
        path = self.folder / name
        path.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
        return str(path)


@pytest.fixture
def program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(tmp_path, capsys)


def test_a_file_without_a_fault_ends_with_0(program: Program) -> None:
    path = program.write("good.yml", *EXAMPLES["rollout-possible"].passes)
    assert program(path) == (0, "1 manifest: 0 errors, 0 warnings\n", "")


def test_an_error_ends_with_1_and_is_explained(program: Program) -> None:
    path = program.write("bad.yml", *EXAMPLES["request-over-limit"].fails)
    code, out, _ = program(path)
    assert code == 1
    assert f"{path}:13: error [request-over-limit] Pod server: spec.containers[0].resources.requests.memory: " in out
    assert "    mend: Raise the limit or lower the request.\n" in out
    assert out.endswith("1 manifest: 1 error, 0 warnings\n")


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--strict",), 1)])
def test_a_warning_ends_with_1_only_where_that_was_asked_for(
    program: Program, words: tuple[str, ...], code: int
) -> None:
    path = program.write("warned.yml", *EXAMPLES["image-tag"].fails)
    assert program(path, *words)[0] == code


def test_rules_can_be_left_out_or_chosen(program: Program) -> None:
    path = program.write("bad.yml", *EXAMPLES["job-restart-policy"].fails)
    assert program(path, "--ignore", "job-restart-policy")[0] == 0
    assert json.loads(program(path, "--only", "image-tag", "--format", "json")[1])["findings"] == []


def test_json_holds_every_field_of_every_finding(program: Program) -> None:
    path = program.write("bad.yml", *EXAMPLES["gpu-whole"].fails)
    assert json.loads(program(path, "--format", "json")[1]) == {
        "manifests": 1,
        "counts": {"error": 1, "warning": 0},
        "findings": [
            {
                "rule": "gpu-whole",
                "severity": "error",
                "source": path,
                "line": 12,
                "object": "Pod server",
                "field": "spec.containers[0].resources.limits.nvidia.com/gpu",
                "observed": "nvidia.com/gpu: 500m",
                "why": TABLE["gpu-whole"].why,
                "mend": TABLE["gpu-whole"].mend,
                "api_server": None,
            }
        ],
        "api_server": [],
    }


def test_sarif_names_the_rule_and_the_line(program: Program) -> None:
    path = program.write("bad.yml", *EXAMPLES["gpu-whole"].fails)
    document = json.loads(program(path, "--format", "sarif")[1])
    (run,) = document["runs"]
    (result,) = run["results"]
    assert document["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(TABLE)
    assert (result["ruleId"], result["level"]) == ("gpu-whole", "error")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "gpu-whole"
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": path},
        "region": {"startLine": 12},
    }


#: What SARIF 2.1.0 (OASIS) requires of the objects that we write, and the types of what we write beside it.
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
    },
    "$defs": {
        "message": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "run": {
            "type": "object",
            "required": ["tool"],
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "properties": {"driver": {"$ref": "#/$defs/driver"}},
                },
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
                "invocations": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["executionSuccessful"],
                        "properties": {
                            "executionSuccessful": {"type": "boolean"},
                            "toolExecutionNotifications": {
                                "type": "array",
                                "items": {
                                    "required": ["message"],
                                    "properties": {"message": {"$ref": "#/$defs/message"}},
                                },
                            },
                        },
                    },
                },
            },
        },
        "driver": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "rules": {
                    "type": "array",
                    "uniqueItems": True,
                    "items": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {
                            **{
                                name: {"$ref": "#/$defs/message"}
                                for name in ("shortDescription", "fullDescription", "help")
                            },
                            "defaultConfiguration": {"properties": {"level": {"$ref": "#/$defs/level"}}},
                        },
                    },
                }
            },
        },
        "result": {
            "type": "object",
            "required": ["message", "ruleId", "ruleIndex"],
            "properties": {
                "message": {"$ref": "#/$defs/message"},
                "level": {"$ref": "#/$defs/level"},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "locations": {
                    "type": "array",
                    "items": {
                        "properties": {
                            "physicalLocation": {
                                "properties": {
                                    "artifactLocation": {
                                        "properties": {
                                            "uri": {"type": "string", "pattern": "^[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$"}
                                        }
                                    },
                                    "region": {
                                        "required": ["startLine"],
                                        "properties": {"startLine": {"type": "integer", "minimum": 1}},
                                    },
                                }
                            }
                        }
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize("rule", sorted(TABLE))
def test_sarif_has_what_its_schema_requires_whatever_was_found(program: Program, rule: str) -> None:
    path = program.write("what is wrong, and where.yml", *EXAMPLES[rule].fails)
    document = json.loads(program(path, "--format", "sarif")[1])
    jsonschema.validate(document, SARIF)
    (run,) = document["runs"]
    rules = [one["id"] for one in run["tool"]["driver"]["rules"]]
    assert [rules[one["ruleIndex"]] for one in run["results"]] == [one["ruleId"] for one in run["results"]]


def test_sarif_tells_what_the_api_server_said() -> None:
    answers = [
        Answer("a b.yml", "Pod refused", False, "spec: Required value"),
        Answer("c.yml", "Pod unknown", None, "403: forbidden"),
        Answer("c.yml", "Pod good", True, "accepted"),
    ]
    document = as_sarif([], TABLE, answers)
    jsonschema.validate(document, SARIF)
    (run,) = document["runs"]
    assert [(one["ruleId"], one["message"]["text"]) for one in run["results"]] == [
        ("api-server", "Pod refused: spec: Required value")
    ]
    assert run["tool"]["driver"]["rules"][run["results"][0]["ruleIndex"]]["id"] == "api-server"
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b.yml"
    assert run["invocations"] == [
        {
            "executionSuccessful": False,
            "toolExecutionNotifications": [{"level": "warning", "message": {"text": "Pod unknown: 403: forbidden"}}],
        }
    ]


def test_every_file_that_cannot_be_read_is_named_at_once(program: Program) -> None:
    (program.folder / "one.yml").write_text("a: [", encoding="utf-8")
    (program.folder / "two.yml").write_bytes(b"\xff\x00")
    code, out, err = program(*(str(program.folder / name) for name in ("one.yml", "two.yml", "three.yml")))
    assert (code, out) == (2, "")
    assert all(name in err for name in ("one.yml, line 1", "two.yml cannot be read", "three.yml cannot be read"))


def test_manifests_come_from_standard_input_too(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(TRAINING))
    code, out, _ = program("-")
    assert code == 1
    assert out.startswith("standard input:5: warning [job-disruptions]")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "No file was given. lint FILE…, or - for standard input."),
        (["no.yml"], "no.yml cannot be read: "),
        (["--explain", "gpu-hole"], "There is no rule 'gpu-hole'; the nearest is 'gpu-whole'. --rules names them all."),
        (["--ignore", "tags", "x.yml"], "There is no rule 'tags'"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_why(program: Program, words: list[str], told: str) -> None:
    code, out, err = program(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"nightbench: {told}")


def test_an_empty_file_is_no_good_file(program: Program) -> None:
    path = program.write("empty.yml")
    code, _, err = program(path)
    assert (code, err) == (2, f"nightbench: There is no manifest in {path}.\n")


@pytest.mark.parametrize("rule", sorted(TABLE))
def test_every_rule_explains_itself(program: Program, rule: str) -> None:
    code, out, _ = program("--explain", rule)
    assert code == 0
    assert out.startswith(f"{rule} ({TABLE[rule].severity}): {TABLE[rule].title}\n    why: ")
    assert "\n    mend: " in out
    assert "\n    shown: " in out
