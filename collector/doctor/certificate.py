"""The certificate that the relay itself shows: can it be used, and for how long.

Its end is read by a handshake in memory with itself, since Python reads a certificate only from a connection.
"""

import ssl

import msgspec

from collector.doctor.finding import Finding, ok, problem, shown_seconds, warning
from collector.plan import TlsPlan
from collector.relay.tls import make_server_context

BAD_S, SCARCE_S = 3 * 86_400.0, 21 * 86_400.0
STEPS = 10  # a handshake needs about four


class CertificateFact(msgspec.Struct, frozen=True):
    path: str
    failure: str = ""
    ends_s: float | None = None


def gather(tls: TlsPlan) -> CertificateFact:
    try:
        server = make_server_context(msgspec.structs.replace(tls, client_ca=""))
        return CertificateFact(tls.cert, ends_s=read_end(server, tls.cert))
    except ssl.SSLCertVerificationError as failure:
        return CertificateFact(tls.cert, failure=failure.verify_message)
    except OSError as failure:
        return CertificateFact(tls.cert, failure=failure.strerror or str(failure))


def read_end(server: ssl.SSLContext, certificate: str) -> float | None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(certificate)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it vouches for itself, whoever signed it
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(up, down, server_side=True), trusting.wrap_bio(down, up)]
    for step in range(STEPS):
        try:
            ends[(step + 1) % 2].do_handshake()
        except ssl.SSLWantReadError:
            continue
    told = (ends[1].getpeercert() or {}).get("notAfter")
    return ssl.cert_time_to_seconds(str(told)) if told else None


def judge(fact: CertificateFact, now_s: float) -> list[Finding]:
    why = "Clients refuse the connection: no call comes in."
    remedy = "put a good one where `relay.tls.cert` and `relay.tls.key` say, then `sizewise reload`"
    if fact.failure:
        text = f"the relay's certificate {fact.path} can't be used: {fact.failure}"
        return [problem("ports.certificate", text, why, remedy, "relay.tls")]
    if fact.ends_s is None:
        return []
    left_s = fact.ends_s - now_s
    values = {"seconds_left": round(left_s)}
    text = f"the relay's certificate is good for {shown_seconds(left_s)}"
    if left_s > SCARCE_S:
        return [ok("ports.certificate", text, "relay.tls", **values)]
    make = problem if left_s < BAD_S else warning
    return [
        make("ports.certificate", text, f"Then: {why[0].lower()}{why[1:]}", remedy, "relay.tls", **values)
    ]
