//! What a connection can ask for.

/// One request, or one key of a request for many. Borrows from the parsed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// One key of get, gets, gat or gats.
    Get(Get<'a>),
    /// The end of a line of keys whose last key was not marked as such, because spaces followed it.
    GetEnd,
    /// A storage command. A data block follows its line.
    Store(Store<'a>),
    /// delete.
    Delete(Delete<'a>),
    /// incr or decr.
    Arithmetic(Arithmetic<'a>),
    /// touch.
    Touch(Touch<'a>),
    /// A meta command about a key. After the line of ms, a data block follows.
    Meta(Meta<'a>),
    /// mn.
    MetaNoop,
    /// version.
    Version,
    /// quit.
    Quit,
    /// A command about the server.
    Admin(Admin<'a>),
}

/// One key of a fetching command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Get<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// Which of the four commands.
    pub fetch: Fetch,
    /// Whether the line ends right after this key.
    pub last: bool,
    /// The new expiration time, for gat and gats.
    pub exptime: i32,
}

/// The commands that fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// get: values.
    Get,
    /// gets: values and their CAS.
    Gets,
    /// gat: values, setting their expiration time.
    Gat,
    /// gats: values and their CAS, setting their expiration time.
    Gats,
}

impl Fetch {
    /// Whether the CAS is to be told.
    #[must_use]
    pub const fn tells_cas(self) -> bool {
        matches!(self, Self::Gets | Self::Gats)
    }

    /// Whether the expiration time is to be set.
    #[must_use]
    pub const fn touches(self) -> bool {
        matches!(self, Self::Gat | Self::Gats)
    }
}

/// The line of a storage command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// Which command.
    pub verb: StoreVerb,
    /// Whether no answer is wanted.
    pub noreply: bool,
    /// What the client wants kept with the value.
    pub flags: u32,
    /// The expiration time as given.
    pub exptime: i32,
    /// The length of the data block, the two bytes at its end not counted.
    pub bytes: u32,
    /// The CAS to compare with, for cas; otherwise 0.
    pub cas: u64,
}

impl Store<'_> {
    /// Whether it is set without flags and time, whose answer is wanted.
    #[inline(always)]
    #[must_use]
    pub fn is_plain_set(&self) -> bool {
        self.verb == StoreVerb::Set && self.flags == 0 && self.exptime == 0 && !self.noreply
    }
}

/// The storage commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreVerb {
    /// Store in any case.
    Set,
    /// Store where there is no item.
    Add,
    /// Store where there is an item.
    Replace,
    /// Put behind the value there is.
    Append,
    /// Put before the value there is.
    Prepend,
    /// Store where the item has not changed.
    Cas,
}

/// delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// Whether no answer is wanted.
    pub noreply: bool,
}

/// incr or decr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// How much to add or subtract.
    pub delta: u64,
    /// Whether to subtract.
    pub decrement: bool,
    /// Whether no answer is wanted.
    pub noreply: bool,
}

/// touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// The expiration time as given.
    pub exptime: i32,
    /// Whether no answer is wanted.
    pub noreply: bool,
}

/// The line of a meta command.
///
/// Its flags are as they came; [`options`](Meta::options) reads and checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    /// 1 to 250 bytes, encoded in base64 where the flags have a `b`.
    pub key: &'a [u8],
    /// The words after the key, or for ms after the length.
    pub flags: &'a [u8],
    /// Which command.
    pub verb: MetaVerb,
    /// The length of the data block of ms, the two bytes at its end not counted; otherwise 0.
    pub bytes: u32,
}

/// The meta commands about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVerb {
    /// mg.
    Get,
    /// ms.
    Set,
    /// md.
    Delete,
    /// ma.
    Arithmetic,
    /// me.
    Debug,
}

/// A command about the server. Its arguments are read by the functions of [`admin`](super::admin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin<'a> {
    /// Which command.
    pub verb: AdminVerb,
    /// The words after the command, without spaces around them.
    pub arguments: &'a [u8],
    /// Whether the last word is `noreply`, for the commands that heed it.
    pub noreply: bool,
}

/// The commands about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminVerb {
    /// `cache_memlimit`: change the memory limit.
    CacheMemlimit,
    /// `debugtime`: move the clock, for tests.
    DebugTime,
    /// `extstore`: settings of storage on disk.
    Extstore,
    /// `flush_all`: forget everything.
    FlushAll,
    /// `lru`: settings of the eviction order.
    Lru,
    /// `lru_crawler`: the search for expired items, and dumps.
    LruCrawler,
    /// `refresh_certs`: read the certificates again.
    RefreshCerts,
    /// `shutdown`: end the server.
    Shutdown,
    /// `slabs`: settings of memory classes.
    Slabs,
    /// `stats`: tell statistics.
    Stats,
    /// `verbosity`: how much is logged.
    Verbosity,
    /// `watch`: send log lines.
    Watch,
}

/// A request that is refused for what its line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The answer.
    pub line: &'static [u8],
    /// Whether no answer is wanted, not even this.
    pub noreply: bool,
}
