//! Twitter's statistics of 54 production cache clusters (March 2020, CC-BY-4.0), one line of comma-separated values
//! per cluster, turned into workloads.

use crate::trace::generate::sizes::Sizes;
use crate::trace::generate::{Popularity, Workload};
use crate::trace::number::{bytes_u32, real, whole};

/// Requests generated for a cluster.
const REQUESTS: u64 = 2_000_000;
/// A cluster has at least so many lasting objects, and at most.
const OBJECTS: (f64, f64) = (200_000.0, 1_500_000.0);
/// Standard deviation of the logarithm of sizes within a cluster; the statistics give only the mean.
const SIZE_SPREAD: f64 = 0.8;

/// The workloads of the clusters that the text describes; clusters without figures or without reads are left out.
pub(crate) fn workloads(text: &str) -> Vec<Workload> {
    text.lines()
        .filter(|line| line.starts_with("cluster") && !line.starts_with("cluster,"))
        .filter_map(workload)
        .collect()
}

fn workload(line: &str) -> Option<Workload> {
    let fields = split(line);
    let number = |position: usize| fields.get(position)?.parse::<f64>().ok();
    let operations = Operations::parse(fields.get(12)?);
    if operations.read == 0.0 {
        return None;
    }
    let requests = real(REQUESTS);
    let objects = requests / number(6)?.max(1.0);
    let one_hit = objects * number(7)? / 100.0 / requests;
    let lasting = (objects - one_hit * requests).clamp(OBJECTS.0, OBJECTS.1);
    let popularity =
        Popularity::Zipf { objects: bytes_u32(whole(lasting)), alpha: number(13).unwrap_or(1.0) };
    let mut workload = Workload::plain(
        &format!("twitter {}", fields[0]),
        popularity,
        Sizes::with_mean(number(4)?, SIZE_SPREAD),
    );
    workload.requests = REQUESTS;
    workload.per_s = 1000.0 * number(5)?;
    workload.key_bytes = bytes_u32(whole(number(3)?));
    workload.ttls = ttls(fields.get(9)?);
    workload.one_hit = one_hit;
    workload.set = operations.write;
    workload.delete = operations.delete;
    Some(workload)
}

/// The fields of a line; quotes hold commas together.
fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().map_or((), |field| field.push(character)),
        }
    }
    fields
}

/// Times to live with weights, from `1d:0.65, 14d:0.27,`.
fn ttls(text: &str) -> Vec<(u32, f64)> {
    text.split(',').filter_map(|part| part.trim().split_once(':')).filter_map(ttl).collect()
}

fn ttl((duration, weight): (&str, &str)) -> Option<(u32, f64)> {
    let unit = duration.find(|c: char| c.is_ascii_alphabetic())?;
    let seconds = match &duration[unit..] {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let amount: f64 = duration[..unit].parse().ok()?;
    Some((bytes_u32(whole(amount * seconds)), weight.parse().ok()?))
}

/// Shares of what is done, from `get:0.91 add:0.04 gets:0.02 cas:0.02`.
#[derive(Debug, Default, PartialEq)]
struct Operations {
    read: f64,
    write: f64,
    delete: f64,
}

impl Operations {
    fn parse(text: &str) -> Self {
        let mut shares = Self::default();
        for (name, share) in text.split_ascii_whitespace().filter_map(|part| part.split_once(':')) {
            let share: f64 = share.parse().unwrap_or(0.0);
            match name {
                "get" | "gets" => shares.read += share,
                "delete" => shares.delete += share,
                // A read that missed comes before it: the fill of a look-aside cache.
                "add" => {}
                _ => shares.write += share,
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "cluster,prod_miss_ratio,category\n\
        cluster52,0.0189,1,20,273,24.25,32.6,19.36,3.07,\"1d:0.65, 14d:0.27, 1.5h:0.07,\",14057,12583,\
        get:0.91 add:0.04 gets:0.02 cas:0.02,1.2117\n\
        cluster5,0.7124,3,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,NA\n\
        cluster15,0.065,3,18,102,9.02,1.0,99.57,99.22,\"30s:1.00,\",75299,15,set:1.00,0.0242\n";

    #[test]
    fn a_cluster_becomes_a_workload() {
        let workloads = workloads(LINES);
        assert_eq!(workloads.len(), 1, "one has no figures, one no reads");
        let workload = &workloads[0];
        assert_eq!(workload.name, "twitter cluster52");
        assert_eq!(workload.key_bytes, 20);
        assert_eq!(workload.ttls, [(86_400, 0.65), (1_209_600, 0.27), (5400, 0.07)]);
        assert!((workload.per_s - 24_250.0).abs() < 1e-6);
        assert!((workload.set - 0.02).abs() < 1e-9);
    }
}
