"""mitmproxy's add-on for a static token."""

from mitmproxy import http


def request(flow: http.HTTPFlow) -> None:
    flow.request.headers["Authorization"] = "Bearer static"
