// The API for a user who signed in: requests with their credentials, and what is wrong with an answer in words.

/** Where the API is: beside this page, which a stage of API Gateway may have put below a prefix. */
const BASE = location.origin + location.pathname.replace(/\/?$/, "/");

/** How long an answer is waited for. */
const PATIENCE = 30_000;

/** An answer that is no success, or none at all. */
class Failure extends Error {
  constructor(message, { status = 0, kind = "", errors = [], retryAfter } = {}) {
    super(message);
    Object.assign(this, { status, kind, errors, retryAfter });
  }
}

/** What an answer that is no success says. */
const failureOf = (answer, body) => {
  const kind = typeof body?.type === "string" ? body.type.replace("urn:weir:problem:", "") : "";
  const retryAfter = Number(answer.headers.get("retry-after")) || undefined;
  const again = retryAfter ? `Try again in ${plural(retryAfter, "second")}.` : "Try again in a moment.";
  const { status } = answer;
  let message = `${body?.title ?? "Something went wrong"} (${status}). ${body?.detail ?? ""}`.trim();
  // API Gateway itself says 403 of credentials that are wrong, and that is no problem of Weir's.
  if (status === 401 || (status === 403 && kind === "")) message = "The username or the secret is wrong.";
  else if (status === 403) message = body.detail ?? "This access key may not do that.";
  else if (status === 429) message = `${body?.title ?? "Too many requests"}. ${again}`;
  else if (status === 503) message = `Weir cannot answer now. ${again}`;
  const errors = Array.isArray(body?.errors) ? body.errors : [];
  return new Failure(message, { status, kind, errors, retryAfter });
};

/** The header of credentials. */
const basic = (username, secret) => {
  const bytes = new TextEncoder().encode(`${username}:${secret}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
};

/** The credentials are in here and in `session`. Nothing that was read is anywhere but in this page's memory. */
class Api {
  #authorization;
  #ended = new AbortController();
  #answers = new Map();

  constructor(authorization) {
    this.#authorization = authorization;
  }

  /** Keeps the credentials over a reload of this tab. */
  keep() {
    session.keep(this.#authorization);
  }

  get ended() {
    return this.#ended.signal.aborted;
  }

  /** Forgets everything, and gives up what is under way. */
  end() {
    this.#authorization = "";
    this.#answers.clear();
    this.#ended.abort();
  }

  async #fetch(path, options) {
    let answer;
    let text;
    try {
      answer = await fetch(BASE + path, {
        ...options,
        headers: { ...options.headers, authorization: this.#authorization },
        // The browser adds no credentials, asks for none, and keeps no answer on the disk.
        credentials: "omit",
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.any([this.#ended.signal, AbortSignal.timeout(PATIENCE)]),
      });
      text = await answer.text();
    } catch {
      throw new Failure("Weir cannot be reached.", {});
    }
    return { answer, text };
  }

  /** Reads JSON. What is the same as before is the same object. */
  async get(path) {
    const known = this.#answers.get(path);
    const headers = known?.tag ? { "if-none-match": known.tag } : {};
    const { answer, text } = await this.#fetch(path, { headers });
    if (known && (answer.status === 304 || (answer.ok && text === known.text))) return known.body;
    const body = parsed(text);
    if (!answer.ok || body === undefined) throw failureOf(answer, body);
    if (!this.ended) this.#answers.set(path, { tag: answer.headers.get("etag"), text, body });
    return body;
  }

  /** Follows server-sent events until `stop` or the stream's end. `take` gets the items of each part that arrives. */
  async follow(path, stop, take) {
    const headers = { authorization: this.#authorization };
    const signal = AbortSignal.any([this.#ended.signal, stop]);
    let answer;
    try {
      answer = await fetch(BASE + path, { headers, credentials: "omit", cache: "no-store", redirect: "error", signal });
      if (answer.ok) await readItems(answer.body, take);
    } catch {
      throw new Failure("Weir cannot be reached.", {});
    }
    if (!answer.ok) throw failureOf(answer, parsed(await answer.text().catch(() => "")));
  }

  /** Sends an event's text as it is. */
  async post(path, text) {
    const headers = { "content-type": "application/json" };
    const sent = await this.#fetch(path.replace(/^\//, ""), { method: "POST", headers, body: text });
    const body = parsed(sent.text);
    if (!sent.answer.ok) throw failureOf(sent.answer, body);
    return body;
  }
}

/** The value of a JSON text; undefined if the text is not JSON. */
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** Whether a type is one of those for vendors' clients, which every catalog has. */
const isGeneral = ({ route }) => route.startsWith("/client/");

/** The event types of the API's description: those that have a route of their own. The general ones come last. */
const typesOf = (description) => {
  const types = new Map();
  for (const [route, { post }] of Object.entries(description?.paths ?? {})) {
    const content = post?.requestBody?.content?.["application/json"];
    const name = content?.schema?.$ref?.replace("#/components/schemas/", "");
    if (!name) continue;
    const schema = description.components?.schemas?.[name] ?? {};
    const latest = description.paths[`${route}/latest`]?.get;
    const latestBy = latest?.parameters?.[0]?.name;
    types.set(name, { name, route, schema, title: schema.title ?? name, example: content.example ?? {}, latestBy });
  }
  const sorted = new Map([...types].sort(([, one], [, other]) => isGeneral(one) - isGeneral(other)));
  // Whether the API lists the latest events.
  sorted.lists = description?.paths?.["/events"]?.get !== undefined;
  return sorted;
};
