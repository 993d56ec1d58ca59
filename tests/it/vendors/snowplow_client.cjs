// Sends with Snowplow's unmodified client: ENDPOINT METHOD FORM. Prints the ids of those that it reports as sent.
const { createRequire } = require('module');
const snowplow = createRequire(process.env.MODULES + '/')('@snowplow/node-tracker');
const [endpoint, eventMethod, form] = process.argv.slice(2);
const tracker = snowplow.newTracker(
  { namespace: 'ns', appId: 'shop', encodeBase64: form === 'base64' },
  {
    endpoint,
    eventMethod,
    bufferSize: 1,
    onRequestSuccess: (events) => events.forEach((event) => console.log((event.evt ?? event.payload ?? event).eid)),
    onRequestFailure: (failure) => { console.error(JSON.stringify(failure)); process.exit(1); },
  },
);
tracker.setUserId('u1');
tracker.setDomainUserId('d1');
tracker.setSessionId('s1');
const pageUrl = 'https://a.example/ä?x=1';
const time = { type: 'ttm', value: 1795780800123 };
const basket = { schema: 'iglu:com.example/basket/jsonschema/1-0-0', data: { items: 2 } };
const own = (name, data) =>
  snowplow.buildSelfDescribingEvent({ event: { schema: `iglu:com.example/${name}/jsonschema/1-0-0`, data } });
tracker.track(snowplow.buildPageView({ pageUrl, pageTitle: 'T ü', referrer: 'https://r.example/' }), [basket], time);
tracker.track(snowplow.buildPagePing({ pageUrl, minXOffset: 1, maxXOffset: 2 }));
tracker.track(snowplow.buildStructEvent({ category: 'shop', action: 'add to basket', label: 'l', property: 'p', value: 2.5 }));
tracker.track(own('button_click', { session_id: 's1', button_id: `${eventMethod}-${form}` }));
tracker.track(own('save_game', { level: 23, note: 'ü>>>???' }));
tracker.track(snowplow.buildScreenView({ id: '5e0a', name: 'Basket' }));
tracker.flush();
