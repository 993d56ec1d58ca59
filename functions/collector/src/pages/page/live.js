// The latest events, newest first: a list that can be paused, filtered and opened. A stream brings events at once, if there is
// one and they are not too many to follow by eye. Otherwise the list is read whenever the counts have changed.

/** How many are read at once, and kept at the most. */
const LIVE = 20;
const KEPT = 200;

/** How often the list is read where it is read from files, and not from what arrives. */
const LIVE_EVERY = 30_000;

/** The most events a second that are shown one by one; if more come, only the newest are read. */
const FOLLOWED = 200;

/** How long the list is read after a stream was refused, or had too many events, before the next try. */
const UNFOLLOWED = 30_000;

/** An event's own fields, without those that Weir stamps, in a line. */
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
  #counts;
  #next = null;
  #older = false;
  #live = true;
  #asked = -Infinity;
  #streams;
  #moved;
  #stream;
  #unfollowed = -Infinity;
  #state = "";
  #early = [];

  /** Where the API has no such list, the section stays hidden. `moved` is called when events have come by a stream. */
  constructor(api, titles, { lists, streams }, moved) {
    this.#api = api;
    this.#titles = titles;
    this.#streams = streams;
    this.#moved = moved;
    byId("live").hidden = !lists;
    for (const [type, title] of titles) byId("live-type").append(make("option", { value: type }, visible(title)));
    byId("live-pause").addEventListener("click", () => this.#pause());
    byId("live-older").addEventListener("click", () => this.#more());
    byId("live-text").addEventListener("input", () => this.#filter());
    byId("live-status").addEventListener("change", () => this.#filter());
    byId("live-type").addEventListener("change", () => this.#choose());
  }

  #pause() {
    this.#paused = !this.#paused;
    setText(byId("live-pause"), this.#paused ? "Go on" : "Pause");
    byId("live").classList.toggle("paused", this.#paused);
    this.#is = "";
    if (this.#paused) {
      this.stop();
      setText(byId("live-note"), "Paused.");
    } else if (this.#counts) this.show(this.#counts).catch((failure) => this.#failed(failure));
  }

  /** The API selects the events of a type: a rare one may have none among the newest. */
  #choose() {
    this.stop();
    [this.#is, this.#asked, this.#next, this.#older] = ["", -Infinity, null, false];
    this.#keep(new Map());
    setText(byId("live-note"), "Reading …");
    if (this.#counts) this.show(this.#counts).catch((failure) => this.#failed(failure));
  }

  #read(after) {
    const type = byId("live-type").value;
    const query = new URLSearchParams({ limit: LIVE, ...(type && { event_type: type }), ...(after && { after }) });
    return this.#api.get(`events?${query}`);
  }

  /** Ends the stream, as the page is hidden, or the list is paused or changes its type. */
  stop() {
    this.#stream?.abort();
    [this.#stream, this.#state, this.#early, this.#is] = [undefined, "", [], ""];
  }

  /** Opens a stream unless one is open. Once it has begun, the list is read for earlier events; those that come meanwhile are kept. */
  #follow() {
    if (this.#stream || !this.#streams || Date.now() - this.#unfollowed < UNFOLLOWED) return;
    const stop = new AbortController();
    [this.#stream, this.#state, this.#early] = [stop, "opening", []];
    const type = byId("live-type").value;
    let [since, many] = [Date.now(), 0];
    const take = (items) => {
      if (this.#stream !== stop) return;
      if (this.#state === "opening") {
        this.#state = "reading";
        this.show(this.#counts).catch((failure) => this.#failed(failure));
      }
      const events = items.filter(({ event }) => event === "accepted" || event === REJECTED);
      const now = Date.now();
      [since, many] = now - since > 1000 ? [now, events.length] : [since, many + events.length];
      if (many > FOLLOWED) {
        this.#unfollowed = now;
        this.stop();
      } else this.#arrive(events.map(({ data }) => parsed(data)).filter(Boolean));
    };
    const ended = (failure) => {
      if (failure && !(failure instanceof Failure)) throw failure;
      if (failure?.status === 404) this.#streams = false;
      if (this.#stream !== stop) return;
      // A failure with a status is an answer: no place is free. Any other failure may be over at once.
      if (failure?.status) this.#unfollowed = Date.now();
      this.stop();
    };
    const query = new URLSearchParams(type && { event_type: type });
    this.#api.follow(`events/stream?${query}`, stop.signal, take).then(() => ended(), ended);
  }

  /** Puts new events before the listed ones. The latest of the new ones is the last. */
  #arrive(events) {
    if (this.#state !== "live") {
      this.#early = [...this.#early, ...events].slice(-KEPT);
      return;
    }
    const fresh = events.slice(-KEPT).reverse().filter(({ event_id: id }) => !this.#items.has(id));
    if (fresh.length === 0) return;
    this.#keep(new Map([...fresh.map((event) => [event.event_id, this.#item(event)]), ...this.#items]));
    this.#moved();
  }

  #failed(failure) {
    if (!(failure instanceof Failure)) throw failure;
    if (!this.#api.ended) setText(byId("live-note"), failure.message);
  }

  async show(counts) {
    this.#counts = counts;
    const is = JSON.stringify([counts.counts, counts.rejected]);
    if (this.#paused || byId("live").hidden) return;
    this.#follow();
    if (this.#state === "live" || (is === this.#is && this.#state !== "reading")) return;
    if (!this.#live && Date.now() - this.#asked < LIVE_EVERY) return;
    const type = byId("live-type").value;
    const [stream, state] = [this.#stream, this.#state];
    const answer = await ifThere(this.#read());
    if (this.#api.ended || this.#paused || byId("live-type").value !== type || this.#stream !== stream || this.#state === "live") return;
    [this.#is, this.#asked, this.#live] = [is, Date.now(), answer?.live !== false];
    byId("live").hidden = answer === undefined;
    if (!answer) return;
    const fresh = answer.events ?? [];
    const meets = fresh.some(({ event_id: id }) => this.#items.has(id));
    // Between those that were read before and these some may be missing: the list begins anew.
    if (!meets || !this.#older) [this.#next, this.#older] = [answer.next ?? null, false];
    const before = meets ? this.#items : new Map();
    const entries = fresh.map((event) => [event.event_id, this.#items.get(event.event_id) ?? this.#item(event)]);
    this.#keep(new Map([...entries, ...[...before].filter(([id]) => !entries.some(([had]) => had === id))]));
    if (state !== "reading") return;
    this.#state = "live";
    this.#arrive(this.#early);
  }

  async #more() {
    try {
      const answer = await this.#read(this.#next);
      if (this.#api.ended) return;
      [this.#next, this.#older] = [answer.next ?? null, true];
      const entries = (answer.events ?? []).map((event) => [event.event_id, this.#item(event)]);
      this.#keep(new Map([...this.#items, ...entries]));
    } catch (failure) {
      this.#failed(failure);
    }
  }

  #keep(items) {
    this.#items = new Map([...items].slice(0, KEPT));
    byId("live-older").hidden = this.#next === null || items.size >= KEPT;
    setChildren(byId("live-list"), [...this.#items.values()].map(({ element }) => element));
    this.#filter();
  }

  #filter() {
    const [status, text] = ["live-status", "live-text"].map((id) => byId(id).value);
    const wanted = text.trim().toLowerCase();
    let shown = 0;
    for (const item of this.#items.values()) {
      const is = (status === "" || item.status === status) && item.text.includes(wanted);
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
    return { status: rejected ? REJECTED : "accepted", text, element: make("li", {}, details) };
  }
}
