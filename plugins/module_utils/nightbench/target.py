# SPDX-License-Identifier: GPL-3.0-or-later
"""Which API server, and who we are there: everything the kubernetes package understands, as a socket and headers."""

from __future__ import annotations

import datetime as dt
import http.client
import os
import re
import socket
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigurationError
from .names import unknown

#: How long a token is reused before the kubernetes package is asked again (it refreshes exec and projected tokens).
TOKEN_SECONDS = 30.0
USER_AGENT = "nightbench"


@dataclass
class Target:
    """An API server as an address, a TLS context and a source of headers."""

    scheme: str
    host: str
    port: int
    base_path: str
    where: str
    context: ssl.SSLContext | None = None
    server_name: str | None = None
    configuration: Any = None
    client_certificate: str | None = None
    user_agent: str = USER_AGENT
    _headers: dict[str, str] = field(default_factory=dict)
    _headers_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """A new, not yet opened connection."""
        if self.context is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        if self.server_name:
            return _NamedConnection(self, timeout)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)

    def headers(self) -> dict[str, str]:
        """A fresh dict of the headers that say who we are; tokens are refreshed by the kubernetes package."""
        if time.monotonic() >= self._headers_until:
            with self._lock:
                self._headers = {"Accept": "application/json", "User-Agent": self.user_agent}
                if self.configuration is not None:
                    for setting in self.configuration.auth_settings().values():
                        if setting["in"] == "header" and setting["value"]:
                            self._headers[setting["key"]] = setting["value"]
                self._headers_until = time.monotonic() + TOKEN_SECONDS
        return dict(self._headers)

    def why_unauthorized(self) -> str:
        """What is probably wrong with the credentials, for the user."""
        ended = certificate_end(self.client_certificate)
        if ended and ended < dt.datetime.now(dt.UTC):
            return f"The client certificate expired at {ended.isoformat()}: renew the kubeconfig."
        return "The credentials are not accepted: renew the kubeconfig, or give another one or another context."


def load_target(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    host: str | None = None,
    api_key: str | None = None,
    client_cert: str | None = None,
    client_key: str | None = None,
    ca_cert: str | None = None,
    validate_certs: bool | None = None,
) -> Target:
    """The target that the options name: ``host`` with credentials, else a kubeconfig, else the pod we run in.

    Raises ConfigurationError when none of them is there or the kubeconfig cannot be used.
    """
    import kubernetes.client
    import kubernetes.config
    import yaml
    from kubernetes.config.config_exception import ConfigException

    configuration = kubernetes.client.Configuration()
    described = host or ""
    if not host:
        path = _kubeconfig_path(kubeconfig)
        try:
            if path is not None:
                described = f"kubeconfig {path}" + (f", context {context}" if context else "")
                _check_context(path, context)
                kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=path, context=context, client_configuration=configuration
                )
            elif os.environ.get("KUBERNETES_SERVICE_HOST"):
                described = "the cluster this pod runs in"
                kubernetes.config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                raise ConfigurationError(
                    "No cluster is named: there is no kubeconfig option, no K8S_AUTH_KUBECONFIG, no KUBECONFIG, "
                    "no ~/.kube/config, and this is not a pod.",
                    hint="Give a kubeconfig, or start the local environment first (playbooks/environment.yml).",
                )
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = f", line {where.line + 1}" if where is not None else ""
            raise ConfigurationError(
                f"{described} is not YAML{line}.", hint="Is it a whole kubeconfig, and no other file?"
            ) from error
        except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(
                f"{described} cannot be used: {error}.", hint="Is it a whole kubeconfig, and is the context in it?"
            ) from error
    else:
        configuration.host = host
    if api_key:
        configuration.api_key["authorization"] = api_key
        configuration.api_key_prefix["authorization"] = "Bearer"
    configuration.cert_file = client_cert or configuration.cert_file
    configuration.key_file = client_key or configuration.key_file
    configuration.ssl_ca_cert = ca_cert or configuration.ssl_ca_cert
    if validate_certs is not None:
        configuration.verify_ssl = validate_certs
    return _from_configuration(configuration, described)


def certificate_end(path: str | None) -> dt.datetime | None:
    """When a PEM certificate ends (its notAfter), or None where that cannot be read.

    X.509 (RFC 5280, 4.1.2.5) writes the validity as two UTCTime (tag 0x17) or GeneralizedTime (0x18) values in turn.
    """
    try:
        text = Path(path or "").read_text()
        start = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(text[start:end])
    except (OSError, ValueError):
        return None
    found = re.findall(rb"\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z", der)
    if len(found) < 2:
        return None
    short, long = (part.decode() for part in found[1])
    # RFC 5280: two-digit years from 50 on are of the last century.
    stamp = long or (("19" if short >= "50" else "20") + short)
    return dt.datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)


def _kubeconfig_path(kubeconfig: str | None) -> str | None:
    if kubeconfig:
        # As KUBECONFIG may: several files, of which some need not exist.
        paths = [os.path.expanduser(one) for one in str(kubeconfig).split(os.pathsep)]
        path = os.pathsep.join(paths)
        if not any(os.path.exists(one) for one in paths):
            raise ConfigurationError(
                f"kubeconfig {path} does not exist.", hint="Start the environment first, or name another kubeconfig."
            )
        return path
    named = os.environ.get("KUBECONFIG")
    if named:
        return named
    default = os.path.expanduser("~/.kube/config")
    return default if os.path.exists(default) else None


def _check_context(path: str, context: str | None) -> None:
    """The kubernetes package tells neither a file of another kind nor which contexts there are."""
    import yaml

    names: list[str] = []
    for one in path.split(os.pathsep):
        document = yaml.safe_load(Path(one).expanduser().read_text(encoding="utf-8")) if os.path.exists(one) else None
        document = {} if document is None else document
        if not isinstance(document, dict):
            raise ConfigurationError(
                f"kubeconfig {one} is no kubeconfig: a mapping was expected, it holds a {type(document).__name__}.",
                hint="Name another file by K8S_AUTH_KUBECONFIG or KUBECONFIG.",
            )
        names += [str(entry.get("name")) for entry in document.get("contexts") or [] if isinstance(entry, dict)]
        context = context or document.get("current-context")
    hint = "Choose one by K8S_AUTH_CONTEXT=NAME or `kubectl config use-context NAME`."
    if not names:
        raise ConfigurationError(f"kubeconfig {path} has no context.", hint="Is it a whole kubeconfig?")
    if not context:
        raise ConfigurationError(f"kubeconfig {path} names no current context of: {', '.join(names)}.", hint=hint)
    problems = unknown("context", [context], names)
    if problems:
        raise ConfigurationError(f"kubeconfig {path}: {problems[0]}", hint=hint)


def _from_configuration(configuration: Any, described: str) -> Target:
    url = urllib.parse.urlsplit(configuration.host)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(f"{described}: {configuration.host!r} is not the address of an API server.")
    context = None
    if url.scheme == "https":
        try:
            context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
            if not configuration.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if configuration.cert_file:
                context.load_cert_chain(configuration.cert_file, configuration.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"{described}: a certificate or key in it cannot be read: {error}.") from error
    return Target(
        scheme=url.scheme,
        host=url.hostname,
        port=url.port or (443 if url.scheme == "https" else 80),
        base_path=url.path.rstrip("/"),
        where=f"{configuration.host} ({described})" if described != configuration.host else described,
        context=context,
        server_name=getattr(configuration, "tls_server_name", None),
        configuration=configuration,
        client_certificate=configuration.cert_file,
    )


class _NamedConnection(http.client.HTTPSConnection):
    """HTTPS whose certificate is checked against another name than the address (tls-server-name)."""

    def __init__(self, target: Target, timeout: float) -> None:
        assert target.context is not None
        super().__init__(target.host, target.port, timeout=timeout, context=target.context)
        self._target = target

    def connect(self) -> None:
        assert self._target.context is not None
        sock = socket.create_connection((self.host, self.port), self.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._target.context.wrap_socket(sock, server_hostname=self._target.server_name)
