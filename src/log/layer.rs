//! From events to lines: which client a line is about, which fields it has, and whether there are
//! too many of its kind.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use tracing::{
    Event, Level, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{
    LogFormat,
    budget::Budget,
    flood::Floods,
    line::{self, Fields, Head},
    writer::Writer,
};

/// What can change of how lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) format: LogFormat,
    pub(super) utc: bool,
}

/// Makes lines and hands them to the writer.
pub(super) struct LineLayer {
    style: Arc<ArcSwap<Style>>,
    writer: Writer,
    floods: Floods,
    budget: Budget,
    /// In lines that concern no client.
    cid: String,
}

impl LineLayer {
    pub(super) fn new(style: Arc<ArcSwap<Style>>, writer: Writer, cid: String) -> Self {
        Self { style, writer, floods: Floods::default(), budget: Budget::default(), cid }
    }

    fn render(&self, level: Level, cid: Option<&str>, fields: &Fields) -> String {
        let style = **self.style.load();
        let head = Head { level, cid: cid.unwrap_or(&self.cid), utc: style.utc };
        line::render(&head, &fields.message, &fields.others, style.format)
    }

    fn warn(&self, message: String) {
        self.writer.write(self.render(Level::WARN, None, &Fields { message, ..Fields::default() }));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        // Whoever asks for more than the usual wants it all.
        let left_out = match level <= Level::INFO {
            true => match self.floods.admit(event.metadata().callsite(), Instant::now()) {
                Some(left_out) => left_out,
                None => return,
            },
            false => 0,
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut cid = fields.cid.take();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                cid = cid.or_else(|| of_span.cid.clone());
                fields.others.extend(of_span.others.iter().cloned());
            }
        }
        let line = self.render(level, cid.as_deref(), &fields);
        if level <= Level::INFO {
            let Some(unaffordable) = self.budget.spend(level, line.len(), Instant::now()) else { return };
            if unaffordable > 0 {
                self.warn(format!("{unaffordable} lines were left out: there were too many of all kinds"));
            }
        }
        self.writer.write(line);
        if left_out > 0 {
            self.warn(format!("{left_out} more lines like the one before were left out"));
        }
        let lost = self.writer.take_lost();
        if lost > 0 {
            self.warn(format!("{lost} lines of the log were lost: what it is written to is full or slow"));
        }
    }
}
