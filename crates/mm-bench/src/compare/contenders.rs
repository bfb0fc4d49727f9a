//! The servers that are compared: how each is started and filled.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::report::Figures;
use super::rest::bring_to_rest;
use super::rows::{Row, Values};
use super::seeds::Seeds;
use crate::load::{self, Plan, Protocol, Sizes, Stop};
use crate::machine::{Server, free_port, is_there, tell};

/// Connections each cache may have.
const CONNECTIONS: &str = "12000";

/// The largest value each cache takes, with some room for its key.
const ITEM_SIZE: &str = "2m";

/// One server.
pub(super) struct Contender {
    /// What the table calls it.
    pub(super) name: String,
    pub(super) server: Server,
    pub(super) protocol: Protocol,
    pub(super) is_floor: bool,
    /// It is what is being judged.
    pub(super) is_mmem: bool,
    /// How another one is started. `None`: a floor, of which one is as good as another.
    recipe: Option<Recipe>,
    /// Floors answer with values of one kind.
    only: Option<Values>,
    /// Memory it may use, in MiB.
    memory_mib: u32,
    filled: Vec<Values>,
}

impl Contender {
    /// One like it that nothing has been asked of yet; `None` of a floor.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn another(&self) -> Option<Result<Server, String>> {
        self.recipe.as_ref().map(Recipe::start)
    }

    fn takes_part_in(&self, row: &Row) -> bool {
        self.only.map_or(self.memory_mib == row.values.memory_mib, |values| values == row.values)
    }
}

/// How a server is started: its program, and all that it is told beside its port.
struct Recipe {
    program: PathBuf,
    port_flag: &'static str,
    arguments: Vec<String>,
    /// How many shards it has that must wait by io_uring.
    rings: usize,
}

impl Recipe {
    fn new(program: &Path, port_flag: &'static str) -> Self {
        Self { program: program.to_owned(), port_flag, arguments: Vec::new(), rings: 0 }
    }

    fn add<S: Into<String>>(&mut self, arguments: impl IntoIterator<Item = S>) {
        self.arguments.extend(arguments.into_iter().map(Into::into));
    }

    fn start(&self) -> Result<Server, String> {
        let port = free_port()?;
        let mut command = Command::new(&self.program);
        command.args([self.port_flag, &port.to_string()]).args(&self.arguments);
        let server = Server::start(&mut command, port)?;
        if self.rings > 0 {
            server.need_rings(self.rings)?;
        }
        Ok(server)
    }
}

/// All servers, and what is to be said of those that are missing.
pub(super) struct Contenders {
    list: Vec<Contender>,
    remarks: Vec<String>,
    /// Memory of caches that are started now, in MiB.
    memory_mib: u32,
    /// What is stored while it is measured.
    stored: Vec<Values>,
    /// Those of whatever loads the servers.
    pub(super) seeds: Seeds,
    /// Parts of the names of those that are wanted; none: all.
    wanted: Vec<String>,
    /// The names that there are, wanted or not.
    known: Vec<String>,
}

/// Which servers are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// mmem's program; none is the one beside this.
    pub(super) mmem: Option<&'a Path>,
    /// Its drivers; none is the one it chooses.
    pub(super) drivers: Vec<String>,
    /// Its numbers of shards; none is one.
    pub(super) threads: Vec<u32>,
    /// Another mmem.
    pub(super) other_mmem: Option<&'a Path>,
    /// A folder with floors from other sources.
    pub(super) floors: Option<&'a Path>,
    /// Parts of the names of those to be started; none: all.
    pub(super) servers: &'a [String],
    /// Further programs with memcached's flags.
    pub(super) peers: &'a [PathBuf],
}

impl Wanted<'_> {
    /// Makes sure that what was named can be run.
    fn programs_are_there(&self) -> Result<(), String> {
        let peers = self.peers.iter().map(|peer| ("--peer", peer.as_path()));
        let named = [("--mmem", self.mmem), ("--other-mmem", self.other_mmem)];
        let named = named.into_iter().filter_map(|(flag, program)| Some((flag, program?)));
        match named.chain(peers).find(|(_, program)| !is_there(program)) {
            None => Ok(()),
            Some((flag, program)) => Err(format!("{flag} {}: there is no such program", program.display())),
        }
    }
}

/// Starts whatever can be had. The canned epoll floors for the values of `rows` come first.
///
/// # Errors
/// A server that is there does not start.
pub(super) fn start(wanted: &Wanted<'_>, rows: &[&Row]) -> Result<Contenders, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    wanted.programs_are_there()?;
    let mut contenders = Contenders {
        list: Vec::new(),
        remarks: Vec::new(),
        memory_mib: 0,
        stored: rows.iter().filter(|row| row.stores() && !row.is_fresh).map(|row| row.values).collect(),
        seeds: Seeds::new(),
        wanted: wanted.servers.to_vec(),
        known: Vec::new(),
    };
    let mut kinds: Vec<Values> = Vec::new();
    for row in rows {
        if !kinds.contains(&row.values) {
            kinds.push(row.values);
        }
    }
    for values in &kinds {
        if let Some(folder) = wanted.floors {
            contenders.start_foreign_floor(&folder.join("canned"), *values)?;
        }
        for floor in ["canned-epoll", "canned-uring"] {
            contenders.start_floor(&program, floor, *values)?;
        }
    }
    let mut memories: Vec<u32> = kinds.iter().map(|values| values.memory_mib).collect();
    memories.sort_unstable();
    memories.dedup();
    for memory_mib in memories {
        contenders.memory_mib = memory_mib;
        contenders.start_caches(&program.with_file_name("mmem"), wanted)?;
    }
    contenders.are_some()?;
    Ok(contenders)
}

impl Contenders {
    /// All that are no floors. `beside` is mmem, unless another is wanted.
    fn start_caches(&mut self, beside: &Path, wanted: &Wanted<'_>) -> Result<(), String> {
        self.start_variants("mmem", wanted.mmem.unwrap_or(beside), wanted)?;
        if let Some(other) = wanted.other_mmem {
            let threads = vec![1];
            self.start_variants("other mmem", other, &Wanted { threads, ..wanted.clone() })?;
        }
        for (number, peer) in (1..).zip(wanted.peers) {
            // Numbered, since a peer is often another version of what is compared anyway.
            let name =
                format!("{}, peer {number}", peer.file_name().unwrap_or(peer.as_os_str()).to_string_lossy());
            self.start_cache(&name, self.recipe(peer, 1), "")?;
        }
        let advice = "install it with `apt-get install memcached`";
        self.start_cache("memcached", self.recipe(Path::new("memcached"), 1), advice)?;
        self.start_redis()
    }

    /// Makes sure that there is something beside the first floor, and all that is wanted.
    fn are_some(&self) -> Result<(), String> {
        let names: Vec<&str> = self.list.iter().map(|contender| contender.name.as_str()).collect();
        let missing = missing(&self.wanted, &names);
        if missing.is_none() && self.list.iter().any(|one| !one.is_floor || !self.wanted.is_empty()) {
            return Ok(());
        }
        let what = missing.map_or_else(
            || "there is nothing to compare with the floor".to_owned(),
            |part| {
                format!("--server {part} names nothing that runs here; there are {}", self.known.join(", "))
            },
        );
        Err([&[what], self.remarks()].concat().join("\n"))
    }

    /// Whether a server is to be started. Of the floors the first is, in any case.
    fn wants(&mut self, name: &str) -> bool {
        if !self.known.iter().any(|known| known == name) {
            self.known.push(name.to_owned());
        }
        self.wanted.is_empty() || self.wanted.iter().any(|part| name.contains(part.as_str()))
    }

    /// The canned floor, built from other sources than ours.
    fn start_foreign_floor(&mut self, program: &Path, values: Values) -> Result<(), String> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args([port.to_string(), values.bytes.to_string()]);
        let server =
            Server::start(&mut command, port).map_err(|complaint| format!("--floors: {complaint}"))?;
        self.add_floor("--floors canned", server, values);
        Ok(())
    }

    fn start_floor(&mut self, program: &Path, floor: &str, values: Values) -> Result<(), String> {
        let has_first = self.list.iter().any(|contender| contender.only == Some(values));
        if !self.wants(floor) && has_first {
            return Ok(());
        }
        let port = free_port()?;
        let (port_text, bytes) = (port.to_string(), values.bytes.to_string());
        let mut command = Command::new(program);
        command.args(["floor", floor, "--port", &port_text, "--value-bytes", &bytes]);
        match Server::start(&mut command, port) {
            Ok(server) => self.add_floor(floor, server, values),
            Err(complaint) if floor.ends_with("uring") => {
                let remark = format!("{floor} is left out: {complaint}");
                self.remark(remark);
            }
            Err(complaint) => return Err(complaint),
        }
        Ok(())
    }

    /// mmem with each driver and number of shards. What it refuses to run with is left out, unless it is all.
    fn start_variants(&mut self, title: &str, program: &Path, wanted: &Wanted<'_>) -> Result<(), String> {
        let drivers: Vec<Option<&str>> = match &wanted.drivers[..] {
            [] => vec![None],
            drivers => drivers.iter().map(|driver| Some(driver.as_str())).collect(),
        };
        let threads = if wanted.threads.is_empty() { &[1][..] } else { &wanted.threads };
        let mut complaint = None;
        let before = self.list.len();
        for count in threads {
            for driver in &drivers {
                let mut name = title.to_owned();
                let mut recipe = self.recipe(program, *count);
                if let Some(driver) = driver {
                    name = format!("{name} {driver}");
                    recipe.add(["--driver", driver]);
                    recipe.rings = if *driver == "uring" { *count as usize } else { 0 };
                }
                if threads.len() > 1 || *count != 1 {
                    name = format!("{name} -t {count}");
                }
                if let Err(refusal) = self.start_cache(&name, recipe, "build it with `cargo build --release`")
                {
                    self.remark(format!("{name} is left out: {refusal}"));
                    complaint = Some(refusal);
                }
            }
        }
        complaint.filter(|_| self.list.len() == before).map_or(Ok(()), Err)
    }

    /// How a program with memcached's flags is started.
    fn recipe(&self, program: &Path, threads: u32) -> Recipe {
        let mut recipe = Recipe::new(program, "-p");
        recipe.add(["-l", "127.0.0.1", "-m", &self.memory_mib.to_string()]);
        recipe.add(["-c", CONNECTIONS, "-I", ITEM_SIZE, "-t", &threads.to_string()]);
        if rustix::process::geteuid().is_root() {
            recipe.add(["-u", "root"]);
        }
        recipe
    }

    /// A server with memcached's flags.
    fn start_cache(&mut self, name: &str, recipe: Recipe, advice: &str) -> Result<(), String> {
        if !self.wants(name) {
            return Ok(());
        }
        if !is_there(&recipe.program) {
            self.remark(format!("{name} is missing ({}); {advice}", recipe.program.display()));
            return Ok(());
        }
        tell(&format!("starting {name}"));
        self.add_cache(name, Protocol::Text, recipe)
    }

    fn start_redis(&mut self) -> Result<(), String> {
        if !self.wants("redis") {
            return Ok(());
        }
        if !is_there(Path::new("redis-server")) {
            self.remark("redis is missing; install it with `apt-get install redis-server`".to_owned());
            return Ok(());
        }
        tell("starting redis");
        let mut recipe = Recipe::new(Path::new("redis-server"), "--port");
        recipe.add(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        recipe.add(["--maxmemory", &format!("{}mb", self.memory_mib), "--maxmemory-policy", "allkeys-lru"]);
        recipe.add(["--maxclients", CONNECTIONS]);
        self.add_cache("redis", Protocol::Resp, recipe)
    }

    fn add_floor(&mut self, name: &str, server: Server, values: Values) {
        self.list.push(Contender {
            name: name.to_owned(),
            server,
            protocol: Protocol::Text,
            is_floor: true,
            is_mmem: false,
            recipe: None,
            only: Some(values),
            memory_mib: 0,
            filled: Vec::new(),
        });
    }

    fn add_cache(&mut self, name: &str, protocol: Protocol, recipe: Recipe) -> Result<(), String> {
        self.list.push(Contender {
            name: name.to_owned(),
            server: recipe.start()?,
            protocol,
            is_floor: false,
            is_mmem: name.contains("mmem"),
            recipe: Some(recipe),
            only: None,
            memory_mib: self.memory_mib,
            filled: Vec::new(),
        });
        Ok(())
    }

    /// Notes which servers have lost keys of a row that all have room.
    pub(super) fn remark_misses(&mut self, row: &Row, figures: &[Figures]) {
        for figures in figures.iter().filter(|figures| row.misses_none() && figures.misses() > 0) {
            let (name, misses) = (&figures.name, figures.misses());
            self.remark(format!("{}: {misses} keys that {name} was given are missing", row.name));
        }
    }

    fn remark(&mut self, remark: String) {
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// What is to be said below the table.
    pub(super) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The servers that take part in a row.
    pub(super) fn of<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a Contender> {
        self.list.iter().filter(|contender| contender.takes_part_in(row))
    }

    /// Stores the keys of a row wherever they are not yet; where rows store such keys, it is done over until the
    /// server is at rest. What peers refuse, and who does not come to rest, is a remark.
    ///
    /// # Errors
    /// mmem refuses to store, or a server breaks off.
    pub(super) fn fill(&mut self, row: &Row) -> Result<(), String> {
        if row.is_fresh {
            return Ok(());
        }
        let (is_stored, seed) = (self.stored.contains(&row.values), self.seeds.next());
        let mut complaints = Vec::new();
        for contender in &mut self.list {
            if contender.is_floor || !contender.takes_part_in(row) || contender.filled.contains(&row.values) {
                continue;
            }
            tell(&format!("filling {}", contender.name));
            let mut plan = Plan::new(contender.server.port);
            plan.protocol = contender.protocol;
            (plan.connections, plan.depth) = (10, 20);
            plan.keys = row.values.keys;
            plan.prefix = row.values.prefix.to_owned();
            plan.sizes = Sizes::fixed(row.values.bytes);
            plan.stop = Stop::Filled;
            let report = load::run(&plan)?;
            if let Some(complaint) = report.complaint() {
                let complaint = format!("filling {}: {complaint}", contender.name);
                if contender.is_mmem || report.tally.fault().is_some() {
                    return Err(complaint);
                }
                complaints.push(complaint);
            }
            if is_stored && !bring_to_rest(contender, row.values, seed)? {
                complaints.push(format!("{} still took memory when {} began", contender.name, row.name));
            }
            contender.filled.push(row.values);
        }
        complaints.into_iter().for_each(|complaint| self.remark(complaint));
        Ok(())
    }
}

/// The first part that no name has.
fn missing<'a>(parts: &'a [String], names: &[&str]) -> Option<&'a String> {
    parts.iter().find(|part| !names.iter().any(|name| name.contains(part.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_no_server_has_is_named() {
        let parts = ["mem".to_owned(), "nosuch".to_owned()];
        assert_eq!(missing(&parts, &["mmem", "redis"]), Some(&parts[1]));
        assert_eq!(missing(&parts[..1], &["mmem", "redis"]), None);
    }

    #[test]
    fn a_program_that_was_named_must_be_there() {
        let nowhere = Path::new("/nonexistent/mmem");
        let one = Wanted { mmem: Some(nowhere), ..Wanted::default() };
        let other = Wanted { other_mmem: Some(nowhere), ..Wanted::default() };
        assert_eq!(
            one.programs_are_there().unwrap_err(),
            "--mmem /nonexistent/mmem: there is no such program"
        );
        assert!(other.programs_are_there().unwrap_err().starts_with("--other-mmem"));
        assert_eq!(Wanted::default().programs_are_there(), Ok(()));
    }
}
