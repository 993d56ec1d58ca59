"""Sends with the unmodified SDK of CloudEvents: URL KEY. Prints the ids of those that were acknowledged."""

import datetime
import sys

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

url, who = sys.argv[1] + "/events", tuple(sys.argv[2].split(":"))


def event(id, data, type="com.example.order.created", **more):
    time = datetime.datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=datetime.timezone.utc)
    attributes = {"specversion": "1.0", "type": type, "source": "https://shop.example/ä", "id": id, "time": time}
    return CloudEvent({**attributes, "subject": "one & two", "tenant": "é 1", **more}, data)


def send(message, id):
    answer = requests.post(url, headers=message.headers, data=message.body, auth=who, timeout=30)
    if answer.ok:
        print(id)


for form, make in (("binary", to_binary_event), ("structured", to_structured_event)):
    json = {"datacontenttype": "application/json"}
    for name, data, more in (
        ("json", {"total": 25, "note": "ü"}, json),
        ("list", [1, 2], json),
        ("text", "hello", {"datacontenttype": "text/plain"}),
        ("bytes", b"\x00\xff", {"datacontenttype": "application/octet-stream"}),
        ("none", None, {}),
        ("click", {"session_id": "s1", "button_id": form}, {"type": "com.example.button-click", **json}),
    ):
        id = f"py-{form}-{name}"
        # Twice: the second one is the client's retry.
        for _ in range(2):
            send(make(event(id, data, **more)), id)
