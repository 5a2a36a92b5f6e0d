# SPDX-License-Identifier: GPL-3.0-or-later
"""What the linter calls refused is refused by a real API server, in these words; what is mended is accepted."""

from __future__ import annotations

import pytest
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.lint import RULES, lint
from ansible.module_utils.nightbench.lint_confirm import ask, confirmed
from ansible.module_utils.nightbench.lint_document import of_object

from tests.fakes.lint_examples import EXAMPLES

pytestmark = pytest.mark.integration

TABLE = {rule.name: rule for rule in RULES}
REFUSED = sorted(name for name, rule in TABLE.items() if rule.refused)


@pytest.mark.parametrize("rule", REFUSED)
def test_the_api_server_refuses_what_the_rule_finds_in_the_words_that_the_rule_gives(kube: Kube, rule: str) -> None:
    documents = [of_object(number, body) for number, body in enumerate(EXAMPLES[rule].fails)]
    answers = ask(kube, documents)
    (finding,) = [one for one in lint(documents) if one.rule == rule]
    assert confirmed(finding, TABLE, answers), [answer.message for answer in answers]


@pytest.mark.parametrize("rule", sorted(TABLE))
def test_the_api_server_takes_what_is_mended(kube: Kube, rule: str) -> None:
    documents = [of_object(number, body) for number, body in enumerate(EXAMPLES[rule].passes)]
    assert [(one.object, one.accepted, one.message) for one in ask(kube, documents)] == [
        (str(document), True, "accepted") for document in documents
    ]
