"""What the agent tells the platform, and what each answer means for it."""

from agent import interruption
from agent.client import Answer, Unreachable, address_of, post
from agent.journal import Journal
from agent.launch import Launch

# Not now, but perhaps later; every other 4xx will not get better by being repeated.
LATER = frozenset({408, 409, 425, 429})


class Dismissed(Exception):
    """The platform has no more use for this agent: a later launch took its place, or the workspace is removed."""


class Refused(Exception):
    """The platform will never accept this call; the message carries its status and reason."""


class Platform:
    """The platform as its agent sees it. Each change of its reachability is logged once."""

    def __init__(self, launch: Launch, journal: Journal) -> None:
        """Raises ValueError where PLATFORM_URL is no http or https address."""
        self._address = address_of(launch.platform_url)
        self._launch = launch
        self._token = launch.token
        self._journal = journal
        self._trouble = ""

    def register(self, *, url: str, card: dict[str, object]) -> bool:
        """Say that the workspace is up; True once acknowledged, False to try again later. Raises Refused."""
        answer = self._post("register", {"id": self._launch.workspace_id, "url": url, "agent_card": card})
        if answer is None or answer.status in LATER or answer.status >= 500:
            return False
        if answer.status != 200:
            raise Refused(f"{answer.status} {_reason(answer)}")
        self._token = str(answer.fields.get("auth_token") or self._token)
        return True

    def beat(self, fields: dict[str, object]) -> None:
        """Send one heartbeat; a lost one is made good by the next."""
        self._post("heartbeat", fields)

    def progress(self, *, step: str) -> None:
        """Announce a boot step. Best effort: a platform that doesn't hear of it stops no boot."""
        self._post("progress", {"step": step})

    def failed(self, report: dict[str, object]) -> bool:
        """Say why the agent can't go on; True where the platform took note."""
        answer = self._post("failed", report)
        return answer is not None and answer.status == 200

    def _post(self, call: str, fields: dict[str, object]) -> Answer | None:
        body = {"workspace_id": self._launch.workspace_id, **fields} if call != "register" else fields
        try:
            with interruption.interruptible():
                answer = post(self._address, f"/registry/{call}", body, token=self._token)
        except Unreachable as error:
            self._note(f"The platform can't be reached: {error}.")
            return None
        if answer.fields.get("code") in ("superseded", "removed"):
            raise Dismissed(f"the platform answered {answer.fields['code']} to {call}")
        self._note(
            "" if answer.status == 200 else f"The platform answered {answer.status} to {call}: {_reason(answer)}"
        )
        return answer

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._journal.say(trouble or "The platform answers again.")
        self._trouble = trouble


def _reason(answer: Answer) -> str:
    return str(answer.fields.get("error") or "no reason given")[:500]
