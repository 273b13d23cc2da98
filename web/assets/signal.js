// WHIP and WHEP from the browser's side: one offer, one answer, one DELETE at the end.

/** What answers mean that bring no problem's text: with 406 comes an offer of the server's. */
const SAID = { 406: "the browser plays none of the stream's codecs" };

/** A refusal by the server, with what it said about trying again. */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem?.detail || problem?.title || SAID[status] || `the server answered ${status}`);
    this.status = status;
    this.title = problem?.title || "";
    this.retryAfter = retryAfter;
  }
}

/** No connection can come of the answer. */
export class Unreachable extends Error {}

/** The path of a signalling endpoint for a stream. */
export function endpoint(kind, app, stream) {
  return `/rtc/v1/${kind}/?app=${encodeURIComponent(app)}&stream=${encodeURIComponent(stream)}`;
}

/** Firefox drops candidates on loopback, and would try for half a minute. */
function isOutOfReach(answer) {
  const addresses = [...answer.matchAll(/^a=candidate:(?:\S+ ){4}(\S+)/gm)].map((found) => found[1]);
  const isLoopback = (address) => address === "::1" || address.startsWith("127.");
  return navigator.userAgent.includes("Firefox/") && addresses.length > 0 && addresses.every(isLoopback);
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
    const answer = await response.text();
    if (isOutOfReach(answer)) {
      throw new Unreachable("Firefox makes no WebRTC connection to a loopback address: let the server listen on another (-c conf/weir.conf)");
    }
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
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
