# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an error only says that there is no cluster yet: check mode may then take it for an empty one."""

from __future__ import annotations

import os
import ssl
from typing import Any

from .errors import ConfigurationError, NightbenchError, Unreachable


def cluster_missing(error: NightbenchError, params: dict[str, Any]) -> bool:
    """Nobody answers, or the kubeconfig is not written yet; a broken one or a bad certificate is an error as ever."""
    if isinstance(error, Unreachable):
        return not isinstance(error.__cause__, ssl.SSLCertVerificationError)
    if not isinstance(error, ConfigurationError) or params.get("host"):
        return False
    kubeconfig = params.get("kubeconfig")
    return not kubeconfig or not os.path.exists(os.path.expanduser(kubeconfig))
