// What a type's events are counted by: the largest keys, all of them as CSV, and a search. And a type's latest values.

/** How many keys and latest values are shown, and how many are read for a search or a file. */
const KEYS = 10;
const NEWEST = 10;
const SEARCHED = 1000;

/** The least time between two counts of the keys of one range: each count is a query over the lake. */
const RANGED_EVERY = MINUTE;

/** What Weir stamps onto an event. */
const STAMPED = ["time", "event_id", "username", "event_type", "received_at", "occurred_at"];

/** Several of what a field holds: its own title, or else its name in words. */
const severalOf = (schema, field) => {
  const title = schema?.properties?.[field]?.title ?? field.replace(/_(id|name)$/, "").replaceAll("_", " ");
  const word = /^[A-Z]{2}/.test(title) ? title : /^(url|ip|id)$/.test(title) ? title.toUpperCase() : title.toLowerCase();
  if (!/[a-z]$/i.test(word)) return visible(word);
  if (/(s|x|ch|sh)$/.test(word)) return visible(`${word}es`);
  return visible(/[^aeiou]y$/.test(word) ? `${word.slice(0, -1)}ies` : `${word}s`);
};

class Keys {
  #api;
  #types;
  #ranged;
  #is = "";
  #asked = -Infinity;
  #type;
  #path = "";
  #total = 0;
  #first;
  #note = "";
  #many;
  #asking = Promise.resolve();

  /** `ranged` says whether the API counts the keys of a range. */
  constructor(api, types, ranged) {
    this.#api = api;
    this.#types = types;
    this.#ranged = ranged;
    byId("keys-search").addEventListener("input", () => this.#search());
    byId("keys-csv").addEventListener("click", () => this.#save());
  }

  /** Reads the keys again: those since the first event when the live count has changed, those of a range when more is filed. */
  async show({ event_type: type, total, settled }, range, from) {
    const ranged = this.#ranged && settled > 0;
    const other = type !== this.#type;
    const place = `${type} ${ranged ? range : ""}`;
    const is = `${place} ${ranged ? settled : total}`;
    const soon = ranged && this.#is.startsWith(`${place} `) && Date.now() - this.#asked < RANGED_EVERY;
    if (is === this.#is || soon) return;
    const name = encodeURIComponent(type);
    let answer = await ifThere(this.#api.get(`counts/${name}?limit=${KEYS}`));
    let path = `counts/${name}`;
    const by = answer?.count_by;
    let since = "since the first event";
    let again = false;
    if (ranged && by) {
      const hour = new Date(from).toISOString().slice(0, 13);
      try {
        answer = await this.#ask(`${path}/keys?from=${hour}&limit=${KEYS}`);
        path = `${path}/keys?from=${hour}`;
        since = `since ${shownDay(Date.parse(`${hour}:00Z`))}, ${shownHour(Date.parse(`${hour}:00Z`))}, of filed events`;
      } catch (failure) {
        // Too many rows or too many requests: the keys since the first event are shown instead.
        if (!(failure instanceof Failure) || failure.status === 401 || failure.status === 403) throw failure;
        again = failure.status === 429;
      }
    }
    if (this.#api.ended) return;
    [this.#is, this.#asked, this.#type, this.#path, this.#first, this.#many] = [again ? "" : is, Date.now(), type, path, answer, undefined];
    this.#total = answer?.events ?? total;
    if (other) byId("keys-search").value = "";
    const several = by && severalOf(this.#types.get(type)?.schema, by);
    setText(byId("keys-title"), by ? `Top ${several}` : "Keys");
    byId("keys-tools").hidden = !by || answer.keys.length === 0;
    byId("keys-search").setAttribute("aria-label", `Search ${several}`);
    byId("keys-search").placeholder = `Search ${several}`;
    const title = visible(this.#types.get(type)?.title ?? type);
    if (!by) this.#note = `${title}: these events are not counted by key.`;
    else if (answer.keys.length === 0) this.#note = `${title}, by ${visible(by)}: none ${path.includes("?") ? since : "so far"}.`;
    else this.#note = `${title}, by ${visible(by)}, ${since}.`;
    if (byId("keys-search").value) await this.#search();
    else this.#list(answer?.keys ?? [], this.#note);
  }

  #list(keys, note) {
    setText(byId("keys-note"), note);
    const peak = Math.max(1, ...keys.map(({ count }) => count));
    const rows = keys.map(({ key, count }) => {
      const bar = make("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${(100 * count) / peak}%`;
      const share = make("span", { class: "quiet share" }, percent(count, this.#total));
      const name = make("bdi", { class: "key", title: visible(key) }, key === "" ? make("i", {}, "empty") : visible(key));
      return make("li", {}, name, make("span", { class: "count" }, number(count)), share, bar);
    });
    byId("keys-list").replaceChildren(...rows);
  }

  /** Sends one request after the other: a user may have one query at a time. */
  #ask(path) {
    const asked = this.#asking.then(() => this.#api.get(path));
    this.#asking = asked.catch(() => {});
    return asked;
  }

  /** The largest keys, as many as a search looks at. */
  async #read() {
    const path = this.#path;
    this.#many ??= this.#ask(`${path}${path.includes("?") ? "&" : "?"}limit=${SEARCHED}`);
    try {
      return await this.#many;
    } catch (failure) {
      this.#many = undefined;
      throw failure;
    }
  }

  async #search() {
    const text = byId("keys-search").value.trim();
    if (text === "") {
      this.#list(this.#first?.keys ?? [], this.#note);
      return;
    }
    const [type, wanted] = [this.#type, text.toLowerCase()];
    try {
      const { keys, next, more, count_by: by } = await this.#read();
      let found = keys.filter(({ key }) => key.toLowerCase().includes(wanted));
      // A rare key is found by its whole text.
      if (found.length === 0 && next) {
        const path = `${this.#types.get(type).route.slice(1)}/count?${new URLSearchParams({ [by]: text })}`;
        const { count } = await this.#api.get(path);
        if (count > 0) found = [{ key: text, count }];
      }
      if (this.#api.ended || this.#type !== type || byId("keys-search").value.trim() !== text) return;
      const among = next || more ? `, among the ${number(SEARCHED)} largest` : "";
      this.#list(found.slice(0, 2 * KEYS), found.length === 0 ? `Nothing has “${visible(text)}”${among}.` : `${number(found.length)} found${among}.`);
    } catch (failure) {
      this.#failed(failure);
    }
  }

  async #save() {
    try {
      const { keys, count_by: by } = await this.#read();
      save(`${this.#type}-${by}.csv`, csv([[by, "count"], ...keys.map(({ key, count }) => [key, count])]));
    } catch (failure) {
      this.#failed(failure);
    }
  }

  #failed(failure) {
    if (!(failure instanceof Failure)) throw failure;
    if (!this.#api.ended) setText(byId("keys-note"), failure.message);
  }
}

/** The latest values of a type that keeps them. */
class Newest {
  #api;
  #types;
  #is = "";

  constructor(api, types) {
    this.#api = api;
    this.#types = types;
  }

  async show({ event_type: type, total }) {
    const is = `${type} ${total}`;
    if (is === this.#is) return;
    const { route, schema, latestBy: by } = this.#types.get(type) ?? {};
    const answer = by && (await ifThere(this.#api.get(`${route.slice(1)}/latest?limit=${NEWEST}`)));
    if (this.#api.ended) return;
    this.#is = is;
    byId("newest").hidden = !answer;
    if (!answer) return;
    const values = answer.latest ?? [];
    const several = severalOf(schema, by);
    setText(byId("newest-note"), values.length === 0 ? `By ${by}: none so far.` : `By ${by}${answer.next ? `, the first ${NEWEST} ${several}` : ""}.`);
    const rows = values.map((value) => {
      const fields = Object.entries(value).filter(([name]) => name !== by && !STAMPED.includes(name));
      const text = fields.map(([name, field]) => `${name}: ${typeof field === "string" ? field : JSON.stringify(field)}`).join(", ");
      const key = make("bdi", { class: "key" }, visible(value[by]));
      return make("li", {}, key, timeAgo(value.time), make("bdi", { class: "fields quiet small" }, visible(text).slice(0, 200)));
    });
    byId("newest-list").replaceChildren(...rows);
  }
}
