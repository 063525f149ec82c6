"""A certificate authority for tests, and the certificates that it signs."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from app.core.values import utcnow


class Authority:
    """Signs server certificates; `certificate` is the file of its own, which clients may trust."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The authority of the tests")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        signed = (
            self._unsigned(self._name, self._key.public_key(), timedelta(days=1))
            .add_extension(constraints, critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, SHA256())
        )
        self.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def server(self, address: str = "127.0.0.1", *, lifetime: timedelta = timedelta(days=1)) -> SSLContext:
        """The TLS context of a server at this address; with a negative lifetime, its certificate has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            self._unsigned(x509.Name([]), key.public_key(), lifetime)
            .add_extension(names, critical=True)
            .add_extension(authority, critical=False)
            .sign(self._key, SHA256())
        )
        path = self.directory / "server.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _unsigned(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
    ) -> x509.CertificateBuilder:
        now = utcnow()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + lifetime)
        )
