//! Commands about the server, and statistics.

use crate::world::{Client, check, check_with, plain, service};

#[test]
fn settings_that_are_answered() {
    check(
        "verbosity 1\nverbosity\nverbosity x\n",
        "OK\nCLIENT_ERROR bad command line format\nCLIENT_ERROR bad command line format\n",
    );
    check(
        "cache_memlimit\ncache_memlimit x\ncache_memlimit 7\ncache_memlimit 2000000000\n",
        "ERROR\nERROR\nMEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\n\
         MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\n",
    );
    check(
        "shutdown\nextstore item_size 1\nrefresh_certs\ndebugtime 1\n",
        "SERVER_ERROR: shutdown not enabled\nERROR\nERROR\nERROR\n",
    );
    check(
        "slabs\nslabs reassign 1 2\nslabs reassign 1 1\nslabs reassign 1 99\nslabs reassign 1 x\nslabs automove 1\n\
         slabs automove 5\nslabs automove x\nslabs automove ratio 0.5\nslabs automove window 1\nslabs a 0\n",
        "ERROR\nNOSPARE source class has no spare pages\nSAME src and dst class are identical\n\
         BADCLASS invalid src or dst class id\nCLIENT_ERROR bad command line format\nOK\nERROR\n\
         CLIENT_ERROR bad command line format\nOK\nCLIENT_ERROR automove window too low or too high\nOK\n",
    );
    check(
        "lru tune 10 20 0.1 2.0\nlru tune 50 50 0.1 2.0\nlru tune 10 20 0 2\n\
         lru mode flat\nlru mode x\nlru temp_ttl -1\nlru\n",
        "OK\nERROR hot and warm pcts must not exceed 80\nERROR hot/warm age factors must be greater than 0\nOK\n\
         ERROR\nOK\nERROR\n",
    );
    check(
        "lru_crawler\nlru_crawler enable\nlru_crawler disable\nlru_crawler sleep 100\nlru_crawler sleep 2000000\n\
         lru_crawler tocrawl x\nlru_crawler crawl 1,2\nlru_crawler crawl all\nlru_crawler crawl 0\n",
        "ERROR\nERROR failed to start lru crawler thread\nOK\nOK\nCLIENT_ERROR sleep must be one second or less\n\
         CLIENT_ERROR bad command line format\nOK\nOK\nBADCLASS invalid class id\n",
    );
}

#[test]
fn a_memory_limit_that_is_too_low_is_told_from_one_that_is_too_high() {
    let mut client = Client::new(service(160 << 20, |_| {}));
    client.expect(
        "cache_memlimit 7\ncache_memlimit 8\ncache_memlimit 641\n",
        "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\nOK\n\
         MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\n",
    );
    let mut client = Client::new(service(1 << 30, |_| {}));
    client.expect(
        "cache_memlimit 63\ncache_memlimit 8 noreply\ncache_memlimit 64\n",
        "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 64m\nOK\n",
    );
}

#[test]
fn a_clock_for_tests() {
    let mut client = Client::new(service(1 << 20, |settings| settings.has_debug = true));
    client.expect(
        "set a 0 10 1\nx\ndebugtime 9\nget a\ndebugtime 1\nget a\ndebugtime x\n",
        "STORED\nOK\nVALUE a 0 1\nx\nEND\nOK\nEND\nERROR\n",
    );
}

/// The names of `stats` in a default run of memcached 1.6.45, in their order.
const GENERAL: &str = "pid uptime time version libevent pointer_size rusage_user rusage_system max_connections \
    curr_connections total_connections rejected_connections connection_structures response_obj_oom \
    response_obj_count response_obj_bytes read_buf_count read_buf_bytes read_buf_bytes_free read_buf_oom \
    reserved_fds cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses get_expired get_flushed \
    delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses cas_hits cas_badval \
    touch_hits touch_misses store_too_large store_no_memory auth_cmds auth_errors bytes_read bytes_written \
    limit_maxbytes accepting_conns listen_disabled_num time_in_listen_disabled_us threads conn_yields \
    hash_power_level hash_bytes hash_is_expanding slab_reassign_rescues slab_reassign_chunk_rescues \
    slab_reassign_inline_reclaim slab_reassign_busy_items slab_reassign_busy_deletes slab_reassign_busy_nomem \
    slab_reassign_last_busy_status slab_reassign_running slabs_moved lru_crawler_running lru_crawler_starts \
    lru_maintainer_juggles malloc_fails log_worker_dropped log_worker_written log_watcher_skipped \
    log_watcher_sent log_watchers unexpected_napi_ids round_robin_fallback bytes curr_items total_items \
    slab_global_page_pool expired_unfetched evicted_unfetched evicted_active evictions reclaimed \
    crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold moves_to_warm moves_within_lru \
    direct_reclaims lru_bumps_dropped";

fn names(client: &mut Client, group: &str) -> Vec<String> {
    let answer = client.ask(format!("stats{group}\n"));
    assert!(answer.ends_with("END\n"), "{answer}");
    let lines = answer.lines().filter(|&line| line != "END");
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words.len(), words[0]), (3, "STAT"), "{line}");
            words[1].to_owned()
        })
        .collect()
}

#[test]
fn the_names_of_statistics() {
    let mut client = Client::new(plain());
    assert_eq!(names(&mut client, ""), GENERAL.split_whitespace().collect::<Vec<_>>());
    assert_eq!(names(&mut client, "").len(), 93);
    assert!(names(&mut client, " items").is_empty());
    assert_eq!(names(&mut client, " slabs"), ["active_slabs", "total_malloced"]);
    client.expect("set a 0 0 30\n012345678901234567890123456789\n", "STORED\n");
    assert_eq!(client.stat(" items", "items:1:number"), "1");
    assert_eq!(client.stat(" slabs", "1:used_chunks"), "1");
    assert_eq!(client.stat(" slabs", "1:chunk_size"), "96");
    let settings = names(&mut client, " settings");
    for name in
        ["maxbytes", "maxconns", "lru_crawler", "hot_lru_pct", "cas_enabled", "item_size_max", "verbosity"]
    {
        assert!(settings.contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn what_the_server_counts() {
    let mut client = Client::new(plain());
    let names = names(&mut client, " server");
    for name in [
        "connections",
        "accept_errors",
        "write_timeouts",
        "memory_timeouts",
        "socket_errors",
        "faults",
        "upload_waits",
    ] {
        assert!(names.contains(&name.to_owned()), "{name}");
    }
    client.expect("stats serve\n", "ERROR\n");
}

#[test]
fn groups_and_their_abbreviations() {
    check(
        "stats bogus\nstats item\nstats r\nstats sizes\nstats detail\n",
        "ERROR\nERROR\nRESET\nSTAT sizes_status disabled\nEND\nCLIENT_ERROR usage: stats detail on|off|dump\n",
    );
    check(
        "stats cachedump\nstats c 1 x\nstats cachedump 64 0\nstats cachedump 1 0\n",
        "CLIENT_ERROR bad command line\nCLIENT_ERROR bad command line format\nCLIENT_ERROR Illegal slab id\nEND\n",
    );
    let closed = || service(1 << 20, |settings| settings.allowed.dumps = false);
    check_with(
        closed,
        "stats cachedump 1 1\nstats detail on\nlru_crawler metadump all\nlru_crawler mgdump all\n",
        "CLIENT_ERROR stats cachedump not allowed\nCLIENT_ERROR stats detail not allowed\n\
         ERROR metadump not allowed\nERROR key dump not allowed\n",
    );
}

#[test]
fn statistics_are_set_back() {
    let mut client = Client::new(plain());
    client.expect("set a 0 0 1\nx\nget a\nget b\n", "STORED\nVALUE a 0 1\nx\nEND\nEND\n");
    assert_eq!(client.stat("", "curr_connections"), "1");
    assert_eq!(client.stat("", "total_connections"), "1");
    assert_eq!(client.stat("", "cmd_get"), "2");
    client.expect("stats reset\n", "RESET\n");
    for name in ["cmd_get", "cmd_set", "get_hits", "total_connections", "total_items"] {
        assert_eq!(client.stat("", name), "0", "{name}");
    }
    for name in ["curr_items", "curr_connections"] {
        assert_eq!(client.stat("", name), "1", "{name}");
    }
    assert_eq!(client.stat("", "uptime"), "2");
    client.wait_s(3);
    assert_eq!(client.stat("", "uptime"), "5");
}
