// Restarts a session's ICE by PATCH (RFC 9725 section 4.3.3): new credentials for new credentials.
const restarting = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" };

const credential = (sdp, name) => sdp.match(new RegExp(`^a=ice-${name}:(.*)$`, "m"))[1].trim();

window.restartIce = async (peer, location) => {
  const before = peer.remoteDescription.sdp;
  peer.restartIce();
  await peer.setLocalDescription(await peer.createOffer());
  const { sdp } = peer.localDescription;
  const [ufrag, pwd] = ["ufrag", "pwd"].map((name) => `a=ice-${name}:${credential(sdp, name)}\r\n`);
  const body = `${ufrag}${pwd}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${sdp.match(/^a=mid:(.*)$/m)[1].trim()}\r\n`;
  const answer = await fetch(location, { method: "PATCH", headers: restarting, body });
  const fragment = await answer.text();
  if (answer.status !== 200) throw new Error(`PATCH answered ${answer.status}: ${fragment}`);
  if (!answer.headers.get("ETag")) throw new Error("the restarted session has no ETag");
  const renewed = (sdp, name) => sdp.replaceAll(new RegExp(`^a=ice-${name}:.*$`, "gm"), `a=ice-${name}:${credential(fragment, name)}`);
  await peer.setRemoteDescription({ type: "answer", sdp: renewed(renewed(before, "ufrag"), "pwd") });
};
