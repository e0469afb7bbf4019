//! How much history is kept, and the steps that remove the rest. `History` decides, from the times of the
//! writes that it is told; `step` does a bounded part of it. Only the writer calls them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::database::stored;

/// History is removed in waves of at least so many revisions, so that a slow trickle of writes costs no
/// second sync each.
const WAVE: u64 = 250;

/// Rows that one step looks at: some ms, during which writes wait.
const STEP_ROWS: u64 = 500;

/// Pages that one step gives back to the file system.
pub(super) const STEP_PAGES: u64 = 256;

/// The file may hold so many free pages, or a quarter of its size if that is more: new versions soon fill them again.
const FREE_PAGES: u64 = 1024;

/// Times are kept this many to a window: history lives at most a tenth longer than it says.
const MARKS_PER_WINDOW: u32 = 10;

/// How much history is kept. It begins anew when the store is opened: what was there then is kept for the
/// whole age again.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Versions that were replaced less than this ago are kept.
    pub age: Duration,
    /// So many of the newest revisions are kept, however old they are: a client that slept over a quiet night resumes.
    pub least: u64,
    /// Not more than about so many revisions are kept, however new they are: this bounds the disk under a
    /// storm of writes.
    pub most: u64,
}

impl Default for Window {
    /// Five minutes, as a kube-apiserver has its etcd compacted.
    fn default() -> Self {
        Self { age: Duration::from_secs(300), least: 1_000, most: 100_000 }
    }
}

/// What is known of the times of the revisions that are kept.
#[derive(Debug)]
pub(super) struct History {
    window: Window,
    /// Oldest first. Each covers the revisions after those of the mark before it.
    marks: VecDeque<Mark>,
    /// Every revision up to this one is older than the age.
    aged: u64,
    revision: u64,
    compacted: u64,
    /// Room is needed: everything but the newest version goes.
    pressed: bool,
    /// A wave goes on to here once it has begun.
    wave: u64,
}

#[derive(Debug)]
struct Mark {
    begun: Instant,
    ended: Instant,
    revision: u64,
}

impl History {
    pub(super) fn new(window: Window, revision: u64, compacted: u64, now: Instant) -> Self {
        let marks = VecDeque::from([Mark { begun: now, ended: now, revision }]);
        Self { window, marks, aged: 0, revision, compacted, pressed: false, wave: 0 }
    }

    /// A batch was committed.
    pub(super) fn wrote(&mut self, revision: u64, now: Instant) {
        self.revision = revision;
        match self.marks.back_mut() {
            Some(mark) if now.duration_since(mark.begun) < self.window.age / MARKS_PER_WINDOW => {
                mark.ended = now;
                mark.revision = revision;
            }
            Some(_) | None => self.marks.push_back(Mark { begun: now, ended: now, revision }),
        }
    }

    /// The store is full.
    pub(super) fn press(&mut self) {
        self.pressed = true;
    }

    /// A step has come to this revision.
    pub(super) fn compacted(&mut self, revision: u64) {
        self.compacted = revision;
    }

    /// The revision to which history should be removed now, if there is enough to do.
    pub(super) fn target(&mut self, now: Instant) -> Option<u64> {
        while let Some(mark) =
            self.marks.pop_front_if(|mark| now.duration_since(mark.ended) >= self.window.age)
        {
            self.aged = mark.revision;
        }
        // The newest row stays, whatever it is: the revision counter continues from it.
        let newest = self.revision.saturating_sub(1);
        if self.pressed {
            self.pressed = false;
            self.wave = newest;
        }
        let target = self.wanted(self.aged).min(newest);
        if target >= self.compacted + WAVE {
            self.wave = self.wave.max(target);
        }
        (self.wave > self.compacted).then_some(self.wave)
    }

    fn wanted(&self, aged: u64) -> u64 {
        let old = aged.min(self.revision.saturating_sub(self.window.least));
        old.max(self.revision.saturating_sub(self.window.most))
    }

    /// When `target` next has something to say if nothing is written until then: None if never.
    pub(super) fn wake(&self) -> Option<Instant> {
        let mark = self.marks.iter().find(|mark| self.wanted(mark.revision) >= self.compacted + WAVE)?;
        Some(mark.ended + self.window.age)
    }
}

/// Removes history up to `target` or as much as one step may, and says how far it came. A row goes when its
/// successor's revision is reached, so that an event after that one still finds its previous value; the row
/// of a deletion when its own is.
pub(super) fn step(connection: &Connection, compacted: u64, target: u64) -> rusqlite::Result<u64> {
    let to = target.min(compacted + STEP_ROWS);
    let rows = params![stored(compacted), stored(to)];
    let replaced =
        "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision > ?1 AND revision <= ?2)";
    connection.prepare_cached(replaced)?.execute(rows)?;
    let gone = "DELETE FROM log WHERE revision > ?1 AND revision <= ?2 AND deleted";
    connection.prepare_cached(gone)?.execute(rows)?;
    connection.prepare_cached("UPDATE meta SET compacted = ?1")?.execute([stored(to)])?;
    Ok(to)
}

/// There are more free pages in the file than it should have.
pub(super) fn is_loose(connection: &Connection) -> rusqlite::Result<bool> {
    let size = Size::of(connection)?;
    Ok(size.free > FREE_PAGES.max(size.pages / 4))
}

/// Moves pages from the end of the file to free ones, and cuts it.
pub(super) fn tighten(connection: &Connection) -> rusqlite::Result<()> {
    // It moves one page for each row that is asked for, so all are: `execute_batch` would ask once.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

/// How large the database is, in pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub pages: u64,
    pub free: u64,
    pub page_bytes: u64,
}

impl Size {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let number = |sql| -> rusqlite::Result<u64> {
            let number = connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?;
            Ok(u64::try_from(number).unwrap_or(0))
        };
        let (pages, free) = (number("PRAGMA page_count")?, number("PRAGMA freelist_count")?);
        Ok(Self { pages, free, page_bytes: number("PRAGMA page_size")? })
    }

    /// What is in use, in bytes.
    pub(super) fn used(self) -> u64 {
        self.pages.saturating_sub(self.free).saturating_mul(self.page_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn history(begun: Instant) -> History {
        History::new(Window { age: 300 * SECOND, least: 1_000, most: 100_000 }, 1, 1, begun)
    }

    #[test]
    fn an_idle_store_never_wakes() {
        let begun = Instant::now();
        let mut history = history(begun);
        assert_eq!((history.target(begun), history.wake()), (None, None));
        history.wrote(900, begun + SECOND);
        assert_eq!(history.wake(), None, "too few for a wave: they stay, however old they get");
        assert_eq!(history.target(begun + 9_000 * SECOND), None);
    }

    #[test]
    fn history_goes_when_it_is_old_and_then_the_store_rests() {
        let begun = Instant::now();
        let mut history = history(begun);
        history.wrote(5_000, begun + SECOND);
        history.wrote(6_000, begun + 100 * SECOND);
        assert_eq!(history.wake(), Some(begun + 301 * SECOND));
        assert_eq!(history.target(begun + 300 * SECOND), None);
        assert_eq!(history.target(begun + 301 * SECOND), Some(5_000));
        history.compacted(500);
        assert_eq!(history.target(begun + 302 * SECOND), Some(5_000), "a wave goes on to its end");
        history.compacted(5_000);
        assert_eq!(history.target(begun + 303 * SECOND), None);
        assert_eq!(history.wake(), None, "the newest thousand stay");
        assert_eq!(history.target(begun + 400 * SECOND), None);
    }

    #[test]
    fn a_storm_keeps_no_more_than_the_bound_and_a_full_store_nothing() {
        let begun = Instant::now();
        let mut history = history(begun);
        history.wrote(100_200, begun);
        assert_eq!(history.target(begun), None);
        history.wrote(100_251, begun);
        assert_eq!(history.target(begun), Some(251));
        history.compacted(251);
        assert_eq!(history.target(begun), None);
        history.press();
        assert_eq!(history.target(begun), Some(100_250), "all but the newest");
        history.compacted(100_250);
        assert_eq!((history.target(begun), history.wake()), (None, None));
    }

    #[test]
    fn steady_writes_are_marked_a_bounded_number_of_times() {
        let begun = Instant::now();
        let mut history = history(begun);
        for second in 0..3_000 {
            history.wrote(u64::from(second) * 10 + 2, begun + second * SECOND);
            if let Some(target) = history.target(begun + second * SECOND) {
                history.compacted(target);
            }
            assert!(history.marks.len() <= 12);
        }
        assert!((26_000..=27_000).contains(&history.compacted), "{}", history.compacted);
    }
}
