// What is shown of the chosen type, and of what was rejected. Parts that the API does not have stay hidden.

/** How many keys, how many latest values and how many rejected events are shown. */
const KEYS = 10;
const NEWEST = 10;
const LATEST = 10;

/** An answer, or undefined where there is no such path. */
const ifThere = async (answer) => {
  try {
    return await answer;
  } catch (failure) {
    if (failure.status === 404) return undefined;
    throw failure;
  }
};

/** What Weir stamps onto an event. */
const STAMPED = ["time", "event_id", "username", "event_type", "received_at", "occurred_at"];

/** The panel below the tiles: keys, latest values, and events over time. */
class TypePanel {
  #api;
  #types;
  #hours = hourChart();
  #days = dayChart();
  #months = monthChart();
  #shown = { type: "", live: "", settled: "" };

  constructor(api, types) {
    this.#api = api;
    this.#types = types;
    byId("charts").append(this.#hours.element, this.#days.element, this.#months.element);
  }

  /** Reads again what has changed: keys with the live count, bars with the settled one and with the hour. */
  async show({ event_type: type, total, settled }) {
    const hour = Math.floor(Date.now() / HOUR);
    const is = { type, live: `${type} ${total}`, settled: `${type} ${settled} ${hour}` };
    const was = this.#shown;
    const path = `counts/${encodeURIComponent(type)}`;
    const read = (changed, below) => changed && ifThere(this.#api.get(path + below));
    const { route, latestBy } = this.#types.get(type) ?? {};
    const newest = async () =>
      is.live !== was.live && latestBy && ifThere(this.#api.get(`${route.slice(1)}/latest?limit=${NEWEST}`));
    const [keys, hours, days, values] = await Promise.all([
      read(is.live !== was.live, `?limit=${KEYS}`),
      read(is.settled !== was.settled, "/hours"),
      read(is.settled !== was.settled, `/days?from=${dayBefore(DAYS_READ - 1)}`),
      newest(),
    ]);
    if (this.#api.ended) return;
    this.#shown = is;
    if (keys !== false) this.#showKeys(keys);
    if (values !== false) this.#showNewest(values, latestBy);
    if (hours !== false) this.#showChart(this.#hours, hours && hourPoints(hours));
    if (days !== false) {
      this.#showChart(this.#days, days && dayPoints(days));
      this.#showChart(this.#months, days && monthPoints(days));
    }
    byId("charts").hidden = this.#hours.element.hidden && this.#days.element.hidden;
  }

  #showChart(chart, points) {
    chart.element.hidden = points === undefined;
    if (points) chart.show(points);
  }

  #showKeys(answer) {
    const keys = answer?.keys ?? [];
    const peak = keys[0]?.count ?? 1;
    const by = answer?.count_by;
    let note = "Its events are not counted by key.";
    if (by) note = keys.length === 0 ? `By ${by}: none so far.` : `By ${by}${answer.next ? `, the ${KEYS} largest` : ""}.`;
    setText(byId("keys-note"), note);
    const rows = keys.map(({ key, count }) => {
      const bar = make("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${(100 * count) / peak}%`;
      return make("li", {}, make("bdi", { class: "key" }, visible(key)), make("span", { class: "count" }, number(count)), bar);
    });
    byId("keys-list").replaceChildren(...rows);
  }

  #showNewest(answer, by) {
    byId("newest").hidden = answer === undefined;
    const values = answer?.latest ?? [];
    setText(byId("newest-note"), values.length === 0 ? `By ${by}: none so far.` : `By ${by}${answer.next ? `, the first ${NEWEST}` : ""}.`);
    const rows = values.map((value) => {
      const fields = Object.entries(value).filter(([name]) => name !== by && !STAMPED.includes(name));
      const text = fields.map(([name, field]) => `${name}: ${typeof field === "string" ? field : JSON.stringify(field)}`).join(", ");
      const key = make("bdi", { class: "key" }, visible(value[by]));
      return make("li", {}, key, timeAgo(value.time), make("bdi", { class: "fields quiet small" }, visible(text).slice(0, 200)));
    });
    byId("newest-list").replaceChildren(...rows);
  }
}

/** The latest rejected events, with their reasons and their text as it was sent. */
class Latest {
  #api;
  #titles;
  #shown = "";
  #items = new Map();

  constructor(api, titles) {
    this.#api = api;
    this.#titles = titles;
  }

  async show({ total, settled }) {
    const is = `${total} ${settled}`;
    if (is === this.#shown) return;
    const answer = await ifThere(this.#api.get(`rejected?limit=${LATEST}`));
    if (this.#api.ended) return;
    this.#shown = is;
    byId("latest").hidden = answer === undefined;
    const events = answer?.rejected ?? [];
    byId("latest-none").hidden = events.length > 0;
    // One that is open stays open.
    const items = events.map((event) => [event.event_id, this.#items.get(event.event_id) ?? this.#item(event)]);
    this.#items = new Map(items);
    setChildren(byId("latest-list"), [...this.#items.values()]);
  }

  #item(event) {
    const type = event.event_type === null ? "No known type" : (this.#titles.get(event.event_type) ?? event.event_type);
    const sent = make("pre", { tabindex: "0", role: "region", "aria-label": "The event as it was sent" }, visible(event.event));
    const cut = event.truncated ? make("p", { class: "quiet small" }, "Cut here: it is longer.") : undefined;
    return make(
      "li",
      {},
      make("p", { class: "what" }, make("strong", {}, visible(type)), " ", timeAgo(event.received_at)),
      reasons(event.errors),
      make("details", {}, make("summary", {}, "As it was sent"), sent, cut),
    );
  }
}
