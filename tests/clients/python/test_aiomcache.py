"""aiomcache: one connection pool, many tasks."""

import asyncio
import unittest

import aiomcache

from server import HOST, LARGEST_VALUE, PORT


class Aiomcache(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = aiomcache.Client(HOST, PORT, pool_size=4)
        self.addAsyncCleanup(self.client.close)
        await self.client.flush_all()

    async def test_set_and_get(self):
        self.assertIsNone(await self.client.get(b"a"))
        self.assertTrue(await self.client.set(b"a", b"1"))
        self.assertFalse(await self.client.add(b"a", b"2"))
        self.assertTrue(await self.client.append(b"a", b"2"))
        self.assertEqual(await self.client.get(b"a"), b"12")
        self.assertTrue(await self.client.delete(b"a"))
        self.assertIsNone(await self.client.get(b"a"))

    async def test_many_tasks(self):
        async def work(number):
            key, value = b"key%d" % number, b"x" * number
            await self.client.set(key, value)
            return await self.client.get(key) == value

        self.assertTrue(all(await asyncio.gather(*(work(number) for number in range(200)))))
        keys = [b"key%d" % number for number in range(200)]
        values = await self.client.multi_get(*keys)
        self.assertEqual([len(value) for value in values], list(range(200)))

    async def test_cas(self):
        await self.client.set(b"a", b"1")
        value, cas = await self.client.gets(b"a")
        self.assertEqual(value, b"1")
        self.assertTrue(await self.client.cas(b"a", b"2", cas))
        self.assertFalse(await self.client.cas(b"a", b"3", cas))

    async def test_arithmetic(self):
        await self.client.set(b"a", b"10")
        self.assertEqual(await self.client.incr(b"a", 5), 15)
        self.assertEqual(await self.client.decr(b"a", 20), 0)
        with self.assertRaises(aiomcache.ClientException):
            await self.client.incr(b"b")

    async def test_touch_and_expiry(self):
        await self.client.set(b"a", b"1", exptime=1000)
        self.assertTrue(await self.client.touch(b"a", 1))
        for _ in range(200):
            if await self.client.get(b"a") is None:
                break
            await asyncio.sleep(0.05)
        self.assertIsNone(await self.client.get(b"a"))

    async def test_large_value(self):
        value = b"x" * LARGEST_VALUE
        self.assertTrue(await self.client.set(b"large", value))
        self.assertTrue(await self.client.get(b"large") == value)

    async def test_version_and_stats(self):
        self.assertTrue((await self.client.version()).startswith(b"1.6."))
        self.assertIn(b"curr_items", await self.client.stats())


if __name__ == "__main__":
    unittest.main()
