//! Every statement of the store stands in the list of its module, so that a test prepares it on both databases.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{is_path_separator, is_punct, is_word, rust_files, skipped};

/// How a statement is made.
const MAKERS: [&str; 4] = ["same", "per", "built", "built_per"];

#[test]
fn every_statement_of_the_store_is_listed_to_be_prepared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut unlisted = Vec::new();
    for path in rust_files(&root.join("src/store")) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let files: Vec<(String, String)> = match name.strip_suffix("/mod.rs") {
            Some("src/store") | None => Vec::new(),
            Some(_) => rust_files(path.parent().unwrap())
                .iter()
                .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
                .collect(),
        };
        unlisted.extend(unlisted_in(name, &fs::read_to_string(&path).unwrap()));
        unlisted.extend(unlisted_lists(name, &fs::read_to_string(&path).unwrap(), &files));
    }
    assert!(unlisted.is_empty(), "no test prepares these:\n{}", unlisted.join("\n"));
}

/// What makes or is a statement and does not stand in the list of its file: `fn statements`, or else `STATEMENTS`.
///
/// A constant has to be named there itself; so has a field that holds a statement. Functions and statics that make some
/// may be reached over others.
fn unlisted_in(file: &str, source: &str) -> Vec<String> {
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
    let items = items_of(&tokens);
    let list = ["statements", "STATEMENTS"].iter().find_map(|name| items.iter().find(|item| item.name == *name));
    let none = BTreeSet::new();
    let listed = list.map_or(&none, |list| &list.words);
    let mut reached = listed.clone();
    loop {
        let more: BTreeSet<String> =
            items.iter().filter(|item| reached.contains(&item.name)).flat_map(|item| item.words.clone()).collect();
        if more.is_subset(&reached) {
            break;
        }
        reached.extend(more);
    }
    let mut unlisted = Vec::new();
    for item in items.iter().filter(|item| list.is_none_or(|list| list.name != item.name)) {
        let is_there = match item.kind {
            Kind::Constant => listed.contains(&item.name),
            Kind::Other => reached.contains(&item.name),
        };
        if item.makes_statements && !is_there {
            unlisted.push(format!("{file}:{}: `{}`", item.line, item.name));
        }
        for field in item.fields.iter().filter(|field| !listed.contains(*field)) {
            unlisted.push(format!("{file}:{}: `{}.{field}`", item.line, item.name));
        }
    }
    unlisted
}

/// The lists of a module's files (stem and source) that the list of the module itself does not name.
fn unlisted_lists(file: &str, source: &str, files: &[(String, String)]) -> Vec<String> {
    let text: String = source.split_whitespace().collect();
    let mut unlisted = Vec::new();
    for (stem, of_file) in files.iter().filter(|(stem, _)| stem != "mod") {
        let tokens: TokenStream = of_file.parse().unwrap_or_else(|error| panic!("{stem}: {error}"));
        let has_list = items_of(&tokens).iter().any(|item| item.name == "STATEMENTS");
        if has_list && !text.contains(&format!("{stem}::STATEMENTS,")) {
            unlisted.push(format!("{file}: `{stem}::STATEMENTS`"));
        }
    }
    unlisted
}

/// A constant, static, function or struct of a file.
struct Item {
    kind: Kind,
    name: String,
    line: usize,
    /// Every word in it.
    words: BTreeSet<String>,
    /// Fields whose type is a statement.
    fields: Vec<String>,
    makes_statements: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Constant,
    Other,
}

/// The items that stand in a file itself; those of its unit tests are left out.
fn items_of(tokens: &TokenStream) -> Vec<Item> {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut items: Vec<Item> = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if let Some(after) = skipped(&tokens, index) {
            index = after;
            continue;
        }
        let keyword = ["const", "static", "fn", "struct"].into_iter().find(|word| is_word(tokens.get(index), word));
        if let (Some(keyword), Some(TokenTree::Ident(name))) = (keyword, tokens.get(index + 1))
            && name != "fn"
        {
            let end = end_of_item(&tokens, index, keyword);
            let body: TokenStream = tokens[index + 2..end].iter().cloned().collect();
            let mut words = BTreeSet::new();
            let mut makes_statements = false;
            read_words(&body, &mut words, &mut makes_statements);
            let fields = if keyword == "struct" { statement_fields(&tokens[end - 1]) } else { Vec::new() };
            let kind = if keyword == "const" { Kind::Constant } else { Kind::Other };
            let line = name.span().start().line;
            items.push(Item { kind, name: name.to_string(), line, words, fields, makes_statements });
            index = end;
        } else {
            // The functions of an `impl` are items as well.
            if let TokenTree::Group(group) = &tokens[index] {
                items.extend(items_of(&group.stream()));
            }
            index += 1;
        }
    }
    items
}

/// Behind the semicolon of a constant, behind the braces of anything else.
fn end_of_item(tokens: &[TokenTree], index: usize, keyword: &str) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && matches!(keyword, "fn" | "struct"),
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    tokens[index..].iter().position(is_end).map_or(tokens.len(), |length| index + length + 1)
}

/// Collects the words of a stream, and whether a statement is made in it.
fn read_words(stream: &TokenStream, words: &mut BTreeSet<String>, makes_statements: &mut bool) {
    let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => read_words(&group.stream(), words, makes_statements),
            TokenTree::Ident(word) => {
                words.insert(word.to_string());
                let makes = word == "Sql"
                    && is_path_separator(&tokens, index + 1)
                    && MAKERS.iter().any(|maker| is_word(tokens.get(index + 3), maker));
                *makes_statements |= makes;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The fields `name: Sql` between the braces of a struct.
fn statement_fields(body: &TokenTree) -> Vec<String> {
    let TokenTree::Group(group) = body else { return Vec::new() };
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    let named = tokens.iter().enumerate().filter_map(|(index, token)| match token {
        TokenTree::Ident(name) if is_punct(tokens.get(index + 1), ':') && is_word(tokens.get(index + 2), "Sql") => {
            Some(name.to_string())
        }
        _ => None,
    });
    named.collect()
}

/// The checks above, on made-up files.
mod made_up {
    use super::*;

    #[test]
    fn a_statement_that_no_list_names_is_found() {
        let source = "
            /// Sql::same in documentation is none.
            const GET: Sql = Sql::same(\"get\", \"x\");
            const LOST: Sql = Sql::per(\"lost\", \"x\", \"y\");
            static MADE: LazyLock<Vec<Sql>> = LazyLock::new(|| vec![helper(1)]);
            static FORGOTTEN: LazyLock<Sql> = LazyLock::new(|| Sql::built(\"x\", text()));
            struct Of { get: Sql, put: Sql, table: Table }
            fn helper(n: i64) -> Sql { Sql::built_per(\"h\", a(), b()) }
            fn inline() -> Sql { inner(|| Sql::same(\"h\", \"i\")) }
            impl Of { fn method() -> Sql { Sql::same(\"m\", \"x\") } }
            pub fn statements() -> Vec<Sql> { let mut all = vec![GET, of().get.clone()]; all.extend(MADE.iter()); all }
            pub fn run() { execute(&LOST) }
            #[cfg(test)]
            mod tests { const ONE: Sql = Sql::same(\"t\", \"x\"); }
        ";
        let expected = ["4: `LOST`", "6: `FORGOTTEN`", "7: `Of.put`", "9: `inline`", "10: `method`"];
        assert_eq!(unlisted_in("src/store/a.rs", source), expected.map(|place| format!("src/store/a.rs:{place}")));
    }

    #[test]
    fn a_statement_of_a_file_without_a_list_is_found() {
        let one = "const A: Sql = Sql::same(\"a\", \"b\"); const STATEMENTS: &[Sql] = &[A];";
        assert_eq!(unlisted_in("src/store/a.rs", one), Vec::<String>::new());
        let none = "const A: Sql = Sql::same(\"a\", \"b\");\nfn run() { execute(&A); }";
        assert_eq!(unlisted_in("src/store/a.rs", none), ["src/store/a.rs:1: `A`"]);
    }

    #[test]
    fn a_list_that_the_module_above_does_not_name_is_found() {
        let module = "pub fn statements() -> Vec<Sql> { [claim::STATEMENTS, view::STATEMENTS,].concat() }";
        let files = ["claim", "end", "mod", "view"]
            .map(|stem| (stem.to_owned(), "pub(super) const STATEMENTS: &[Sql] = &[];".to_owned()));
        assert_eq!(
            unlisted_lists("src/store/jobs/mod.rs", module, &files),
            ["src/store/jobs/mod.rs: `end::STATEMENTS`"]
        );
    }
}
