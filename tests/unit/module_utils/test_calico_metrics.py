# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of metrics, what Felix and Typha say in them, and what Calico computes."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
from ansible.module_utils.nightbench.calico_formulas import host_interface, typha_connection_limit, typha_count
from ansible.module_utils.nightbench.calico_metrics import felix_state, typha_state
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.exposition import Sample, parse

from tests.fakes.calico_pages import EBPF, FELIX, IPTABLES, TYPHA, page


def test_a_page_gives_families_with_their_types_and_samples() -> None:
    found = parse(
        '# HELP a Some "help" {x}\n# TYPE a counter\na{x="1",y="a\\"b\\\\c\\nd,}"} 3 1700000000000\na{x="2"} 4\n\n'
        '# TYPE b summary\nb{quantile="0.5"} NaN\nb_sum 7\nb_count 2\nc_count +Inf\n# EOF\n'
    )
    assert {name: family.type for name, family in found.items()} == {
        "a": "counter",
        "b": "summary",
        "c_count": "untyped",
    }
    assert found["a"].samples[0] == Sample("a", {"x": "1", "y": 'a"b\\c\nd,}'}, 3.0)
    assert (found["a"].total(), found["a"].total(x="2"), found["a"].total(x="9")) == (7.0, 4.0, None)
    assert found["a"].by("x") == {"1": 3.0, "2": 4.0}
    assert (found["b"].part("_sum"), found["b"].part("_count"), found["b"].part("_bucket")) == (7.0, 2.0, None)
    assert math.isinf(found["c_count"].total() or 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no metric in it"),
        ("# TYPE a gauge\n", "has no metric in it"),
        ("<html>no</html>", "is no line of metrics: '<html>no</html>'"),
        ("a one", "felix:1: 'one' is no number"),
        ("a 1\nb{x=1} 2", "felix:2: 'x=1' is no label"),
        ('a{x="1" y="2"} 1', "is no label"),
        ("404 page not found", "is no line of metrics"),
    ],
)
def test_what_is_no_page_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(text, "felix")
    assert words in refused.value.message


def test_felix_says_what_it_programmed_and_what_is_active() -> None:
    assert asdict(felix_state(parse(page(FELIX)), "felix")) == {
        "resync_state": 3,
        "in_sync": True,
        "initial_resync_seconds": 1.25,
        "applies": 12.0,
        "apply_seconds": 0.75,
        "failures": 0.0,
        "endpoints": 6,
        "active_policies": 4,
        "cluster_hosts": 3402,
        "cluster_policies": 10020,
        "cluster_endpoints": 40,
        "programmed": {"iptables": 0, "nftables": 133, "ebpf": 0},
    }


@pytest.mark.parametrize(
    ("changes", "programmed"),
    [
        (IPTABLES, {"iptables": 90, "nftables": 0, "ebpf": 0}),
        (EBPF, {"iptables": 14, "nftables": 0, "ebpf": 7}),
        ({"felix_nft_rules": None}, {"iptables": 0, "nftables": 0, "ebpf": 0}),
    ],
)
def test_each_dataplane_has_gauges_of_its_own(changes: dict[str, object], programmed: dict[str, int]) -> None:
    assert felix_state(parse(page(FELIX, **changes)), "felix").programmed == programmed


def test_a_felix_that_is_not_in_sync_says_so() -> None:
    state = felix_state(parse(page(FELIX, felix_resync_state=("gauge", 2))), "felix")
    assert (state.resync_state, state.in_sync) == (2, False)


def test_typha_says_who_streams_and_how_far_it_is() -> None:
    assert asdict(typha_state(parse(page(TYPHA)), "typha")) == {
        "accepted": 20.0,
        "dropped": 1.0,
        "active": 16,
        "streaming": {"bgp": 4, "felix": 4, "node-status": 4, "tunnel-ip-allocation": 4},
        "breadcrumb": {"bgp": 3, "felix": 77},
        "breadcrumb_seconds": 0.154,
        "breadcrumbs": 77.0,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (page(TYPHA), "node-7 says nothing of felix_resync_state,"),
        (page(FELIX, felix_active_local_policies=None), "node-7 says nothing of felix_active_local_policies"),
        (page(FELIX, felix_resync_state=("counter", 3)), "felix_resync_state is a counter, it was known as a gauge"),
        (page(FELIX, felix_resync_state=("gauge", "NaN")), "felix_resync_state is nan, no number that can be meant"),
    ],
)
def test_a_page_that_is_not_felixs_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        felix_state(parse(text), "node-7")
    assert words in refused.value.message


def test_a_page_that_is_not_typhas_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="says nothing of typha_connections_accepted"):
        typha_state(parse(page(FELIX)), "typha-0")


# tigera/operator, pkg/common/autoscale.go; calico, typha/pkg/k8s/rebalance.go.
@pytest.mark.parametrize(
    ("nodes", "typhas"),
    [(0, 1), (2, 1), (3, 2), (4, 2), (5, 3), (199, 3), (200, 3), (399, 3), (400, 4), (3404, 19), (14_400, 74)],
)
def test_the_operator_wants_so_many_typhas(nodes: int, typhas: int) -> None:
    assert typha_count(nodes) == typhas


@pytest.mark.parametrize(
    ("nodes", "typhas", "limit"),
    [(14_400, 74, 948), (100, 3, 400), (3_404, 19, 908), (14_400, 3, 10_000), (14_400, 1, 10_000), (500, 0, 10_000)],
)
def test_a_typha_accepts_so_many_connections(nodes: int, typhas: int, limit: int) -> None:
    assert typha_connection_limit(nodes, typhas) == limit


def test_the_veth_of_a_pod_has_a_name_of_15_bytes() -> None:
    # printf default.web-0 | sha1sum
    assert host_interface("default", "web-0") == "cali0d7763386da"
    assert len(host_interface("a" * 63, "b" * 253)) == 15
    assert host_interface("a", "b.c") == host_interface("a.b", "c")  # as Calico has it: the name is joined by a dot
