//! Sources against ffmpeg, which has to take them without a word, and against files that it made.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output},
};

use super::*;

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program} (apt-get install ffmpeg): {error}"))
}

/// Decodes all of a file; what ffmpeg has to complain of.
fn complaints(path: &Path) -> String {
    let output = run("ffmpeg", &["-v", "warning", "-xerror", "-i", path.to_str().unwrap(), "-f", "null", "-"]);
    String::from_utf8_lossy(&output.stderr).into_owned() + if output.status.success() { "" } else { "failed" }
}

fn made(folder: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let mut all = vec!["-v", "error", "-y"];
    all.extend(args);
    all.push(path.to_str().unwrap());
    let output = run("ffmpeg", &all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

const PICTURES: &[&str] = &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2"];

/// An FLV file of the source's first seconds.
fn flv_file(source: &mut Source, seconds: u64) -> Vec<u8> {
    let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    let headers = [Track::Video, Track::Audio].map(|track| source.format(track).and_then(flv::header));
    let mut tag = |message: flv::Message| {
        let (len, ms) = (message.body.len() as u32, message.timestamp_ms);
        file.push(if message.video { 9 } else { 8 });
        file.extend(&len.to_be_bytes()[1..]);
        file.extend(&ms.to_be_bytes()[1..]);
        file.extend([(ms >> 24) as u8, 0, 0, 0]);
        file.extend(&message.body);
        file.extend((len + 11).to_be_bytes());
    };
    headers.into_iter().flatten().for_each(&mut tag);
    while source.due() < Duration::from_secs(seconds) {
        tag(flv::message(&source.frame()));
    }
    file
}

/// An H.264 byte stream of the source's first seconds.
fn byte_stream(source: &mut Source, seconds: u64) -> Vec<u8> {
    let (sps, pps) = h264::parameter_sets(&source.format(Track::Video).unwrap().config).unwrap();
    let mut file = Vec::new();
    let mut put = |unit: &[u8]| {
        file.extend([0, 0, 0, 1]);
        file.extend_from_slice(unit);
    };
    while source.due() < Duration::from_secs(seconds) {
        let frame = source.frame();
        if frame.track == Track::Audio {
            continue;
        }
        if frame.keyframe {
            put(&sps);
            put(&pps);
        }
        h264::units(&frame.data).for_each(&mut put);
    }
    file
}

#[test]
fn a_decoder_takes_synthetic_pictures_of_any_size_and_bitrate() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height, kbps, fps) in [(640, 360, 600, 25), (1_280, 720, 4_000, 30), (176, 144, 100, 15), (320, 180, 8_000, 60)] {
        let wish = Wish { shape: Shape { kbps, fps, gop: fps }, width, height, ..Wish::default() };
        let mut source = Studio::plain(wish).source(Sound::None);
        let file = byte_stream(&mut source, 3);
        let path = folder.path().join("synthetic.h264");
        std::fs::write(&path, &file).unwrap();
        assert_eq!(complaints(&path), "", "{width}x{height} at {kbps} kb/s");
        let entries = "stream=width,height,profile,r_frame_rate,nb_read_frames";
        let path = path.to_str().unwrap();
        let told = run("ffprobe", &["-v", "error", "-count_frames", "-show_entries", entries, "-of", "csv=p=0", path]);
        let told = String::from_utf8_lossy(&told.stdout);
        assert_eq!(told.trim(), format!("Constrained Baseline,{width},{height},{fps}/1,{}", fps * 3));
        let measured = file.len() as u32 * 8 / 3_000;
        assert!(measured.abs_diff(kbps) * 10 < kbps, "{measured} instead of {kbps} kb/s");
    }
}

#[test]
fn a_decoder_takes_the_stream_as_flv_and_its_frames_bear_stamps_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::plain(Wish::default());
    let path = folder.path().join("synthetic.flv");
    std::fs::write(&path, flv_file(&mut studio.source(Sound::Aac), 4)).unwrap();
    assert_eq!(complaints(&path), "");
    let stamps: Vec<Stamp> = studio
        .source(Sound::Aac)
        .take(200)
        .filter(|frame| frame.track == Track::Video)
        .map(|frame| Stamp::find_in_frame(&frame.data).unwrap())
        .collect();
    assert!(stamps.windows(2).all(|pair| pair[1].counter == pair[0].counter + 1));
}

#[test]
fn a_decoder_takes_the_opus_packets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("synthetic.ogg");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut writer = ogg::PacketWriter::new(&mut file);
    let end = ogg::PacketWriteEndInfo::EndPage;
    writer.write_packet(&b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0"[..], 1, end, 0).unwrap();
    writer.write_packet(&b"OpusTags\x01\0\0\0w\0\0\0\0"[..], 1, end, 0).unwrap();
    for n in 0..100 {
        writer.write_packet(sound::opus(n).to_vec(), 1, end, (n + 1) * 960).unwrap();
    }
    drop(writer);
    file.flush().unwrap();
    drop(file);
    assert_eq!(complaints(&path), "");
}

#[test]
fn files_are_played_over_and_over_with_times_that_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"];
    let both = [PICTURES, &sound, &["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-shortest"]].concat();
    for name in ["file.flv", "file.mp4"] {
        let video = Some(made(folder.path(), name, &both));
        let studio = Studio::open(Wish { video, ..Wish::default() }).unwrap();
        let mut source = studio.source(Sound::Aac);
        assert_eq!(source.format(Track::Video).unwrap().codec, Codec::H264);
        assert_eq!(source.format(Track::Audio).unwrap().codec, Codec::Aac);
        let frames: Vec<Frame> = source.by_ref().take_while(|frame| frame.due < Duration::from_secs(7)).collect();
        assert!(frames.windows(2).all(|pair| pair[0].due <= pair[1].due), "{name}: in order");
        let pictures: Vec<&Frame> = frames.iter().filter(|frame| frame.track == Track::Video).collect();
        assert!((165..=175).contains(&pictures.len()), "{name}: {} pictures in 7 s", pictures.len());
        assert!(pictures.iter().all(|frame| Stamp::find_in_frame(&frame.data).is_some()));
        let widest = pictures.windows(2).map(|pair| pair[1].dts - pair[0].dts).max().unwrap();
        assert!(widest < Duration::from_millis(120), "{name}: {widest:?} where it begins again");
        let path = folder.path().join("again.flv");
        std::fs::write(&path, flv_file(&mut studio.source(Sound::Aac), 2)).unwrap();
        assert_eq!(complaints(&path), "", "{name}");
        assert!(studio.source(Sound::Opus).format(Track::Audio).is_none(), "AAC is nothing for WebRTC");
    }
}

#[test]
fn a_byte_stream_an_ivf_and_an_ogg_file_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let video = Some(made(folder.path(), "file.h264", &[PICTURES, &["-c:v", "libx264", "-g", "25"]].concat()));
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2", "-c:a", "libopus"];
    let audio = Some(made(folder.path(), "file.ogg", &sound));
    let studio = Studio::open(Wish { video, audio: audio.clone(), ..Wish::default() }).unwrap();
    let source = studio.source(Sound::Opus);
    let frames: Vec<Frame> = source.take_while(|frame| frame.due < Duration::from_secs(2)).collect();
    let of = |track| frames.iter().filter(move |frame| frame.track == track);
    assert_eq!(of(Track::Video).count(), 50);
    assert_eq!(of(Track::Video).filter(|frame| frame.keyframe).count(), 2);
    assert!((99..=101).contains(&of(Track::Audio).count()));
    let video = Some(made(folder.path(), "file.ivf", &[PICTURES, &["-c:v", "libvpx", "-deadline", "realtime"]].concat()));
    let source = Studio::open(Wish { video, audio, ..Wish::default() }).unwrap().source(Sound::Opus);
    assert_eq!(source.format(Track::Video).unwrap().codec, Codec::Vp8);
    assert_eq!(source.take_while(|frame| frame.due < Duration::from_secs(1)).filter(|f| f.track == Track::Video).count(), 25);
}

#[test]
fn a_file_that_cannot_be_sent_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents, wanted) in [
        ("a.txt", &b"hello"[..], "not one of"),
        ("a.flv", b"hello", "no FLV"),
        ("a.ivf", b"DKIF\0\0\x20\0AV01____________________", "AV01"),
        ("a.mp4", b"hello", "MP4"),
        ("a.h264", b"\0\0\0\x01\x65\x88", "no SPS"),
        ("a.ogg", b"OggS", "Ogg"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        let error = Studio::open(Wish { video: Some(path), ..Wish::default() }).err();
        let error = error.map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error.contains(wanted), "{name}: {error}");
    }
    let absent = Studio::open(Wish { audio: Some("/nonexistent.ogg".into()), ..Wish::default() });
    assert!(format!("{:#}", absent.unwrap_err()).contains("/nonexistent.ogg"));
}

#[test]
fn rtp_payloads_carry_the_frame_and_small_units_travel_together() {
    let mut source = Studio::plain(Wish::default()).source(Sound::Opus);
    let packetizer = rtp::Packetizer::new(source.format(Track::Video));
    let (mut packets, mut pictures) = (0, 0);
    while source.due() < Duration::from_secs(4) {
        let frame = source.frame();
        let payloads = packetizer.payloads(&frame);
        if frame.track == Track::Video {
            let types: Vec<u8> = payloads.iter().map(|payload| payload[0] & 0x1f).collect();
            assert_eq!(types[0], if frame.keyframe { 24 } else { 6 }, "the stamp first, with the parameter sets: {types:?}");
            pictures += 1;
            packets += payloads.len();
        }
    }
    assert_eq!(pictures, 100);
    assert!((300..420).contains(&packets), "{packets}");
}
