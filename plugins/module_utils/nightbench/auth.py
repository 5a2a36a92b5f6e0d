# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which every module of ours finds its cluster; names and environment as in kubernetes.core."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

from .kube import Kube
from .target import load_target

AUTH_SPEC: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path", "fallback": (env_fallback, ["K8S_AUTH_KUBECONFIG"])},
    "context": {"type": "str", "fallback": (env_fallback, ["K8S_AUTH_CONTEXT"])},
    "host": {"type": "str", "fallback": (env_fallback, ["K8S_AUTH_HOST"])},
    "api_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["K8S_AUTH_API_KEY"])},
    "client_cert": {"type": "path", "fallback": (env_fallback, ["K8S_AUTH_CERT_FILE"])},
    "client_key": {"type": "path", "no_log": False, "fallback": (env_fallback, ["K8S_AUTH_KEY_FILE"])},
    "ca_cert": {"type": "path", "fallback": (env_fallback, ["K8S_AUTH_SSL_CA_CERT"])},
    "validate_certs": {"type": "bool", "fallback": (env_fallback, ["K8S_AUTH_VERIFY_SSL"])},
}


def client_from(params: dict[str, Any], **options: Any) -> Kube:
    """The client that a module's parameters name; raises ConfigurationError."""
    return Kube(load_target(**{name: params.get(name) for name in AUTH_SPEC}), **options)
