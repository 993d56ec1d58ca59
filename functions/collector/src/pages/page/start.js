// Signing in and out.

let dashboard;

for (const link of document.querySelectorAll("a[data-below]")) link.href = BASE + link.getAttribute("href");

const fill = (template) => byId("main").replaceChildren(byId(template).content.cloneNode(true));

/** The form to sign in. Nothing of a session before is left on the page or in memory; nor in the tab, unless it is kept. */
const signedOut = (problem = "", kept = false) => {
  if (!kept) session.forget();
  dashboard?.end();
  dashboard = undefined;
  byId("session").replaceChildren();
  fill("signed-out");
  setText(byId("sign-in-problem"), problem);
  byId("sign-in").addEventListener("submit", signIn);
  byId("username").focus();
};

/** Reads what is shown first. A description that cannot be read leaves the names of types. */
const enter = async (api) => {
  const [counts, description] = await Promise.all([api.get("counts"), api.get("openapi.json").catch(() => undefined)]);
  signedIn(api, counts, description);
};

const signIn = async (event) => {
  event.preventDefault();
  const [username, secret, problem] = ["username", "secret", "sign-in-problem"].map(byId);
  const button = event.submitter ?? event.target.querySelector("button");
  // As Weir prints them, and as they are pasted.
  const pasted = secret.value ? undefined : username.value.match(/^([^:]+):(.+)$/s);
  if (pasted) [, username.value, secret.value] = pasted;
  const api = new Api(basic(username.value, secret.value));
  setText(problem, "");
  button.disabled = true;
  try {
    await enter(api);
    api.keep();
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

/** Goes on after a reload. */
const resume = async ({ authorization, utc }) => {
  zone.utc = utc === true;
  const api = new Api(authorization);
  try {
    await enter(api);
  } catch (failure) {
    api.end();
    if (!(failure instanceof Failure)) throw failure;
    // Where nothing says that the credentials are wrong, the next reload tries again.
    signedOut(failure.message, failure.status !== 401 && failure.status !== 403);
  }
};

const signedIn = (api, counts, description) => {
  fill("signed-in");
  dashboard = new Dashboard(api, counts, typesOf(description), signedOut);
  const leave = make("button", { type: "button", id: "sign-out", class: "plain", click: () => signedOut() }, "Sign out");
  byId("session").replaceChildren(dashboard.trying.opener, make("bdi", { class: "who" }, visible(counts.username)), leave);
  document.querySelector("h1").focus({ preventScroll: true });
};

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) dashboard?.looked();
  dashboard?.turn();
});
addEventListener("focus", () => dashboard?.looked());

const { kept } = session;
if (kept) resume(kept);
else signedOut();
