"""emcache, with batches of its own making."""

import asyncio
import unittest

import emcache

from server import HOST, LARGEST_VALUE, PORT


class Emcache(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.address = emcache.MemcachedHostAddress(HOST, PORT)
        self.client = await emcache.create_client([self.address], timeout=10, autobatching=True)
        self.addAsyncCleanup(self.client.close)
        await self.client.flush_all(self.address)

    async def test_set_and_get(self):
        self.assertIsNone(await self.client.get(b"a"))
        await self.client.set(b"a", b"1", flags=7)
        item = await self.client.get(b"a", return_flags=True)
        self.assertEqual((item.value, item.flags), (b"1", 7))
        with self.assertRaises(emcache.NotStoredStorageCommandError):
            await self.client.add(b"a", b"2")
        await self.client.append(b"a", b"2")
        await self.client.prepend(b"a", b"0")
        self.assertEqual((await self.client.get(b"a")).value, b"012")
        await self.client.delete(b"a")
        with self.assertRaises(emcache.NotFoundCommandError):
            await self.client.delete(b"a")

    async def test_batches(self):
        keys = [b"key%d" % number for number in range(300)]
        for key in keys:
            await self.client.set(key, key, noreply=True)
        self.assertEqual((await self.client.get(keys[-1])).value, keys[-1])
        one_by_one = await asyncio.gather(*(self.client.get(key) for key in keys))
        self.assertEqual([item.value for item in one_by_one], keys)
        at_once = await self.client.get_many([*keys, b"missing"])
        self.assertEqual({key: item.value for key, item in at_once.items()}, {key: key for key in keys})

    async def test_cas(self):
        await self.client.set(b"a", b"1")
        item = await self.client.gets(b"a")
        await self.client.cas(b"a", b"2", item.cas)
        with self.assertRaises(emcache.StorageCommandError):
            await self.client.cas(b"a", b"3", item.cas)

    async def test_arithmetic(self):
        await self.client.set(b"a", b"10")
        self.assertEqual(await self.client.increment(b"a", 5), 15)
        self.assertEqual(await self.client.decrement(b"a", 20), 0)
        with self.assertRaises(emcache.NotFoundCommandError):
            await self.client.increment(b"b", 1)

    async def test_get_and_touch(self):
        await self.client.set(b"a", b"1", exptime=1000)
        self.assertEqual((await self.client.gat(-1, b"a")).value, b"1")
        self.assertIsNone(await self.client.get(b"a"))
        await self.client.set(b"b", b"1")
        found = await self.client.gats_many(1000, [b"a", b"b"])
        self.assertEqual(list(found), [b"b"])
        self.assertIsNotNone(found[b"b"].cas)
        await self.client.touch(b"b", -1)
        self.assertIsNone(await self.client.get(b"b"))

    async def test_large_value(self):
        value = b"x" * LARGEST_VALUE
        await self.client.set(b"large", value)
        self.assertTrue((await self.client.get(b"large")).value == value)

    async def test_administration(self):
        self.assertTrue((await self.client.version(self.address)).startswith("1.6."))
        self.assertIn("curr_items", await self.client.stats(self.address))
        self.assertIn("maxbytes", await self.client.stats(self.address, "settings"))


if __name__ == "__main__":
    unittest.main()
