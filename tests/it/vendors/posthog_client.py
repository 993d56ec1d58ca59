"""Sends with PostHog's unmodified client: URL KEY FORM LOOPS. Prints the ids of those that it does not report as failed."""

import datetime
import sys

from posthog import Posthog

host, key, form, loops = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
failed, sent = [], []
client = Posthog(
    key,
    host=host,
    gzip=form == "gzip",
    flush_at=20,
    max_retries=30,
    on_error=lambda error, batch: failed.extend(event["uuid"] for event in batch),
)
at = datetime.datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=datetime.timezone.utc)


def capture(event, **properties):
    sent.append(client.capture(event, distinct_id="u1", properties=properties, timestamp=at))


capture("Order Completed", total=25.5, long=12345678901234567890, note="ü")
capture("button click", session_id="s1", button_id=form)
capture("$pageview", **{"$current_url": "https://a.example/", "$session_id": "s1"})
capture("$screen", **{"$screen_name": "Basket"})
sent.append(client.set(distinct_id="u1", properties={"plan": "free"}))
sent.append(client.alias("a1", "u1"))
sent.append(client.group_identify("company", "c1", {"size": 7}))
sent.append(client.capture_exception(ValueError("x"), distinct_id="u1"))
# The client asks for feature flags, and goes on without them.
assert client.evaluate_flags("u1").get_flag("f") is None
for n in range(loops):
    capture("Loop", n=n)
client.shutdown()
for id in sent:
    if id not in failed:
        print(id)
