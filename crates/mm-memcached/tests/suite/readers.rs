//! What the tools that watch memcached read of its statistics is all there, and a number where they want one.

use crate::world::{Client, plain};

/// A tool, the group it reads (with a space before it), and the names it looks for in it. Names of classes begin with
/// a colon; each class that is shown has to have them.
const READERS: &[(&str, &str, &str)] = &[
    (
        "prometheus/memcached_exporter",
        "",
        "uptime time version get_hits get_misses delete_hits delete_misses incr_hits incr_misses decr_hits decr_misses \
         cas_hits cas_misses cas_badval touch_hits touch_misses cmd_flush cmd_set rusage_user rusage_system bytes \
         limit_maxbytes curr_items total_items bytes_read bytes_written curr_connections total_connections \
         rejected_connections conn_yields listen_disabled_num evictions reclaimed store_too_large store_no_memory \
         lru_crawler_starts direct_reclaims crawler_items_checked crawler_reclaimed moves_to_cold moves_to_warm \
         moves_within_lru accepting_conns round_robin_fallback unexpected_napi_ids",
    ),
    (
        "prometheus/memcached_exporter",
        " items",
        ":number :age :hits_to_hot :hits_to_warm :hits_to_cold :hits_to_temp :crawler_reclaimed :evicted \
         :evicted_nonzero :evicted_time :evicted_unfetched :expired_unfetched :outofmemory :reclaimed :tailrepairs \
         :mem_requested :moves_to_cold :moves_to_warm :moves_within_lru :number_hot :number_warm :number_cold \
         :age_hot :age_warm",
    ),
    (
        "prometheus/memcached_exporter",
        " slabs",
        "total_malloced :get_hits :delete_hits :incr_hits :decr_hits :cas_hits :touch_hits :cas_badval :cmd_set \
         :chunk_size :chunks_per_page :total_pages :total_chunks :used_chunks :free_chunks :free_chunks_end",
    ),
    (
        "prometheus/memcached_exporter",
        " settings",
        "maxconns lru_crawler lru_crawler_sleep lru_crawler_tocrawl lru_maintainer_thread hot_lru_pct warm_lru_pct \
         hot_max_factor warm_max_factor",
    ),
    (
        "telegraf",
        "",
        "get_hits get_misses evictions limit_maxbytes bytes uptime curr_items total_items curr_connections \
         total_connections connection_structures cmd_get cmd_set delete_hits delete_misses incr_hits incr_misses \
         decr_hits decr_misses cas_hits cas_misses bytes_read bytes_written threads conn_yields get_expired \
         get_flushed cmd_touch cmd_flush touch_hits touch_misses store_too_large store_no_memory auth_cmds \
         auth_errors reclaimed expired_unfetched evicted_unfetched crawler_reclaimed crawler_items_checked \
         hash_power_level hash_bytes hash_is_expanding max_connections accepting_conns rejected_connections \
         time_in_listen_disabled_us listen_disabled_num",
    ),
    (
        "DataDog's mcache check",
        "",
        "total_items curr_items limit_maxbytes uptime bytes curr_connections max_connections connection_structures \
         threads pointer_size rusage_user rusage_system cmd_get cmd_set cmd_flush get_hits get_misses delete_misses \
         delete_hits evictions bytes_read bytes_written cas_misses cas_hits cas_badval total_connections \
         listen_disabled_num version",
    ),
    (
        "DataDog's mcache check",
        " items",
        ":evicted :evicted_nonzero :expired_unfetched :evicted_unfetched :outofmemory :tailrepairs :moves_to_cold \
         :moves_to_warm :moves_within_lru :reclaimed :crawler_reclaimed :lrutail_reflocked :direct_reclaims :number \
         :number_hot :number_warm :number_cold :age :evicted_time",
    ),
    (
        "DataDog's mcache check",
        " slabs",
        "active_slabs total_malloced :get_hits :cmd_set :delete_hits :incr_hits :decr_hits :cas_hits :cas_badval \
         :touch_hits :used_chunks :chunk_size :chunks_per_page :total_pages :total_chunks :free_chunks \
         :free_chunks_end",
    ),
    ("memcached-tool", " items", ":number :age :evicted :evicted_time :outofmemory"),
    ("memcached-tool", " slabs", ":chunk_size :total_pages :used_chunks :total_chunks"),
    (
        "libmemcached",
        "",
        "pid uptime time version pointer_size rusage_user rusage_system curr_items total_items bytes curr_connections \
         total_connections connection_structures cmd_get cmd_set get_hits get_misses evictions bytes_read \
         bytes_written limit_maxbytes threads",
    ),
];

/// Lengths of values of different classes.
const LENGTHS: [usize; 4] = [10, 100, 1000, 5000];

/// Values that are no numbers.
const TEXTS: &[&str] = &["version", "lru_crawler", "lru_maintainer_thread"];

#[test]
fn every_name_that_is_read_is_there() {
    let mut client = Client::new(plain());
    for len in LENGTHS {
        client.expect(format!("set k{len} 0 0 {len}\n{}\n", "v".repeat(len)), "STORED\n");
    }
    for &(reader, group, names) in READERS {
        let answer = client.ask(format!("stats{group}\n"));
        let (lines, end) = answer.split_at(answer.len() - "END\n".len());
        assert_eq!(end, "END\n", "stats{group}");
        let mut stats = Vec::new();
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let &["STAT", name, value] = &words[..] else { panic!("{reader} cannot read {line:?}") };
            stats.push((name, value));
        }
        for name in names.split_whitespace() {
            let is_wanted = |of: &str| match name.strip_prefix(':') {
                Some(_) => of.ends_with(name),
                None => of == name,
            };
            let values: Vec<&str> =
                stats.iter().filter(|(of, _)| is_wanted(of)).map(|(_, value)| *value).collect();
            let classes = if name.starts_with(':') { LENGTHS.len() } else { 1 };
            assert_eq!(values.len(), classes, "{reader} reads {name} of stats{group}");
            let is_number = |value: &&str| value.parse::<f64>().is_ok();
            assert!(TEXTS.contains(&name) || values.iter().all(is_number), "{name} of stats{group}");
        }
    }
}
