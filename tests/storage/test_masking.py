"""No password of a URL is shown, wherever it stands in it and wherever the URL is shown."""

import sys

import pytest

from lr_search.errors import StorageError
from lr_search.storage.masking import masked_text, masked_url, masked_words
from lr_search.storage.open import open_storage

SECRET = "se" + "cret"
URLS = [
    "postgresql://me:{}@127.0.0.1:1/db",
    "postgresql://me:x{}/y@127.0.0.1:1/db",
    "postgresql://me:{}/x@127.0.0.1:1/db",
    "postgresql://me:x@{}@127.0.0.1:1/db",
    "postgresql://me:{}@127.0.0.1:notaport/db",
    "postgresql://127.0.0.1:1/db?user=me&password={}",
    "postgresql+psycopg://127.0.0.1:1/db?user=me&sslpassword={}",
    "postgresql://me:{}@[::1/db",
    "postgresql://:{}@127.0.0.1:1/db",
    "mysql://me:{}@127.0.0.1:1/db",
    "nosuch://me:{}@127.0.0.1:1/db",
    "nosuch://me:{} and more@127.0.0.1:1/db",
]


@pytest.mark.parametrize("url", URLS)
def test_it_is_not_in_what_is_shown(url):
    given = url.format(SECRET)
    assert SECRET not in masked_url(given)
    assert masked_url(given).startswith(given.split("://")[0] + "://")
    assert SECRET not in masked_words(["lr-search", "compare", f"--storage={given}"])
    assert SECRET not in masked_words(["--storage", given])
    assert SECRET not in masked_text(f"no route to {given}", given)


@pytest.mark.parametrize("url", URLS)
def test_nor_in_the_error_of_a_storage_that_cannot_be_opened(url, monkeypatch):
    monkeypatch.setattr("lr_search.storage.open.SERVER_SECONDS", 0)
    with pytest.raises((StorageError, ImportError)) as caught:
        open_storage(url.format(SECRET))
    assert SECRET not in str(caught.value)
    assert "***" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@host:5432/db", "postgresql:///db", "postgresql://host/db?connect_timeout=3", "journal://x",
        "sqlite:///lr_search.db", "sqlite:////tmp/a:b@c.db", "sqlite://", "lr_search.db", "postgresql://me@[::1]:5432/db",
    ],
)  # fmt: skip
def test_what_holds_none_is_shown_as_it_is(url):
    assert masked_url(url) == url


def test_a_token_in_front_of_a_host_is_one_too():
    assert masked_url(f"https://{SECRET}@host/path") == "https://***@host/path"


def test_a_driver_that_repeats_the_password_does_not_show_it():
    url = f"postgresql://me:{SECRET}@host/db"
    assert (
        masked_text(f"bad connection string 'user=me password={SECRET}'", url)
        == "bad connection string 'user=me password=***'"
    )


def test_the_last_words_after_ctrl_c_show_none(cli, monkeypatch):
    url = f"postgresql://me:{SECRET}@127.0.0.1:1/db"

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    arguments = ["compare", "lr_search.demo:workload", "--storage", url]
    monkeypatch.setattr("lr_search.comparison.compare.compare", interrupted)
    monkeypatch.setattr(sys, "argv", ["lr-search", *arguments])
    printed = cli(*arguments, code=130).stderr
    assert "postgresql://me:***@127.0.0.1:1/db" in printed
    assert SECRET not in printed
