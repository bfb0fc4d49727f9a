"""meta-memcache: the meta commands, with leases and stale values."""

import unittest

from meta_memcache import CacheClient, ServerAddress
from meta_memcache.configuration import (
    LeasePolicy,
    RecachePolicy,
    StalePolicy,
    connection_pool_factory_builder,
)

from server import HOST, LARGEST_VALUE, PORT


class MetaMemcache(unittest.TestCase):
    def setUp(self):
        self.client = self.new_client()
        # There is no meta command that empties a server: every test has keys of its own.
        self.key = self.id().rsplit(".", 1)[-1]

    def new_client(self):
        pools = connection_pool_factory_builder(recv_timeout=10)
        return CacheClient.cache_client_from_servers([ServerAddress(HOST, PORT)], pools)

    def test_set_and_get(self):
        self.assertIsNone(self.client.get(self.key))
        for value in ("text", b"bytes", 17, {"a": 1}):
            self.assertTrue(self.client.set(self.key, value, ttl=1000))
            self.assertEqual(self.client.get(self.key), value)
        self.assertFalse(self.client.refill(self.key, "other", ttl=1000))
        self.assertTrue(self.client.touch(self.key, ttl=2000))
        self.assertTrue(self.client.delete(self.key))
        self.assertFalse(self.client.delete(self.key))
        self.assertTrue(self.client.invalidate(self.key))
        self.assertIsNone(self.client.get(self.key))

    def test_long_keys_are_sent_in_base64(self):
        for name in ("with space", "\u00fcber", "x" * 300):
            key = f"{self.key}-{name}"
            self.assertTrue(self.client.set(key, "1", ttl=1000))
            self.assertEqual(self.client.get(key), "1")

    def test_many(self):
        items = {f"{self.key}{number}": "x" * number for number in range(1, 300)}
        for key, value in items.items():
            self.client.set(key, value, ttl=1000, no_reply=True)
        found = self.client.multi_get([*items, f"{self.key}-missing"])
        values = {key.key: value for key, value in found.items() if value is not None}
        self.assertEqual(values, items)

    def test_cas(self):
        self.client.set(self.key, "1", ttl=1000)
        value, cas = self.client.get_cas(self.key)
        self.assertEqual(value, "1")
        self.assertTrue(self.client.set(self.key, "2", ttl=1000, cas_token=cas))
        self.assertFalse(self.client.set(self.key, "3", ttl=1000, cas_token=cas))
        self.assertEqual(self.client.get(self.key), "2")
        cas = self.client.set_cas(self.key, "4", ttl=1000)
        self.assertTrue(self.client.delete(self.key, cas_token=cas))

    def test_arithmetic(self):
        self.assertFalse(self.client.delta(self.key, 1))
        created = self.client.delta_initialize_and_get(self.key, delta=1, initial_value=10, initial_ttl=1000)
        self.assertEqual(created, 10)
        self.assertEqual(self.client.delta_and_get(self.key, 5), 15)
        self.assertEqual(self.client.delta_and_get(self.key, -20), 0)

    def test_leases(self):
        waits = []
        policy = LeasePolicy(ttl=30, miss_retries=2, miss_retry_wait=0.01)
        winner, loser = self.client, self.new_client()
        self.assertIsNone(winner.get_or_lease(self.key, policy, lease_wait_fn=waits.append))
        self.assertEqual(waits, [], "the first to miss does not wait")
        self.assertIsNone(loser.get_or_lease(self.key, policy, lease_wait_fn=waits.append))
        self.assertGreater(len(waits), 0, "the second waits for the first")
        winner.set(self.key, "1", ttl=1000)
        self.assertEqual(loser.get_or_lease(self.key, policy), "1")

    def test_stale_values(self):
        policy = StalePolicy(mark_stale_on_deletion_ttl=30)
        self.client.set(self.key, "1", ttl=1000)
        self.assertTrue(self.client.invalidate(self.key, stale_policy=policy))
        self.assertIsNone(self.client.get(self.key), "the first reader is to make it anew")
        self.assertEqual(self.client.get(self.key), "1", "the others make do with the stale value")
        self.client.set(self.key, "2", ttl=1000)
        self.assertEqual(self.client.get(self.key), "2")

    def test_recaching_ahead(self):
        policy = RecachePolicy(ttl=30)
        self.client.set(self.key, "1", ttl=20)
        self.assertIsNone(self.client.get(self.key, recache_policy=policy), "one is to make it anew")
        self.assertEqual(self.client.get(self.key, recache_policy=policy), "1")

    def test_large_value(self):
        value = bytes(range(256)) * (LARGEST_VALUE // 256 - 1)
        self.assertTrue(self.client.set(self.key, value, ttl=1000))
        self.assertTrue(self.client.get(self.key) == value)


if __name__ == "__main__":
    unittest.main()
