//! The cache engine: dense items in segments, an index of cache lines, eviction and expiration.
