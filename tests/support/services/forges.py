"""The comment APIs of GitLab and GitHub on this machine."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "glpat-0123456789"
ME = "b2prod-robot"


class FakeForge:
    """One project with a request with comments, and with issues. `failing` are the statuses of the next answers; 0 closes the connection."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.comments: list[dict] = []
        self.issues: list[dict] = []
        self.releases: dict[str, dict] = {}
        self.failing: list[int] = []
        self.seen: list[tuple[str, str]] = []
        self.silent = False  # whether the answer to a new release is lost
        self.page = 3  # fewer than asked for, to catch clients that read one page only
        self.name_is_secret = False
        self.link_to: str | None = None  # the target of page links, if another server
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.forge = self
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def say(self, who: str, text: str) -> None:
        user = {"username": who, "login": who, "id": 1}
        number = len(self.comments) + 1
        self.comments.append(
            {"id": number, "body": text, "author": user, "user": user, "url": self.link(number)}
        )

    def open_issue(self, who: str, sent: dict) -> None:
        user = {"username": who, "login": who, "id": 1}
        page = f"{self.address}/belle2/productions/-/issues/{len(self.issues) + 1}"
        self.issues.append({**sent, "author": user, "user": user, "web_url": page, "html_url": page})

    def link(self, number: int) -> str:
        return f"{self.address}/repos/belle2/productions/issues/comments/{number}"

    def texts(self, who: str = ME) -> list[str]:
        return [one["body"] for one in self.comments if one["author"]["username"] == who]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        forge: FakeForge = self.server.forge
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        sent = json.loads(self.rfile.read(length)) if length else {}
        forge.seen.append((self.command, parts.path))
        given = self.headers.get("PRIVATE-TOKEN") or (self.headers.get("Authorization") or "").removeprefix(
            "token "
        )
        given = given.removeprefix("Bearer ")
        if forge.failing:
            status = forge.failing.pop(0)
            if status == 0:
                self.close_connection = True
                self.connection.close()
                return
            self.reply(status, {"message": f"this is {status}"})
        elif given != TOKEN:
            self.reply(401, {"message": "401 Unauthorized"})
        elif parts.path.endswith("/user"):
            if forge.name_is_secret:
                self.reply(403, {"message": "Resource not accessible by integration"})
            else:
                self.reply(200, {"username": ME, "login": ME, "id": 1})
        elif re.fullmatch(
            r"/api/v4/projects/[^/]+/merge_requests/7/notes|/repos/belle2/productions/issues/7/comments",
            parts.path,
        ):
            self.handle_comments(forge, parse_qs(parts.query), sent)
        elif found := re.fullmatch(r".*/(?:notes|comments)/(\d+)", parts.path):
            comment = forge.comments[int(found[1]) - 1]
            comment["body"] = sent["body"]
            self.reply(200, comment)
        elif re.fullmatch(r"/api/v4/projects/[^/]+/issues|/repos/belle2/productions/issues", parts.path):
            self.handle_issues(forge, parse_qs(parts.query), sent)
        elif found := re.fullmatch(
            r"/api/v4/projects/[^/]+/releases(?:/([^/]+))?|/repos/belle2/productions/releases(?:/tags/([^/]+))?",
            parts.path,
        ):
            self.handle_releases(forge, unquote(found[1] or found[2] or ""), sent)
        elif parts.path == "/repos/belle2/productions/issues/7":
            url = f"{forge.address}{parts.path}"
            self.reply(200, {"number": 7, "url": url, "comments_url": f"{url}/comments"})
        else:
            self.reply(404, {"message": "404 Not found"})

    def handle_issues(self, forge, query, sent):
        if self.command == "POST":
            forge.open_issue(ME, sent)
            self.reply(201, forge.issues[-1])
        else:
            assert query["state"] == ["all"]
            self.reply_page(forge, query, forge.issues)

    def handle_releases(self, forge, tag, sent):
        if self.command == "POST":
            name = sent["tag_name"]
            if name in forge.releases:
                self.reply(409, {"message": "Release already exists"})
                return
            page = f"{forge.address}/belle2/productions/-/releases/{name}"
            links = {"_links": {"self": page}} if forge.kind == "gitlab" else {"html_url": page}
            forge.releases[name] = {**sent, **links}
            if forge.silent:
                self.close_connection = True
                self.connection.close()
                return
            self.reply(201, forge.releases[name])
        elif tag in forge.releases:
            self.reply(200, forge.releases[tag])
        else:
            self.reply(404, {"message": "404 Not Found"})

    def handle_comments(self, forge, query, sent):
        if self.command == "POST":
            forge.say(ME, sent["body"])
            self.reply(201, forge.comments[-1])
            return
        self.reply_page(forge, query, forge.comments)

    def reply_page(self, forge, query, listed):
        page = int(query.get("page", ["1"])[0])
        first = (page - 1) * forge.page
        here = listed[first : first + forge.page]
        more = first + forge.page < len(listed)
        path = self.path.split("?")[0]
        rest = "&state=all" if "state" in query else ""
        link = (
            f'<{forge.link_to or forge.address}{path}?page={page + 1}&per_page=100{rest}>; rel="next"'
            if more
            else ""
        )
        self.reply(200, here, **({"Link": link} if more else {}))

    do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 -- so the standard library calls them

    def reply(self, status, data, **headers):
        body = json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
