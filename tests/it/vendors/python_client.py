"""Sends with an unmodified client of Segment's protocol: MODULE URL KEY LOOPS FORM. Prints what it reports as sent."""
import importlib
import sys

module, url, key, loops = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
form = sys.argv[5]
failed = []
client = importlib.import_module(module).Client(
    key, host=url, gzip=form == "gzip", on_error=lambda error, batch: failed.extend(batch), upload_size=20
)
client.track("u1", "Button Click", {"session_id": "s1", "button_id": "abc", "long": 12345678901234567890})
client.track("u1", "Order Completed", {"total": 25.5, "key": "é"}, context={"ip": "192.0.2.1"})
client.page("u1", "Docs", "Home", {"url": "https://a.example/", "session_id": "s1"})
client.screen("u1", "App", "Basket")
client.identify("u1", {"plan": "free"})
client.group("u1", "g1", {"size": 7})
client.alias("a1", "u1")
for n in range(loops):
    client.track("u1", "Loop", {"n": n})
client.flush()
client.join()
print(7 + loops - len(failed))
