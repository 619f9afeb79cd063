"""Who may speak to the server: the browser that was given the token, under a name of this computer."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

LOCAL_NAMES = frozenset({"localhost"})
POLICY = (
    # plotly's WebGL code compiles functions; workers and pictures of the page itself are blobs
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' blob: data:; worker-src 'self' blob:; font-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_local(host: str) -> bool:
    """Whether a Host header names this computer; any port, because a tunnel may have another one at its other end.

    A page of the network whose name was made to resolve to 127.0.0.1 (DNS rebinding) comes with its own name here.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header is that of the page itself; requests without one are no work of another page."""
    return not origin or urlsplit(origin).netloc == host


def has_token(token: str, given: Mapping[str, str | None]) -> bool:
    """Whether one of the places where it may stand holds the token; compared in constant time."""
    return any(hmac.compare_digest(token.encode(), (value or "").encode()) for value in given.values())
