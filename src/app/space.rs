//! What follows from how much space is free: whether jobs may begin, whether the admin is told, whether the reserve is kept.

/// What is to be done after a look at the free space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// No job may begin.
    pub(super) holds: bool,
    /// It changed with this look.
    pub(super) is_news: bool,
    /// The admin is to be told, and was not yet.
    pub(super) tells: bool,
    /// There is so little that the reserve must be given up, so that errors can be written.
    pub(super) gives_up_reserve: bool,
}

/// What the looks so far have shown.
#[derive(Debug)]
pub(super) struct Space {
    floor: u64,
    reserve: u64,
    /// None before the first look.
    holds: Option<bool>,
    is_told: bool,
}

impl Space {
    /// Nothing was looked at yet.
    pub(super) fn new(floor: u64, reserve: u64) -> Self {
        Self { floor, reserve, holds: None, is_told: false }
    }

    /// One look.
    pub(super) fn look(&mut self, free: u64) -> Looked {
        let holds = free < self.floor;
        let is_news = self.holds != Some(holds);
        self.holds = Some(holds);
        self.is_told &= holds;
        Looked { holds, is_news, tells: holds && !self.is_told, gives_up_reserve: holds && free < self.reserve / 4 }
    }

    /// The admin was told of it.
    pub(super) fn told(&mut self) {
        self.is_told = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_may_begin_again_though_the_admin_could_not_be_told() {
        let mut space = Space::new(1_000, 100);
        let low = Looked { holds: true, tells: true, ..Looked::default() };
        // The database lies on the same disk: nobody can be told as long as that is full.
        assert_eq!(space.look(999), Looked { is_news: true, ..low });
        assert_eq!(space.look(24), Looked { gives_up_reserve: true, ..low });
        assert_eq!(space.look(1_000), Looked { is_news: true, ..Looked::default() });
        assert_eq!(space.look(1_001), Looked::default());
    }

    #[test]
    fn the_admin_is_told_once_each_time_that_it_gets_low() {
        let mut space = Space::new(1_000, 0);
        assert!(!space.look(2_000).holds);
        for _ in 0..2 {
            assert_eq!(space.look(500), Looked { holds: true, is_news: true, tells: true, ..Looked::default() });
            space.told();
            assert_eq!(space.look(0), Looked { holds: true, ..Looked::default() });
            assert!(space.look(1_000).is_news);
        }
    }
}
