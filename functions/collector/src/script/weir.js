// Sends a page's events: <script src="https://…/weir.js" data-key="USER:SECRET"></script>, with a key that may only
// write, and then weir.track("button_click", { session_id: "s1", button_id: "abc" }).
((script) => {
  const url = new URL("events", script.src);
  const headers = { authorization: "Basic " + btoa(script.dataset.key) };
  const queue = [];
  let timer, told, wait = 1e3;

  const send = async () => {
    clearTimeout(timer);
    timer = 0;
    let batch = [], size = 0;
    while (queue[0] && size < 2e4) size += batch[batch.push(queue.shift()) - 1].length;
    if (!size) return;
    try {
      // Of what is sent so, browsers let 64 KiB outlive the page.
      const answer = await fetch(url, { method: "POST", headers, body: batch.join("\n"), keepalive: size < 4e4 });
      const { status } = answer;
      told = 0;
      if (status == 207) {
        const { outcomes } = await answer.json();
        batch = batch.filter((event, i) => {
          if (outcomes[i].errors) console.warn("weir", event, outcomes[i].errors);
          return outcomes[i].status == "not_stored";
        });
      } else if (status < 500 && status != 408 && status != 429) batch = [];
      if (!answer.ok) console.warn("weir", status, await answer.text());
    } catch (error) {
      // Once until an answer comes: the browser may have refused to send, or there is no network.
      if (!told) console.warn("weir cannot send events to", url.href, "and tries again:", error);
      told = 1;
    }
    // What was perhaps stored keeps its event_id, so it counts once.
    queue.unshift(...batch);
    wait = batch[0] ? Math.min(wait * 2, 6e4) : 1e3;
    if (queue[0]) timer ||= setTimeout(send, batch[0] ? wait * (0.5 + Math.random()) : 0);
  };

  const all = () => {
    while (queue[0]) send();
  };
  addEventListener("pagehide", all);
  addEventListener("visibilitychange", () => document.hidden && all());

  window.weir = {
    track(event_type, fields) {
      const event_id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(36)).join("");
      queue.push(JSON.stringify({ event_id, event_type, occurred_at: Date.now(), ...fields }));
      if (queue.length > 1e3) queue.shift();
      timer ||= setTimeout(send, 1e3);
    },
  };
})(document.currentScript);
