"""Answers that no service should give: each is none, and neither a traceback nor a secret comes of it."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.engines.diracx.credentials import Credentials, NoToken
from reconciler.engines.diracx.settings import DiracxSettings
from reconciler.engines.gb2.replies import read_proxy, read_status
from reconciler.outside.http import Answer, HttpClient, NoAnswer, NotSent


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:99999/",
        "http://xn--a/",
        "http://\u2024/",
        "http://[::1/",
        "http://\x00/",
    ],
)
def test_an_address_that_is_none_is_not_reached(address):
    with pytest.raises(NotSent):
        HttpClient().send("GET", address, 1.0)


@pytest.mark.parametrize("secret", ["s3cret\n", "s3cr\u00e9t", "s3cret\0", "s3cret\u20ac"])
def test_a_secret_that_cannot_be_sent_is_not_shown(secret):
    with pytest.raises(NotSent, match="X-Rucio-Password has characters") as caught:
        HttpClient().send("GET", "http://127.0.0.1:9/", 1.0, headers={"X-Rucio-Password": secret})
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2024 00:00:00 -0000", "Mon, 01 Jan 2024 00:00:00"])
def test_a_clock_without_a_zone_is_in_universal_time(date):
    assert Answer(200, {"date": date}, b"").time == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "row", ["1 name Done " + "9" * 5000 + "/1", "1 name Done " + "9" * 60_000, "1 name Done 1/" + "9" * 5000]
)
def test_counts_without_end_are_none(row):
    begun = time.process_time()
    (production,) = read_status(f"ProductionID  ProductionName  Status\n{row}\n")
    assert (production.done, production.total) == (None, None)
    assert time.process_time() - begun < 1


def test_a_proxy_that_lasts_for_ever_is_not_believed():
    assert read_proxy("timeleft : 99999999999999:00:00") == (timedelta(0), None)


class Service:
    """Answers every request alike."""

    def __init__(self, body: str) -> None:
        self._body = body

    def send(self, *_, **__):
        return Answer(200, {}, self._body.encode())


def write_token(**claims):
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"h.{part}.s"


WHERE = "https://diracx.example.org", "belle", "belle_production", "prodmgr"
MINE = {"preferred_username": "prodmgr", "vo": "belle", "dirac_group": "belle_production"}


@pytest.mark.parametrize(
    "body",
    [
        '{"access_token": "%s", "expires_in": 1e999}',
        '{"access_token": "%s", "expires_in": NaN}',
        '{"access_token": "%s", "expires_in": 1' + "0" * 400 + "}",
        '{"access_token": "%s", "expires_in": -5}',
        '{"access_token": "%s\\n", "expires_in": 60}',
        '{"access_token": "%s\\u00e9", "expires_in": 60}',
        '{"access_token": "%s", "expires_in": []}',
        '{"access_token": "h.' + base64.urlsafe_b64encode(b"[" * 100_000).decode() + '.s", "expires_in": 60}',
    ],
)
def test_a_token_that_is_none_is_not_taken(tmp_path, body):
    key = tmp_path / "key"
    key.write_text("pat")
    key.chmod(0o600)
    with pytest.raises((NoAnswer, NoToken)) as caught:
        Credentials(
            DiracxSettings(*WHERE, key=str(key)), Service(body.replace("%s", write_token(**MINE)))
        ).find_access(1.0)
    assert write_token(**MINE)[:20] not in str(caught.value)


@pytest.mark.parametrize("end", [10**400, 1e300, -1, "soon", None])
def test_a_refresh_token_that_never_ends_has_no_end(tmp_path, end):
    access = write_token(**MINE)
    file = tmp_path / "credentials.json"
    tokens = {
        "access_token": access,
        "expires_on": time.time() + 9999,
        "refresh_token": f"h.{base64.urlsafe_b64encode(json.dumps({'exp': end}).encode()).decode()}.s",
    }
    file.write_text(json.dumps(tokens))
    file.chmod(0o600)
    lifetime = Credentials(DiracxSettings(*WHERE, token=str(file)), Service("")).find_lifetime(1.0)
    assert lifetime is not None
    assert lifetime < timedelta(hours=3)
