"""pylibmc, which is libmemcached, in its text mode and its binary one."""

import unittest

import pylibmc

from server import HOST, LARGEST_VALUE, PORT, eventually


class Pylibmc(unittest.TestCase):
    binary = False

    def setUp(self):
        behaviors = {"cas": True, "tcp_nodelay": True}
        self.client = pylibmc.Client([f"{HOST}:{PORT}"], binary=self.binary, behaviors=behaviors)
        self.addCleanup(self.client.disconnect_all)
        self.assertTrue(self.client.flush_all())

    def test_values_and_their_types(self):
        for value in ("text", b"bytes", 17, 2**70, True, {"a": [1, 2]}):
            self.assertTrue(self.client.set("a", value))
            self.assertEqual(self.client.get("a"), value)
        self.assertTrue(self.client.delete("a"))
        self.assertIsNone(self.client.get("a"))

    def test_conditions(self):
        if self.binary:
            # The binary protocol says why, and pylibmc raises that.
            with self.assertRaises(pylibmc.NotFound):
                self.client.replace("a", "0")
        else:
            self.assertFalse(self.client.replace("a", "0"))
        self.assertTrue(self.client.add("a", "1"))
        self.assertFalse(self.client.add("a", "2"))
        self.assertTrue(self.client.append("a", "2"))
        self.assertTrue(self.client.prepend("a", "0"))
        self.assertEqual(self.client.get("a"), "012")

    def test_many(self):
        items = {f"key{number}": "x" * number for number in range(500)}
        self.assertEqual(self.client.set_multi(items), [])
        self.assertEqual(self.client.get_multi([*items, "missing"]), items)
        self.assertTrue(self.client.delete_multi(list(items)))
        self.assertEqual(self.client.get_multi(list(items)), {})

    def test_cas(self):
        self.client.set("a", "1")
        value, cas = self.client.gets("a")
        self.assertEqual(value, "1")
        self.assertTrue(self.client.cas("a", "2", cas))
        self.assertFalse(self.client.cas("a", "3", cas))
        self.assertEqual(self.client.get("a"), "2")

    def test_arithmetic(self):
        self.client.set("a", 10)
        self.assertEqual(self.client.incr("a", 5), 15)
        self.assertEqual(self.client.decr("a", 20), 0)
        with self.assertRaises(pylibmc.NotFound):
            self.client.incr("b")

    def test_expiry_and_touch(self):
        self.client.set("a", "1", time=5 if not self.binary else 1)
        self.client.set("b", "1", time=5)
        # Its binary mode leaves a part of the answer to touch unread, and is out of step then; with memcached, too.
        if not self.binary:
            self.assertTrue(self.client.touch("a", 1))
            self.assertTrue(self.client.touch("b", 1000))
        self.assertTrue(eventually(lambda: self.client.get("a") is None))
        self.assertEqual(self.client.get("b"), "1")

    def test_large_values(self):
        value = b"x" * LARGEST_VALUE
        self.assertTrue(self.client.set("large", value))
        self.assertTrue(self.client.get("large") == value)
        with self.assertRaises(pylibmc.TooBig):
            self.client.set("large", b"x" * 1_100_000)
        self.assertIsNone(self.client.get("large"))

    def test_stats(self):
        ((_, stats),) = self.client.get_stats()
        self.assertGreater(int(stats["pid"]), 0)


class PylibmcBinary(Pylibmc):
    binary = True


if __name__ == "__main__":
    unittest.main()
