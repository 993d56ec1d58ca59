"""Sends with Snowplow's unmodified client: ENDPOINT METHOD FORM LOOPS. Prints the ids of those that it reports as sent."""

import logging
import sys
import threading

from snowplow_tracker import (
    Emitter,
    PagePing,
    PageView,
    ScreenView,
    SelfDescribing,
    SelfDescribingJson,
    StructuredEvent,
    Subject,
    Tracker,
)

endpoint, method, form, loops = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
logging.getLogger("snowplow_tracker.emitters").setLevel(logging.CRITICAL)
tracked, sent, all_sent = 0, [], threading.Event()


def on_success(events):
    sent.extend(event["eid"] for event in events)
    if tracked == len(sent):
        all_sent.set()


emitter = Emitter(
    endpoint,
    method=method,
    batch_size=20 if method == "post" else 1,
    buffer_capacity=100_000,
    on_success=on_success,
    max_retry_delay_seconds=1,
)
subject = Subject().set_user_id("u1").set_domain_user_id("d1").set_domain_session_id("s1").set_platform("web")
tracker = Tracker("ns", emitter, subject=subject, app_id="shop", encode_base64=form == "base64")
page = {"page_url": "https://a.example/ä?x=1", "page_title": "T ü"}
basket = SelfDescribingJson("iglu:com.example/basket/jsonschema/1-0-0", {"items": 2})
click = {"session_id": "s1", "button_id": f"{method}-{form}"}
save = {"level": 23, "score": 12345678901234567890, "note": "ü>>>???"}
events = [
    PageView(**page, referrer="https://r.example/", context=[basket], true_timestamp=1795780800123),
    PagePing(**page, min_x=1, max_x=2),
    StructuredEvent("shop", "add to basket", label="l", property_="p", value=2.5),
    SelfDescribing(SelfDescribingJson("iglu:com.example/button_click/jsonschema/1-0-0", click)),
    SelfDescribing(SelfDescribingJson("iglu:com.example/save_game/jsonschema/1-0-2", save)),
    ScreenView(id_="5e0a", name="Basket"),
]
events += [StructuredEvent("test", "Loop", value=n) for n in range(loops)]
tracked = len(events)
for event in events:
    tracker.track(event)
tracker.flush()
# The client tries again by itself what failed.
assert all_sent.wait(240)
print("\n".join(sent))
