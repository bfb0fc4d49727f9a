//! Answers that are given in steps, so that none of them keeps other connections waiting or fills memory.

use std::sync::Arc;

use mm_server::Step;
use mm_store::Sharing;

use crate::binary::Packets;
use crate::dump::Dump;
use crate::limits::{SURVEY_RECORDS_PER_RUN, SURVEY_STEP_RECORDS};
use crate::service::{Call, Connection, Memcached};
use crate::stats::classes::SizeLines;
use crate::stats::connections::Listing;
use crate::survey::Survey;
use crate::watch::Watcher;

/// An answer under way.
#[derive(Debug)]
pub(crate) enum Long {
    /// Keys.
    Dump(Dump),
    /// `stats items`, `stats slabs`, `stats sizes`: the look at the store.
    Survey(Box<Survey>),
    /// The lines of `stats sizes`.
    Sizes(SizeLines),
    /// `stats conns`.
    Connections(Listing),
    /// Another one's lines, for the binary protocol.
    Packets(Packets),
    /// `watch`, which never ends.
    Watch(Arc<Watcher>),
}

/// How a long answer stands after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The output is full.
    Full,
    /// It has had its share of the turn.
    More,
    /// It has sent all there is, and there will be more some time.
    Waits,
    /// It is over.
    Over,
}

impl<S: Sharing> Memcached<S> {
    /// Goes on with a long answer. Returns what the connection waits for until the next step, or nothing when it is
    /// over. What a watcher's client sends is dropped.
    pub(crate) fn resume_long(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        call: &mut Call<'_>,
    ) -> Option<Step> {
        let mut long = connection.long.take()?;
        let progress = self.step_long(&mut long, call);
        if progress == Progress::Over {
            return None;
        }
        connection.long = Some(long);
        Some(match progress {
            Progress::More => {
                self.ready.wake(connection.token);
                Step::Park { consumed: 0 }
            }
            Progress::Waits => Step::Read { consumed: input.len() },
            Progress::Full | Progress::Over => Step::Read { consumed: 0 },
        })
    }

    /// Takes a step of a long answer.
    pub(crate) fn step_long(&mut self, long: &mut Long, call: &mut Call<'_>) -> Progress {
        match long {
            Long::Dump(dump) => self.resume_dump(dump, call),
            Long::Survey(survey) => match self.resume_survey(survey, call) {
                (progress, None) => progress,
                (_, Some(next)) => {
                    *long = next;
                    Progress::More
                }
            },
            Long::Sizes(lines) => lines.resume(call.output),
            Long::Connections(listing) => self.resume_connections(listing, call),
            Long::Packets(packets) => self.resume_packets(packets, call),
            Long::Watch(watcher) => watcher.resume(call.output),
        }
    }

    /// Goes on with a look at the store. Returns what follows it where that is long as well.
    fn resume_survey(&mut self, survey: &mut Survey, call: &mut Call<'_>) -> (Progress, Option<Long>) {
        let mut left = SURVEY_RECORDS_PER_RUN;
        while left > 0 {
            let records = survey.left().min(SURVEY_STEP_RECORDS);
            let mut cursor = survey.cursor;
            let classes = &self.shared.classes;
            let now_s = call.time.now_s;
            let looked =
                self.store.sample(&mut cursor, records, now_s, |item| survey.see(item, classes, now_s));
            let is_done = survey.looked(records, looked, classes);
            if is_done && !self.store.leave_segment(&mut cursor) {
                return match self.show_survey(survey, call) {
                    None => (Progress::Over, None),
                    long => (Progress::More, long),
                };
            }
            survey.cursor = cursor;
            left = left.saturating_sub(records);
        }
        (Progress::More, None)
    }
}
