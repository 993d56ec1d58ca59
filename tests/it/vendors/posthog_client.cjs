// Sends with PostHog's unmodified client: URL KEY FORM. Prints the ids of those that it sends without an error.
const { createRequire } = require('module');
const { randomUUID } = require('crypto');
const { PostHog } = createRequire(process.env.MODULES + '/')('posthog-node');
const [host, key, form] = process.argv.slice(2);
(async () => {
  const client = new PostHog(key, { host, disableCompression: form === 'plain' });
  const failed = [];
  client.on('error', (error) => failed.push(error));
  const ids = [];
  const timestamp = new Date(1795780800123);
  const capture = (event, properties) => {
    ids.push(randomUUID());
    client.capture({ distinctId: 'u1', event, properties, uuid: ids.at(-1), timestamp });
  };
  capture('Order Completed', { total: 25.5, note: 'ü' });
  capture('button click', { session_id: 's1', button_id: 'node' });
  capture('$pageview', { $current_url: 'https://a.example/', $session_id: 's1' });
  capture('$screen', { $screen_name: 'Basket' });
  client.identify({ distinctId: 'u1', properties: { plan: 'free' } });
  client.alias({ distinctId: 'u1', alias: 'a1' });
  client.groupIdentify({ groupType: 'company', groupKey: 'c1', properties: { size: 7 } });
  const flags = await client.evaluateFlags('u1');
  if (flags.getFlag('f') !== undefined) throw new Error('there is a flag');
  await client.shutdown();
  if (failed.length) throw failed[0];
  console.log(ids.join('\n'));
})().catch((error) => { console.error(error); process.exit(1); });
