"""No secrets in what is printed, logged or written: credentials are taken out of texts and URIs."""

import os
import re

# Azure's abfs://container@account names no user.
_USER_INFO = re.compile(r"\b(?!abfs|wasb)([a-z][a-z0-9+.-]*://)[^/\s]*@", re.IGNORECASE)
_QUERY = re.compile(r"(https?://[^\s?]+)\?\S+")
# Parameters such as X-Amz-Signature, sig, access_token, key or AWSAccessKeyId, of URIs of any kind.
_SECRET_PARAMETER = re.compile(
    r"([?&;][\w.-]*(?:sig|signature|secret|token|password|passwd|credential|key|keyid)=)[^&;\s\"'<>]+", re.IGNORECASE
)
# What botocore's and other libraries' errors may quote of a request's header.
_HEADER = re.compile(r"((?:Authorization|x-amz-security-token)['\"]?\s*[:=]\s*).*", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY|ACCOUNT_KEY", re.IGNORECASE)
_SHORTEST_SECRET = 6
"""A variable's value with fewer characters is no secret worth the name, and would be found in any text."""


def redacted(text: str) -> str:
    """Take credentials out of a text: of URIs, of quoted headers, and values of secret environment variables.

    Examples
    --------
    >>> redacted("cannot read https://me:secret@host/a.png?X-Amz-Signature=1f")
    'cannot read https://host/a.png'
    >>> redacted("no container az://photographs/a.png?sv=2024&sig=c2VjcmV0 there")
    'no container az://photographs/a.png?sv=2024&sig=*** there'
    """
    for value in _secret_values():
        text = text.replace(value, "***")
    text = _HEADER.sub(r"\1***", text)
    return _SECRET_PARAMETER.sub(r"\1***", shown_uri(text))


def shown_uri(uri: str) -> str:
    """Return a URI as it may be shown in a row of the results: the same but for credentials.

    Unlike `redacted` this leaves keys of object stores alone, whatever they look like: a key may hold a ``?``.

    Examples
    --------
    >>> shown_uri("s3://bucket/is it?token=0.png"), shown_uri("https://host/a.png?token=0")
    ('s3://bucket/is it?token=0.png', 'https://host/a.png')
    """
    return _QUERY.sub(r"\1", _USER_INFO.sub(r"\1", uri))


def _secret_values() -> list[str]:
    """Values of the environment's secret variables, the longest first: one may be a part of another."""
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST_SECRET and not value.startswith(("/", "~"))
    }
    return sorted(values, key=len, reverse=True)
