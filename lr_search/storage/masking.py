"""URLs as they may be shown: in errors, on a terminal, in the storage and on a page that is passed on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from urllib.parse import quote_plus

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

_URL = re.compile(r"([\w+.-]+)://(.*)", re.DOTALL)
_SECRET = re.compile(r"pass|pwd|secret|token|key|credential", re.IGNORECASE)  # in the name of a URL's option
_MASK = "***"


def masked_url(url: str) -> str:
    """The URL without its password, wherever it stands; of one that cannot be parsed, the kind alone.

    >>> masked_url("postgresql://me:se/cret@host/db")
    'postgresql://me:***@host/db'
    >>> masked_url("postgresql://host/db?user=me&password=secret")
    'postgresql://host/db?password=***&user=me'
    >>> masked_url("postgresql://me:secret@host:notaport/db")
    'postgresql://***'
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        return url
    if parts[1].split("+")[0] == "sqlite":  # a file's path: no place for a password
        return url
    try:
        parsed = parsed_url(url)
    except ValueError:
        return f"{parts[1]}://{_MASK}"
    secrets = {name: _MASK for name in parsed.query if _SECRET.search(name)}
    if parts[1] in ("http", "https") and parsed.username:  # a token, often
        parsed = parsed._replace(username=_MASK, password=None)
    return parsed.update_query_dict(secrets).render_as_string().replace(quote_plus(_MASK), _MASK)


def parsed_url(url: str) -> URL:
    """The parts of a database's URL. Raises: ValueError: it cannot be parsed, or an @ in its password was taken for another part."""
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except ArgumentError as error:
        raise ValueError("not a URL") from error
    if not parsed.drivername.startswith("sqlite") and "@" in f"{parsed.host}{parsed.database}":
        raise ValueError("an @ that is not escaped")
    return parsed


def masked_text(text: str, url: str) -> str:
    """What another program says of a URL: the URL in it as it may be shown, and the password nowhere."""
    text = text.replace(url, masked_url(url))
    try:
        parsed = parsed_url(url)
    except ValueError:
        return text
    options = [value for name, value in parsed.query.items() if _SECRET.search(name)]
    held = [parsed.password, *(each for value in options for each in ([value] if isinstance(value, str) else value))]
    for secret in held:
        text = text.replace(str(secret), _MASK) if secret else text
    return text


def masked_words(words: Iterable[str]) -> str:
    """A command line as it may be shown, from its words.

    >>> masked_words(["lr-search", "compare", "w:w", "--storage=postgresql://me:secret@host/db"])
    "lr-search compare w:w '--storage=postgresql://me:***@host/db'"
    """
    return shlex.join(_URL.sub(lambda found: masked_url(found[0]), word) for word in words)
