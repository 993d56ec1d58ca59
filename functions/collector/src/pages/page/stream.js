// Reads server-sent events from a response body: `EventSource` cannot send credentials.

/** Reads a stream to its end. `take` gets the items of each chunk that arrives, each as its fields by name. */
const readItems = async (body, take) => {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let item = {};
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    const items = [];
    for (const line of lines) {
      if (line === "") {
        items.push(item);
        item = {};
      }
      const [, field, text] = line.match(/^([a-z]+): ?(.*)$/) ?? [];
      if (field) item[field] = text;
    }
    take(items);
  }
};
