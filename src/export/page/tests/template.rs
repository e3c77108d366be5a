//! Templates of an admin, and what the check says of pages.

use tempfile::TempDir;

use crate::export::page::{PageTemplate, check, render};

use super::event;
use super::page::page;

#[expect(clippy::disallowed_methods, reason = "a file of a test needs no care")]
fn folder(template: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("schedule.html"), template).unwrap();
    folder
}

fn fault(template: &str) -> String {
    let folder = folder(template);
    let error = PageTemplate::load(folder.path()).unwrap_err().to_string();
    error.replace(&folder.path().display().to_string(), "T")
}

#[test]
fn a_folder_without_the_file_leaves_the_built_in_template_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    render(&event::small(), &PageTemplate::load(folder.path()).unwrap(), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), page(&event::small()));
}

#[test]
fn a_template_may_change_single_blocks() {
    let folder = folder(
        "{% extends \"builtin/schedule.html\" %}\n{% block style %}{{ super() }}h1{color:teal}{% endblock %}\n\
         {% block footer %}<p>Made in {{ event.location }}</p>{% endblock %}",
    );
    let mut out = Vec::new();
    render(&event::small(), &PageTemplate::load(folder.path()).unwrap(), &mut out).unwrap();
    let page = String::from_utf8(out).unwrap();
    assert!(page.contains("h1{color:teal}</style>"));
    assert!(page.contains("<p>Made in Kosmos, Berlin</p>"));
    assert_eq!(check(&mut page.as_bytes()).unwrap(), 5);
}

#[test]
fn a_fault_of_a_template_names_file_and_line() {
    let extends = "{% extends \"builtin/schedule.html\" %}\n\n";
    for (template, expected) in [
        (
            format!("{extends}{{% block footer %}}{{{{ event.nmae }}}}{{% endblock %}}"),
            "`T/schedule.html` line 3: undefined",
        ),
        (format!("{extends}{{% block footer %}}"), "`T/schedule.html` line 3: syntax error"),
        (format!("{extends}{{% block footer %}}{{{{ 1|nothing }}}}{{% endblock %}}"), "line 3: unknown filter"),
        (
            format!("{extends}{{% block footer %}}<img src=\"https://example.org/x.png\">{{% endblock %}}"),
            "`img` would load `https://example.org/x.png`",
        ),
        (format!("{extends}{{% block session %}}{{% endblock %}}"), "shows 0 of 2 sessions"),
        ("<html></html>".to_owned(), "it has no Content-Security-Policy"),
    ] {
        let fault = fault(&template);
        assert!(fault.starts_with("the template `T/schedule.html`") && fault.contains(expected), "{fault}");
    }
}

#[test]
fn the_check_finds_a_page_that_is_cut_off_or_loads_something() {
    let whole = page(&event::small());
    let cut = &whole[..whole.len() - 20];
    assert!(check(&mut cut.as_bytes()).unwrap_err().to_string().contains("cut off"));
    for (load, is_one) in [
        ("<script src=//example.org/x.js></script>", true),
        ("<LINK rel=stylesheet HREF='x.css'>", true),
        ("<style>@import 'x'</style>", true),
        ("<style>a{background:URL( 'https://example.org')}</style>", true),
        ("<p style='background:url(x)'>", true),
        ("<svg><use xlink:href='x.svg#a'/></svg>", true),
        ("<iframe srcdoc='x'></iframe>", true),
        ("<meta http-equiv=refresh content='0;url=x'>", true),
        ("<a href=https://example.org>x</a>", false),
        ("<img src='data:image/png;base64,AA=='>", false),
        ("<link rel=canonical href=https://example.org/>", false),
        ("<p>&lt;img src=x&gt; url(x)</p><!-- <img src=x> -->", false),
    ] {
        let page = whole.replace("</main>", &format!("{load}</main>"));
        let checked = check(&mut page.as_bytes());
        assert_eq!(checked.is_err(), is_one, "{load}: {checked:?}");
    }
}
