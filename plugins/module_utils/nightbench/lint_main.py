# SPDX-License-Identifier: GPL-3.0-or-later
"""The linter as a program: `python -m nightbench.lint_main FILE…`, where module_utils is on the path."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import ConfigurationError, NightbenchError
from .kube import Kube
from .lint import RULES, lint
from .lint_confirm import ask
from .lint_document import Document, read, read_file
from .lint_output import as_json, as_sarif, as_text, explained
from .names import unknown
from .target import load_target

FORMATS = ("text", "json", "sarif")
FOUND, USAGE, INFRASTRUCTURE = 1, 2, 3


def main(argv: Sequence[str], program: str = "lint") -> int:
    """0: nothing wrong. 1: an error (with --strict a warning too). 2: it could not be read. 3: no API server."""
    args = parser(program).parse_args(argv)
    try:
        return run(args)
    except NightbenchError as error:
        print(f"nightbench: {error}", file=sys.stderr)
        return USAGE if isinstance(error, ConfigurationError) else INFRASTRUCTURE


def parser(program: str) -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(
        prog=program,
        description="Explains what is wrong with the manifests of AI workloads: the field, why it fails, and the mend.",
        epilog="exit codes: 0 nothing wrong, 1 an error (--strict: or a warning), 2 not readable, 3 no API server",
        allow_abbrev=False,
    )
    words.add_argument("files", nargs="*", metavar="FILE", help="manifests in YAML or JSON; - for standard input")
    words.add_argument("--format", choices=FORMATS, default="text", help="how to print what was found (text)")
    words.add_argument("--strict", action="store_true", help="let warnings end with 1 as well")
    words.add_argument(
        "--ignore", action="append", default=[], metavar="RULE", help="leave a rule out; may be repeated"
    )
    words.add_argument("--only", action="append", default=[], metavar="RULE", help="look by this rule; may be repeated")
    words.add_argument("--confirm", action="store_true", help="ask the API server too, by a dry run")
    words.add_argument("--kubeconfig", metavar="FILE", help="of the cluster that is asked (KUBECONFIG, ~/.kube/config)")
    words.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    words.add_argument(
        "--namespace", metavar="NAME", default="", help="where manifests without a namespace would go (default)"
    )
    words.add_argument("--rules", action="store_true", help="name every rule")
    words.add_argument("--explain", metavar="RULE", help="say all there is to say of a rule")
    return words


def run(args: argparse.Namespace) -> int:
    table = {rule.name: rule for rule in RULES}
    asked = [*args.ignore, *args.only, *([args.explain] if args.explain else [])]
    if wrong := unknown("rule", asked, table):
        raise ConfigurationError(" ".join(wrong), hint="--rules names them all.")
    if args.rules or args.explain:
        chosen = [table[args.explain]] if args.explain else RULES
        print("\n\n".join(explained(rule) for rule in chosen) if args.explain else _list())
        return 0
    if not args.files:
        raise ConfigurationError("No file was given.", hint="lint FILE…, or - for standard input.")
    documents = _read_all(args.files)
    if not documents:
        raise ConfigurationError(f"There is no manifest in {', '.join(args.files)}.")
    rules = [rule for rule in RULES if rule.name not in args.ignore and (not args.only or rule.name in args.only)]
    findings = lint(documents, rules)
    answers = []
    if args.confirm:
        kube = Kube(load_target(kubeconfig=args.kubeconfig, context=args.context))
        try:
            answers = ask(kube, documents, args.namespace)
        finally:
            kube.close()
    if args.format == "text":
        print(as_text(findings, len(documents), table, answers))
    else:
        found = (
            as_sarif(findings, table, answers)
            if args.format == "sarif"
            else as_json(findings, len(documents), table, answers)
        )
        print(json.dumps(found, indent=1))
    counted = ("error", "warning") if args.strict else ("error",)
    refused = any(answer.accepted is False for answer in answers)
    return FOUND if refused or any(one.severity in counted for one in findings) else 0


def _read_all(names: Sequence[str]) -> list[Document]:
    """All manifests; raises ConfigurationError that names every file that cannot be read, not the first alone."""
    documents: list[Document] = []
    wrong: list[ConfigurationError] = []
    for name in names:
        try:
            documents += _read(name)
        except ConfigurationError as error:
            wrong.append(error)
    if len(wrong) > 1:
        raise ConfigurationError("\n".join(str(error) for error in wrong))
    if wrong:
        raise wrong[0]
    return documents


def _read(name: str) -> list[Document]:
    return read("standard input", sys.stdin.read()) if name == "-" else read_file(Path(name))


def _list() -> str:
    width = max(len(rule.name) for rule in RULES)
    return "\n".join(f"{rule.name:<{width}}  {rule.severity:<7}  {rule.title}" for rule in RULES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
