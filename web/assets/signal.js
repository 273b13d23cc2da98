// WHIP and WHEP from the browser's side: one offer, one answer, one DELETE at the end.

/** A refusal by the server, with what it said about trying again. */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem?.detail || problem?.title || `the server answered ${status}`);
    this.status = status;
    this.title = problem?.title || "";
    this.retryAfter = retryAfter;
  }
}

/** The path of a signalling endpoint for a stream. */
export function endpoint(kind, app, stream) {
  return `/rtc/v1/${kind}/?app=${encodeURIComponent(app)}&stream=${encodeURIComponent(stream)}`;
}

/**
 * Sends the connection's offer and applies the answer. The server is ICE-lite and learns our
 * addresses from our checks, so nothing is gathered first.
 * Resolves to the session's URL.
 */
export async function connect(pc, url, signal) {
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: pc.localDescription.sdp,
    signal,
  });
  if (response.status !== 201) {
    const problem = await response.json().catch(() => null);
    throw new Refused(response.status, problem, Number(response.headers.get("Retry-After")) || 0);
  }
  const session = new URL(response.headers.get("Location"), response.url).href;
  try {
    await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  } catch (error) {
    end(session);
    throw error;
  }
  return session;
}

/** Ends a session. Works while the page goes away too. */
export async function end(session) {
  if (session) {
    await fetch(session, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}

/** Ends a session and then its connection, whose own goodbye would make the DELETE come too late. */
export function hangUp(pc, session) {
  end(session).finally(() => pc?.close());
}
