// Sends with the unmodified SDK of CloudEvents: URL KEY. Prints the ids of those that were acknowledged.
const { createRequire } = require('module');
const { CloudEvent, HTTP, Mode, emitterFor, httpTransport } = createRequire(process.env.MODULES + '/')('cloudevents');
const [address, who] = process.argv.slice(2);
const headers = { authorization: "Basic " + Buffer.from(who).toString("base64") };

const event = (id, data, datacontenttype, type = "com.example.order.created") =>
  new CloudEvent({
    type,
    source: "https://shop.example/",
    id,
    time: "2026-11-27T12:00:00.123Z",
    subject: "one & two",
    tenant: "é 1",
    data,
    datacontenttype,
  });

const kinds = {
  json: [{ total: 25, note: "ü" }, "application/json"],
  text: ["hello", "text/plain"],
  bytes: [Buffer.from([0, 255]), "application/octet-stream"],
  none: [],
  click: [{ session_id: "s1", button_id: "js" }, "application/json", "com.example.button-click"],
};

(async () => {
  for (const form of ["binary", "structured"]) {
    for (const [name, kind] of Object.entries(kinds)) {
      const id = `js-${form}-${name}`;
      const message = HTTP[form](event(id, ...kind));
      const answer = await fetch(address + "/events", {
        method: "POST",
        headers: { ...message.headers, ...headers },
        body: message.body,
      });
      if (answer.ok) console.log(id);
    }
    // The SDK's own transport.
    const emit = emitterFor(httpTransport(address + "/events"), { mode: Mode[form.toUpperCase()] });
    const id = `js-${form}-emitted`;
    await emit(event(id, ...kinds.json), { headers });
    console.log(id);
  }
})();
