//! Collects the problems of an archive: all of them counted, as many kept as configured.

use std::collections::{BTreeMap, HashMap};

use crate::model::words::counted;
use crate::model::{Code, Dataset, Problem, Severity};

/// Problems in the order of the archive.
#[derive(Debug)]
pub(crate) struct Problems {
    limit: usize,
    errors: Vec<Kept>,
    warnings: Vec<Kept>,
    counts: HashMap<(Option<Dataset>, Code), u64>,
}

#[derive(Debug)]
struct Kept {
    dataset: Option<Dataset>,
    problem: Problem,
}

impl Problems {
    /// Keeps at most `limit` problems, errors rather than warnings.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, errors: Vec::new(), warnings: Vec::new(), counts: HashMap::new() }
    }

    /// Adds a problem of the archive as a whole, or of what is no dataset.
    pub(crate) fn add(&mut self, problem: Problem) {
        self.keep(None, problem);
    }

    /// Adds a problem of a dataset's file.
    pub(crate) fn add_to(&mut self, dataset: Dataset, problem: Problem) {
        self.keep(Some(dataset), problem);
    }

    fn keep(&mut self, dataset: Option<Dataset>, problem: Problem) {
        *self.counts.entry((dataset, problem.code)).or_insert(0) += 1;
        let kept = match problem.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        if kept.len() < self.limit {
            kept.push(Kept { dataset, problem });
        }
    }

    /// Which are kept in the end; errors may have come after the warnings whose place they take.
    fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.errors.iter().chain(&self.warnings).take(self.limit)
    }

    /// Forgets the problems of a file that counts as not there.
    pub(crate) fn forget(&mut self, dataset: Dataset) {
        self.errors.retain(|kept| kept.dataset != Some(dataset));
        self.warnings.retain(|kept| kept.dataset != Some(dataset));
        self.counts.retain(|(of, _), _| *of != Some(dataset));
    }

    /// How many there are of each code, those beyond the kept ones too.
    pub(crate) fn counts(&self) -> BTreeMap<Code, u64> {
        let mut counts = BTreeMap::new();
        for ((_, code), count) in &self.counts {
            *counts.entry(*code).or_insert(0) += count;
        }
        if self.missing() > 0 {
            counts.insert(Code::ProblemsTruncated, 1);
        }
        counts
    }

    /// How many are counted and not kept.
    fn missing(&self) -> u64 {
        let total: u64 = self.counts.values().sum();
        total - self.kept().count() as u64
    }

    /// How many left something out.
    pub(crate) fn errors(&self) -> u64 {
        self.counts.iter().filter(|((_, code), _)| code.severity() == Severity::Error).map(|(_, count)| count).sum()
    }

    /// The kept ones, in the order of the archive: the archive as a whole first, then file by file, record by record.
    pub(crate) fn list(&self) -> Vec<Problem> {
        let mut kept: Vec<&Kept> = self.kept().collect();
        kept.sort_by_key(|kept| (kept.dataset, kept.problem.position, kept.problem.severity));
        let missing = self.missing();
        let mut list: Vec<Problem> = kept.into_iter().map(|kept| kept.problem.clone()).collect();
        if missing > 0 {
            list.push(Problem::new(
                Code::ProblemsTruncated,
                format!("{} counted, but not listed", counted(missing, "more problem is", "more problems are")),
                "mend those that are listed, and drop the archive again to see the rest",
            ));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: Code, position: u64) -> Problem {
        Problem::new(code, "m", "h").at(position)
    }

    #[test]
    fn as_many_are_kept_as_configured_and_errors_rather_than_warnings() {
        let kept = |problems: &Problems| {
            problems.list().into_iter().map(|problem| (problem.code, problem.position)).collect::<Vec<_>>()
        };
        let truncated = (Code::ProblemsTruncated, None);
        let mut problems = Problems::new(3);
        for position in 1..=4 {
            problems.add_to(Dataset::Speakers, problem(Code::EndBeforeStart, position));
        }
        assert_eq!(kept(&problems)[..3], [1, 2, 3].map(|position| (Code::EndBeforeStart, Some(position))));
        assert_eq!(kept(&problems)[3..], [truncated]);
        problems.add_to(Dataset::Sessions, problem(Code::FieldType, 1));
        problems.add_to(Dataset::Sessions, problem(Code::FieldType, 2));
        problems.add_to(Dataset::Sessions, problem(Code::EndBeforeStart, 3));
        let warning = (Code::EndBeforeStart, Some(1));
        let (one, two) = ((Code::FieldType, Some(1)), (Code::FieldType, Some(2)));
        assert_eq!(kept(&problems), [warning, one, two, truncated]);
        problems.add_to(Dataset::Sessions, problem(Code::FieldType, 3));
        problems.add_to(Dataset::Sessions, problem(Code::FieldType, 4));
        assert_eq!(kept(&problems), [one, two, (Code::FieldType, Some(3)), truncated]);
        assert_eq!(problems.counts().get(&Code::EndBeforeStart), Some(&5));
        assert_eq!(problems.counts().get(&Code::FieldType), Some(&4));
    }

    #[test]
    fn problems_come_in_the_order_of_the_archive_and_all_are_counted() {
        let mut problems = Problems::new(5);
        problems.add_to(Dataset::Sessions, problem(Code::FieldType, 9));
        problems.add_to(Dataset::Sessions, problem(Code::FieldType, 3));
        problems.add_to(Dataset::Sessions, problem(Code::FieldType, 4));
        problems.add_to(Dataset::Speakers, problem(Code::EndBeforeStart, 7));
        problems.add_to(Dataset::Tracks, problem(Code::DateInvalid, 1));
        problems.add_to(Dataset::Tracks, problem(Code::NulCharacter, 1));
        problems.forget(Dataset::Tracks);
        problems.add(Problem::new(Code::EntryIgnored, "m", "h"));
        assert_eq!(problems.errors(), 3);
        assert_eq!(problems.counts().get(&Code::FieldType), Some(&3));
        let codes: Vec<_> = problems.list().into_iter().map(|problem| (problem.code, problem.position)).collect();
        assert_eq!(
            codes,
            [
                (Code::EntryIgnored, None),
                (Code::EndBeforeStart, Some(7)),
                (Code::FieldType, Some(3)),
                (Code::FieldType, Some(4)),
                (Code::FieldType, Some(9)),
            ]
        );
    }
}
