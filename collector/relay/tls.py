"""TLS contexts from the paths in the plan: for the relay's own side, and for connections to an upstream."""

import ssl

from collector.plan import TlsPlan, UpstreamPlan

_ALPN = ["http/1.1"]


def make_server_context(tls: TlsPlan) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one). With `client_ca`, who shows no certificate of it is refused."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.cert, tls.key, password=_refuse_password)
    context.set_alpn_protocols(_ALPN)
    if tls.client_ca:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def make_upstream_context(upstream: UpstreamPlan) -> ssl.SSLContext:
    """Raises OSError. The upstream's certificate is always verified."""
    context = ssl.create_default_context(cafile=upstream.ca_file or None)
    context.set_alpn_protocols(_ALPN)
    if upstream.cert:
        context.load_cert_chain(upstream.cert, upstream.cert_key or None, password=_refuse_password)
    return context


def _refuse_password() -> str:
    """Without this OpenSSL would ask on a terminal that isn't there."""
    raise OSError("the key is encrypted")
