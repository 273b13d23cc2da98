/** The answer with the candidates of the URL's `#relay=ip:port` instead of the server's own. */
export function throughRelay(sdp, url) {
  const relay = new URL(url).hash.match(/^#relay=(.+):(\d+)$/);
  if (!relay) return sdp;
  return sdp.replace(/^(a=candidate:\S+ 1 udp \d+) \S+ \d+ /gm, `$1 ${relay[1]} ${relay[2]} `);
}
