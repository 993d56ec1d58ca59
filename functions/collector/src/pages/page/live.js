// The latest events, newest first: a list that can be paused, filtered and opened.

/** How many are read at once, and kept at the most. */
const LIVE = 20;
const KEPT = 200;

/** What an event says beside what Weir stamps, in a line. */
const summaryOf = (event) => {
  if (typeof event !== "object" || event === null) return String(event ?? "");
  const fields = Object.entries(event).filter(([name]) => !STAMPED.includes(name));
  return fields.map(([name, field]) => `${name}: ${typeof field === "string" ? field : JSON.stringify(field)}`).join(", ");
};

class Live {
  #api;
  #titles;
  #is = "";
  #items = new Map();
  #paused = false;
  #next = null;
  #older = false;

  /** Where the API has no such list, the section stays hidden: rejected events are shown by themselves. */
  constructor(api, titles, isThere) {
    this.#api = api;
    this.#titles = titles;
    byId("live").hidden = !isThere;
    for (const [type, title] of titles) byId("live-type").append(make("option", { value: type }, visible(title)));
    byId("live-pause").addEventListener("click", () => this.#pause());
    byId("live-older").addEventListener("click", () => this.#more());
    for (const id of ["live-type", "live-status", "live-text"]) byId(id).addEventListener("input", () => this.#filter());
  }

  #pause() {
    this.#paused = !this.#paused;
    setText(byId("live-pause"), this.#paused ? "Go on" : "Pause");
    byId("live").classList.toggle("paused", this.#paused);
    this.#is = "";
    if (this.#paused) setText(byId("live-note"), "Paused.");
  }

  async show(counts) {
    const is = JSON.stringify([counts.counts, counts.rejected].map((one) => [one].flat().map(({ total }) => total)));
    if (is === this.#is || this.#paused || byId("live").hidden) return;
    const answer = await ifThere(this.#api.get(`events?limit=${LIVE}`));
    if (this.#api.ended || this.#paused) return;
    this.#is = is;
    byId("live").hidden = answer === undefined;
    if (!answer) return;
    const fresh = answer.events ?? [];
    const meets = fresh.some(({ event_id: id }) => this.#items.has(id));
    // Between those that were read before and these some may be missing: the list begins anew.
    if (!meets || !this.#older) [this.#next, this.#older] = [answer.next ?? null, false];
    const before = meets ? this.#items : new Map();
    const entries = fresh.map((event) => [event.event_id, this.#items.get(event.event_id) ?? this.#item(event)]);
    this.#keep(new Map([...entries, ...[...before].filter(([id]) => !entries.some(([had]) => had === id))]));
  }

  async #more() {
    try {
      const answer = await this.#api.get(`events?limit=${LIVE}&after=${encodeURIComponent(this.#next)}`);
      if (this.#api.ended) return;
      [this.#next, this.#older] = [answer.next ?? null, true];
      const entries = (answer.events ?? []).map((event) => [event.event_id, this.#item(event)]);
      this.#keep(new Map([...this.#items, ...entries]));
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      setText(byId("live-note"), failure.message);
    }
  }

  #keep(items) {
    this.#items = new Map([...items].slice(0, KEPT));
    byId("live-older").hidden = this.#next === null || items.size >= KEPT;
    setChildren(byId("live-list"), [...this.#items.values()].map(({ element }) => element));
    this.#filter();
  }

  #filter() {
    const [type, status, text] = ["live-type", "live-status", "live-text"].map((id) => byId(id).value);
    const wanted = text.trim().toLowerCase();
    let shown = 0;
    for (const item of this.#items.values()) {
      const is = (type === "" || item.type === type) && (status === "" || item.status === status) && item.text.includes(wanted);
      item.element.hidden = !is;
      shown += Number(is);
    }
    if (this.#paused) return;
    const all = this.#items.size;
    setText(byId("live-note"), all === 0 ? "Nothing so far." : shown === all ? "" : `${number(shown)} of ${number(all)} shown.`);
  }

  #item({ event_id: id, event_type: type, received_at: at, status, reason, event }) {
    const rejected = status === REJECTED;
    const title = type === null || type === undefined ? "No known type" : (this.#titles.get(type) ?? type);
    const summary = summaryOf(typeof event === "string" ? (parsed(event) ?? event) : event);
    const whole = typeof event === "string" ? event : JSON.stringify(event, null, 2);
    const why = [reason ?? []].flat().map((one) => (typeof one === "string" ? { path: "", message: one } : one));
    const mark = make("span", { class: rejected ? "mark bad" : "mark" }, rejected ? "rejected" : "accepted");
    const line = make("span", { class: "line-of" }, make("strong", {}, make("bdi", {}, visible(title))), " ", timeAgo(at), " ", mark);
    const inside = make("bdi", { class: "quiet small brief" }, visible(summary).slice(0, 160));
    const details = sentText("", whole);
    details.querySelector("summary").append(line, inside);
    if (rejected && why.length > 0) details.querySelector("summary").after(reasons(why));
    const text = `${title} ${id} ${whole}`.toLowerCase();
    return { type: type ?? "", status: rejected ? REJECTED : "accepted", text, element: make("li", {}, details) };
  }
}
