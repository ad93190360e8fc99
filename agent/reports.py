"""The agent's calls to the platform, and what each answer means."""

from agent import interruption
from agent.client import Answer, Unreachable, address_of, post
from agent.journal import Journal
from agent.launch import Launch
from agent.texts import mend_line, mend_text, mend_values

# Worth a retry; a call with any other 4xx would fail again.
RETRYABLE = frozenset({408, 409, 425, 429})


class Dismissed(Exception):
    """The platform no longer needs this agent: a later launch replaced it, or the workspace was removed."""


class Refused(Exception):
    """The platform will never accept this call. The message has its status and reason."""


class Platform:
    """The platform's registry API. Each change of its reachability is logged once."""

    def __init__(self, launch: Launch, journal: Journal) -> None:
        """Raises ValueError if PLATFORM_URL is not an http or https address."""
        self._address = address_of(launch.platform_url)
        self._launch = launch
        self._token = launch.token
        self._journal = journal
        self._trouble = ""

    def register(self, *, url: str, card: dict[str, object]) -> bool:
        """Report that the workspace is up. Return True once acknowledged, False to try again later. Raises Refused."""
        answer = self._post("register", {"id": self._launch.workspace_id, "url": url, "agent_card": mend_values(card)})
        if answer is None or answer.status in RETRYABLE or answer.status >= 500:
            return False
        if answer.status != 200:
            raise Refused(f"{answer.status} {_reason(answer)}")
        self._token = str(answer.fields.get("auth_token") or self._token)
        return True

    def beat(self, fields: dict[str, object]) -> None:
        """Send one heartbeat. A lost one is not repeated; the next one follows."""
        self._post("heartbeat", fields)

    def progress(self, *, step: str) -> None:
        """Report a boot step. The boot continues if the report is lost."""
        self._post("progress", {"step": mend_line(step)})

    def failed(self, report: dict[str, object]) -> bool:
        """Report why the agent can't go on. Return True if the platform recorded it."""
        answer = self._post("failed", {**report, "error": mend_text(str(report["error"]))})
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
