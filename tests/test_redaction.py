"""Texts of other programs are shown without the passwords in them."""

from __future__ import annotations

import pytest

from logan_campaign.redaction import redact


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach mongodb://me:s3cret@host:27017/db: timed out",
        "mongodb+srv://me:s3cret@host/db?x=1",
        "mongodb://me:a/b:s3cret@host/db",
        "MongoStore(password='s3cret', host='h')",
        '{"password": "s3cret"}',
        "api_key=s3cret&x=1",
    ],
)
def test_passwords_are_left_out(text: str) -> None:
    assert "s3cret" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    ["ValueError: no unit cell", "see https://example.org/a:b", "mongodb://host/db", "12:30@x"],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text
