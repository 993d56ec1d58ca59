// Sends a page's events: <script src="https://…/weir.js" data-key="USER:SECRET"></script>, with a key that may only
// write, and then weir.track("button_click", { session_id: "s1", button_id: "abc" }), and weir.page() for a page view.
// With the attribute data-auto it sends page views by itself, and clicks on what has the attribute data-weir-click.
// The key is in the URL: a browser asks the server before it sends an Authorization, and a page that is left gets no answer.
((script) => {
  const url = new URL("k/" + encodeURIComponent(script.dataset.key) + "/events", script.src);
  const queue = [];
  let timer, told, gone, session, wait = 1e3, alive = 0, most = 2e4;
  const bytes = (text) => new Blob([text]).size;
  const warn = (...said) => console.warn("weir", ...said);

  // After a failure it begins with one event: what fails by itself goes after the others, and holds up none of them.
  const send = async (limit = most) => {
    clearTimeout(timer);
    timer = 0;
    let batch = [], size = 0;
    while (queue[0] && size < limit) size += bytes(batch[batch.push(queue.shift()) - 1]) + 1;
    if (!size) return;
    const body = batch.join("\n");
    // Where a request cannot outlive its page, a beacon can. Its answer cannot be read.
    if (gone && !("keepalive" in Request.prototype) && navigator.sendBeacon(url, body)) return;
    const post = (keepalive) => fetch(url, { method: "POST", body, keepalive });
    // Of all that is under way so, browsers let 64 KiB outlive the page. What they refuse is sent once without.
    const held = alive + size < 6e4 && size;
    alive += held;
    try {
      const answer = await (held ? post(true).catch(() => post()) : post());
      const { status } = answer;
      told = 0;
      if (status == 207) {
        const { outcomes } = await answer.json();
        batch = batch.filter((event, i) => {
          if (outcomes[i].errors) warn(event, outcomes[i].errors);
          return outcomes[i].status == "not_stored";
        });
      } else if (status < 500 && status != 408 && status != 429 && !(status == 413 && batch[1])) batch = [];
      if (!answer.ok) warn(status, await answer.text());
    } catch (error) {
      told ||= !warn("cannot send", error);
    }
    alive -= held;
    // What was perhaps stored keeps its event_id, so it counts once.
    queue.push(...batch);
    [wait, most] = batch[0] ? [Math.min(wait * 2, 6e4), 1] : [1e3, Math.min(most * 9, 2e4)];
    if (queue[0]) timer ||= setTimeout(send, batch[0] ? wait * (0.5 + Math.random()) : 0);
  };

  const all = () => {
    while (queue[0]) send(2e4);
  };
  addEventListener("pagehide", () => {
    gone = 1;
    all();
    gone = 0;
  });
  addEventListener("visibilitychange", () => document.hidden && all());

  const id = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(36)).join("");
  // A visit is as long as its tab. A browser may refuse to store it.
  const visit = () => {
    try {
      return (sessionStorage.weir ||= id());
    } catch {
      return (session ||= id());
    }
  };

  window.weir = {
    track(event_type, fields) {
      try {
        const event = JSON.stringify({ event_id: id(), event_type, occurred_at: Date.now(), ...fields });
        // No event is larger than 256 KiB.
        bytes(event) > 2 ** 18 ? warn("too large", event) : queue.push(event);
      } catch (error) {
        warn(error);
      }
      if (queue.length > 1e3) queue.shift();
      timer ||= setTimeout(send, 1e3);
    },
    page(fields) {
      const referral_url = document.referrer || undefined;
      this.track("page_view", { url: location.href, session_id: visit(), referral_url, ...fields });
    },
  };

  if (script.dataset.auto != null) {
    let last, from = document.referrer || undefined;
    // Counted by path: what varies in a URL with each visitor is in full_url alone.
    const place = () => location.origin + location.pathname + (script.dataset.auto == "hash" ? location.hash : "");
    const view = () => {
      const url = place(), full_url = location.href;
      if (url != last) weir.page({ url, full_url, referral_url: from });
      [last, from] = [url, full_url];
    };
    ["pushState", "replaceState"].map((name) => {
      const change = history[name].bind(history);
      history[name] = (...all) => {
        change(...all);
        view();
      };
    });
    addEventListener("popstate", view);
    // A page that comes back as it was left is looked at once more.
    addEventListener("pageshow", (event) => event.persisted && view((last = 0)));
    // One that is loaded beforehand may never be looked at.
    if (document.prerendering) document.addEventListener("prerenderingchange", view);
    else view();
    const click = ({ target }) => {
      const { dataset, href } = target.closest("[data-weir-click]") || {};
      if (dataset) weir.track("button_click", { session_id: visit(), button_id: dataset.weirClick || href, url: place(), href });
    };
    addEventListener("click", click, true);
    addEventListener("auxclick", click, true);
  }
})(document.currentScript);
