// Signing in and out, and what is shown meanwhile: totals that move, a tile for each type, and the rest of the page.

/** How often is asked while something moves, how long something counts as moving, and how often is asked otherwise. */
const SOON = 1000;
const MOVING = 60_000;
const LATER = 5000;

/** How often the totals are read out at the most. */
const SPOKEN_EVERY = 15_000;

/** One signed-in session on the page. */
class Dashboard {
  #api;
  #types;
  #panel;
  #latest;
  #answers;
  #chosen;
  #counts;
  #tiles = new Map();
  #timer;
  #turning = false;
  #again = false;
  #moved = Date.now();
  #spoken = { at: Date.now(), text: "" };
  #leave;

  constructor(api, counts, types, leave) {
    this.#api = api;
    this.#types = types;
    this.#leave = leave;
    const titles = new Map([...types.values()].map(({ name, title }) => [name, title]));
    this.#panel = new TypePanel(api, types);
    this.#latest = new Latest(api, titles);
    this.#answers = new Answers(api, counts.username);
    byId("tiles").addEventListener("keydown", (event) => this.#key(event));
    document.querySelector(".try").hidden = types.size === 0;
    startTrying(types, api, () => this.turn());
    this.#show(counts);
    this.turn();
  }

  end() {
    clearTimeout(this.#timer);
    this.#api.end();
  }

  /** Asks now, and again after a time; not while the page is hidden. */
  async turn() {
    clearTimeout(this.#timer);
    this.#again = this.#turning;
    if (this.#turning || this.#api.ended || document.hidden) return;
    this.#turning = true;
    let wait;
    try {
      this.#show(await this.#api.get("counts"));
      await Promise.all([this.#panel.show(this.#of(this.#chosen)), this.#latest.show(this.#counts.rejected), this.#answers.show()]);
      refreshTimes(byId("main"));
      this.#notice("");
      wait = Date.now() - this.#moved < MOVING ? SOON : LATER;
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      if (this.#api.ended) return;
      if (failure.status === 401 || failure.status === 403) {
        this.#leave(`You were signed out. ${failure.message}`);
        return;
      }
      this.#notice(failure.message);
      wait = (failure.retryAfter ?? 5) * 1000;
    } finally {
      this.#turning = false;
    }
    if (this.#again) this.turn();
    else this.#timer = setTimeout(() => this.turn(), wait);
  }

  #notice(text) {
    byId("notice").hidden = text === "";
    setText(byId("notice"), text);
  }

  #all() {
    return [...this.#counts.counts, this.#counts.rejected];
  }

  #of(type) {
    return this.#all().find((count) => count.event_type === type) ?? { event_type: type, total: 0, settled: 0 };
  }

  #show(counts) {
    if (counts === this.#counts || this.#api.ended) return;
    this.#moved = Date.now();
    this.#counts = counts;
    const sum = (of) => counts.counts.reduce((sum, count) => sum + of(count), 0);
    const underWay = ({ total, settled }) => Math.max(0, total - settled);
    setCount(byId("accepted"), sum(({ total }) => total));
    setCount(byId("rejected"), counts.rejected.total);
    setText(byId("on-their-way"), number(sum(underWay) + underWay(counts.rejected)));
    byId("filing").hidden = counts.settled_at === undefined;
    byId("settled-at").replaceChildren(counts.settled_at ? timeAgo(counts.settled_at) : "never");
    this.#all().forEach((count) => this.#tile(count, underWay(count)));
    if (this.#chosen === undefined) this.#choose(this.#all()[0].event_type);
    this.#speak();
  }

  /** Says the totals to who hears the page, when they have changed and not too often. */
  #speak() {
    const { at } = this.#spoken;
    const text = `${byId("accepted").textContent} accepted, ${byId("rejected").textContent} rejected`;
    if (Date.now() - at < SPOKEN_EVERY || text === this.#spoken.text) return;
    this.#spoken = { at: Date.now(), text };
    setText(byId("spoken"), text);
  }

  #tile({ event_type: type, total, bots = 0 }, underWay) {
    let tile = this.#tiles.get(type);
    if (!tile) {
      const title = type === "rejected" ? "Rejected" : (this.#types.get(type)?.title ?? type);
      const [count, state] = [make("span", { class: "count" }), make("span", { class: "quiet small" })];
      const attributes = { type: "button", role: "tab", "aria-controls": "panel", id: `tile-${this.#tiles.size}` };
      const choose = { click: () => { this.#choose(type); this.turn(); } };
      const button = make("button", { ...attributes, ...choose }, make("span", { class: "title" }, visible(title)), count, state);
      tile = { button, count, state };
      this.#tiles.set(type, tile);
      byId("tiles").append(button);
    }
    setCount(tile.count, total);
    const filed = underWay > 0 ? `${number(underWay)} on their way` : total > 0 ? "all filed" : "none yet";
    setText(tile.state, bots > 0 ? `${filed}, ${number(bots)} of bots` : filed);
  }

  #choose(type) {
    this.#chosen = type;
    for (const [name, { button }] of this.#tiles) {
      button.setAttribute("aria-selected", String(name === type));
      button.tabIndex = name === type ? 0 : -1;
      if (name === type) byId("panel").setAttribute("aria-labelledby", button.id);
    }
  }

  #key(event) {
    const types = [...this.#tiles.keys()];
    const [at, last] = [types.indexOf(this.#chosen), types.length - 1];
    const before = at === 0 ? last : at - 1;
    const after = at === last ? 0 : at + 1;
    const keys = { ArrowLeft: before, ArrowUp: before, ArrowRight: after, ArrowDown: after, Home: 0, End: last };
    const to = types[keys[event.key]];
    if (to === undefined) return;
    event.preventDefault();
    this.#choose(to);
    this.#tiles.get(to).button.focus();
    this.turn();
  }
}

let dashboard;

for (const link of document.querySelectorAll("footer a")) link.href = BASE + link.getAttribute("href");

const fill = (template) => byId("main").replaceChildren(byId(template).content.cloneNode(true));

/** The form to sign in. Nothing of a session before is left on the page or in memory. */
const signedOut = (problem = "") => {
  dashboard?.end();
  dashboard = undefined;
  byId("session").replaceChildren();
  fill("signed-out");
  setText(byId("sign-in-problem"), problem);
  byId("sign-in").addEventListener("submit", signIn);
  byId("username").focus();
};

const signIn = async (event) => {
  event.preventDefault();
  const [username, secret, problem] = ["username", "secret", "sign-in-problem"].map(byId);
  const button = event.submitter ?? event.target.querySelector("button");
  // As Weir prints them, and as they are pasted.
  const pasted = secret.value ? undefined : username.value.match(/^([^:]+):(.+)$/s);
  if (pasted) [, username.value, secret.value] = pasted;
  const api = new Api(username.value, secret.value);
  setText(problem, "");
  button.disabled = true;
  try {
    const [counts, description] = await Promise.all([api.get("counts"), api.get("openapi.json").catch(() => undefined)]);
    signedIn(api, counts, description);
  } catch (failure) {
    api.end();
    button.disabled = false;
    if (!(failure instanceof Failure)) throw failure;
    const writes = failure.kind === "out-of-scope";
    setText(problem, writes ? "This access key may send events, and may not read. Sign in with one that may." : failure.message);
    secret.value = "";
    secret.focus();
  }
};

const signedIn = (api, counts, description) => {
  fill("signed-in");
  const leave = make("button", { type: "button", class: "plain", click: () => signedOut() }, "Sign out");
  byId("session").replaceChildren(make("span", { class: "who" }, visible(counts.username)), leave);
  dashboard = new Dashboard(api, counts, typesOf(description), signedOut);
  document.querySelector("h1").focus();
};

document.addEventListener("visibilitychange", () => dashboard?.turn());
signedOut();
