"""Faults of the surroundings against faults of one object.

A key that is not there, a file that may not be read or is cut short: that is a fault of the object, and costs one row.
No or expired credentials, a clock that is off, a wrong region, a name that no server answers to, a bucket that does not
exist, a node without a mount or a package: that would cost every row in turn, and none of them is at fault.
"""

import errno
import socket
import ssl
from collections.abc import Iterator

import botocore.exceptions as boto
import botocore.parsers

from jobs.storage.redaction import redacted

_CREDENTIALS = "the credentials are missing, wrong or have expired: give valid ones to the driver and to every node"
_CLOCK = "this machine's clock is too far from the store's: set it right"
_REGION = "the bucket is in another region or at another endpoint: set AWS_REGION, or AWS_ENDPOINT_URL"
_UNREACHABLE = "the store cannot be reached: look at AWS_ENDPOINT_URL, at the name's spelling and at the network"
_NO_STORE = "what answers is no S3 server: look at AWS_ENDPOINT_URL"
_TLS = "there is no secure connection to the store: look at its certificate and at AWS_ENDPOINT_URL"
_BUCKET = "there is no such bucket: make it, or look at its spelling and at AWS_ENDPOINT_URL"
_NODE = "this node has lost a mount, or has no more open files or memory: mend it"
_PACKAGE = "a package is missing on this node: install it there"

_CODES = {
    **dict.fromkeys(
        (
            *("ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "InvalidClientTokenId"),
            *("SignatureDoesNotMatch", "TokenRefreshRequired", "CredentialsNotSupported", "InvalidSecurity"),
            *("AccountProblem", "NotSignedUp", "AuthFailure", "UnrecognizedClientException"),
        ),
        _CREDENTIALS,
    ),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), _CLOCK),
    **dict.fromkeys(
        (
            *("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
            *("TemporaryRedirect", "301", "307"),
        ),
        _REGION,
    ),
    "NoSuchBucket": _BUCKET,
}
# The first that fits counts: subclasses before their bases.
_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (
        (
            *(boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError),
            *(boto.ProfileNotFound, boto.TokenRetrievalError, boto.SSOError, boto.MetadataRetrievalError),
        ),
        _CREDENTIALS,
    ),
    ((boto.NoRegionError, boto.InvalidRegionError), _REGION),
    (botocore.parsers.ResponseParserError, _NO_STORE),
    ((ImportError, boto.MissingDependencyException), _PACKAGE),
)
# Where the URI itself names the host, as https:// does, these are the fault of that one URI.
_CONNECTION_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    ((boto.SSLError, ssl.SSLError), _TLS),
    (
        (
            *(boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError),
            *(boto.InvalidEndpointConfigurationError, boto.UnknownEndpointError),
            *(socket.gaierror, ConnectionRefusedError),
        ),
        _UNREACHABLE,
    ),
)
_CONNECTION_NUMBERS = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN}
)
_NODE_NUMBERS = frozenset({errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# By name: classes of packages that need not be installed here, or are slow to import.
_CONNECTION_NAMES = {"ClientConnectorError": _UNREACHABLE, "ClientConnectorDNSError": _UNREACHABLE} | dict.fromkeys(
    ("ClientConnectorSSLError", "ClientConnectorCertificateError"), _TLS
)
_CREDENTIAL_MODULES = ("google.auth.", "google.oauth2.")
_CREDENTIAL_NAMES = frozenset({"ClientAuthenticationError", "CredentialUnavailableError"})
_HOST_IN_THE_URI = frozenset({"http", "https", "ftp", "sftp", "ssh", "smb"})
_LONGEST_REASON = 200


def fault_of_surroundings(error: BaseException, uri: str) -> str | None:
    """Say in one sentence, without credentials, what is wrong with the surroundings; None for a fault of the object.

    Parameters
    ----------
    error : BaseException
        That a storage library raised, or one raised from it.
    uri : str
        What was to be read or written.

    Examples
    --------
    >>> fault_of_surroundings(boto.NoCredentialsError(), "s3://photographs/a.png")[:66]
    's3://photographs cannot be used: the credentials are missing, wron'
    >>> fault_of_surroundings(FileNotFoundError("a.png"), "s3://photographs/a.png") is None
    True
    """
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    for cause in _causes(error):
        meaning = _meaning(cause, protocol)
        if meaning is not None:
            reason = " ".join(str(cause).split())[:_LONGEST_REASON].rstrip(".")
            authority = uri.split("://", 1)[-1].split("/", 1)[0]
            where = f"{protocol}://{authority}" if protocol != "file" else uri
            return redacted(f"{where} cannot be used: {meaning} ({type(cause).__name__}: {reason})")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _meaning(error: BaseException, protocol: str) -> str | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict) and (meaning := _CODES.get(str(response.get("Error", {}).get("Code")))):
        return meaning
    kinds = _KINDS if protocol in _HOST_IN_THE_URI else (*_KINDS, *_CONNECTION_KINDS)
    for kind, meaning in kinds:
        if isinstance(error, kind):
            return meaning
    if type(error).__module__.startswith(_CREDENTIAL_MODULES) or type(error).__name__ in _CREDENTIAL_NAMES:
        return _CREDENTIALS
    if protocol not in _HOST_IN_THE_URI and type(error).__name__ in _CONNECTION_NAMES:
        return _CONNECTION_NAMES[type(error).__name__]
    if isinstance(error, OSError):
        if error.errno in _NODE_NUMBERS:
            return _NODE
        if error.errno in _CONNECTION_NUMBERS and protocol not in _HOST_IN_THE_URI:
            return _UNREACHABLE
    return None
