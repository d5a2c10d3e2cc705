import shutil
import subprocess
import time
from pathlib import Path

import pytest

from collector.doctor.certificate import gather, judge
from collector.doctor.finding import Finding
from collector.plan import TlsPlan

DAY_S = 86_400.0
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="makes certificates with openssl")


def openssl(folder: Path, line: str) -> None:
    subprocess.run(["openssl", *line.split()], check=True, capture_output=True, cwd=folder)


@pytest.fixture
def tls(tmp_path: Path) -> TlsPlan:
    """A certificate for 30 days, signed by an authority that is not at hand where it is used."""
    openssl(tmp_path, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 90 -subj /CN=ca")
    openssl(tmp_path, "req -newkey rsa:2048 -nodes -keyout key.pem -out asked.pem -subj /CN=relay")
    sign = "x509 -req -in asked.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 30"
    openssl(tmp_path, sign)
    return TlsPlan(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))


def examine(tls: TlsPlan, days_on: float = 0) -> Finding:
    (found,) = judge(gather(tls), time.time() + days_on * DAY_S)
    return found


def test_how_long_it_is_good(tls: TlsPlan) -> None:
    assert (examine(tls).severity, examine(tls).found) == (
        "ok",
        "the relay's certificate is good for 30 days",
    )
    assert examine(tls, 15).severity == "warning"
    soon = examine(tls, 29)
    assert (soon.code, soon.severity) == ("ports.certificate", "problem")
    assert "`sizewise reload`" in soon.remedy


def test_one_that_can_not_be_used(tls: TlsPlan) -> None:
    Path(tls.key).write_bytes((Path(tls.key).parent / "ca.key").read_bytes())
    found = examine(tls)
    assert (found.code, found.severity) == ("ports.certificate", "problem")
    Path(tls.cert).unlink()
    assert "No such file" in examine(tls).found


AUTHORITY = """
[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = optional
"""


def test_one_that_has_ended(tls: TlsPlan) -> None:
    folder = Path(tls.cert).parent
    (folder / "ca.cnf").write_text(AUTHORITY)
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01")
    sign = "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in asked.pem -out cert.pem"
    openssl(folder, f"{sign} -startdate 20200101000000Z -enddate 20210101000000Z")
    assert "expired" in examine(tls).found
