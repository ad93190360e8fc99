"""HTTPS: cookies, redirects, HSTS and the policy under each setting, and the documented production settings."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings

from config.security_headers import POLICY
from tests.config.test_environment import COMPLETE
from workspaces.provisioners.process import namespaces

# Asks Django's own handler, with all middleware, and prints what it answered.
ASK = """
import json, sys
import django
django.setup()
from django.test import Client
for method, path, secure, headers in json.loads(sys.argv[1]):
    answer = Client().generic(method, path, "{}", content_type="application/json", secure=secure, headers=headers)
    cookies = {name: bool(each["secure"]) for name, each in answer.cookies.items()}
    print(json.dumps({"status": answer.status_code, "headers": dict(answer.headers), "cookies": cookies}))
"""


def run(*command, **variables):
    environment = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "config.settings", **COMPLETE, **variables}
    return subprocess.run(
        [sys.executable, *command],
        env={**environment, "ALLOWED_HOSTS": environment.get("ALLOWED_HOSTS", "testserver")},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ask(*paths, method="GET", secure=False, headers=None, **variables):
    """Return the answers to a request for each path, from one process with these variables."""
    done = run("-c", ASK, json.dumps([[method, path, secure, headers or {}] for path in paths]), **variables)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


HSTS = "max-age=31536000; includeSubDomains; preload"


@pytest.mark.parametrize(
    ("variables", "request_options"),
    [
        ({"HTTPS": "true"}, {"secure": True}),
        ({"TRUSTED_PROXIES": "1"}, {"headers": {"X-Forwarded-Proto": "https"}}),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, {"headers": {"X-Forwarded-Proto": "https"}}),
        # The older name.
        ({"TRUSTED_PROXY": "true"}, {"headers": {"X-Forwarded-Proto": "https"}}),
    ],
)
def test_https_makes_cookies_secure_and_sets_hsts(variables, request_options):
    (answer,) = ask("/admin/login/", **request_options, **variables)
    assert answer["status"] == 200
    assert answer["cookies"] == {"csrftoken": True}
    assert answer["headers"]["Strict-Transport-Security"] == HSTS
    assert answer["headers"]["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize(
    ("variables", "headers"),
    [
        ({"HTTPS": "true"}, {}),
        # Nobody said that a proxy sets this header, so the client may have.
        ({"HTTPS": "true"}, {"X-Forwarded-Proto": "https"}),
        ({"TRUSTED_PROXIES": "1"}, {"X-Forwarded-Proto": "http"}),
        ({"TRUSTED_PROXIES": "1"}, {}),
    ],
)
def test_a_page_over_http_redirects_to_https(variables, headers):
    (answer,) = ask("/admin/login/", headers=headers, **variables)
    assert (answer["status"], answer["headers"]["Location"]) == (301, "https://testserver/admin/login/")
    assert "Strict-Transport-Security" not in answer["headers"]


def test_agents_watchers_and_probes_may_use_http():
    assert ask("/health", TRUSTED_PROXIES="1")[0]["status"] == 200
    watcher = "/admin/workspaces/00000000-0000-0000-0000-000000000000/bootstrap-failed"
    answers = ask("/registry/heartbeat", watcher, method="POST", TRUSTED_PROXIES="1")
    assert [answer["status"] for answer in answers] == [401, 401]


def test_without_https_nothing_is_redirected_and_every_page_has_the_policy():
    assert "unsafe-inline" not in POLICY
    for answer in ask("/admin/login/", "/health", "/nowhere", "/admin/theme.css", "/api/docs"):
        assert answer["status"] != 301
        assert "Strict-Transport-Security" not in answer["headers"]
        assert answer["headers"]["Content-Security-Policy"] == POLICY
        assert not any(answer["cookies"].values())


def test_check_deploy_is_clean_with_the_documented_production_settings():
    page = (settings.BASE_DIR / "docs/how-to/deploy.md").read_text()
    lines = [line.strip() for line in page.partition("```ini\n")[2].partition("```")[0].splitlines()]
    documented = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    made = {
        "SECRET_KEY": "m7Qz-2pV_tK9wXc4RbN8yLd3HfJ6sGa1UeTi5OoPqWvZkMnB-xY7q",
        "SECRETS_KEYS": COMPLETE["SECRETS_KEYS"],
    }
    assert set(made) < set(documented)
    if not namespaces.allowed():
        # A warning about the host, which test_checks.py covers.
        documented["SILENCED_SYSTEM_CHECKS"] += ",slipway.W004"
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **documented | made)
    assert done.returncode == 0, done.stderr
    without = run("manage.py", "check", "--deploy", **documented | made | {"TRUSTED_PROXIES": "", "DEBUG": "true"})
    for warning in ("security.W004", "security.W008", "security.W010", "security.W016", "security.W018"):
        assert warning in without.stderr
