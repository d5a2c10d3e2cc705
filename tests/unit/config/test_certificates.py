"""Certificates are looked at before a worker needs them, and each mistake has a text of its own."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from collector.config import load_config, make_plan
from collector.errors import ConfigError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        subject = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([*command.split(), *subject], cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "one.pem").read_text() + (folder / "one.key").read_text())
    (folder / "text.pem").write_text("a letter to the authority")
    encrypt = "openssl pkey -in one.key -aes256 -passout pass:secret -out locked.key"
    subprocess.run(encrypt.split(), cwd=folder, check=True, capture_output=True)
    return folder


def load(files: Path, text: str) -> Any:
    path = files / "sizewise.yaml"
    path.write_text(text)
    return load_config(path, {}).config


def refusal(files: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(files, text)
    return str(caught.value)


def test_paths_are_relative_to_the_file_and_reach_the_plan(files: Path) -> None:
    config = load(files, "relay: {tls: {cert: one.pem, key: one.key, client_ca: two.pem}}")
    tls = make_plan(config).tls
    assert tls is not None
    assert (tls.cert, tls.key) == (str(files / "one.pem"), str(files / "one.key"))
    assert tls.client_ca == str(files / "two.pem")


def test_an_upstream_gets_a_certificate_too(files: Path) -> None:
    text = "upstreams: {u: {url: 'https://u', cert: both.pem, ca_file: two.pem}}"
    (upstream,) = make_plan(load(files, text)).upstreams
    assert (upstream.cert, upstream.cert_key) == (str(files / "both.pem"), "")
    assert upstream.files_version


def test_a_renewed_certificate_is_another_plan(files: Path) -> None:
    text = "relay: {tls: {cert: renewed.pem, key: renewed.pem}}"
    plans = []
    for letter in ("\n", "\n\n", "\n\n"):
        (files / "renewed.pem").write_text((files / "both.pem").read_text() + letter)
        plans.append(make_plan(load(files, text)))
    assert plans[0] != plans[1]
    assert plans[1] == plans[2]


@pytest.mark.parametrize(
    ("tls", "key", "says"),
    [
        ("cert: one.pem, key: none.key", "relay.tls.key", "can't be read: No such file"),
        ("cert: none.pem, key: one.key", "relay.tls.cert", "can't be read: No such file"),
        ("cert: one.pem, key: two.key", "relay.tls.key", "doesn't belong to the certificate in"),
        ("cert: text.pem, key: one.key", "relay.tls.cert", "no certificate and key in PEM form"),
        ("cert: one.pem, key: text.pem", "relay.tls.cert", "text.pem"),
        ("cert: one.pem, key: locked.key", "relay.tls.key", "the key is encrypted"),
        ("cert: one.pem, key: one.key, client_ca: text.pem", "relay.tls.client_ca", "no certificates in PEM"),
        ("cert: one.pem", "relay.tls.key", "is required"),
        ("cert: one.pem, keys: one.key", "relay.tls.keys", "no such key"),
    ],
)
def test_mistakes_of_the_relay(files: Path, tls: str, key: str, says: str) -> None:
    text = refusal(files, f"relay:\n  tls: {{{tls}}}\n")
    assert key in text
    assert says in text
    assert "sizewise.yaml" in text
    assert "key_file" not in text


@pytest.mark.parametrize(
    ("upstream", "key", "says"),
    [
        ("url: 'https://u', cert: one.pem, cert_key: two.key", "u.cert_key", "doesn't belong"),
        ("url: 'https://u', cert: one.pem", "u.cert", "no certificate and key"),
        ("url: 'https://u', cert_key: one.key", "u.cert_key", "without `cert`"),
        ("url: 'http://u', cert: both.pem", "u.cert", "https://"),
        ("url: 'https://u', ca_file: none.pem", "u.ca_file", "can't be read"),
    ],
)
def test_mistakes_of_an_upstream(files: Path, upstream: str, key: str, says: str) -> None:
    text = refusal(files, f"upstreams: {{u: {{{upstream}}}}}")
    assert f"upstreams.{key}" in text
    assert says in text


def test_variables_set_it_too(files: Path) -> None:
    variables = {
        "SIZEWISE_RELAY__TLS__CERT": str(files / "one.pem"),
        "SIZEWISE_RELAY__TLS__KEY": str(files / "one.key"),
    }
    assert load_config(None, variables).config.relay.tls is not None
