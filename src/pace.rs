//! How much happens at the same time, and how fast: fair turns between jobs, the pause between chunks, who is told.

mod audience;
mod throttle;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

pub use audience::{Audience, Bell, Listener};
pub use throttle::{Pacer, PauseEnd};

/// Turns that jobs take, a chunk at a time. Clones share them.
///
/// A turn that is given back goes to the waiting account that was served least recently, and within it to whoever has
/// waited longest.
#[derive(Clone)]
pub struct Turns {
    shared: Arc<Shared>,
}

struct Shared {
    parallel: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    resting: usize,
    most_taken: usize,
    served: u64,
    accounts: HashMap<String, Account>,
}

#[derive(Default)]
struct Account {
    last_served: u64,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to do one chunk of work. It is given back when it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    account: String,
    taken: bool,
    rests: bool,
}

/// Jobs that may rest, for each turn that there is: they keep what they have at hand, and nobody else's place.
const RESTING_PER_TURN: usize = 4;

impl Turns {
    /// At most `parallel` turns are taken at the same time; 0 counts as 1.
    pub fn new(parallel: usize) -> Self {
        Self { shared: Arc::new(Shared { parallel: parallel.max(1), state: Mutex::default() }) }
    }

    /// How many turns there are.
    pub fn parallel(&self) -> usize {
        self.shared.parallel
    }

    /// The most turns that were ever taken at the same time.
    pub fn most_taken(&self) -> usize {
        self.lock().most_taken
    }

    /// How many jobs rest.
    pub fn resting(&self) -> usize {
        self.lock().resting
    }

    /// Waits for a turn of this account. A wait that is dropped leaves the line.
    pub async fn take(&self, account: &str) -> Turn {
        let place = {
            let mut state = self.lock();
            let place = state.line_up(account);
            self.serve(&mut state);
            place
        };
        self.wait(place, account).await
    }

    async fn wait(&self, place: oneshot::Receiver<Turn>, account: &str) -> Turn {
        match place.await {
            Ok(turn) => turn,
            // The other end waits in `state` until it is served, and `self` keeps that alive: this does not happen.
            Err(_) => Turn { turns: self.clone(), account: account.to_owned(), taken: false, rests: false },
        }
    }

    fn serve(&self, state: &mut State) {
        while state.taken < self.shared.parallel {
            let Some((account, place)) = state.next() else { return };
            state.taken += 1;
            let turn = Turn { turns: self.clone(), account, taken: true, rests: false };
            if let Err(mut unwanted) = place.send(turn) {
                // Whoever waited has gone. The lock is held here: the turn must not give itself back.
                unwanted.taken = false;
                state.taken -= 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.most_taken = state.most_taken.max(state.taken);
        state
    }
}

impl State {
    fn line_up(&mut self, account: &str) -> oneshot::Receiver<Turn> {
        let (place, served) = oneshot::channel();
        self.accounts.entry(account.to_owned()).or_default().waiting.push_back(place);
        served
    }

    fn next(&mut self) -> Option<(String, oneshot::Sender<Turn>)> {
        for account in self.accounts.values_mut() {
            while account.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                account.waiting.pop_front();
            }
        }
        let waiting = self.accounts.iter_mut().filter(|(_, account)| !account.waiting.is_empty());
        let (name, account) = waiting
            .min_by(|(name, one), (other_name, other)| (one.last_served, name).cmp(&(other.last_served, other_name)))?;
        let place = account.waiting.pop_front()?;
        self.served += 1;
        account.last_served = self.served;
        Some((name.clone(), place))
    }

    fn somebody_waits(&self) -> bool {
        self.accounts.values().any(|account| account.waiting.iter().any(|place| !place.is_closed()))
    }
}

impl Turn {
    /// Gives the turn back, for a wait that may be long; [`Turn::breathe`] waits for the next one. False where enough
    /// others rest: this job has to wait elsewhere.
    pub fn rest(&mut self) -> bool {
        let mut state = self.turns.lock();
        if !self.rests {
            if state.resting >= self.turns.parallel() * RESTING_PER_TURN {
                return false;
            }
            state.resting += 1;
            self.rests = true;
        }
        if self.taken {
            self.taken = false;
            state.taken -= 1;
            self.turns.serve(&mut state);
        }
        true
    }

    /// Between two chunks: where somebody waits, gives the turn back and waits for the next one.
    pub async fn breathe(&mut self) {
        let place = {
            let mut state = self.turns.lock();
            if self.taken && !state.somebody_waits() {
                return;
            }
            // In line before the turn is given back: the others of this account come first, and nobody slips in
            // between.
            let place = state.line_up(&self.account);
            if self.taken {
                self.taken = false;
                state.taken -= 1;
            }
            if self.rests {
                self.rests = false;
                state.resting -= 1;
            }
            self.turns.serve(&mut state);
            place
        };
        let turns = self.turns.clone();
        let next = turns.wait(place, &self.account).await;
        *self = next;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Where it has neither, whoever drops it may hold the lock.
        if self.taken || self.rests {
            let mut state = self.turns.lock();
            state.taken -= usize::from(self.taken);
            state.resting -= usize::from(self.rests);
            self.turns.serve(&mut state);
        }
    }
}

/// Waits until a value changes; for ever where nobody is left who could change it.
pub async fn next_change<T>(value: &mut watch::Receiver<T>) {
    if value.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Turns").field("parallel", &self.shared.parallel).field("taken", &state.taken).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Lets everybody who can go on do so; the tests have one thread.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// A job of `chunks` chunks that writes its name down for each.
    fn job(
        turns: &Turns,
        log: &Arc<Mutex<Vec<&'static str>>>,
        name: &'static str,
        account: &'static str,
        chunks: usize,
    ) -> tokio::task::JoinHandle<()> {
        let (turns, log) = (turns.clone(), log.clone());
        tokio::spawn(async move {
            let mut turn = turns.take(account).await;
            for chunk in 0..chunks {
                if chunk > 0 {
                    turn.breathe().await;
                }
                log.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                tokio::task::yield_now().await;
            }
        })
    }

    fn read(log: &Arc<Mutex<Vec<&'static str>>>) -> Vec<&'static str> {
        log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[tokio::test]
    async fn never_more_turns_are_taken_than_there_are() {
        let turns = Turns::new(3);
        let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..20)
            .map(|number| {
                let (turns, held, most) = (turns.clone(), held.clone(), most.clone());
                tokio::spawn(async move {
                    let mut turn = turns.take(["a", "b", "c"][number % 3]).await;
                    for _ in 0..10 {
                        most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        held.fetch_sub(1, Ordering::SeqCst);
                        turn.breathe().await;
                    }
                })
            })
            .collect();
        for job in jobs {
            assert!(job.await.is_ok());
        }
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(turns.most_taken(), 3);
        assert_eq!(turns.lock().taken, 0);
    }

    #[tokio::test]
    async fn a_long_archive_does_not_starve_a_short_one_even_with_one_turn() {
        let (turns, log) = (Turns::new(1), Arc::default());
        let long = job(&turns, &log, "long", "a", 50);
        settle().await;
        let before = read(&log).len();
        assert!((1..50).contains(&before));
        let short = job(&turns, &log, "short", "b", 3);
        assert!(short.await.is_ok() && long.await.is_ok());
        let log = read(&log);
        let last_short = log.iter().rposition(|name| *name == "short").unwrap_or(usize::MAX);
        assert!(last_short <= before + 6, "{log:?}");
    }

    #[tokio::test]
    async fn accounts_take_turns_and_not_jobs() {
        let (turns, log) = (Turns::new(1), Arc::default());
        let first = turns.take("x").await;
        let jobs = [
            job(&turns, &log, "a1", "a", 2),
            job(&turns, &log, "a2", "a", 2),
            job(&turns, &log, "a3", "a", 2),
            job(&turns, &log, "b1", "b", 2),
        ];
        settle().await;
        assert!(read(&log).is_empty());
        drop(first);
        for job in jobs {
            assert!(job.await.is_ok());
        }
        assert_eq!(read(&log), ["a1", "b1", "a2", "b1", "a3", "a1", "a2", "a3"]);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_waits_for_stays() {
        let turns = Turns::new(1);
        let mut turn = turns.take("a").await;
        turn.breathe().await;
        assert!(turn.taken);
        assert_eq!(turns.lock().served, 1);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_takes_no_turn_with_them() {
        let turns = Turns::new(1);
        let turn = turns.take("a").await;
        let gone = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take("b").await }
        });
        settle().await;
        gone.abort();
        assert!(gone.await.is_err());
        // A turn that was served and not yet received comes back as well.
        let mut unreceived = Box::pin(turns.take("c"));
        assert!(futures_util::poll!(&mut unreceived).is_pending());
        drop(turn);
        drop(unreceived);
        assert_eq!(turns.lock().taken, 0);
        turns.take("d").await;
    }

    #[tokio::test]
    async fn only_so_many_rest_and_whoever_goes_on_or_ends_makes_room() {
        let turns = Turns::new(1);
        let mut resting = Vec::new();
        for _ in 0..RESTING_PER_TURN {
            let mut turn = turns.take("a").await;
            assert!(turn.rest() && turn.rest());
            resting.push(turn);
        }
        assert_eq!((turns.resting(), turns.lock().taken), (RESTING_PER_TURN, 0));
        let mut other = turns.take("b").await;
        assert!(!other.rest());
        assert!(other.taken, "it has to give back more than its turn");
        resting.pop();
        assert!(other.rest());
        resting[0].breathe().await;
        assert_eq!((turns.resting(), turns.lock().taken), (RESTING_PER_TURN - 1, 1));
        drop((resting, other));
        assert_eq!((turns.resting(), turns.lock().taken), (0, 0));
    }

    #[tokio::test]
    async fn a_panic_gives_the_turn_back() {
        let turns = Turns::new(1);
        let turn = turns.take("a").await;
        let failed = tokio::spawn(async move {
            let _turn = turn;
            assert!(std::hint::black_box(false), "on purpose");
        });
        assert!(failed.await.is_err());
        turns.take("b").await;
    }
}
