"""Certificates and keys that the configuration names: are they there, readable, PEM, and of one pair.

Checked when the configuration is loaded, so that a reload with a bad certificate changes nothing and a
worker never starts without one. `version_of` tells a renewed file under an old name from the one before it.
"""

import hashlib
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from collector.config.model import Config
from collector.config.sources import Key, Origin, Problem, dotted, find_origin


def check_certificates(config: Config, origins: Mapping[Key, Origin]) -> list[Problem]:
    return [
        Problem(dotted(key), repr(str(path)) if path else "", what, find_origin(origins, key))
        for key, path, what in _problems(config)
    ]


def version_of(*paths: Path | None) -> str:
    """Changes when a file's content does; "" where none is named."""
    digest = hashlib.sha256()
    for path in paths:
        if path is not None:
            digest.update(_read_for_version(path))
    return digest.hexdigest()[:16] if any(paths) else ""


def _read_for_version(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    return hashlib.sha256(content).digest()


def _problems(config: Config) -> Iterator[tuple[Key, Path | None, str]]:
    tls = config.relay.tls
    if tls is not None:
        yield from _check_chain(("relay", "tls"), ("cert", tls.cert), ("key", tls.key))
        yield from _check_authorities(("relay", "tls", "client_ca"), tls.client_ca)
    for name, upstream in config.upstreams.items():
        key: Key = ("upstreams", name)
        yield from _check_authorities((*key, "ca_file"), upstream.ca_file)
        if upstream.cert is None:
            if upstream.cert_key is not None:
                yield (*key, "cert_key"), upstream.cert_key, "is of no use without `cert`"
        elif not upstream.url.startswith("https:"):
            yield (*key, "cert"), upstream.cert, "a client certificate needs an https:// URL"
        else:
            yield from _check_chain(key, ("cert", upstream.cert), ("cert_key", upstream.cert_key))


def _check_chain(
    above: Key, cert: tuple[str, Path], key: tuple[str, Path | None]
) -> Iterator[tuple[Key, Path | None, str]]:
    """Without a key of its own the certificate's file must hold it."""
    for name, path in (cert, key):
        if path is not None and (problem := _unreadable(path)):
            yield (*above, name), path, problem
            return
    name, path = key if key[1] is not None else cert
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert[1], key[1], password=_refuse_password)
    except _EncryptedError:
        yield (*above, name), path, "the key is encrypted, and nobody is there to type its password"
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield (*above, name), path, f"this key doesn't belong to the certificate in {cert[1]}"
        else:
            other = f" and {path}" if path != cert[1] else ""
            what = f"no certificate and key in PEM form could be read from it{other} ({_reason(error)})"
            yield (*above, cert[0]), cert[1], what


def _check_authorities(key: Key, path: Path | None) -> Iterator[tuple[Key, Path | None, str]]:
    if path is None:
        return
    if problem := _unreadable(path):
        yield key, path, problem
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        yield key, path, f"no certificates in PEM form could be read from it ({_reason(error)})"


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return ""


class _EncryptedError(Exception):
    pass


def _refuse_password() -> str:
    raise _EncryptedError


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no reason is given").lower().replace("_", " ")
