"""Texts of other programs are shown without the passwords in them."""

from __future__ import annotations

import pytest

from logan_campaign.core.redaction import redact, without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach mongodb://me:s3cret@host:27017/db: timed out",
        "mongodb+srv://me:s3cret@host/db?x=1",
        "mongodb://me:a/b:s3cret@host/db",
        "MongoStore(password='s3cret', host='h')",
        '{"password": "s3cret"}',
        "api_key=s3cret&x=1",
        "Authorization: Bearer s3cret",
        "authorization: Basic s3cret",
        "X-API-KEY: s3cret",
        '{"api_key": "a s3cret"}',
        "mongodb%3A%2F%2Fu%3As3cret%40h",
        "https://s3cret@host/",
        "pwd=s3cret",
        'password="a\\"s3cret"',
        "token: s3cret, then more",
    ],
)
def test_passwords_are_left_out(text: str) -> None:
    assert "s3cret" not in redact(text)
    assert "***" in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://host:1/db", "mongodb://host:1/db"),
        ("mongodb://host/base?key=secret", "mongodb://host/base"),
        ("mongodb://u:p@h1,h2:2/db?authSource=admin", "mongodb://***@h1,h2:2/db"),
        ("mongodb+srv://u@h", "mongodb+srv://***@h"),
        ("mongodb://u:p w/with@all@h/db", "mongodb://***@h/db"),
        ("/a/path", "/a/path"),
    ],
)
def test_of_a_uri_place_and_database_are_left(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@pytest.mark.parametrize(
    "text",
    ["ValueError: no unit cell", "see https://example.org/a:b", "mongodb://host/db", "12:30@x"],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_variables_that_hold_secrets_are_told_by_their_names() -> None:
    kept = {"PATH": "/bin", "HOME": "/root", "OMP_NUM_THREADS": "1", "MONKEY": "x"}
    secret = ("MP_API_KEY", "LOGAN_CAMPAIGN_MONGO_PASSWORD", "PMG_MAPI_API_KEY", "GITHUB_TOKEN")
    assert without_secrets({**kept, **dict.fromkeys(secret, "s3cret")}) == kept


@pytest.mark.parametrize("text", ["no route for hunter2", "hunter2hunter2", "key=hunter2 at x"])
def test_what_is_known_to_be_secret_is_masked_wherever_it_stands(text: str) -> None:
    shown = redact(text, "hunter2", "")
    assert "hunter2" not in shown
    assert "***" in shown
    assert redact("no route", "hunter2", "") == "no route"
