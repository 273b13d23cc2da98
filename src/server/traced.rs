//! A span for each client, from its admission to its end, and for each RTMP connection.
//!
//! It stands before all others who decide about clients, so that their time and the callbacks' are in it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tracing::{Instrument as _, Span, field::Empty, trace_span};
use weir_source::{Caller, Claim, ClientInfo, Denied, Gatekeeper, Traffic, Verdict, Visit};
use weir_web::TRACES;

/// Traces those who come in. It holds a span for each who is there, and none while nobody collects.
pub(crate) struct Traced {
    next: Arc<dyn Gatekeeper>,
    connections: Spans,
    sessions: Spans,
}

/// By the client's id.
type Spans = Arc<Mutex<HashMap<String, Span>>>;

impl Traced {
    pub(crate) fn new(next: Arc<dyn Gatekeeper>) -> Arc<Self> {
        Arc::new(Self { next, connections: Spans::default(), sessions: Spans::default() })
    }

    /// Of a client, within its connection or request.
    fn session(&self, info: &ClientInfo) -> Span {
        let parent = self.connections.lock().get(&info.id).cloned().unwrap_or_else(Span::current);
        trace_span!(
            target: TRACES, parent: &parent, "session", otel.name = info.kind.name(), otel.status_code = Empty,
            session.id = info.id, stream = %info.key, client.address = %info.ip, denied = Empty, sent = Empty, received = Empty,
        )
    }
}

impl Gatekeeper for Traced {
    fn check(&self, visit: &Visit) -> Result<Claim, Denied> {
        let checked = self.next.check(visit);
        if let Err(denied) = &checked {
            refused(&self.session(&visit.info), denied);
        }
        checked
    }

    fn admit(&self, visit: Visit) -> Verdict {
        let (id, span) = (visit.info.id.clone(), self.session(&visit.info));
        let verdict = span.in_scope(|| self.next.admit(visit));
        kept(verdict, id, span, Arc::clone(&self.sessions))
    }

    fn left(&self, info: &Arc<ClientInfo>, traffic: &Traffic) {
        end(&self.sessions, &info.id, traffic);
        self.next.left(info, traffic);
    }

    fn admit_connection(&self, caller: Arc<Caller>) -> Verdict {
        let span = trace_span!(
            target: TRACES, parent: None, "rtmp", otel.name = "rtmp", otel.status_code = Empty,
            session.id = caller.id, vhost = caller.vhost, app = caller.app, client.address = %caller.ip,
            denied = Empty, sent = Empty, received = Empty,
        );
        let id = caller.id.clone();
        let verdict = span.in_scope(|| self.next.admit_connection(caller));
        kept(verdict, id, span, Arc::clone(&self.connections))
    }

    fn closed(&self, caller: &Arc<Caller>, traffic: &Traffic) {
        end(&self.connections, &caller.id, traffic);
        self.next.closed(caller, traffic);
    }
}

/// The verdict within its span, which is kept if it is yes.
fn kept(verdict: Verdict, id: String, span: Span, spans: Spans) -> Verdict {
    if span.is_disabled() {
        return verdict;
    }
    Box::pin(async move {
        let verdict = verdict.instrument(span.clone()).await;
        match &verdict {
            Ok(()) => _ = spans.lock().insert(id, span),
            Err(denied) => refused(&span, denied),
        }
        verdict
    })
}

fn refused(span: &Span, denied: &Denied) {
    span.record("denied", denied.to_string()).record("otel.status_code", "ERROR");
}

fn end(spans: &Spans, id: &str, traffic: &Traffic) {
    let span = spans.lock().remove(id);
    if let Some(span) = span {
        let (sent, received) = traffic.totals();
        // A span's end is when it was last left.
        span.in_scope(|| span.record("sent", sent).record("received", received));
    }
}
