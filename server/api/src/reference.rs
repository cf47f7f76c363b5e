//! An OpenAPI document as one page to read: no script, nothing from elsewhere.
//!
//! The page is written from the document alone, so that it cannot say anything else than `/openapi.json` does.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

/// What the page may load: its own style and nothing else.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// In the order in which operations of one path are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

const STYLE: &str = include_str!("reference.css");

/// Writes the page.
///
/// # Panics
/// Never: a document prints as JSON.
#[must_use]
pub fn page(document: &OpenApi) -> String {
    let document = serde_json::to_value(document).expect("a document prints as JSON");
    let mut out = String::with_capacity(64 * 1024);
    write_page(&mut out, &document).expect("writing to a text does not fail");
    out
}

/// A text inside HTML, in an element or a quoted attribute.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            letter => out.write_char(letter),
        })
    }
}

/// A text in which pieces between backticks are code, and empty lines part paragraphs.
struct Prose<'a>(&'a str);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for paragraph in self.0.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            out.write_str("<p>")?;
            for (index, piece) in paragraph.split('`').enumerate() {
                let code = index % 2 == 1;
                write!(
                    out,
                    "{}{}{}",
                    if code { "<code>" } else { "" },
                    Text(piece),
                    if code { "</code>" } else { "" }
                )?;
            }
            out.write_str("</p>")?;
        }
        Ok(())
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn tag(&self) -> &str {
        self.value.pointer("/tags/0").and_then(Value::as_str).unwrap_or("Other")
    }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut all: Vec<_> = entries(document, "/paths")
        .flat_map(|(path, methods)| {
            METHODS.iter().filter_map(move |method| Some(Operation { method, path, value: methods.get(method)? }))
        })
        .collect();
    all.sort_by(|left, right| left.tag().cmp(right.tag()));
    all
}

fn write_page(out: &mut String, document: &Value) -> fmt::Result {
    let info = document.get("info").unwrap_or(&Value::Null);
    let title = Text(text(info, "title"));
    write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><body><nav aria-label=Operations><a href=#top>{title}</a>"
    )?;
    let all = operations(document);
    for group in all.chunk_by(|left, right| left.tag() == right.tag()) {
        write!(out, "<h2>{}</h2><ul>", Text(group[0].tag()))?;
        for operation in group {
            let summary = text(operation.value, "summary");
            let label = if summary.is_empty() { operation.path } else { summary };
            write!(out, "<li><a href=\"#{}\">{}</a></li>", Text(text(operation.value, "operationId")), Text(label))?;
        }
        out.push_str("</ul>");
    }
    write!(
        out,
        "<h2>More</h2><ul><li><a href=#schemas>Schemas</a></li><li><a href=/openapi.json>openapi.json</a></li></ul>\
         </nav><main id=top><h1>{title} <small>{}</small></h1>{}",
        Text(text(info, "version")),
        Prose(text(info, "description"))
    )?;
    for operation in &all {
        write_operation(out, operation)?;
    }
    out.push_str("<h1 id=schemas>Schemas</h1>");
    for (name, schema) in entries(document, "/components/schemas") {
        write_schema(out, name, schema)?;
    }
    out.push_str("</main></body></html>");
    Ok(())
}

fn write_operation(out: &mut String, operation: &Operation<'_>) -> fmt::Result {
    let value = operation.value;
    write!(
        out,
        "<section id=\"{}\"><h2><span class=\"method {method}\">{method}</span> <code>{}</code></h2><p><b>{}</b></p>{}",
        Text(text(value, "operationId")),
        Text(operation.path),
        Text(text(value, "summary")),
        Prose(text(value, "description")),
        method = operation.method,
    )?;
    if value.get("parameters").is_some() {
        out.push_str("<table><caption>Parameters</caption><tbody>");
        for parameter in items(value, "parameters") {
            let schema = parameter.get("schema").unwrap_or(&Value::Null);
            let required = parameter.get("required").and_then(Value::as_bool).unwrap_or_default();
            let place = format!("{}{}", text(parameter, "in"), if required { "" } else { ", optional" });
            write_row(out, text(parameter, "name"), &place, schema, text(parameter, "description"))?;
        }
        out.push_str("</tbody></table>");
    }
    if let Some(body) = value.get("requestBody") {
        out.push_str("<table><caption>Body</caption><tbody>");
        for (media, content) in entries(body, "/content") {
            write_row(out, media, "", content.get("schema").unwrap_or(&Value::Null), text(body, "description"))?;
        }
        out.push_str("</tbody></table>");
    }
    out.push_str("<table><caption>Answers</caption><tbody>");
    for (status, answer) in entries(value, "/responses") {
        let content = entries(answer, "/content").next();
        let (media, schema) = content.map_or(("", &Value::Null), |(media, content)| {
            (media.as_str(), content.get("schema").unwrap_or(&Value::Null))
        });
        write_row(out, status, media, schema, text(answer, "description"))?;
    }
    out.push_str("</tbody></table></section>");
    Ok(())
}

fn write_row(out: &mut String, name: &str, note: &str, schema: &Value, description: &str) -> fmt::Result {
    write!(out, "<tr><th scope=row><code>{}</code><small>{}</small></th><td>", Text(name), Text(note))?;
    write_type(out, schema)?;
    write!(out, "{} {}</td></tr>", Prose(description), Bounds(schema))
}

fn write_schema(out: &mut String, name: &str, schema: &Value) -> fmt::Result {
    write!(out, "<section id=\"schema-{0}\"><h2><code>{0}</code></h2>", Text(name))?;
    write!(out, "{}", Prose(text(schema, "description")))?;
    let variants = ["oneOf", "anyOf", "allOf"].iter().flat_map(|kind| items(schema, kind));
    for part in std::iter::once(schema).chain(variants) {
        if entries(part, "/properties").next().is_some() {
            write_properties(out, part)?;
        } else {
            out.push_str("<p>");
            write_type(out, part)?;
            write!(out, "{}</p>", Bounds(part))?;
        }
    }
    out.push_str("</section>");
    Ok(())
}

fn write_properties(out: &mut String, schema: &Value) -> fmt::Result {
    out.push_str("<table><tbody>");
    for (name, property) in entries(schema, "/properties") {
        let required = items(schema, "required").any(|required| required.as_str() == Some(name));
        let note = if required { "" } else { "optional" };
        write_row(out, name, note, property, text(property, "description"))?;
    }
    out.push_str("</tbody></table>");
    Ok(())
}

/// Names a type in a few words, with a link where it is a named one.
fn write_type(out: &mut String, schema: &Value) -> fmt::Result {
    if let Some(name) = text(schema, "$ref").strip_prefix("#/components/schemas/") {
        return write!(out, "<a href=\"#schema-{0}\">{0}</a>", Text(name));
    }
    let variants: Vec<_> = ["oneOf", "anyOf", "allOf"].iter().flat_map(|kind| items(schema, kind)).collect();
    for (index, variant) in variants.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { " or " });
        write_type(out, variant)?;
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        _ if variants.is_empty() && schema.get("enum").is_none() => vec!["anything"],
        _ => Vec::new(),
    };
    for (index, kind) in kinds.iter().enumerate() {
        write!(out, "{}{}", if index == 0 { "" } else { " or " }, Text(kind))?;
    }
    if let Some(items) = schema.get("items") {
        out.push_str(" of ");
        write_type(out, items)?;
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        out.push_str(" of name to ");
        write_type(out, values)?;
    }
    Ok(())
}

/// What a schema says about its values beyond their type.
struct Bounds<'a>(&'a Value);

impl fmt::Display for Bounds<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [(&str, &str); 9] = [
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("minLength", "characters, at least"),
            ("maxLength", "characters, at most"),
            ("minItems", "items, at least"),
            ("maxItems", "items, at most"),
            ("pattern", "matches"),
            ("default", "default"),
            ("enum", "one of"),
        ];
        let examples = self.0.pointer("/examples/0").or_else(|| self.0.get("example"));
        let known = WORDS.iter().filter_map(|(name, words)| Some((*words, self.0.get(name)?)));
        for (words, value) in known.chain(examples.map(|example| ("for example", example))) {
            let shown = match value {
                Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
                value => plain(value),
            };
            write!(out, "<small>{words} <code>{}</code></small> ", Text(&shown))?;
        }
        Ok(())
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::openapi::{Info, Paths};

    #[test]
    fn what_a_document_says_is_shown_and_never_runs() {
        let mut info = Info::new("<script>alert(1)</script>", "1.0");
        info.description = Some("Use `a<b>` & \"c\".\n\nThen more.".to_owned());
        let page = page(&OpenApi::new(info, Paths::new()));
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("<p>Use <code>a&lt;b&gt;</code> &amp; &quot;c&quot;.</p><p>Then more.</p>"), "{page}");
        assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
    }
}
