// One signed-in session on the page: what is read when, and what is shown of it.

/** How often is asked while something moves, how long something counts as moving, and how often is asked otherwise. */
const SOON = 1000;
const MOVING = MINUTE;
const LATER = 5000;

/** How often a page that is not visible asks for the counts, for its title. */
const UNSEEN = MINUTE;

/** How often the totals are read out at the most. */
const SPOKEN_EVERY = 15_000;

class Dashboard {
  #api;
  #history;
  #numbers;
  #types;
  #chart;
  #parts;
  #range = "day";
  #starts = [];
  #counts;
  #timer;
  #turning = false;
  #again = false;
  #moved = Date.now();
  #turned = 0;
  #spoken = { at: Date.now(), text: "" };
  #seen;
  #leave;

  constructor(api, counts, types, leave) {
    this.#api = api;
    this.#leave = leave;
    const titles = new Map([...types.values()].map(({ name, title }) => [name, title]));
    const offers = counts.offers ?? [];
    this.#history = new History(api, (type) => type === REJECTED || types.size === 0 || types.has(type));
    this.#numbers = new Numbers(this.#history);
    this.#types = new Types(titles, () => this.#chose());
    this.#chart = new Chart((at) => this.#countTypes(at));
    this.#parts = {
      keys: new Keys(api, types, offers.includes("keys")),
      newest: new Newest(api, types),
      rejected: new Rejected(api, titles),
      live: new Live(api, titles, { lists: types.lists, streams: offers.includes("stream") }, () => Date.now() - this.#turned > SOON && this.turn()),
      answers: new Answers(api, counts.username),
    };
    this.trying = new Trying(types, api, counts.username, (type) => {
      if (type !== undefined) this.#types.select(type);
      this.#chose();
    });
    const isFirst = [...counts.counts, counts.rejected].every(({ total }) => total === 0);
    if (isFirst && types.size > 0) this.trying.open(true, false);
    this.#seen = counts.rejected.total;
    this.#ranges(offers.includes("minutes"));
    this.#zones();
    byId("chart-csv").addEventListener("click", () => save(`events-${this.#range}.csv`, csv(this.#chart.rows)));
    this.#take(counts);
    this.turn();
  }

  end() {
    clearTimeout(this.#timer);
    this.#api.end();
    document.title = "Weir";
  }

  /** On AWS there are no counts by minute. */
  #ranges(byMinute) {
    for (const [name, { title, short }] of Object.entries(RANGES)) {
      if (name === "hour" && !byMinute) continue;
      const change = () => {
        this.#range = name;
        this.turn();
      };
      const input = make("input", { type: "radio", name: "range", value: name, id: `range-${name}`, checked: name === this.#range, change });
      byId("ranges").append(input, make("label", { for: `range-${name}`, title }, make("span", { "aria-hidden": "true" }, short), make("span", { class: "unseen" }, title)));
    }
  }

  #zones() {
    const select = byId("zone");
    // Where both are the same there is nothing to choose.
    if (/^(Etc\/)?(UTC|GMT|UCT|Zulu)$/.test(OWN_ZONE)) {
      select.hidden = true;
      setText(byId("zone-label"), "Times in UTC");
      return;
    }
    select.append(make("option", { value: "own" }, `Local time (${OWN_ZONE})`), make("option", { value: "utc" }, "UTC"));
    select.value = zone.utc ? "utc" : "own";
    select.addEventListener("change", () => {
      zone.utc = select.value === "utc";
      session.keepZone();
      this.#draw();
    });
  }

  /** Asks now, and again after a time; while the page is hidden, seldom and for the counts only. */
  async turn() {
    clearTimeout(this.#timer);
    this.#again = this.#turning;
    if (this.#turning || this.#api.ended) return;
    [this.#turning, this.#turned] = [true, Date.now()];
    let wait;
    try {
      await this.#read();
      wait = Date.now() - this.#moved < MOVING ? SOON : LATER;
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      if (this.#api.ended) return;
      if (failure.status === 401 || failure.status === 403) {
        this.#leave(`You were signed out. ${failure.message}`);
        return;
      }
      showStatus("bad", failure.message);
      wait = (failure.retryAfter ?? 5) * 1000;
    } finally {
      this.#turning = false;
    }
    if (this.#again) this.turn();
    else this.#timer = setTimeout(() => this.turn(), document.hidden ? Math.max(wait, UNSEEN) : wait);
  }

  async #read() {
    let counts = await this.#api.get("counts");
    if (document.hidden) {
      this.#parts.live.stop();
      this.#entitle(counts);
      return;
    }
    // What was filed while the history was read is in both; then the counts are read again, until none was.
    for (let tries = 0; tries < 3; tries++) {
      if (!(await this.#history.read(this.#all(counts), this.#range))) break;
      const before = counts;
      counts = await this.#api.get("counts");
      if (this.#all(counts).every(({ settled }, at) => settled === this.#all(before)[at]?.settled)) break;
    }
    if (this.#api.ended) return;
    this.#take(counts);
    this.#draw();
    const { keys, newest, rejected, live, answers } = this.#parts;
    const shown = this.#shownType();
    await Promise.all([keys.show(shown, this.#range, this.#starts[0]), newest.show(shown), rejected.show(counts.rejected), live.show(counts), answers.show()]);
    refreshTimes(byId("main"));
  }

  #all(counts = this.#counts) {
    return [...counts.counts, counts.rejected];
  }

  /** The type whose keys are shown: the chosen one, or that with the most events. */
  #shownType() {
    const { chosen } = this.#types;
    if (chosen !== ALL) return this.#all().find(({ event_type: type }) => type === chosen) ?? { event_type: chosen, total: 0 };
    return this.#counts.counts.reduce((most, count) => (count.total > most.total ? count : most), this.#all()[0]);
  }

  #take(counts) {
    if (counts !== this.#counts) this.#moved = Date.now();
    this.#counts = counts;
    this.#types.take(this.#all());
    this.#entitle(counts);
  }

  #draw() {
    this.#history.take(this.#all());
    this.#numbers.show(this.#counts, this.#range);
    let range = RANGES[this.#range];
    this.#starts = startsOf(range, Date.now());
    // After a start of the server, the last hour may have more events than it reads again.
    const { since } = this.#history;
    if (this.#range === "hour" && since > this.#starts[0]) range = { ...range, said: `Since ${shownHour(since)}` };
    const { chosen } = this.#types;
    const place = (type) => ["0", "1", "2", "3", "4", "5", "6", "7", "rest", REJECTED].indexOf(this.#types.colour(type));
    const types = this.#all().map(({ event_type: type }) => type).filter((type) => chosen === ALL || type === chosen);
    const shown = types.sort((one, other) => place(one) - place(other));
    const layers = shown.map((type) => ({
      type,
      title: this.#types.title(type),
      colour: this.#types.colour(type),
      counts: this.#history.inRange(type, this.#range, this.#starts),
    }));
    this.#chart.show(range, this.#starts, layers.filter(({ counts }) => chosen !== ALL || counts.some((count) => count > 0)));
    this.#speak();
  }

  /** Shows each type's events in the bar that is meant, or in all bars. */
  #countTypes(at) {
    if (this.#counts === undefined) return;
    this.#types.count((type) => {
      const counts = this.#history.inRange(type, this.#range, this.#starts);
      return at < 0 ? counts.reduce((sum, count) => sum + count, 0) : (counts[at] ?? 0);
    });
  }

  #chose() {
    this.#draw();
    this.turn();
  }

  /** Says the totals to users who hear the page, when they have changed and not too often. */
  #speak() {
    const { at } = this.#spoken;
    const text = `${byId("accepted").textContent} accepted, ${byId("rejected").textContent} rejected`;
    if (Date.now() - at < SPOKEN_EVERY || text === this.#spoken.text) return;
    this.#spoken = { at: Date.now(), text };
    setText(byId("spoken"), text);
  }

  /** The title tells how many were rejected since the page was looked at. */
  #entitle({ rejected: { total } }) {
    if (!document.hidden && document.hasFocus()) this.#seen = total;
    const more = Math.max(0, total - this.#seen);
    document.title = more > 0 ? `(${number(more)} rejected) Weir` : "Weir";
  }

  /** The page is looked at. */
  looked() {
    this.#seen = this.#counts.rejected.total;
    this.#entitle(this.#counts);
  }
}
