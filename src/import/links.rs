//! Links between sessions and speakers, which either side may state.

use std::io;
use std::path::Path;

use super::definitions::{Decision, Definitions, name_key};
use super::scratch::{Cursor, Sorted, Sorter, number_at};
use crate::format::Ref;
use crate::format::record::digest_of;

/// A link given from one side: id of the other end (16), its name (8), number of this end (8).
const LINK: usize = 32;

/// A pair: number of the session (8), number of the speaker (8), which side states it (1).
const PAIR: usize = 17;

const BY_SESSION: u8 = 0;
const BY_SPEAKER: u8 = 1;

/// Links between sessions and speakers, while both files are read.
#[derive(Debug)]
pub(crate) struct LinksBuilder {
    of_sessions: Sorter<LINK>,
    of_speakers: Sorter<LINK>,
    stating_speakers: Sorter<16>,
    sessions_state: bool,
    speakers_state: bool,
}

impl LinksBuilder {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            of_sessions: Sorter::new(folder, "links.sessions"),
            of_speakers: Sorter::new(folder, "links.speakers"),
            stating_speakers: Sorter::new(folder, "links.stating"),
            sessions_state: false,
            speakers_state: false,
        }
    }

    /// A speaker's own list of sessions.
    pub(crate) fn speaker_states(&mut self, ordinal: u64, id: Option<&str>, sessions: &[Ref]) -> io::Result<()> {
        self.speakers_state = true;
        if let Some(id) = id {
            self.stating_speakers.push(digest_of(id))?;
        }
        sessions.iter().try_for_each(|session| self.of_speakers.push(link(session, ordinal)))
    }

    /// A speaker's own word that it has no sessions.
    pub(crate) fn speaker_clears(&mut self, id: Option<&str>) -> io::Result<()> {
        id.map_or(Ok(()), |id| self.stating_speakers.push(digest_of(id)))
    }

    /// A session's own list of speakers; speakers are read before sessions.
    pub(crate) fn session_states(&mut self, ordinal: u64, speakers: &[Ref]) -> io::Result<()> {
        self.sessions_state = true;
        if !self.speakers_state {
            return Ok(());
        }
        speakers.iter().try_for_each(|speaker| self.of_sessions.push(link(speaker, ordinal)))
    }

    /// Brings both sides together.
    pub(crate) fn finish(self, folder: &Path, sessions: &Definitions, speakers: &Definitions) -> io::Result<Links> {
        let mut pairs: Sorter<PAIR> = Sorter::new(folder, "links.pairs");
        let mut push = |session: u64, speaker: u64, side: u8| {
            let mut pair = [0; PAIR];
            pair[..8].copy_from_slice(&session.to_be_bytes());
            pair[8..16].copy_from_slice(&speaker.to_be_bytes());
            pair[16] = side;
            pairs.push(pair)
        };
        join(&self.of_sessions.finish()?, sessions, speakers, |session, speaker| push(session, speaker, BY_SESSION))?;
        join(&self.of_speakers.finish()?, speakers, sessions, |speaker, session| push(session, speaker, BY_SPEAKER))?;
        let pairs = pairs.finish()?;
        let mut extra = Sorter::new(folder, "links.extra");
        let (mut only_sessions, mut only_speakers) = (0, 0);
        let mut cursor = pairs.cursor()?;
        while let Some(pair) = cursor.take()? {
            // Those of the session come first.
            let mut by_speaker = pair[16] == BY_SPEAKER;
            while let Some(again) = cursor.take_if_begins_with(&pair[..16])? {
                by_speaker |= again[16] == BY_SPEAKER;
            }
            if pair[16] == BY_SPEAKER {
                only_speakers += 1;
                let mut record = [0; 16];
                record.copy_from_slice(&pair[..16]);
                extra.push(record)?;
            } else if !by_speaker {
                only_sessions += 1;
            }
        }
        drop(cursor);
        let both_state = self.sessions_state && self.speakers_state;
        Ok(Links {
            extra: extra.finish()?,
            stating_speakers: self.stating_speakers.finish()?,
            disagreement: (both_state && only_sessions + only_speakers > 0).then_some((only_sessions, only_speakers)),
        })
    }
}

fn link(to: &Ref, from: u64) -> [u8; LINK] {
    let mut record = [0; LINK];
    record[..16].copy_from_slice(&digest_of(&to.id));
    record[16..24].copy_from_slice(&name_key(to.name.as_deref()));
    record[24..].copy_from_slice(&from.to_be_bytes());
    record
}

/// Gives each pair of numbers whose both ends go in.
fn join(
    links: &Sorted<LINK>,
    from: &Definitions,
    to: &Definitions,
    mut push: impl FnMut(u64, u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut cursor = links.cursor()?;
    let mut walk = to.walk()?;
    while let Some(link) = cursor.take()? {
        let Some(target) = walk.meant(&link[..16], &link[16..24])? else { continue };
        let source = number_at(&link, 24);
        match from.decision(source)? {
            Decision::Keep | Decision::Rename(_) => push(source, target)?,
            Decision::Merge | Decision::Reject => {}
        }
    }
    Ok(())
}

/// Links between sessions and speakers.
#[derive(Debug)]
pub(crate) struct Links {
    extra: Sorted<16>,
    stating_speakers: Sorted<16>,
    /// Pairs that only sessions give, and pairs that only speakers give, where both give any.
    pub(crate) disagreement: Option<(u64, u64)>,
}

impl Links {
    /// No links from the speakers' side.
    pub(crate) fn none() -> Self {
        Self { extra: Sorted::empty(), stating_speakers: Sorted::empty(), disagreement: None }
    }

    /// Pairs of numbers (session, speaker) that only speakers give, in the order of the sessions.
    pub(crate) fn extra(&self) -> io::Result<Cursor<'_, 16>> {
        self.extra.cursor()
    }

    /// Whether any speaker lists its sessions.
    pub(crate) fn any_speaker_states(&self) -> bool {
        !self.stating_speakers.is_empty()
    }

    /// Whether the speaker with this id lists its sessions.
    pub(crate) fn speaker_states(&self, source_id: &str) -> io::Result<bool> {
        self.stating_speakers.has(&digest_of(source_id))
    }
}
