"""A mail server with just enough of SMTP to accept a message; Python 3.12 removed the standard library's."""

import socketserver

from tests.serving import serving


class MailServer(socketserver.ThreadingTCPServer):
    """Stores the mails that it receives."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails = []
        # The answer to each recipient.
        self.answer = b"250 ok"
        # The answer to a login, from what was sent with it; None takes no logins.
        self.login_answer = None

    @property
    def port(self):
        return int(self.server_address[1])


class _Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self):
        self._say(b"220 here")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say(b"354 go on")
                self.server.mails.append(self._message())
                self._say(b"250 taken")
            elif verb == b"EHLO" and self.server.login_answer:
                self._say(b"250-here\r\n250 AUTH PLAIN")
            elif verb == b"AUTH":
                self._say(self.server.login_answer(line.split()[-1]))
            elif verb == b"QUIT":
                self._say(b"221 bye")
                return
            else:
                self._say(self.server.answer if verb == b"RCPT" else b"250 ok")

    def _message(self):
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line)
        return b"".join(lines)

    def _say(self, line):
        self.wfile.write(line + b"\r\n")


def mail_server():
    """Run a mail server for the duration of a block."""
    return serving(MailServer())
