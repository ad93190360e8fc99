"""An agent written from the wire contract alone: it knows its environment variables, `requests` and a loop.

Each line of its standard input is the JSON of what its next heartbeats report. It prints each answer that differs from
the one before.
`--careless` registers once, looks at no answer and goes on for ever; `--mute` never registers.
"""

import json
import os
import select
import sys

import requests

WORKSPACE = os.environ["WORKSPACE_ID"]
PLATFORM = os.environ["PLATFORM_URL"]
INTERVAL_SECONDS = 0.2
TIMEOUT_SECONDS = 120


def main():
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {os.environ['WORKSPACE_TOKEN']}"
    is_careless = "--careless" in sys.argv
    if "--mute" not in sys.argv:
        card = {"name": "wire agent", "skills": [{"id": "echo"}]}
        body = {"id": WORKSPACE, "url": "http://localhost:9000", "agent_card": card}
        tell(session.post(f"{PLATFORM}/registry/register", json=body, timeout=TIMEOUT_SECONDS))
    report, said = {}, None
    while True:
        if select.select([sys.stdin], [], [], INTERVAL_SECONDS)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            report = json.loads(line)
        body = {"workspace_id": WORKSPACE, **report}
        answer = session.post(f"{PLATFORM}/registry/heartbeat", json=body, timeout=TIMEOUT_SECONDS)
        if answer.content != said:
            tell(answer)
            said = answer.content
        if not is_careless and answer.status_code in {401, 410}:
            sys.exit(answer.json()["code"])


def tell(answer):
    print(answer.status_code, answer.text, flush=True)


if __name__ == "__main__":
    main()
