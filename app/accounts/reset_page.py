"""The page that a mailed password reset link opens: a form without scripts, in English and Chinese."""

import base64
import hashlib

from flask import Flask, Response, render_template, request
from markupsafe import Markup

from app.accounts import service
from app.core.audit.recorder import audited
from app.core.db.unit_of_work import reading, transactional
from app.core.errors import Invalid
from app.core.http.access import public
from app.core.http.rate_limiter import limited_by_address
from app.users.passwords import MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS

TEXTS = {
    "en": {
        "language": "en",
        "title": "Set a new password",
        "whose": "For the account",
        "new_password": "New password",
        "repeated": "The same again",
        "rules": f"At least {MIN_PASSWORD_CHARS} characters; neither your username nor a well-known password.",
        "submit": "Set the password",
        "differ": "The two passwords differ.",
        "done": "Your new password is set, and all your sessions have ended. Sign in with it from now on.",
        "invalid": "This link is no longer valid: a link works once, within two hours, and only the latest one. "
        "Please ask an administrator for a new one.",
    },
    "zh": {
        "language": "zh",
        "title": "设置新密码",
        "whose": "账户",
        "new_password": "新密码",
        "repeated": "再次输入新密码",
        "rules": f"至少 {MIN_PASSWORD_CHARS} 个字符；不能是您的用户名，也不能是常见密码。",
        "submit": "设置密码",
        "differ": "两次输入的密码不一致。",
        "done": "新密码已设置，您的所有会话均已结束。今后请使用新密码登录。",
        "invalid": "此链接已失效：链接两小时内有效，只能使用一次，且只有最新的链接可用。请联系管理员重新发送。",
        f"Must have at least {MIN_PASSWORD_CHARS} characters.": f"至少需要 {MIN_PASSWORD_CHARS} 个字符。",
        f"May have at most {MAX_PASSWORD_BYTES} bytes.": f"最多 {MAX_PASSWORD_BYTES} 个字节。",
        "May not contain the NUL character.": "不能包含空字符。",
        "May not be the username.": "不能与用户名相同。",
        "May not be a well-known password.": "不能是常见密码。",
    },
}
"""What the page says in each language, and the rules of passwords where they are not in English."""

_STYLE = Markup("""
:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText;
font:1rem/1.5 system-ui,"PingFang SC","Microsoft YaHei",sans-serif}
main{box-sizing:border-box;width:100%;max-width:26rem;padding:2rem 1.5rem}
h1{margin:0 0 1rem;font-size:1.5rem;font-weight:600}
form{display:grid;gap:.5rem}
label{margin-top:.5rem;font-weight:600}
input,button{box-sizing:border-box;width:100%;padding:.6rem .75rem;font:inherit;
border:1px solid #8888;border-radius:.5rem}
input[hidden]{display:none}
input:focus-visible,button:focus-visible{outline:2px solid #2563eb;outline-offset:1px}
button{margin-top:1rem;border-color:#2563eb;background:#2563eb;color:#fff;font-weight:600;cursor:pointer}
ul{margin:0;padding:0;list-style:none;color:light-dark(#b91c1c,#fca5a5)}
#rules{margin:0;font-size:.875rem;opacity:.75}
""")
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


@public
def show() -> Response:
    """The form of a valid link; 410 for any other. Opening it changes nothing: mail scanners do so, too."""
    return _form(request.args.get("token", ""))


@limited_by_address
@public
def submit() -> Response:
    """Set the password that the form has sent, or show the form again with what is wrong."""
    token, password = request.form.get("token", ""), request.form.get("new_password", "")
    if password != request.form.get("repeated", ""):
        return _form(token, ["differ"])
    try:
        _reset(token, password)
    except service.LinkInvalid:
        return _page("invalid", 410)
    except Invalid as error:
        return _form(token, (error.errors or {})["new_password"])
    return _page("done", 200)


_reset = transactional(audited("password_change")(service.reset_password))
_owner = transactional(service.owner_of_link, reading)


def _form(token: str, errors: list[str] | None = None) -> Response:
    try:
        username = _owner(token)
    except service.LinkInvalid:
        return _page("invalid", 410)
    text = TEXTS[_language()]
    shown = [text.get(error, error) for error in errors or ()]
    return _page("form", 422 if shown else 200, token=token, username=username, errors=shown)


def _page(state: str, status: int, **facts: object) -> Response:
    language = _language()
    page = render_template("reset_password.html", state=state, text=TEXTS[language], style=_STYLE, **facts)
    headers = {"Content-Security-Policy": _POLICY, "Content-Language": language, "Vary": "Accept-Language"}
    return Response(page, status, headers, mimetype="text/html")


def _language() -> str:
    return request.accept_languages.best_match(TEXTS) or "en"


def init_app(app: Flask) -> None:
    """Register the page beside the API: it answers with no envelope and is in no document."""
    app.add_url_rule("/reset-password", "reset_page", show)
    app.add_url_rule("/reset-password", "reset_page_submit", submit, methods=["POST"])
