"""pymemcache, with its plain and its pooled client."""

import unittest

from pymemcache.client.base import Client, PooledClient
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError

from server import HOST, LARGEST_VALUE, PORT, eventually


class Pymemcache(unittest.TestCase):
    def setUp(self):
        self.client = Client((HOST, PORT), timeout=10, default_noreply=False)
        self.addCleanup(self.client.close)
        self.assertTrue(self.client.flush_all())

    def test_set_and_get(self):
        self.assertIsNone(self.client.get("a"))
        self.assertTrue(self.client.set("a", b"1"))
        self.assertEqual(self.client.get("a"), b"1")
        self.assertTrue(self.client.set("a", b""))
        self.assertEqual(self.client.get("a"), b"")
        self.assertTrue(self.client.delete("a"))
        self.assertFalse(self.client.delete("a"))
        self.assertIsNone(self.client.get("a"))

    def test_add_and_replace(self):
        self.assertFalse(self.client.replace("a", b"0"))
        self.assertTrue(self.client.add("a", b"1"))
        self.assertFalse(self.client.add("a", b"2"))
        self.assertTrue(self.client.replace("a", b"3"))
        self.assertEqual(self.client.get("a"), b"3")

    def test_without_reply(self):
        for number in range(1000):
            self.client.set(f"key{number}", str(number).encode(), noreply=True)
        self.client.delete("key7", noreply=True)
        self.assertIsNone(self.client.get("key7"))
        self.assertEqual(self.client.get("key999"), b"999")

    def test_many(self):
        items = {f"key{number}": b"x" * number for number in range(500)}
        self.assertEqual(self.client.set_many(items), [])
        self.assertEqual(self.client.get_many([*items, "missing"]), items)
        self.assertTrue(self.client.delete_many(list(items)))
        self.assertEqual(self.client.get_many(list(items)), {})

    def test_cas(self):
        self.client.set("a", b"1")
        value, cas = self.client.gets("a")
        self.assertEqual(value, b"1")
        self.assertTrue(self.client.cas("a", b"2", cas))
        self.assertIs(self.client.cas("a", b"3", cas), False)
        self.assertIsNone(self.client.cas("b", b"3", cas))
        found = self.client.gets_many(["a", "b"])
        self.assertEqual(list(found), ["a"])
        self.assertEqual(found["a"][0], b"2")

    def test_arithmetic(self):
        self.assertIsNone(self.client.incr("a", 1))
        self.client.set("a", b"10")
        self.assertEqual(self.client.incr("a", 5), 15)
        self.assertEqual(self.client.decr("a", 20), 0)
        self.client.set("a", str(2**64 - 1).encode())
        self.assertEqual(self.client.incr("a", 2), 1)
        self.client.set("a", b"word")
        with self.assertRaises(MemcacheClientError):
            self.client.incr("a", 1)
        self.assertEqual(self.client.get("a"), b"word")

    def test_expiry(self):
        self.client.set("short", b"1", expire=1)
        self.client.set("long", b"1", expire=1000)
        self.client.set("past", b"1", expire=-1)
        self.assertIsNone(self.client.get("past"))
        self.assertTrue(eventually(lambda: self.client.get("short") is None))
        self.assertEqual(self.client.get("long"), b"1")

    def test_touch(self):
        self.assertFalse(self.client.touch("a", 1000))
        self.client.set("a", b"1", expire=1000)
        self.client.set("b", b"1", expire=1)
        self.assertTrue(self.client.touch("a", 1))
        self.assertTrue(self.client.touch("b", 1000))
        self.assertTrue(eventually(lambda: self.client.get("a") is None))
        self.assertEqual(self.client.get("b"), b"1")

    def test_large_values(self):
        for size in (1_000_000, LARGEST_VALUE):
            value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            self.assertTrue(self.client.set("large", value))
            self.assertTrue(self.client.get("large") == value)
        with self.assertRaises(MemcacheServerError):
            self.client.set("large", b"x" * 1_100_000)
        self.assertIsNone(self.client.get("large"))
        self.assertTrue(self.client.set("large", b"in step"))
        self.assertEqual(self.client.get("large"), b"in step")

    def test_version_and_stats(self):
        self.assertRegex(self.client.version().decode(), r"^1\.6\.\d+$")
        self.client.get("a")
        stats = self.client.stats()
        self.assertGreater(stats[b"get_misses"], 0)
        self.assertGreater(stats[b"pid"], 0)

    def test_pool(self):
        client = PooledClient((HOST, PORT), max_pool_size=4, timeout=10, default_noreply=False)
        self.addCleanup(client.close)
        self.assertTrue(client.set("a", b"1"))
        self.assertEqual(client.get("a"), b"1")


if __name__ == "__main__":
    unittest.main()
