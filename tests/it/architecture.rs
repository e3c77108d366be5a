//! The map in `src/ARCHITECTURE.md` is true: modules use only lower levels, and dangerous things are named in one place only.
//!
//! Unit tests (`#[cfg(test)]` modules, `tests.rs`) may use what they like.

mod statements;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// Libraries that one place owns, and the modules or files where they may be named.
const LIBRARIES: [(&str, &[&str]); 5] = [
    ("sqlx", &["db"]),
    ("zip", &["archive"]),
    ("notify", &["inbox"]),
    ("lettre", &["mail", "config"]),
    ("flate2", &["archive"]),
];

/// Where SQL may be written.
const SQL_MODULES: [&str; 2] = ["store", "db"];

/// How a statement begins, or goes on.
const SQL_WORDS: [&str; 6] = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE "];

/// The calls with which a test would sleep.
const SLEEPS: [&str; 2] = ["sleep", "sleep_until"];

#[test]
fn every_module_uses_only_lower_levels_and_keeps_to_its_own_tools() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let levels = read_levels(&fs::read_to_string(root.join("src/ARCHITECTURE.md")).unwrap());
    assert!(!levels.is_empty(), "`src/ARCHITECTURE.md` has no table of levels: `| 0 | `model/` | … |`");

    let mut violations = Vec::new();
    for path in rust_files(&root.join("src")) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        violations.extend(violations_of(name, &fs::read_to_string(&path).unwrap(), &levels));
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn no_test_sleeps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sleeps = Vec::new();
    for path in rust_files(&root.join("tests")) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        sleeps.extend(sleeps_in(name, &fs::read_to_string(&path).unwrap()));
    }
    assert!(sleeps.is_empty(), "wait for a signal or advance the clock:\n{}", sleeps.join("\n"));
}

/// The calls that sleep. `clock.sleep(…)` does not: on a manual clock it waits for the test itself.
fn sleeps_in(file: &str, source: &str) -> Vec<String> {
    let mut reader = Reader { file: file.to_owned(), ..Reader::default() };
    reader.read(source.parse().unwrap_or_else(|error| panic!("{file}: {error}")), 0);
    let calls = reader.names.iter().filter(|name| name.is_call && SLEEPS.contains(&name.word.as_str()));
    calls.map(|call| format!("{file}:{}", call.line)).collect()
}

/// Module to level, from the rows of the table in the Markdown text: a number, then modules in backticks.
fn read_levels(markdown: &str) -> BTreeMap<String, u32> {
    let mut levels = BTreeMap::new();
    for line in markdown.lines() {
        let cells: Vec<&str> = line.trim().split('|').map(str::trim).collect();
        let ["", level, modules, ..] = cells[..] else { continue };
        let Ok(level) = level.parse() else { continue };
        for module in modules.split('`').skip(1).step_by(2) {
            let name = module.trim_end_matches('/').trim_end_matches(".rs");
            let twice = levels.insert(name.to_owned(), level);
            assert!(twice.is_none(), "`{name}` stands twice in the table of levels");
        }
    }
    levels
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Everything that is wrong with one file; `file` is its path from the root of the package.
fn violations_of(file: &str, source: &str, levels: &BTreeMap<String, u32>) -> Vec<String> {
    let place = module_path(file);
    if place.last().is_some_and(|last| *last == "tests") {
        return Vec::new();
    }
    let module = place.first().copied().unwrap_or("lib");
    let tokens: TokenStream = match source.parse() {
        Ok(tokens) => tokens,
        Err(error) => return vec![format!("{file}: cannot be read: {error}")],
    };
    let mut reader = Reader { file: file.to_owned(), ..Reader::default() };
    reader.read(tokens, place.len());

    let mut violations = reader.arrows(module, levels);
    violations.extend(reader.strange_libraries(module));
    if !SQL_MODULES.contains(&module) {
        violations.extend(reader.statements());
    }
    violations
}

/// The modules that a file lies in, from the root of the crate: `src/db/mod.rs` is `[db]`, `src/lib.rs` is `[]`.
fn module_path(file: &str) -> Vec<&str> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').collect() }
}

/// What the tokens of a file name.
#[derive(Default)]
struct Reader {
    file: String,
    /// Modules of this crate, with the line.
    modules: BTreeSet<(usize, String)>,
    /// Words that begin a path, or are called.
    names: Vec<Name>,
    /// String literals that are no documentation, with the line.
    texts: Vec<(usize, String)>,
}

struct Name {
    line: usize,
    word: String,
    /// Whether it stands at the beginning of a path, `word::`, or alone behind `use`.
    is_root: bool,
    /// Whether it is called as a function, `path::word(…)` or `word(…)`, and not as a method.
    is_call: bool,
}

impl Reader {
    /// Reads a stream that lies `depth` modules deep.
    fn read(&mut self, tokens: TokenStream, depth: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut index = 0;
        while index < tokens.len() {
            index = self.read_at(&tokens, index, depth);
        }
    }

    /// Reads what begins at `index` and gives where to go on.
    fn read_at(&mut self, tokens: &[TokenTree], index: usize, depth: usize) -> usize {
        if let Some(after) = skipped(tokens, index) {
            return after;
        }
        match &tokens[index] {
            TokenTree::Group(group) => {
                let is_module = matches!((before(tokens, index, 2), before(tokens, index, 1)),
                    (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(_))) if word == "mod");
                self.read(group.stream(), depth + usize::from(is_module));
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if text.contains('"') {
                    self.texts.push((literal.span().start().line, text));
                }
            }
            TokenTree::Ident(word) => self.read_word(tokens, index, word, depth),
            TokenTree::Punct(_) => {}
        }
        index + 1
    }

    fn read_word(&mut self, tokens: &[TokenTree], index: usize, word: &Ident, depth: usize) {
        let line = word.span().start().line;
        let follows_path = is_punct(before(tokens, index, 1), ':') && is_punct(before(tokens, index, 2), ':');
        let is_method = is_punct(before(tokens, index, 1), '.') && !is_punct(before(tokens, index, 2), '.');
        let opens_path = is_path_separator(tokens, index + 1);
        let follows_use = matches!(before(tokens, index, 1), Some(TokenTree::Ident(keyword)) if keyword == "use");
        let is_called = matches!(tokens.get(index + 1), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
        self.names.push(Name {
            line,
            word: word.to_string(),
            is_root: !follows_path && !is_method && (opens_path || follows_use),
            is_call: is_called && !is_method,
        });

        if follows_path {
            return;
        }
        let after_root = if word == "crate" || word == "eventferry" {
            index + 1
        } else if word == "super" {
            let supers = 1 + (1..).take_while(|step| is_word(tokens.get(index + 3 * step), "super")).count();
            if supers != depth {
                return;
            }
            index + 3 * supers - 2
        } else {
            return;
        };
        if is_path_separator(tokens, after_root) {
            self.read_modules(tokens.get(after_root + 2));
        }
    }

    /// Notes what a path names right below the root of the crate: one word, or several in braces.
    fn read_modules(&mut self, below_root: Option<&TokenTree>) {
        match below_root {
            Some(TokenTree::Ident(word)) => {
                self.modules.insert((word.span().start().line, word.to_string()));
            }
            Some(TokenTree::Group(group)) => {
                for word in first_words(group) {
                    self.modules.insert((word.span().start().line, word.to_string()));
                }
            }
            _ => {}
        }
    }

    fn arrows(&self, module: &str, levels: &BTreeMap<String, u32>) -> Vec<String> {
        let file = &self.file;
        if module == "lib" {
            return Vec::new();
        }
        let Some(own) = levels.get(module) else {
            return vec![format!("{file}: `{module}` is missing from the table in src/ARCHITECTURE.md")];
        };
        let mut violations = Vec::new();
        for (line, used) in self.modules.iter().filter(|(_, used)| used != module) {
            match levels.get(used) {
                None => violations
                    .push(format!("{file}:{line}: uses `{used}`, which the table in src/ARCHITECTURE.md lacks")),
                Some(level) if level >= own => {
                    violations.push(format!("{file}:{line}: `{module}` (level {own}) uses `{used}` (level {level})"));
                }
                Some(_) => {}
            }
        }
        violations
    }

    fn strange_libraries(&self, module: &str) -> Vec<String> {
        let mut violations = Vec::new();
        for name in self.names.iter().filter(|name| name.is_root) {
            let owned = LIBRARIES.iter().find(|(library, _)| *library == name.word);
            if let Some((library, owners)) = owned
                && !owners.contains(&module)
            {
                violations.push(format!("{}:{}: `{library}` may be named only in {owners:?}", self.file, name.line));
            }
        }
        violations
    }

    fn statements(&self) -> Vec<String> {
        let found = self.texts.iter().filter(|(_, text)| SQL_WORDS.iter().any(|word| text.contains(word)));
        found.map(|(line, _)| format!("{}:{line}: SQL may be written only in {SQL_MODULES:?}", self.file)).collect()
    }
}

/// Where to go on after documentation or a module of unit tests that begins at `index`.
fn skipped(tokens: &[TokenTree], index: usize) -> Option<usize> {
    if !is_punct(tokens.get(index), '#') {
        return None;
    }
    let inner = usize::from(is_punct(tokens.get(index + 1), '!'));
    let Some(TokenTree::Group(attribute)) = tokens.get(index + 1 + inner) else { return None };
    let after = index + 2 + inner;
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    if text.starts_with("doc=") {
        return Some(after);
    }
    if text != "cfg(test)" {
        return None;
    }
    // The item ends with its braces or a semicolon, whatever other attributes stand between.
    let end = tokens[after..].iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    })?;
    Some(after + end + 1)
}

fn first_words(group: &Group) -> Vec<Ident> {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    let words = tokens.iter().enumerate().filter_map(|(index, token)| match token {
        TokenTree::Ident(word) if index == 0 || is_punct(tokens.get(index - 1), ',') => Some(word.clone()),
        _ => None,
    });
    words.collect()
}

fn before(tokens: &[TokenTree], index: usize, steps: usize) -> Option<&TokenTree> {
    tokens.get(index.checked_sub(steps)?)
}

fn is_path_separator(tokens: &[TokenTree], index: usize) -> bool {
    is_punct(tokens.get(index), ':') && is_punct(tokens.get(index + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

/// The checks above, on made-up files.
mod made_up {
    use super::*;

    const TABLE: &str = "
| level | module | owns |
|---|---|---|
| 0 | `model/` | ids |
| 0 | `clock.rs`, `signal.rs` | time |
| 1 | `db/` | pools, `Sql` |
| 2 | `store/` | SQL |
| 7 | `cli/`, `main.rs` | commands |
";

    fn check(file: &str, source: &str) -> Vec<String> {
        violations_of(file, source, &read_levels(TABLE))
    }

    #[test]
    fn the_table_gives_each_module_its_level_and_nothing_from_other_columns() {
        let levels = read_levels(TABLE);
        let expected = [("cli", 7), ("clock", 0), ("db", 1), ("main", 7), ("model", 0), ("signal", 0), ("store", 2)];
        assert_eq!(levels, expected.map(|(module, level)| (module.to_owned(), level)).into());
    }

    #[test]
    fn a_lower_level_may_be_used_in_every_way_of_writing_it() {
        let source = "
            use crate::{clock::Clock, model::{self, Job}};
            use super::super::signal::Signals;
            fn run() -> crate::model::Id { eventferry::clock::now() }
            fn own() { crate::db::pool(); super::pool(); }
        ";
        assert_eq!(check("src/db/sqlite.rs", source), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_up_or_sideways_is_found_in_every_way_of_writing_it() {
        let expected = ["src/db/sqlite.rs:1: `db` (level 1) uses `store` (level 2)"];
        for source in [
            "use crate::store::jobs;",
            "use crate::{clock::Clock, store};",
            "use super::super::store;",
            "use super::super::{model, store::jobs};",
            "fn run() { inner(|| crate::store::jobs::claim()) }",
            "mod inner { use super::super::super::store; }",
            "macro_rules! m { () => { $crate::store::x } }",
            "use eventferry::store;",
        ] {
            assert_eq!(check("src/db/sqlite.rs", source), expected, "{source}");
        }
        assert_eq!(
            check("src/clock.rs", "use super::signal;"),
            ["src/clock.rs:1: `clock` (level 0) uses `signal` (level 0)"]
        );
    }

    #[test]
    fn a_module_without_a_level_is_told_wherever_it_shows() {
        assert_eq!(
            check("src/queue/mod.rs", "use crate::model::Job;"),
            ["src/queue/mod.rs: `queue` is missing from the table in src/ARCHITECTURE.md"]
        );
        assert_eq!(
            check("src/cli/mod.rs", "use crate::model::Job;\nuse crate::queue;"),
            ["src/cli/mod.rs:2: uses `queue`, which the table in src/ARCHITECTURE.md lacks"]
        );
    }

    #[test]
    fn a_library_is_named_only_by_its_owner() {
        let source = "use sqlx::Row;\nfn open() { zip::read(); }\n#[derive(notify::Event)] struct A;\nuse lettre;";
        let expected = [("sqlx", "[\"db\"]", 1), ("zip", "[\"archive\"]", 2), ("notify", "[\"inbox\"]", 3)]
            .map(|(library, owners, line)| format!("src/cli/mod.rs:{line}: `{library}` may be named only in {owners}"));
        let found = check("src/cli/mod.rs", source);
        assert_eq!(found[..3], expected);
        assert_eq!(found[3..], ["src/cli/mod.rs:4: `lettre` may be named only in [\"mail\", \"config\"]"]);
        assert_eq!(check("src/db/mod.rs", "use sqlx::Row;"), Vec::<String>::new());
    }

    #[test]
    fn words_that_only_look_like_a_library_are_none() {
        let source = "fn a() { one.zip(other); crate::model::zip::b(); signal.notify(); let zip = 1; }";
        assert_eq!(check("src/cli/mod.rs", source), Vec::<String>::new());
    }

    #[test]
    fn sql_is_found_in_any_literal_but_not_in_documentation() {
        let source = "/// Runs SELECT 1.\nconst A: &str = \"SELECT 1\";\nconst B: &str = r#\"\nDELETE FROM jobs\"#;";
        let expected =
            [2, 3].map(|line| format!("src/cli/mod.rs:{line}: SQL may be written only in [\"store\", \"db\"]"));
        assert_eq!(check("src/cli/mod.rs", source), expected);
        assert_eq!(check("src/store/jobs.rs", source), Vec::<String>::new());
    }

    #[test]
    fn a_sleep_is_found_unless_it_is_one_on_a_clock() {
        let source = "fn a() {\n thread::sleep(short);\n sleep(short).await;\n clock.sleep(short).await;\n}";
        assert_eq!(sleeps_in("tests/it/a.rs", source), ["tests/it/a.rs:2", "tests/it/a.rs:3"]);
    }

    #[test]
    fn unit_tests_may_use_anything() {
        let source = "#[cfg(test)]\n#[expect(unused)]\nmod tests { use crate::cli; const A: &str = \"SELECT 1\"; }";
        assert_eq!(check("src/db/mod.rs", source), Vec::<String>::new());
        assert_eq!(check("src/db/tests.rs", "use crate::cli;"), Vec::<String>::new());
    }
}
