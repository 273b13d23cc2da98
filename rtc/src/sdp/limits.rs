//! Hard limits on an offer's text, checked before anything parses or allocates.

use super::NegotiateError;

/// Looks at every byte once.
pub(super) fn check(offer: &str) -> Result<(), NegotiateError> {
    if offer.len() > OFFER_BYTES_MAX {
        return Err(NegotiateError::TooLarge("64 KiB of text"));
    }
    let mut lines = 0;
    let mut sections = 0;
    for line in offer.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        lines += 1;
        if lines > LINES_MAX {
            return Err(NegotiateError::TooLarge("2,500 lines"));
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(NegotiateError::TooLarge("4 KiB in a line"));
        }
        // RFC 8866 section 9: a line holds neither NUL nor CR; other controls have no business
        // in it either, and could forge lines once echoed.
        if line.bytes().any(|byte| byte < 0x20 && byte != b'\t') {
            return Err(NegotiateError::Malformed("control characters"));
        }
        if line.starts_with("m=") {
            sections += 1;
            if sections > SECTIONS_MAX {
                return Err(NegotiateError::TooLarge("16 m-lines"));
            }
            // The kind, the port and the protocol come first.
            if line.split_ascii_whitespace().count() > FORMATS_MAX + 3 {
                return Err(NegotiateError::TooLarge("128 formats in an m-line"));
            }
        }
    }
    Ok(())
}

/// Ten times the largest offer seen from a browser (about 6 KiB with two m-lines).
const OFFER_BYTES_MAX: usize = 64 * 1024;

/// A browser writes about 150 lines for each m-line, so 16 of them fit.
const LINES_MAX: usize = 2_500;

/// The longest lines seen are H.265 parameter sets of about 1 KiB.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Two are served; the rest leave room for peers that keep disabled ones.
const SECTIONS_MAX: usize = 16;

/// There are no more payload types than that.
const FORMATS_MAX: usize = 128;
