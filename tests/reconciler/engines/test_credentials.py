"""Tokens of DiracX: where they come from, how long they last, and that nobody sees them. The service is real."""

from __future__ import annotations

import fcntl
import json
import logging
import time
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from reconciler.engines.diracx import credentials
from reconciler.engines.diracx.credentials import Credentials, NoToken
from reconciler.outside.http import HttpClient, NoAnswer
from tests.contract.diracx import DiracxRig

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(request, tmp_path, monkeypatch):
    with DiracxRig.serving(request, tmp_path, monkeypatch) as rig:
        yield rig


@pytest.fixture
def file(rig):
    """A file as `dirac login` leaves it, whose access token has run out; its refresh token lives for half an hour."""
    scope = "vo:belle group:belle_production"
    query = urlencode({"preferred_username": "prodmgr", "scope": scope, "expires_minutes": 30})
    headers = {"Authorization": f"Bearer {rig.services.key}"}
    reply = HttpClient().send(
        "GET", f"{rig.services.url}/api/auth/legacy-exchange?{query}", 10, headers=headers
    )
    tokens = reply.read_json()
    file = rig.folder / "credentials.json"
    file.touch(0o600)
    content = {name: tokens[name] for name in ("access_token", "refresh_token")}
    file.write_text(json.dumps({**content, "expires_on": int(time.time()) - 5}))
    return file


def make(rig, file, **changes):
    return Credentials(rig.settings(key=None, token=str(file), **changes), HttpClient())


def test_tokens_are_renewed_in_their_file_and_others_find_them_there(rig, file):
    before = json.loads(file.read_text())
    token = make(rig, file).find_access(10)
    after = json.loads(file.read_text())
    assert after["access_token"] == token != before["access_token"]
    assert after["expires_on"] > time.time() + 600
    assert after["refresh_token"]
    assert file.stat().st_mode & 0o777 == 0o600
    calls = len(rig.gateway.calls)
    assert make(rig, file).find_access(10) == token
    assert len(rig.gateway.calls) == calls


def test_the_lifetime_is_that_of_the_refresh_token(rig, file):
    life = make(rig, file).find_lifetime(10)
    assert timedelta(minutes=28) < life <= timedelta(minutes=30)


def test_an_api_key_has_no_end(rig):
    assert Credentials(rig.settings(), HttpClient()).find_lifetime(10) is None


def test_what_has_run_out_says_whom_to_ask_and_how(rig, file):
    found = Credentials(
        rig.settings(key=None, token=str(file)), HttpClient(), clock=lambda: time.time() + 3600
    )
    with pytest.raises(
        NoToken, match=r"run out; run `dirac login belle --group belle_production` as prodmgr"
    ):
        found.find_access(10)


def test_another_users_token_is_refused_before_its_searches_find_nothing(rig, file):
    with pytest.raises(
        NoToken, match=r"the token is of prodmgr/belle/belle_production; the site's file says other/"
    ):
        make(rig, file, user="other").find_access(10)


def test_a_token_that_is_not_taken_any_more_is_renewed_once(rig, file):
    make(rig, file).find_access(10)
    content = json.loads(file.read_text())
    head, claims, _ = content["access_token"].split(".")
    file.write_text(json.dumps({**content, "access_token": f"{head}.{claims}.AAAA"}))
    engine = rig.make_engine(diracx=rig.settings(key=None, token=str(file)))
    batch = rig.make_batch("")
    assert engine.find(batch.handles) == {batch.handles[0].name: []}
    assert sum("auth/token" in call for call in rig.gateway.calls) == 2


def test_a_file_that_another_process_holds_is_not_waited_for_for_ever(rig, file, monkeypatch):
    monkeypatch.setattr(credentials, "PATIENCE", 0.2)
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NoAnswer, match="locked by another process"):
            make(rig, file).find_access(10)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"access_token": 1, "expires_on": "soon"}', "\x00"])
def test_a_file_that_holds_something_else_is_said_to(rig, file, content):
    file.write_text(content)
    with pytest.raises(NoToken, match="does not hold DIRAC's tokens; run `dirac login"):
        make(rig, file).find_access(10)


def test_no_secret_is_shown_or_logged_or_sent_elsewhere(rig, file, caplog):
    caplog.set_level(logging.DEBUG)
    engine = rig.make_engine(diracx=rig.settings(key=None, token=str(file)))
    keyed = rig.make_engine()
    batch = rig.make_batch("")
    with rig.hold(batch):
        engine.submit(batch)
        keyed.find(batch.handles)
    texts = [
        repr(one) for one in (engine, engine._client, engine._client.credentials, keyed._client.credentials)
    ]
    texts += [repr(engine._client.credentials._tokens), caplog.text]
    texts += [one.what for broken in rig.broken_sites() for one in broken[1].examine()]
    secrets = [
        rig.services.key,
        *json.loads(file.read_text()).values(),
        engine._client.credentials._tokens.access,
    ]
    for text in texts:
        for secret in secrets:
            assert str(secret) not in text
