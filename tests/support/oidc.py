"""A small OpenID Connect provider, as an API server and oauth2-proxy see one, and such a proxy."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from spawnai_local.certificates import CertificateAuthority

ADDRESS = "127.0.0.1"
AUDIENCE = "spawnai"


class Provider:
    """Publishes its keys, and signs ID tokens: what is left when people have signed in.

    Attributes:
        issuer: its URL.
        authority: PEM of whom its certificate is signed by.
    """

    def __init__(self, authority: CertificateAuthority) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.authority = authority.certificate_path.read_text()
        self.issuer = ""

    def token(self, email: str, *groups: str, lifetime: float = 600, audience: str = "") -> str:
        """An ID token for a person."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": audience or AUDIENCE,
            "sub": email,
            "email": email,
            "email_verified": True,
            "groups": groups,
            "iat": now,
            "exp": int(now + lifetime),
        }
        head = {"alg": "RS256", "typ": "JWT", "kid": "one"}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"

    async def discovery(self, _: web.Request) -> web.Response:
        """OpenID Connect Discovery 1.0."""
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def keys(self, _: web.Request) -> web.Response:
        """RFC 7517."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one"}
        n, e = (
            _base64url(one.to_bytes(256 if one > 2**32 else 3)) for one in (numbers.n, numbers.e)
        )
        return web.json_response({"keys": [{**key, "n": n, "e": e}]})


@asynccontextmanager
async def provider(directory: Path) -> AsyncIterator[Provider]:
    """A provider at a port of its own, by HTTPS."""
    authority = CertificateAuthority(directory, "oidc-for-tests")
    pair = authority.issue_server("oidc", [ADDRESS])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    made = Provider(authority)
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", made.discovery)
    application.router.add_get("/keys", made.keys)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, ADDRESS, 0, ssl_context=tls).start()
        made.issuer = f"https://{ADDRESS}:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


def authentication_config(*providers: Provider) -> str:
    """A file for kube-apiserver's --authentication-config; it reads it again when it changes."""
    config: dict[str, Any] = {
        "apiVersion": "apiserver.config.k8s.io/v1beta1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {
                    "url": one.issuer,
                    "audiences": [AUDIENCE],
                    "certificateAuthority": one.authority,
                },
                "claimMappings": {
                    "username": {"claim": "email", "prefix": "oidc:"},
                    "groups": {"claim": "groups", "prefix": "oidc:"},
                },
            }
            for one in providers
        ],
    }
    return json.dumps(config)


@asynccontextmanager
async def signing_proxy(port: int, token: str) -> AsyncIterator[str]:
    """What oauth2-proxy is for whoever has signed in: it adds their ID token to each request.

    Yields its URL. The service behind it listens at `port`.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            kept = [one for one in lines if not one.lower().startswith("authorization:")]
            if not any(one.lower().startswith("upgrade:") for one in kept):
                # One request for each connection: the next one needs the token, too.
                kept = [one for one in kept if not one.lower().startswith("connection:")]
                kept.append("Connection: close")
            lines = [first, *kept, f"Authorization: Bearer {token}", "", ""]
            onward = await asyncio.open_connection(ADDRESS, port)
            onward[1].write("\r\n".join(lines).encode("latin-1"))
            await asyncio.gather(_pipe(reader, onward[1]), _pipe(onward[0], writer))
        writer.close()

    server = await asyncio.start_server(serve, ADDRESS, 0)
    try:
        yield f"http://{ADDRESS}:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
