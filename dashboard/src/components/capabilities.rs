//! Capabilities to read and to type: patterns, each with what may be done there.

use fanfare_core::capability::{Operations, PATTERNS_MAX};
use fanfare_core::{Capabilities, Operation, Pattern};
use leptos::prelude::*;

use super::icon::{Icon, Shape};
use super::operations::OperationBoxes;

/// Capabilities in a few words: `subscribe, publish on room:*; history on **`.
pub(crate) fn in_words(capabilities: &Capabilities) -> String {
    let parts = capabilities.entries().iter().map(|(pattern, operations)| {
        let words: Vec<&str> = operations.iter().map(Operation::as_str).collect();
        format!("{} on {pattern}", words.join(", "))
    });
    let all = parts.collect::<Vec<_>>().join("; ");
    if all.is_empty() { "nothing".to_owned() } else { all }
}

/// One pattern as typed.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    /// What the list knows it by while it moves.
    id: u32,
    pattern: String,
    operations: Operations,
}

/// Capabilities as typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CapabilityLines {
    lines: RwSignal<Vec<Line>>,
    made: StoredValue<u32>,
}

impl CapabilityLines {
    /// Filled with these.
    pub(crate) fn of(capabilities: &Capabilities) -> Self {
        let made = Self { lines: RwSignal::new(Vec::new()), made: StoredValue::new(0) };
        for (pattern, operations) in capabilities.entries() {
            made.add(pattern.to_string(), *operations);
        }
        made
    }

    fn add(self, pattern: String, operations: Operations) {
        let id = self.made.get_value();
        self.made.set_value(id + 1);
        self.lines.update(|lines| lines.push(Line { id, pattern, operations }));
    }

    /// The capabilities, tracked, or what is wrong with which line. The same pattern twice is one with both.
    pub(crate) fn read(self) -> Result<Capabilities, String> {
        self.lines.with(|lines| {
            let mut entries: Vec<(Pattern, Operations)> = Vec::new();
            for line in lines {
                let typed = line.pattern.trim();
                let pattern = Pattern::parse(typed).map_err(|wrong| format!("Channels “{typed}”: {wrong}."))?;
                if line.operations.is_empty() {
                    return Err(format!("Tick at least one operation for {pattern}."));
                }
                match entries.iter_mut().find(|(known, _)| *known == pattern) {
                    Some((_, operations)) => *operations = operations.union(line.operations),
                    None => entries.push((pattern, line.operations)),
                }
            }
            Ok(Capabilities::new(entries))
        })
    }

    fn change(self, id: u32, change: impl FnOnce(&mut Line)) {
        self.lines.update(|lines| {
            if let Some(line) = lines.iter_mut().find(|line| line.id == id) {
                change(line);
            }
        });
    }

    fn line<T: Default>(self, id: u32, of: impl FnOnce(&Line) -> T) -> T {
        self.lines.with(|lines| lines.iter().find(|line| line.id == id).map(of).unwrap_or_default())
    }
}

/// Fields for capabilities of clients.
#[component]
pub(crate) fn CapabilityFields(
    /// What they are, as the legend.
    label: &'static str,
    /// A sentence below the legend.
    help: &'static str,
    /// What their ids start with, unique on the page.
    id: &'static str,
    /// What is typed.
    lines: CapabilityLines,
    /// What is wrong with them.
    #[prop(into)]
    error: Signal<Option<String>>,
) -> impl IntoView {
    let ids = move || lines.lines.with(|lines| lines.iter().map(|line| line.id).collect::<Vec<_>>());
    let is_full = move || lines.lines.with(Vec::len) >= PATTERNS_MAX;
    view! {
        <fieldset class="field" aria-describedby=format!("{id}-help {id}-error")>
            <legend class="field-label legend-gap">{label}</legend>
            <p class="field-help" id=format!("{id}-help")>{help}</p>
            <div class="lines">
                <For each=ids key=|line| *line let:line>
                    <LineFields id=format!("{id}-{line}") line=line lines=lines/>
                </For>
            </div>
            <p class="field-error" id=format!("{id}-error") aria-live="polite">{move || error.get()}</p>
            <div class="row">
                <button
                    class="button button-small"
                    type="button"
                    disabled=is_full
                    on:click=move |_| lines.add(String::new(), Operations::NONE.with(Operation::Subscribe))
                >
                    <Icon shape=Shape::PLUS/>
                    "Add channels"
                </button>
            </div>
        </fieldset>
    }
}

#[component]
fn LineFields(id: String, line: u32, lines: CapabilityLines) -> impl IntoView {
    let pattern = move || lines.line(line, |line| line.pattern.clone());
    let remove = move |_| lines.lines.update(|lines| lines.retain(|one| one.id != line));
    let ticked = Signal::derive(move || lines.line(line, |line| line.operations));
    let tick = Callback::new(move |operations| lines.change(line, |line| line.operations = operations));
    view! {
        <div class="line" role="group" aria-label=move || format!("What is given on {}", pattern())>
            <label class="visually-hidden" for=id.clone()>"Channels"</label>
            <input
                class="input mono"
                id=id
                type="text"
                autocomplete="off"
                spellcheck="false"
                placeholder="room:*"
                prop:value=pattern
                on:input:target=move |event| lines.change(line, |line| line.pattern = event.target().value())
            />
            <OperationBoxes ticked=ticked on_change=tick among=Operations::CLIENT/>
            <button
                class="icon-button"
                type="button"
                aria-label=move || format!("Remove {}", pattern())
                title="Remove"
                on:click=remove
            >
                <Icon shape=Shape::TRASH/>
            </button>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_read_as_people_say_them() {
        let on = |pattern: &str| Pattern::parse(pattern).expect("a pattern");
        let two = Operations::NONE.with(Operation::Subscribe).with(Operation::History);
        let both = vec![(on("room:*"), two), (on("**"), Operations::NONE.with(Operation::Publish))];
        assert_eq!(in_words(&Capabilities::new(both)), "subscribe, history on room:*; publish on **");
        assert_eq!(in_words(&Capabilities::default()), "nothing");
    }
}
