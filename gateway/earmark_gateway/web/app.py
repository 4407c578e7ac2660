"""Routes of the page. Reading is plain HTML; every change is a POST with a form token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from earmark_gateway.errors import GatewayError
from earmark_gateway.links import LinkError, secret_of
from earmark_gateway.metrics import Metrics
from earmark_gateway.web import views
from earmark_gateway.web.live import Live
from earmark_gateway.web.security import SecurityHeaders
from earmark_gateway.web.session import (
    COOKIE,
    SESSION_S,
    LoginLimit,
    Sessions,
    bearer_matches,
    password_matches,
    session_key,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from earmark_gateway.service import Gateway

_PING_S = 20.0  # keeps proxies and phones from closing a quiet stream
# Changes come in bursts; a page needs only the last of them.
_PAUSE_S = 0.5
_MAX_FORM_FIELDS = 8
_WHO = "earmark_who"  # cookie: who has answered on this phone before
_MAX_SNOOZE_MIN = 24 * 60


class Pages:
    """Request handlers around one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        password_hash = gateway.config.web.password_hash.get_secret_value()
        self.sessions = Sessions(session_key(secret_of(gateway.store), password_hash))
        self.limit = LoginLimit()
        self.live = Live()
        self.numbers = Metrics(gateway)
        gateway.add_listener(self.live.changed)

    # --- who is there ------------------------------------------------------------------------

    def cookie(self, request: Request) -> str:
        """Return the session's cookie; a fixed word where login is off (loopback only)."""
        if not self.gateway.config.web.login:
            return "open"
        return request.cookies.get(COOKIE, "")

    def signed_in(self, request: Request) -> bool:
        """Whether this request may read and change."""
        if not self.gateway.config.web.login:
            return True
        return self.sessions.valid(self.cookie(request), self.gateway.clock.now_ms() / 1000)

    def page(self, request: Request, name: str, **values: Any) -> HTMLResponse:
        """Render a template with what every page needs."""
        return HTMLResponse(
            views.render(
                name,
                self.gateway,
                path=request.url.path,
                form_token=self.sessions.form_token(self.cookie(request)),
                me=views.person_id(self.gateway, request.cookies.get(_WHO, "")),
                **values,
            )
        )

    def message(self, text: str, status: int = 200, *, back: str = "/") -> HTMLResponse:
        """Render a page of one sentence."""
        return HTMLResponse(
            views.render("message.html", self.gateway, text=text, back=back), status
        )

    def answered(self, request: Request, by: str, to: str) -> RedirectResponse:
        """Go on to a page, and remember who uses this phone."""
        answer = RedirectResponse(to, status_code=303)
        if self.gateway.config.person(by):
            answer.set_cookie(
                _WHO,
                by,
                max_age=365 * 24 * 3600,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return answer

    def reading(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Require a session for a page."""

        async def guarded(request: Request) -> Response:
            if not self.signed_in(request):
                return RedirectResponse("/login", status_code=303)
            return await handler(request)

        return guarded

    def changing(
        self, handler: Callable[[Request, Any], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Require a session and its form token for a change."""

        async def guarded(request: Request) -> Response:
            if not self.signed_in(request):
                return RedirectResponse("/login", status_code=303)
            form = await request.form(max_fields=_MAX_FORM_FIELDS, max_files=0)
            if not self.sessions.form_token_matches(
                self.cookie(request), str(form.get("form_token", ""))
            ):
                return self.message("This page was out of date. Open it again and repeat.", 403)
            return await handler(request, form)

        return guarded

    # --- pages -------------------------------------------------------------------------------

    async def now(self, request: Request) -> Response:
        """Show what is going on: open alerts, then the latest sounds."""
        values = await asyncio.to_thread(views.now_values, self.gateway)
        return self.page(request, "now.html", live=True, **values)

    async def timeline(self, request: Request) -> Response:
        """Everything that was heard, newest first."""
        before = request.query_params.get("before", "")
        before_ms = int(before) if before.isdecimal() and len(before) < 16 else None
        room = request.query_params.get("room", "")
        values = await asyncio.to_thread(views.timeline_values, self.gateway, before_ms, room)
        # Only the newest page moves; nobody wants to lose their place in an older one.
        live = not before and not room
        return self.page(request, "timeline.html", live=live, **values)

    async def alert(self, request: Request) -> Response:
        """One alert and everything that has happened to it."""
        alert_id = request.path_params["alert_id"]
        values = await asyncio.to_thread(views.alert_values, self.gateway, alert_id)
        if values is None:
            return self.message("This alert is no longer stored.", 404)
        return self.page(request, "alert.html", live=True, **values)

    async def devices(self, request: Request) -> Response:
        """Devices with their health; quarantined ones with a button to approve."""
        values = await asyncio.to_thread(views.device_values, self.gateway)
        return self.page(request, "devices.html", live=True, **values)

    async def circle(self, request: Request) -> Response:
        """Who is told what, and when."""
        values = await asyncio.to_thread(views.circle_values, self.gateway)
        return self.page(request, "circle.html", **values)

    async def privacy(self, request: Request) -> Response:
        """Show what leaves the device, with the latest message as it came."""
        values = await asyncio.to_thread(views.privacy_values, self.gateway)
        return self.page(request, "privacy.html", live=True, **values)

    async def metrics(self, request: Request) -> Response:
        """Answer Prometheus, which carries a token instead of a session."""
        token = self.gateway.config.web.metrics_token.get_secret_value()
        sent = request.headers.get("authorization", "")
        allowed = self.signed_in(request) if not sent else bearer_matches(token, sent)
        if not allowed:
            return PlainTextResponse(
                "a session or the token of web.metrics_token is needed",
                401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        body = await asyncio.to_thread(self.numbers.render)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    # --- changes -----------------------------------------------------------------------------

    async def acknowledge(self, request: Request, form: Any) -> Response:
        """Somebody takes care of an alert."""
        by = views.person_id(self.gateway, str(form.get("by", "")))
        alert_id = int(request.path_params["alert_id"])
        await asyncio.to_thread(self.gateway.acknowledge, alert_id, by=by, how="web")
        return self.answered(request, by, f"/alerts/{alert_id}")

    async def false_alarm(self, request: Request, form: Any) -> Response:
        """Nothing was there. Only text is recorded: there is no audio to look at."""
        by = views.person_id(self.gateway, str(form.get("by", "")))
        await asyncio.to_thread(
            self.gateway.false_alarm,
            int(request.path_params["alert_id"]),
            by=by,
            note=str(form.get("note", ""))[:200],
        )
        return self.answered(request, by, f"/alerts/{request.path_params['alert_id']}")

    async def snooze(self, request: Request, form: Any) -> Response:
        """Hold back what is not critical for a while."""
        minutes = str(form.get("minutes", ""))
        if not (minutes.isdecimal() and len(minutes) < 5 and 0 < int(minutes) <= _MAX_SNOOZE_MIN):
            return self.message("A pause lasts at most a day.", 400)
        by = views.person_id(self.gateway, request.cookies.get(_WHO, ""))
        await asyncio.to_thread(self.gateway.snooze, minutes=int(minutes), by=by)
        self.live.changed([])
        return RedirectResponse("/", status_code=303)

    async def end_snooze(self, request: Request, _form: Any) -> Response:
        """Tell about everything again."""

        def end() -> None:
            with self.gateway.store.write() as tx:
                tx.delete_snooze(request.path_params["snooze_id"])

        await asyncio.to_thread(end)
        self.live.changed([])
        return RedirectResponse("/", status_code=303)

    async def self_test(self, _request: Request, _form: Any) -> Response:
        """Run the monthly test now."""
        if not self.gateway.mqtt.connected:
            return self.message("The broker is not connected: no test is possible.", 503)
        await asyncio.to_thread(self.gateway.run_self_test)
        return self.message("The test is on its way. A message reaches you within a minute.")

    async def identify(self, request: Request, _form: Any) -> Response:
        """Let a device blink, to see which one it is."""
        device_id = request.path_params["device_id"]
        try:
            await asyncio.to_thread(self.gateway.send_command, device_id, "identify")
        except GatewayError:
            return self.message("The broker is not connected.", 503, back="/devices")
        return RedirectResponse(f"/devices#{device_id}", status_code=303)

    async def approve(self, request: Request, form: Any) -> Response:
        """Let a quarantined device in."""
        await asyncio.to_thread(
            self.gateway.approve,
            request.path_params["device_id"],
            name=str(form.get("name", ""))[:64],
            room=str(form.get("room", ""))[:64],
            resident=str(form.get("resident", ""))[:64],
        )
        return RedirectResponse("/devices", status_code=303)

    # --- links from notifications ------------------------------------------------------------

    async def show_link(self, request: Request) -> Response:
        """Only show: mail scanners follow links."""
        token = request.path_params["token"]
        try:
            link = self.gateway.read_link(token)
        except LinkError as exc:
            return self.message(str(exc), 410)
        values = await asyncio.to_thread(views.alert_values, self.gateway, link.alert_id)
        person = self.gateway.config.person(link.person_id)
        name = person.name if person else ""
        return HTMLResponse(
            views.render(
                "link.html", self.gateway, token=token, person=name, **(values or {"a": None})
            )
        )

    async def use_link(self, request: Request) -> Response:
        """Acknowledge; the token itself is the permission."""
        try:
            first = await asyncio.to_thread(
                self.gateway.acknowledge_by_link, request.path_params["token"]
            )
        except LinkError as exc:
            return self.message(str(exc), 410)
        text = "Thank you. The others are told." if first else "Somebody was faster. Thank you."
        return self.message(text)

    # --- login -------------------------------------------------------------------------------

    async def login_form(self, _request: Request) -> Response:
        """Ask for the password."""
        return HTMLResponse(views.render("login.html", self.gateway, wrong=""))

    async def login(self, request: Request) -> Response:
        """Check the password."""
        now_s = self.gateway.clock.now_ms() / 1000
        address = request.client.host if request.client else ""
        if self.limit.blocked(address, now_s):
            text = "Too many wrong passwords. Wait a minute."
            return HTMLResponse(views.render("login.html", self.gateway, wrong=text), 429)
        form = await request.form(max_fields=_MAX_FORM_FIELDS, max_files=0)
        stored = self.gateway.config.web.password_hash.get_secret_value()
        given = str(form.get("password", ""))
        if not await asyncio.to_thread(password_matches, stored, given):
            self.limit.failed(address, now_s)
            text = "That is not the password."
            return HTMLResponse(views.render("login.html", self.gateway, wrong=text), 401)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(
            COOKIE,
            self.sessions.issue(now_s),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def logout(self, _request: Request, _form: Any) -> Response:
        """Forget this browser's session."""
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    # --- live --------------------------------------------------------------------------------

    async def events(self, _request: Request) -> Response:
        """Server-sent events: one line whenever something has changed."""

        async def stream() -> AsyncIterator[str]:
            with self.live.subscribe() as changed:
                yield "retry: 3000\n\n"
                while not self.live.ended:
                    try:
                        await asyncio.wait_for(changed.wait(), _PING_S)
                    except TimeoutError:
                        yield ": still here\n\n"
                        continue
                    if self.live.ended:
                        return
                    changed.clear()
                    yield "event: change\ndata: now\n\n"
                    await asyncio.sleep(_PAUSE_S)

        return StreamingResponse(
            stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


def create_app(gateway: Gateway) -> Starlette:
    """Build the application for a running gateway."""
    pages = Pages(gateway)
    reading, changing = pages.reading, pages.changing
    app = Starlette(
        routes=[
            Route("/", reading(pages.now)),
            Route("/timeline", reading(pages.timeline)),
            Route("/alerts/{alert_id:int}", reading(pages.alert)),
            Route("/devices", reading(pages.devices)),
            Route("/circle", reading(pages.circle)),
            Route("/privacy", reading(pages.privacy)),
            Route("/events", reading(pages.events)),
            Route("/metrics", pages.metrics),
            Route("/alerts/{alert_id:int}/ack", changing(pages.acknowledge), methods=["POST"]),
            Route("/alerts/{alert_id:int}/false", changing(pages.false_alarm), methods=["POST"]),
            Route("/devices/{device_id}/approve", changing(pages.approve), methods=["POST"]),
            Route("/devices/{device_id}/identify", changing(pages.identify), methods=["POST"]),
            Route("/snooze", changing(pages.snooze), methods=["POST"]),
            Route("/snooze/{snooze_id:int}/end", changing(pages.end_snooze), methods=["POST"]),
            Route("/self-test", changing(pages.self_test), methods=["POST"]),
            Route("/logout", changing(pages.logout), methods=["POST"]),
            Route("/a/{token}", pages.show_link),
            Route("/a/{token}", pages.use_link, methods=["POST"]),
            Route("/login", pages.login_form),
            Route("/login", pages.login, methods=["POST"]),
            Mount("/static", StaticFiles(packages=[("earmark_gateway.web", "static")])),
        ],
        middleware=[Middleware(SecurityHeaders, allowed_hosts=views.allowed_hosts(gateway))],
    )
    app.state.live = pages.live
    return app
