// Sends with an unmodified client of Segment's protocol: MODULE URL KEY LOOPS. Prints what it reports as sent.
const [module_, url, key, loops] = process.argv.slice(2);
const { createRequire } = require('module');
const from = createRequire(process.env.MODULES + '/');
let sent = 0, answered = 0;
const told = (error) => { answered += 1; if (!error) sent += 1; };
let client, flush;
if (module_ === '@segment/analytics-node') {
  const { Analytics } = from(module_);
  // The path of an address is an option of its own.
  const path = new URL(url).pathname.replace(/\/$/, '') + '/v1/batch';
  client = new Analytics({ writeKey: key, host: url, path, flushAt: 20, maxRetries: 10 });
  flush = () => client.closeAndFlush({ timeout: 60000 });
} else {
  const Analytics = from(module_).default ?? from(module_);
  client = new Analytics(key, { dataPlaneUrl: url, flushAt: 20, logLevel: 'error' });
  // One flush sends one batch.
  flush = async () => { while (answered < 7 + Number(loops)) { await client.flush(); await new Promise(setImmediate); } };
}
const userId = 'u1';
client.track({ userId, event: 'Button Click', properties: { session_id: 's1', button_id: 'abc', key: 'é' } }, told);
client.track({ userId, event: 'Order Completed', properties: { total: 25.5, key: 'é' }, context: { ip: '192.0.2.1' } }, told);
client.page({ userId, category: 'Docs', name: 'Home', properties: { url: 'https://a.example/', session_id: 's1' } }, told);
client.screen({ userId, name: 'Basket' }, told);
client.identify({ userId, traits: { plan: 'free' } }, told);
client.group({ userId, groupId: 'g1', traits: { size: 7 } }, told);
client.alias({ userId, previousId: 'a1' }, told);
for (let n = 0; n < Number(loops); n++) client.track({ userId, event: 'Loop', properties: { n } }, told);
flush().then(() => { console.log(sent); process.exit(0); }, (error) => { console.error(error); process.exit(1); });
