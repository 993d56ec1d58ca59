// What a reload keeps: who is signed in, in this tab alone, until it is closed, for half a day at the most. And the zone.

const KEEPS = "weir-dashboard";
const KEPT_FOR = 12 * HOUR;

/** A browser may refuse to store anything: then a reload signs out. */
const storage = (use) => {
  try {
    return use(sessionStorage);
  } catch {
    return undefined;
  }
};

const session = {
  keep(authorization) {
    const kept = { authorization, until: Date.now() + KEPT_FOR, utc: zone.utc };
    storage((storage) => storage.setItem(KEEPS, JSON.stringify(kept)));
  },

  /** The zone changes, and nothing else. */
  keepZone() {
    const kept = this.kept;
    if (kept) storage((storage) => storage.setItem(KEEPS, JSON.stringify({ ...kept, utc: zone.utc })));
  },

  get kept() {
    const kept = parsed(storage((storage) => storage.getItem(KEEPS)) ?? "");
    if (typeof kept?.authorization === "string" && kept.until > Date.now()) return kept;
    this.forget();
    return undefined;
  },

  forget() {
    storage((storage) => storage.removeItem(KEEPS));
  },
};
