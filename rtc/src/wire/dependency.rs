//! The dependency descriptor (AV1 RTP 1.0 appendix A): which parts of a stream need a frame.
//!
//! A keyframe brings a structure of templates, frames name the template that they follow. Of it all only
//! what concerns temporal layers is kept. What is broken, or names what never came, says nothing; a frame
//! of which nothing is known is left to whoever forwards everything.

use super::bits::Bits;

/// Numbers of templates have six bits.
const TEMPLATES_MAX: usize = 64;
/// Numbers of decode targets have five; each has two bits of a template's indications.
const TARGETS_MAX: u32 = 32;
/// The highest layers that AV1 has (AV1 6.2.3: three bits and two).
const TEMPORAL_MAX: u8 = 7;
const SPATIAL_MAX: u8 = 3;
/// Table A.2.
const SWITCH: u8 = 2;
/// Distances of a template to frames before it: AV1 has seven references, and no more slots than eight.
const REFERENCES_MAX: usize = 8;
/// Where the 16 bits of a frame's number are.
pub const FRAME_NUMBER_AT: usize = 1;
/// Flags, template and number of a frame; all else is optional.
const MANDATORY_LEN: usize = 3;

/// Where a frame stands. See `weir_source::TemporalPlace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its temporal layer, 0 to 7.
    pub layer: u8,
    /// A bit for each highest temporal layer with which it is still needed.
    pub needed: u8,
    /// A bit for each highest temporal layer that can begin here.
    pub switch: u8,
}

/// What the descriptors of one stream have told so far. At most some 600 bytes.
#[derive(Debug, Default)]
pub struct Dependencies {
    structure: Option<Box<Structure>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Structure {
    /// The number of the first template.
    offset: u8,
    targets: u32,
    templates: Vec<Template>,
    /// By highest temporal layer, the decode target that stands for it: of the largest picture.
    levels: [u8; TEMPORAL_MAX as usize + 1],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: Indications,
}

/// Two bits for each decode target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Indications(u64);

impl Indications {
    fn read(bits: &mut Bits<'_>, targets: u32) -> Option<Self> {
        let indications = (0..targets).try_fold(0, |all, target| Some(all | u64::from(bits.number(2)?) << (2 * target)));
        indications.map(Self)
    }

    /// Of a target below 32.
    const fn of(self, target: u8) -> u8 {
        (self.0 >> (2 * (target & 31)) & 3) as u8
    }
}

/// The number of the frame that a descriptor is of.
pub fn frame_number(descriptor: &[u8]) -> Option<u16> {
    super::read::u16_at(descriptor, FRAME_NUMBER_AT)
}

impl Dependencies {
    /// Where the frame of a descriptor stands, if that can be told and there is a choice.
    pub fn read(&mut self, descriptor: &[u8]) -> Option<Place> {
        let mut bits = Bits::new(descriptor);
        let (_start_and_end, template) = (bits.number(2)?, bits.number(6)? as u8);
        bits.number(16)?;
        let mut custom = false;
        if descriptor.len() > MANDATORY_LEN {
            let (structured, active) = (bits.flag()?, bits.flag()?);
            custom = bits.flag()?;
            let _distances_and_chains = bits.number(2)?;
            if structured {
                // What followed the old one does not follow a broken one.
                self.structure = Structure::read(&mut bits).map(Box::new);
            }
            if active {
                bits.number(self.structure.as_ref()?.targets)?;
            }
        }
        let structure = self.structure.as_ref()?;
        let index = template.wrapping_sub(structure.offset) % TEMPLATES_MAX as u8;
        let template = structure.templates.get(usize::from(index))?;
        let indications = if custom { Indications::read(&mut bits, structure.targets)? } else { template.indications };
        structure.place(template.temporal, indications)
    }
}

impl Structure {
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let (offset, targets) = (bits.number(6)? as u8, bits.number(5)? + 1);
        let mut templates = read_layers(bits)?;
        for template in &mut templates {
            template.indications = Indications::read(bits, targets)?;
        }
        for _ in &templates {
            let mut references = 0;
            while bits.flag()? {
                bits.number(4)?;
                references += 1;
                if references > REFERENCES_MAX {
                    return None;
                }
            }
        }
        let chains = bits.one_of(targets + 1)?;
        if chains > 0 {
            for _ in 0..targets {
                bits.one_of(chains)?;
            }
            for _ in 0..templates.len() {
                for _ in 0..chains {
                    bits.number(4)?;
                }
            }
        }
        if bits.flag()? {
            let largest = templates.iter().map(|template| template.spatial).max().unwrap_or(0);
            for _ in 0..=largest {
                bits.number(32)?;
            }
        }
        let levels = levels(&templates, targets)?;
        Some(Self { offset, targets, templates, levels })
    }

    /// `None` where one temporal layer is all.
    fn place(&self, layer: u8, indications: Indications) -> Option<Place> {
        let [least, .., most] = self.levels;
        if least == most {
            return None;
        }
        let mut place = Place { layer, ..Place::default() };
        for (level, target) in self.levels.into_iter().enumerate() {
            let indication = indications.of(target);
            place.needed |= u8::from(indication != 0) << level;
            place.switch |= u8::from(indication == SWITCH) << level;
        }
        // What a lower part needs an upper one must not miss, whatever it says; and what is in none is
        // not of this choice.
        let lowest = place.needed.checked_ilog2().map_or(0, |_| place.needed.trailing_zeros());
        place.needed = u8::MAX << lowest;
        Some(place)
    }
}

/// `template_layers()`: each is on the layer of the one before, the next temporal or the next spatial one.
fn read_layers(bits: &mut Bits<'_>) -> Option<Vec<Template>> {
    let mut next = Template { spatial: 0, temporal: 0, indications: Indications::default() };
    let mut templates = Vec::new();
    loop {
        if templates.len() >= TEMPLATES_MAX {
            return None;
        }
        templates.push(next);
        match bits.number(2)? {
            0 => {}
            1 => next.temporal += 1,
            2 => (next.spatial, next.temporal) = (next.spatial + 1, 0),
            _ => return Some(templates),
        }
        if next.temporal > TEMPORAL_MAX || next.spatial > SPATIAL_MAX {
            return None;
        }
    }
}

/// By highest temporal layer, the target of the largest picture with no less than it, or the most there is.
fn levels(templates: &[Template], targets: u32) -> Option<[u8; TEMPORAL_MAX as usize + 1]> {
    let layers = |target: u8| {
        let all = || templates.iter().filter(move |template| template.indications.of(target) != 0);
        Some((all().map(|template| template.spatial).max()?, all().map(|template| template.temporal).max()?))
    };
    let targets = (0..targets.min(TARGETS_MAX) as u8).filter_map(|target| Some((target, layers(target)?)));
    let targets: Vec<(u8, (u8, u8))> = targets.collect();
    let largest = targets.iter().map(|(_, (spatial, _))| *spatial).max()?;
    let of_largest = || targets.iter().filter(|(_, (spatial, _))| *spatial == largest);
    let most = of_largest().max_by_key(|(_, (_, temporal))| *temporal)?.0;
    let mut levels = [most; TEMPORAL_MAX as usize + 1];
    for (level, slot) in (0..).zip(&mut levels) {
        let enough = of_largest().filter(|(_, (_, temporal))| *temporal >= level);
        *slot = enough.min_by_key(|(_, (_, temporal))| *temporal).map_or(most, |(target, _)| *target);
    }
    Some(levels)
}

#[cfg(test)]
#[path = "dependency_tests.rs"]
mod tests;
