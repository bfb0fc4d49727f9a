// The npm package memcached.

const assert = require("node:assert");
const { after, before, test } = require("node:test");
const { promisify } = require("node:util");
const Memcached = require("memcached");

// The largest value that a default server must take.
const LARGEST_VALUE = 1047552;

let client;
const call = (method, ...words) => promisify(client[method]).call(client, ...words);

before(async () => {
  client = new Memcached(process.env.MMEM_ADDRESS, { timeout: 10000, retries: 0, maxValue: 2 * LARGEST_VALUE });
  await call("flush");
});
after(() => client.end());

async function eventually(condition) {
  const deadline = Date.now() + 10000;
  while (Date.now() < deadline) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

test("values and their types come back", async () => {
  assert.strictEqual(await call("get", "node-a"), undefined);
  for (const value of ["text", 17, true, { a: [1, 2] }]) {
    assert.strictEqual(await call("set", "node-a", value, 0), true);
    assert.deepStrictEqual(await call("get", "node-a"), value);
  }
  assert.strictEqual(await call("set", "node-a", Buffer.from([0, 13, 10, 255]), 0), true);
  assert.deepStrictEqual(await call("get", "node-a"), Buffer.from([0, 13, 10, 255]));
  assert.strictEqual(await call("del", "node-a"), true);
  assert.strictEqual(await call("del", "node-a"), false);
});

test("conditions hold", async () => {
  await assert.rejects(call("replace", "node-b", "0", 0));
  assert.strictEqual(await call("add", "node-b", "1", 0), true);
  await assert.rejects(call("add", "node-b", "2", 0));
  assert.strictEqual(await call("append", "node-b", "2"), true);
  assert.strictEqual(await call("prepend", "node-b", "0"), true);
  assert.strictEqual(String(await call("get", "node-b")), "012");
});

test("many keys come at once", async () => {
  const keys = Array.from({ length: 300 }, (_, number) => `node-many-${number}`);
  await Promise.all(keys.map((key) => call("set", key, key, 0)));
  const found = await call("getMulti", [...keys, "node-missing"]);
  assert.strictEqual(Object.keys(found).length, keys.length);
  for (const key of keys) assert.strictEqual(found[key], key);
});

test("cas takes only the first", async () => {
  await call("set", "node-c", "1", 0);
  const { cas } = await call("gets", "node-c");
  assert.strictEqual(await call("cas", "node-c", "2", cas, 0), true);
  assert.strictEqual(await call("cas", "node-c", "3", cas, 0), false);
  assert.strictEqual(await call("get", "node-c"), "2");
});

test("numbers are counted", async () => {
  await call("set", "node-d", "10", 0);
  assert.strictEqual(await call("incr", "node-d", 5), 15);
  assert.strictEqual(await call("decr", "node-d", 20), 0);
  assert.strictEqual(await call("incr", "node-missing", 1), false);
});

test("items expire and can be touched", async () => {
  await call("set", "node-e", "1", 1000);
  assert.strictEqual(await call("touch", "node-e", 1), true);
  assert.ok(await eventually(async () => (await call("get", "node-e")) === undefined));
});

test("a large value comes back", async () => {
  const value = "x".repeat(LARGEST_VALUE);
  assert.strictEqual(await call("set", "node-f", value, 0), true);
  assert.ok((await call("get", "node-f")) === value);
});

test("version and statistics are read", async () => {
  const [version] = await call("version");
  assert.strictEqual(version.major, "1");
  const [stats] = await call("stats");
  assert.ok(stats.pid > 0);
  const [settings] = await call("settings");
  assert.ok(settings.maxbytes > 0);
});
